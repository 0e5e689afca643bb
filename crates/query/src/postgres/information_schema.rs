//! `information_schema` as Postgres has it, of the tables and views of the lake: DataFusion's own calls types by
//! the names of Arrow, and takes every table of the catalog for a view.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, TableAlias, TableFactor};

use crate::session::{CATALOG, SCHEMA};

/// Where its tables lie; nobody but [`redirect`] names them there.
const OWN: [(&str, &str); 3] = [
    ("columns", "information_schema_columns"),
    ("tables", "information_schema_tables"),
    ("views", "information_schema_views"),
];

/// A table or view of the lake.
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) schema: SchemaRef,
    /// The query that a view is.
    pub(super) view: Option<String>,
}

/// Has a question of one of the tables answered by ours.
pub(super) fn redirect(table: &mut TableFactor, pg_catalog: &str) {
    let TableFactor::Table { name, alias, .. } = table else { return };
    let parts: Vec<String> =
        name.0.iter().filter_map(|part| Some(part.as_ident()?.value.to_lowercase())).collect();
    let [.., schema, asked] = parts.as_slice() else { return };
    let own = OWN.into_iter().find(|(name, _)| name == asked);
    let Some((asked, own)) = own.filter(|_| schema == "information_schema") else { return };
    *name = ObjectName::from(vec![Ident::new(pg_catalog), Ident::new(own)]);
    let own_name =
        || TableAlias { explicit: true, name: Ident::new(asked), columns: Vec::new(), at: None };
    alias.get_or_insert_with(own_name);
}

/// The tables by the names under which they lie.
pub(super) fn tables(
    relations: &[Relation],
) -> Result<HashMap<&'static str, Arc<dyn TableProvider>>> {
    let texts = |texts: Vec<&str>| Arc::new(StringArray::from(texts)) as ArrayRef;
    let same = |text: &'static str, rows: usize| texts(vec![text; rows]);
    let names: Vec<&str> = relations.iter().map(|relation| relation.name.as_str()).collect();
    let kinds = relations.iter().map(|it| if it.view.is_some() { "VIEW" } else { "BASE TABLE" });
    let all = [
        ("table_catalog", same(CATALOG, names.len())),
        ("table_schema", same(SCHEMA, names.len())),
        ("table_name", texts(names)),
        ("table_type", texts(kinds.collect())),
        ("is_insertable_into", same("NO", relations.len())),
    ];
    let views: Vec<(&str, &str)> =
        relations.iter().filter_map(|it| Some((it.name.as_str(), it.view.as_deref()?))).collect();
    let (view_names, definitions): (Vec<&str>, Vec<&str>) = views.into_iter().unzip();
    let views = [
        ("table_catalog", same(CATALOG, view_names.len())),
        ("table_schema", same(SCHEMA, view_names.len())),
        ("check_option", same("NONE", view_names.len())),
        ("is_updatable", same("NO", view_names.len())),
        ("table_name", texts(view_names)),
        ("view_definition", texts(definitions)),
    ];
    Ok(HashMap::from([
        (OWN[0].1, columns(relations)?),
        (OWN[1].1, table(all.to_vec())?),
        (OWN[2].1, table(views.to_vec())?),
    ]))
}

fn columns(relations: &[Relation]) -> Result<Arc<dyn TableProvider>> {
    let rows: Vec<(&str, i32, &str, Type)> = relations
        .iter()
        .flat_map(|relation| {
            let fields = (1..).zip(relation.schema.fields());
            fields.map(|(number, field)| {
                (relation.name.as_str(), number, field.name().as_str(), Type::of(field.data_type()))
            })
        })
        .collect();
    let same = |text| Arc::new(StringArray::from(vec![text; rows.len()])) as ArrayRef;
    let none = || Arc::new(StringArray::from(vec![None::<&str>; rows.len()])) as ArrayRef;
    let texts = |of: fn(&(&str, i32, &str, Type)) -> String| {
        Arc::new(StringArray::from_iter_values(rows.iter().map(of))) as ArrayRef
    };
    let wholes = |of: fn(&(&str, i32, &str, Type)) -> Option<i32>| {
        Arc::new(Int32Array::from_iter(rows.iter().map(of))) as ArrayRef
    };
    table(vec![
        ("table_catalog", same(CATALOG)),
        ("table_schema", same(SCHEMA)),
        ("table_name", texts(|row| row.0.to_owned())),
        ("column_name", texts(|row| row.2.to_owned())),
        ("ordinal_position", wholes(|row| Some(row.1))),
        ("column_default", none()),
        ("is_nullable", same("YES")),
        ("data_type", texts(|row| row.3.name.to_owned())),
        ("character_maximum_length", wholes(|_| None)),
        ("numeric_precision", wholes(|row| row.3.precision)),
        ("numeric_scale", wholes(|row| row.3.scale)),
        ("datetime_precision", wholes(|row| row.3.of_time)),
        ("udt_catalog", same(CATALOG)),
        ("udt_schema", same("pg_catalog")),
        ("udt_name", texts(|row| row.3.udt.to_owned())),
        ("is_identity", same("NO")),
        ("is_generated", same("NEVER")),
        ("is_updatable", same("NO")),
    ])
}

fn table(columns: Vec<(&str, ArrayRef)>) -> Result<Arc<dyn TableProvider>> {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )?;
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}

/// A type as Postgres calls it.
#[derive(Clone, Copy, Default)]
struct Type {
    name: &'static str,
    /// Without its parameters, as `pg_type` has it.
    udt: &'static str,
    precision: Option<i32>,
    scale: Option<i32>,
    of_time: Option<i32>,
}

impl Type {
    fn of(data_type: &DataType) -> Type {
        let plain = |name, udt| Type { name, udt, ..Type::default() };
        let binary =
            |name, udt, bits| Type { precision: Some(bits), scale: Some(0), ..plain(name, udt) };
        match data_type {
            DataType::Boolean => plain("boolean", "bool"),
            DataType::Int16 => binary("smallint", "int2", 16),
            DataType::Int32 => binary("integer", "int4", 32),
            DataType::Int64 => binary("bigint", "int8", 64),
            DataType::Float32 => Type { precision: Some(24), ..plain("real", "float4") },
            DataType::Float64 => {
                Type { precision: Some(53), ..plain("double precision", "float8") }
            }
            DataType::Decimal128(precision, scale) => Type {
                precision: Some(i32::from(*precision)),
                scale: Some(i32::from(*scale)),
                ..plain("numeric", "numeric")
            },
            DataType::Date32 => Type { of_time: Some(0), ..plain("date", "date") },
            DataType::Timestamp(_, Some(_)) => {
                Type { of_time: Some(6), ..plain("timestamp with time zone", "timestamptz") }
            }
            DataType::Timestamp(_, None) => {
                Type { of_time: Some(6), ..plain("timestamp without time zone", "timestamp") }
            }
            DataType::List(entry) if matches!(entry.data_type(), DataType::Struct(_)) => {
                plain("ARRAY", "_record")
            }
            DataType::List(_) => plain("ARRAY", "_text"),
            DataType::Struct(_) => plain("record", "record"),
            _ => plain("text", "text"),
        }
    }
}
