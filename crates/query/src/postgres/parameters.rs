//! Values that clients bind: from the wire to SQL's own. Putting them in the place of their placeholders is
//! left to `bind`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion_postgres::arrow_pg::datatypes::df::deserialize_parameters;
use datafusion_postgres::arrow_pg::datatypes::into_pg_type;
use pgwire::api::Type;
use pgwire::api::portal::Portal;
use pgwire::api::stmt::StoredStatement;
use pgwire::error::ErrorInfo;
use pgwire::messages::data::FORMAT_CODE_BINARY;
use pgwire::messages::extendedquery::Bind;

use super::error::{ERROR, error, protocol_violation, value_error};
use crate::Parameters;

/// Placeholders of a statement.
const PLACEHOLDERS_MAX: usize = 1000;
/// The most digits that a number may have.
const DIGITS_MAX: u8 = 38;

/// The types of a statement's placeholders `$1`, `$2`, …: those that the client named, else what they are
/// compared with or cast to, else text.
///
/// # Errors
/// A placeholder that is no number, or leaves one out; too many.
pub(super) fn types(
    named: &[Option<Type>],
    inferred: &HashMap<String, Option<DataType>>,
) -> Result<Vec<Type>, Box<ErrorInfo>> {
    let mut count = named.len();
    for name in inferred.keys() {
        match name.trim_start_matches('$').parse::<usize>() {
            Ok(number) if number > 0 => count = count.max(number),
            _ => {
                let message = format!("{name}: placeholders are $1, $2, …");
                return Err(Box::new(error("42P02", &message)));
            }
        }
    }
    if count > PLACEHOLDERS_MAX {
        let message = format!("{count} placeholders: at most {PLACEHOLDERS_MAX}");
        return Err(Box::new(error("54023", &message)));
    }
    let missing = (named.len()..count).map(|index| format!("${}", index + 1));
    if let Some(missing) = missing.into_iter().find(|name| !inferred.contains_key(name)) {
        let message = format!("could not determine data type of parameter {missing}");
        return Err(Box::new(error("42P18", &message)));
    }
    let of = |index: usize| {
        let named = named.get(index).cloned().flatten();
        named.unwrap_or_else(|| {
            let inferred = inferred.get(&format!("${}", index + 1)).cloned().flatten();
            let inferred = inferred.and_then(|data_type| into_pg_type(&data_type).ok());
            inferred.filter(|known| *known != Type::UNKNOWN).unwrap_or(Type::TEXT)
        })
    };
    Ok((0..count).map(of).collect())
}

/// NULLs of the types that the client named, for describing a statement; those that it did not name are left
/// to what they are compared with.
pub(super) fn nulls(named: &[Option<Type>]) -> Parameters {
    let typed = named.iter().enumerate().filter_map(|(index, named)| {
        let null = ScalarValue::try_from(&arrow_type(named.as_ref()?)?).ok()?;
        Some(((index + 1).to_string(), null))
    });
    Parameters::named(typed)
}

/// The values of `bind` as `types` has them.
///
/// # Errors
/// Too many or too few values; one that is not of its type.
pub(super) fn values(bind: &Bind, types: &[Type]) -> Result<Parameters, Box<ErrorInfo>> {
    if bind.parameters.len() != types.len() {
        let message = format!(
            "bind message supplies {} parameters, but the statement requires {}",
            bind.parameters.len(),
            types.len()
        );
        return Err(Box::new(protocol_violation(ERROR, &message)));
    }
    let formats = &bind.parameter_format_codes;
    if !(formats.len() <= 1 || formats.len() == types.len()) {
        let message = format!("{} formats for {} parameters", formats.len(), types.len());
        return Err(Box::new(protocol_violation(ERROR, &message)));
    }
    let binary = binary_values(bind, types)?;
    let mut values = Vec::with_capacity(types.len());
    for (index, (data_type, binary)) in types.iter().zip(binary).enumerate() {
        let format = formats.get(index).or_else(|| formats.first());
        let is_binary = format.is_some_and(|format| *format == FORMAT_CODE_BINARY);
        let value = match (&bind.parameters[index], binary) {
            (None, _) => {
                let null = arrow_type(data_type).map(|of| ScalarValue::try_from(&of));
                null.and_then(Result::ok).unwrap_or(ScalarValue::Null)
            }
            (Some(bytes), _) if is_binary && *data_type == Type::UUID => {
                let uuid = uuid::Uuid::from_slice(bytes);
                let uuid = uuid.map_err(|_| {
                    error("22P03", &format!("a uuid of {} bytes for ${}", bytes.len(), index + 1))
                });
                ScalarValue::from(uuid.map_err(Box::new)?.to_string())
            }
            (Some(_), Some(value)) if is_binary => zoned(value, data_type),
            (Some(bytes), _) => text_value(index, data_type, bytes)?,
        };
        values.push(value);
    }
    Ok(Parameters::numbered(values))
}

/// The library gives a time with a zone without it, in UTC.
fn zoned(value: ScalarValue, data_type: &Type) -> ScalarValue {
    match (data_type, arrow_type(data_type)) {
        (&Type::TIMESTAMPTZ, Some(zoned)) => value.cast_to(&zoned).unwrap_or(value),
        _ => value,
    }
}

/// What came in binary form, by a library; `None` for the rest.
fn binary_values(bind: &Bind, types: &[Type]) -> Result<Vec<Option<ScalarValue>>, Box<ErrorInfo>> {
    let formats = &bind.parameter_format_codes;
    let is_binary = |index: usize| {
        let format = formats.get(index).or_else(|| formats.first());
        format.is_some_and(|format| *format == FORMAT_CODE_BINARY)
    };
    // In the places of those that came as text is NULL: the library reads all or none.
    let parameters = bind.parameters.iter().enumerate();
    let parameters = parameters.map(|(index, bytes)| bytes.clone().filter(|_| is_binary(index)));
    let known = types
        .iter()
        .enumerate()
        .map(|(index, of)| Some(if is_binary(index) { plain_type(of) } else { Type::TEXT }));
    let statement = StoredStatement::new(String::new(), (), known.collect());
    let all_binary =
        Bind::new(None, None, vec![FORMAT_CODE_BINARY], parameters.collect(), Vec::new());
    let portal = Portal::try_new(&all_binary, Arc::new(statement));
    let read = portal.and_then(|portal| deserialize_parameters(&portal, &[]));
    match read.map_err(|error| Box::new(value_error(error)))? {
        ParamValues::List(values) => {
            let values = values.into_iter().enumerate();
            Ok(values.map(|(index, value)| is_binary(index).then_some(value.value)).collect())
        }
        ParamValues::Map(_) => Ok(vec![None; types.len()]),
    }
}

/// Of types that are texts or bytes on the wire: those.
fn plain_type(data_type: &Type) -> Type {
    match *data_type {
        Type::UNKNOWN | Type::NAME | Type::BPCHAR | Type::JSON => Type::TEXT,
        Type::UUID => Type::BYTEA,
        _ => data_type.clone(),
    }
}

fn text_value(index: usize, data_type: &Type, bytes: &[u8]) -> Result<ScalarValue, Box<ErrorInfo>> {
    let wrong = |why: &str| {
        let name = data_type.name();
        let shown: String = String::from_utf8_lossy(bytes).chars().take(40).collect();
        Box::new(error("22P02", &format!("invalid {name} for ${}: \"{shown}\"{why}", index + 1)))
    };
    let text = std::str::from_utf8(bytes).map_err(|_| wrong(", which is not UTF-8"))?;
    // Some clients write a zone behind a day.
    let day = text.split(' ').next().filter(|_| *data_type == Type::DATE);
    let value = ScalarValue::from(day.unwrap_or(text));
    match arrow_type(data_type) {
        None | Some(DataType::Utf8) => Ok(value),
        Some(DataType::Decimal128(..)) => {
            value.cast_to(&decimal_type(text)).map_err(|_| wrong(", which is no number"))
        }
        Some(DataType::List(_)) => Err(wrong(", lists can be bound in binary form alone")),
        Some(DataType::Binary) => match text.strip_prefix("\\x").map(hex) {
            Some(Some(bytes)) => Ok(ScalarValue::Binary(Some(bytes))),
            _ => Err(wrong(", which is not \\x and hex digits")),
        },
        Some(known) => value.cast_to(&known).map_err(|_| wrong("")),
    }
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = (0..digits.len()).step_by(2).map(|start| digits.get(start..start + 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

/// With as many digits behind the point as the number has.
fn decimal_type(text: &str) -> DataType {
    let scale = text.split_once('.').map_or(0, |(_, behind)| behind.trim().len());
    let scale = i8::try_from(scale).unwrap_or(i8::MAX).min(DIGITS_MAX as i8);
    DataType::Decimal128(DIGITS_MAX, scale)
}

/// `None` for what is no type of SQL here.
fn arrow_type(data_type: &Type) -> Option<DataType> {
    Some(match *data_type {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 | Type::OID => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::NUMERIC => DataType::Decimal128(DIGITS_MAX, 10),
        Type::DATE => DataType::Date32,
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::BYTEA => DataType::Binary,
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY => DataType::new_list(DataType::Utf8, true),
        Type::INT4_ARRAY => DataType::new_list(DataType::Int32, true),
        Type::INT8_ARRAY => DataType::new_list(DataType::Int64, true),
        Type::FLOAT8_ARRAY => DataType::new_list(DataType::Float64, true),
        Type::TEXT | Type::VARCHAR | Type::UNKNOWN | Type::NAME | Type::BPCHAR => DataType::Utf8,
        Type::UUID | Type::JSON => DataType::Utf8,
        _ => return None,
    })
}
