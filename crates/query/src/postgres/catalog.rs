//! What Postgres clients find when they look around: `pg_catalog` of the tables, views and functions that
//! there are, with what the dictionary says of them. Which questions clients ask of it is left to `command`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_datafusion_err};
use datafusion::datasource::TableType;
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::prelude::SessionContext;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::{
    PgCatalogContextProvider, Role,
};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use footfall_event::schema::{LiveTable, Table};
use tokio::sync::OnceCell;

use super::functions::{self, Said};
use super::information_schema::{self, Relation};
use super::settings::Settings;
use crate::catalog::{QuerySchema, names};
use crate::dictionary;
use crate::scan::schema_as_read;
use crate::session::{self, CATALOG, SCHEMA, Sessions};
use crate::tables::Tables;
use crate::view::View;

pub(super) const PG_CATALOG: &str = "pg_catalog";
/// The OID of `pg_class`, which descriptions of tables refer to, and that of `pg_proc`.
const PG_CLASS: i32 = 1259;
const PG_PROC: i32 = 1255;
/// OIDs of Footfall's functions begin here, far behind those that tables get.
const FUNCTIONS_FROM: i32 = 100_000;

/// What all sessions share.
pub(super) struct Catalog {
    template: SessionState,
    pg_catalog: Arc<dyn SchemaProvider>,
}

impl Catalog {
    /// `users` are those who may log in.
    ///
    /// # Errors
    /// When a view cannot be planned.
    pub(super) async fn new(
        tables: Arc<Tables>,
        template: SessionState,
        users: Vec<String>,
    ) -> Result<Catalog> {
        let described = Described {
            tables: tables.clone(),
            template: template.clone(),
            views: Default::default(),
        };
        let state = session::over(&template, Arc::new(described))?;
        let context = SessionContext::new_with_state(state);
        setup_pg_catalog(&context, CATALOG, Users(users.into())).map_err(|error| *error)?;
        let catalog = context.catalog(CATALOG);
        let given = catalog.and_then(|catalog| catalog.schema(PG_CATALOG));
        let given = given.ok_or_else(|| internal_datafusion_err!("there is no pg_catalog"))?;
        let said = Arc::new(said(&context, &tables).await?);
        for function in functions::shared(said.clone()) {
            context.register_udf(function);
        }
        let mut own = information_schema::tables(&relations(&context, &tables).await?)?;
        own.insert("pg_proc", procedures(&context).await?);
        own.insert("pg_description", descriptions(&said)?);
        let pg_catalog = Arc::new(PgCatalog { given, own });
        Ok(Catalog { template: context.state(), pg_catalog })
    }

    /// The sessions of one client.
    pub(super) fn sessions(
        self: &Arc<Self>,
        settings: Arc<Settings>,
        process: i32,
    ) -> Arc<dyn Sessions> {
        Arc::new(ClientSessions { catalog: self.clone(), settings, process })
    }
}

struct ClientSessions {
    catalog: Arc<Catalog>,
    settings: Arc<Settings>,
    process: i32,
}

impl Sessions for ClientSessions {
    fn open(&self, tables: &Arc<Tables>) -> Result<SessionState> {
        let template = &self.catalog.template;
        let schema = QuerySchema::new(tables.clone(), template.clone());
        let mut session = session::over(template, schema)?;
        if let Some(catalog) = session.catalog_list().catalog(CATALOG) {
            catalog.register_schema(PG_CATALOG, self.catalog.pg_catalog.clone())?;
        }
        for function in functions::of_session(self.settings.clone(), self.process) {
            session.register_udf(Arc::new(function))?;
        }
        Ok(session)
    }
}

/// Who may log in, as roles.
#[derive(Clone, Debug)]
struct Users(Arc<[String]>);

#[async_trait]
impl PgCatalogContextProvider for Users {
    async fn roles(&self) -> Vec<String> {
        self.0.to_vec()
    }

    async fn role(&self, name: &str) -> Option<Role> {
        Some(Role {
            name: name.to_owned(),
            is_superuser: false,
            can_login: true,
            can_create_db: false,
            can_create_role: false,
            can_create_user: false,
            can_replication: false,
            grants: Vec::new(),
            inherited_roles: Vec::new(),
        })
    }
}

/// The tables and views as they are called and what columns they have; without rows, and without a look at
/// the lake.
struct Described {
    tables: Arc<Tables>,
    template: SessionState,
    views: [OnceCell<SchemaRef>; View::ALL.len()],
}

impl std::fmt::Debug for Described {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Described")
    }
}

impl Described {
    async fn schema(&self, name: &str) -> Result<Option<SchemaRef>> {
        if let Some(table) = Table::ALL.into_iter().find(|table| table.name() == name) {
            return Ok(Some(schema_as_read(&table.schema())));
        }
        if let Some(live) = LiveTable::ALL.into_iter().find(|table| table.name() == name) {
            return Ok(Some(live.schema()));
        }
        let Some(view) = View::named(name) else { return Ok(None) };
        let planned = self.views[view as usize].get_or_try_init(|| async {
            let schema = QuerySchema::new(self.tables.clone(), self.template.clone());
            let table = schema.table(name).await?;
            let table = table.ok_or_else(|| internal_datafusion_err!("{name} is no view"))?;
            Ok::<_, DataFusionError>(table.schema())
        });
        planned.await.cloned().map(Some)
    }
}

#[async_trait]
impl SchemaProvider for Described {
    fn table_names(&self) -> Vec<String> {
        names().map(str::to_owned).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let schema = self.schema(name).await?;
        Ok(schema.map(|schema| Arc::new(EmptyTable::new(schema)) as Arc<dyn TableProvider>))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        let kind = match View::named(name) {
            Some(_) => TableType::View,
            None => TableType::Base,
        };
        Ok(self.table_exist(name).then_some(kind))
    }

    fn table_exist(&self, name: &str) -> bool {
        names().any(|known| known == name)
    }
}

/// The tables of Postgres' catalog, some with rows of our own.
#[derive(Debug)]
struct PgCatalog {
    given: Arc<dyn SchemaProvider>,
    own: HashMap<&'static str, Arc<dyn TableProvider>>,
}

#[async_trait]
impl SchemaProvider for PgCatalog {
    fn table_names(&self) -> Vec<String> {
        self.given.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.own.get(name) {
            Some(table) => Ok(Some(table.clone())),
            None => self.given.table(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.given.table_exist(name)
    }
}

/// What the dictionary says, by the OIDs that the catalog gives; it keeps them as long as it lives.
async fn said(context: &SessionContext, tables: &Tables) -> Result<Said> {
    let sql = "SELECT c.oid, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
               ON n.oid = c.relnamespace WHERE n.nspname = 'public'";
    let mut said = Said::default();
    let schema = context.catalog(CATALOG).and_then(|catalog| catalog.schema(SCHEMA));
    for (oid, name) in oids(context, sql).await? {
        if let Some(says) = dictionary::of_table(&name) {
            said.tables.insert(oid, says.to_owned());
        }
        said.oids.insert(name.clone(), oid);
        if let Some(view) = View::named(&name) {
            said.views.insert(oid, view.sql(tables.declared()));
        }
        let Some(schema) = &schema else { continue };
        let Some(table) = schema.table(&name).await? else { continue };
        for (number, column) in (1..).zip(table.schema().fields()) {
            if let Some(says) = dictionary::of_column(&name, column.name()) {
                said.columns.insert((oid, number), says.to_owned());
            }
        }
    }
    for (oid, (_, call, says)) in (FUNCTIONS_FROM..).zip(dictionary::functions()) {
        let arguments = call.split_once('(').map_or("", |(_, rest)| rest.trim_end_matches(')'));
        said.functions.insert(oid, (says.to_owned(), arguments.to_owned()));
    }
    Ok(said)
}

/// The tables and views of the lake.
async fn relations(context: &SessionContext, tables: &Tables) -> Result<Vec<Relation>> {
    let schema = context.catalog(CATALOG).and_then(|catalog| catalog.schema(SCHEMA));
    let schema = schema.ok_or_else(|| internal_datafusion_err!("there is no schema"))?;
    let mut relations = Vec::new();
    for name in names() {
        let Some(table) = schema.table(name).await? else { continue };
        let view = View::named(name).map(|view| view.sql(tables.declared()));
        relations.push(Relation { name: name.to_owned(), schema: table.schema(), view });
    }
    Ok(relations)
}

async fn oids(context: &SessionContext, sql: &str) -> Result<Vec<(i32, String)>> {
    let mut found = Vec::new();
    for batch in context.sql(sql).await?.collect().await? {
        let oids = batch.column(0).as_primitive::<Int32Type>().clone();
        let names = arrow::compute::cast(batch.column(1), &DataType::Utf8)?;
        let names = names.as_string::<i32>();
        found.extend(
            (0..batch.num_rows()).map(|row| (oids.value(row), names.value(row).to_owned())),
        );
    }
    Ok(found)
}

/// `pg_proc` of Postgres, and Footfall's functions behind its own.
async fn procedures(context: &SessionContext) -> Result<Arc<dyn TableProvider>> {
    let public = "SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname = 'public'";
    let public = oids(context, public).await?.first().map_or(0, |(oid, _)| *oid);
    let given = context.table(format!("{PG_CATALOG}.pg_proc")).await?;
    let schema: SchemaRef = Arc::new(given.schema().as_arrow().clone());
    let like = "SELECT * FROM pg_catalog.pg_proc WHERE proname = 'now'";
    let like = context.sql(like).await?.collect().await?;
    let like = like.into_iter().find(|batch| batch.num_rows() == 1);
    let like = like.ok_or_else(|| internal_datafusion_err!("there is no now()"))?;
    let mut batches = given.collect().await?;
    for (oid, (name, _, _)) in (FUNCTIONS_FROM..).zip(dictionary::functions()) {
        let is_aggregate = context.state().aggregate_functions().contains_key(name);
        let own: [(&str, ScalarValue); 4] = [
            ("oid", ScalarValue::from(oid)),
            ("proname", ScalarValue::from(name)),
            ("pronamespace", ScalarValue::from(public)),
            ("prokind", ScalarValue::from(if is_aggregate { "a" } else { "f" })),
        ];
        // Like now(), which takes nothing, but for what tells it apart.
        let mut columns = like.columns().to_vec();
        for (column, value) in own {
            let index = schema.index_of(column)?;
            columns[index] = value.cast_to(schema.field(index).data_type())?.to_array()?;
        }
        batches.push(RecordBatch::try_new(like.schema(), columns)?);
    }
    let batches = batches
        .into_iter()
        .map(|batch| RecordBatch::try_new(schema.clone(), batch.columns().to_vec()))
        .collect::<Result<Vec<RecordBatch>, _>>()?;
    Ok(Arc::new(MemTable::try_new(schema, vec![batches])?))
}

/// `pg_description`: what is said, as a table.
fn descriptions(said: &Said) -> Result<Arc<dyn TableProvider>> {
    let tables = said.tables.iter().map(|(oid, says)| (*oid, PG_CLASS, 0, says));
    let columns = said.columns.iter().map(|((oid, number), says)| (*oid, PG_CLASS, *number, says));
    let functions = said.functions.iter().map(|(oid, (says, _))| (*oid, PG_PROC, 0, says));
    let mut rows: Vec<_> = tables.chain(columns).chain(functions).collect();
    rows.sort();
    let whole = |name| Field::new(name, DataType::Int32, false);
    let schema = Arc::new(Schema::new(vec![
        whole("objoid"),
        whole("classoid"),
        whole("objsubid"),
        Field::new("description", DataType::Utf8, false),
    ]));
    let columns: Vec<Arc<dyn Array>> = vec![
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.2))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.3))),
    ];
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}
