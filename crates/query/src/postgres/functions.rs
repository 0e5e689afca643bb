//! Functions of Postgres that clients call to look around. They are evaluated row by row, over the few rows
//! of the catalog.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::escape::translated;
use super::settings::{Settings, VERSION};

/// Postgres' `array_to_string`. It is called otherwise, for a session keeps what DataFusion calls by several
/// names.
pub(super) const ARRAY_TO_STRING: &str = "catalog_array_to_string";
/// A pattern of LIKE with a backslash in the place of its sign: `like_pattern(pattern, sign)`.
pub(super) const LIKE_PATTERN: &str = "like_pattern";

type Evaluate = Arc<dyn Fn(&[ScalarValue]) -> Result<ScalarValue> + Send + Sync>;

/// What the catalog says of an object, by its OID.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The OIDs of tables and views, by name.
    pub(super) oids: HashMap<String, i32>,
    /// Of tables and views.
    pub(super) tables: HashMap<i32, String>,
    /// Of their columns, by the OID of the table and the column's number from 1.
    pub(super) columns: HashMap<(i32, i32), String>,
    /// Of functions: what they do, their arguments.
    pub(super) functions: HashMap<i32, (String, String)>,
    /// The queries that views are.
    pub(super) views: HashMap<i32, String>,
}

/// The functions that are the same for all sessions.
pub(super) fn shared(said: Arc<Said>) -> Vec<ScalarUDF> {
    let text = |value: Option<&String>| ScalarValue::Utf8(value.cloned());
    let version = format!(
        "PostgreSQL {VERSION} (Footfall {}, DataFusion {})",
        env!("CARGO_PKG_VERSION"),
        datafusion::DATAFUSION_VERSION
    );
    let mut functions = vec![
        function("version", DataType::Utf8, move |_| Ok(ScalarValue::from(version.as_str()))),
        function("obj_description", DataType::Utf8, {
            let said = said.clone();
            move |values| {
                let oid = whole(values, 0);
                let table = oid.and_then(|oid| said.tables.get(&oid));
                let of_function = || oid.and_then(|oid| Some(&said.functions.get(&oid)?.0));
                Ok(text(table.or_else(of_function)))
            }
        }),
        function("col_description", DataType::Utf8, {
            let said = said.clone();
            move |values| {
                let key = whole(values, 0).zip(whole(values, 1));
                Ok(text(key.and_then(|key| said.columns.get(&key))))
            }
        }),
        function("pg_get_viewdef", DataType::Utf8, {
            let said = said.clone();
            move |values| Ok(text(whole(values, 0).and_then(|oid| said.views.get(&oid))))
        }),
    ];
    for name in ["pg_get_function_arguments", "pg_get_function_identity_arguments"] {
        let said = said.clone();
        functions.push(function(name, DataType::Utf8, move |values| {
            let found = whole(values, 0).and_then(|oid| Some(&said.functions.get(&oid)?.1));
            Ok(text(found))
        }));
    }
    for name in NOTHING {
        functions.push(function(name, DataType::Utf8, |_| Ok(ScalarValue::Utf8(None))));
    }
    for (name, answer) in TRUTHS {
        functions.push(function(name, DataType::Boolean, |_| Ok(ScalarValue::from(*answer))));
    }
    for name in PRIVILEGES {
        functions.push(function(name, DataType::Boolean, |values| {
            let asked = values.last().and_then(|value| value.try_as_str().flatten());
            let asked = asked.unwrap_or_default().to_uppercase();
            Ok(ScalarValue::from(GRANTED.iter().any(|granted| asked.contains(granted))))
        }));
    }
    for name in ["pg_table_size", "pg_indexes_size"] {
        functions.push(function(name, DataType::Int64, |_| Ok(ScalarValue::Int64(None))));
    }
    for name in ["to_regtype", "to_regproc", "to_regnamespace", "to_regrole"] {
        functions.push(function(name, DataType::Int32, |_| Ok(ScalarValue::Int32(None))));
    }
    functions.push(function("to_regclass", DataType::Int32, {
        let said = said.clone();
        move |values| {
            let name = values.first().and_then(|value| value.try_as_str().flatten());
            let name = name.unwrap_or_default().replace('"', "");
            let name = name.strip_prefix("public.").unwrap_or(&name);
            Ok(ScalarValue::Int32(said.oids.get(name).copied()))
        }
    }));
    functions.push(function(ARRAY_TO_STRING, DataType::Utf8, array_to_string));
    functions.push(function(LIKE_PATTERN, DataType::Utf8, |values| {
        let text = |index: usize| values.get(index).and_then(|value| value.try_as_str().flatten());
        let sign = text(1).and_then(|sign| sign.chars().next()).unwrap_or('\\');
        Ok(ScalarValue::Utf8(text(0).map(|pattern| translated(pattern, sign))))
    }));
    functions.push(function("pg_my_temp_schema", DataType::Int32, |_| Ok(ScalarValue::from(0))));
    functions.push(function("pg_char_to_encoding", DataType::Int32, |_| Ok(ScalarValue::from(6))));
    functions
}

/// Functions that have nothing to tell here: there are no indexes, triggers, sequences or sizes.
const NOTHING: [&str; 16] = [
    "shobj_description",
    "pg_get_function_result",
    "pg_get_functiondef",
    "pg_get_function_sqlbody",
    "pg_size_pretty",
    "json_build_object",
    "pg_get_indexdef",
    "pg_get_ruledef",
    "pg_get_triggerdef",
    "pg_get_partition_constraintdef",
    "pg_get_serial_sequence",
    "pg_tablespace_location",
    "pg_database_size",
    "pg_relation_filenode",
    "pg_advisory_unlock_all",
    "inet_server_addr",
];

const TRUTHS: &[(&str, bool)] = &[
    ("pg_function_is_visible", true),
    ("pg_type_is_visible", true),
    ("pg_collation_is_visible", true),
    ("pg_opclass_is_visible", true),
    ("pg_operator_is_visible", true),
    ("pg_is_in_recovery", false),
    ("pg_is_other_temp_schema", false),
    ("pg_has_role", true),
];

const PRIVILEGES: [&str; 8] = [
    "has_table_privilege",
    "has_schema_privilege",
    "has_database_privilege",
    "has_any_column_privilege",
    "has_column_privilege",
    "has_function_privilege",
    "has_sequence_privilege",
    "has_type_privilege",
];
/// Whoever is let in may read all, and nothing else.
const GRANTED: [&str; 4] = ["SELECT", "USAGE", "CONNECT", "EXECUTE"];

/// The functions that tell of one session.
pub(super) fn of_session(settings: Arc<Settings>, process: i32) -> Vec<ScalarUDF> {
    let user = settings.user().to_owned();
    let shown = settings.clone();
    vec![
        function("session_user", DataType::Utf8, move |_| Ok(ScalarValue::from(user.as_str()))),
        function("pg_get_userbyid", DataType::Utf8, |_| Ok(ScalarValue::from("footfall"))),
        function("pg_backend_pid", DataType::Int32, move |_| Ok(ScalarValue::from(process))),
        function("current_setting", DataType::Utf8, move |values| {
            let name = values.first().and_then(|value| value.try_as_str().flatten());
            let may_miss = matches!(values.get(1), Some(ScalarValue::Boolean(Some(true))));
            match shown.show(name.unwrap_or_default()) {
                Ok(value) => Ok(ScalarValue::from(value)),
                Err(_) if may_miss => Ok(ScalarValue::Utf8(None)),
                Err(error) => exec_err!("{}", error.message),
            }
        }),
        // A statement of rows changes nothing: what it would not keep is refused, the rest needs no keeping.
        function("set_config", DataType::Utf8, move |values| {
            let text = |index: usize| {
                let value: Option<&ScalarValue> = values.get(index);
                value.and_then(|value| value.try_as_str().flatten()).unwrap_or_default()
            };
            let (name, value) = (text(0), text(1));
            let mut changed = Settings::clone(&settings);
            match changed.set(name, value) {
                Ok(_) if changed.statement_time_max() == settings.statement_time_max() => {
                    Ok(ScalarValue::from(value))
                }
                Ok(_) => exec_err!("set_config() sets nothing here: SET {name} TO '{value}' does"),
                Err(error) => exec_err!("{}", error.message),
            }
        }),
    ]
}

/// As in Postgres: without the NULLs, or with a text for them. Some lists of the catalog are texts already.
fn array_to_string(values: &[ScalarValue]) -> Result<ScalarValue> {
    let text = |index: usize| values.get(index).and_then(|value| value.try_as_str().flatten());
    let (ScalarValue::List(list), Some(between)) =
        (values.first().unwrap_or(&ScalarValue::Null), text(1))
    else {
        return Ok(ScalarValue::Utf8(text(0).map(str::to_owned)));
    };
    if list.is_null(0) {
        return Ok(ScalarValue::Utf8(None));
    }
    let items = list.value(0);
    let options = FormatOptions::new();
    let shown = ArrayFormatter::try_new(&items, &options)?;
    let items = (0..items.len()).filter_map(|index| match items.is_null(index) {
        true => text(2).map(str::to_owned),
        false => Some(shown.value(index).to_string()),
    });
    Ok(ScalarValue::from(items.collect::<Vec<_>>().join(between)))
}

fn whole(values: &[ScalarValue], index: usize) -> Option<i32> {
    match values.get(index)?.cast_to(&DataType::Int32) {
        Ok(ScalarValue::Int32(whole)) => whole,
        _ => None,
    }
}

fn function(
    name: &'static str,
    returns: DataType,
    evaluate: impl Fn(&[ScalarValue]) -> Result<ScalarValue> + Send + Sync + 'static,
) -> ScalarUDF {
    let either = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
    let signature = Signature::one_of(either, Volatility::Stable);
    ScalarUDF::new_from_impl(RowFunction { name, signature, returns, evaluate: Arc::new(evaluate) })
}

struct RowFunction {
    name: &'static str,
    signature: Signature,
    returns: DataType,
    evaluate: Evaluate,
}

/// There is one of a name in a session.
impl PartialEq for RowFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for RowFunction {}

impl Hash for RowFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl std::fmt::Debug for RowFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl ScalarUDFImpl for RowFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalars = args.args.iter().map(|arg| match arg {
            ColumnarValue::Scalar(value) => Some(value.clone()),
            ColumnarValue::Array(_) => None,
        });
        if let Some(values) = scalars.collect::<Option<Vec<ScalarValue>>>() {
            return (self.evaluate)(&values).map(ColumnarValue::Scalar);
        }
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let rows = (0..args.number_rows).map(|row| {
            let values = columns.iter().map(|column| ScalarValue::try_from_array(column, row));
            (self.evaluate)(&values.collect::<Result<Vec<_>>>()?)
        });
        let answers = rows.collect::<Result<Vec<_>>>()?;
        let answers = match answers.is_empty() {
            true => arrow::array::new_empty_array(&self.returns),
            false => ScalarValue::iter_to_array(answers)?,
        };
        Ok(ColumnarValue::Array(answers))
    }
}
