//! What values may look like: durations, sizes, addresses, names. Each function takes a value or says
//! what it must be, as the end of a sentence that begins with the key.

use std::ops::RangeInclusive;

use footfall_event::Micros;
use footfall_guard::scram::Verifier;
use sha2::{Digest, Sha256};
use toml::de::DeValue;
use url::Url;

use super::toml_reader::Value;

/// Longest name of a step or a need, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Longest topic that Kafka takes, in bytes.
const TOPIC_BYTES_MAX: usize = 249;
/// Longest part of a value that a message repeats, in characters.
const SHOWN_CHARS_MAX: usize = 40;

const UNITS_OF_TIME: [(&str, i64); 6] = [
    ("d", Micros::DAY.0),
    ("h", Micros::HOUR.0),
    ("m", Micros::MINUTE.0),
    ("s", Micros::SECOND.0),
    ("ms", 1_000),
    ("us", 1),
];
const UNITS_OF_SIZE: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

pub fn text(value: &Value<'_>) -> Result<String, String> {
    as_text(value).map(str::to_owned).ok_or_else(|| must(value, "be a text in quotes"))
}

/// A text that is not empty.
pub fn some_text(value: &Value<'_>) -> Result<String, String> {
    match text(value)?.trim() {
        "" => Err(must(value, "not be empty")),
        text => Ok(text.to_owned()),
    }
}

pub fn whole(value: &Value<'_>, range: RangeInclusive<u64>) -> Result<u64, String> {
    let wish = format!("be a whole number from {} to {}", range.start(), range.end());
    let number = as_number(value).filter(|number| range.contains(number));
    number.ok_or_else(|| must(value, &wish))
}

/// Bytes.
pub fn size(value: &Value<'_>, range: RangeInclusive<u64>) -> Result<u64, String> {
    let bytes = as_number(value).or_else(|| parse_size(as_text(value)?));
    let bytes = bytes.ok_or_else(|| must(value, "be bytes, or a text such as \"4MiB\""))?;
    if range.contains(&bytes) {
        return Ok(bytes);
    }
    let (least, most) = (show_size(*range.start()), show_size(*range.end()));
    Err(must(value, &format!("be {least} to {most}")))
}

pub fn span(value: &Value<'_>, range: RangeInclusive<Micros>) -> Result<Micros, String> {
    let span = as_text(value).and_then(parse_span);
    let span =
        span.ok_or_else(|| must(value, "be a duration such as \"500ms\", \"3s\" or \"7d\""))?;
    if range.contains(&span) {
        return Ok(span);
    }
    let (least, most) = (show_span(*range.start()), show_span(*range.end()));
    Err(must(value, &format!("be {least} to {most}")))
}

/// A duration, or none for an empty text.
pub fn span_or_none(
    value: &Value<'_>,
    range: RangeInclusive<Micros>,
) -> Result<Option<Micros>, String> {
    match as_text(value).is_some_and(|text| text.trim().is_empty()) {
        true => Ok(None),
        false => span(value, range).map(Some),
    }
}

/// `host:port`; a host is a name, an IPv4 address or an IPv6 address in brackets.
pub fn address(value: &Value<'_>) -> Result<String, String> {
    match as_text(value).filter(|text| is_address(text)) {
        Some(text) => Ok(text.to_owned()),
        None => Err(must(value, "be host:port such as \"127.0.0.1:8080\"")),
    }
}

/// Addresses separated by commas, or nothing.
pub fn addresses(value: &Value<'_>) -> Result<Option<String>, String> {
    let text = text(value)?;
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    if text.trim().is_empty() {
        return Ok(None);
    }
    match parts.iter().all(|part| is_address(part)) {
        true => Ok(Some(parts.join(","))),
        false => Err(must(value, "be host:port, several separated by commas")),
    }
}

/// Addresses separated by commas, at least one.
pub fn some_addresses(value: &Value<'_>) -> Result<String, String> {
    addresses(value)?.ok_or_else(|| must(value, "be host:port, several separated by commas"))
}

/// URLs of servers separated by commas, or nothing.
pub fn servers(value: &Value<'_>) -> Result<Vec<String>, String> {
    let text = text(value)?;
    let servers = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let servers: Option<Vec<String>> = servers.map(server).collect();
    let wish = "be URLs such as \"http://127.0.0.1:8082\", several separated by commas";
    servers.ok_or_else(|| must(value, wish))
}

/// Scheme, host and port alone.
fn server(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()))?;
    let server = url.origin().ascii_serialization();
    (url.as_str().trim_end_matches('/') == server).then_some(server)
}

pub fn topic(value: &Value<'_>) -> Result<String, String> {
    let wish = format!("be 1 to {TOPIC_BYTES_MAX} of A-Z a-z 0-9 . _ -");
    plain(value, TOPIC_BYTES_MAX).ok_or_else(|| must(value, &wish))
}

/// Of a step or a need.
pub fn name(value: &Value<'_>) -> Result<String, String> {
    let wish = format!("be 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ -");
    plain(value, NAME_BYTES_MAX).ok_or_else(|| must(value, &wish))
}

pub fn site(value: &Value<'_>) -> Result<String, String> {
    let site = text(value)?;
    match footfall_event::check_site(&site) {
        Ok(()) => Ok(site),
        Err(fault) => Err(format!(": {fault}")),
    }
}

/// A path or a URL, or nothing. A secret in it would be shown wherever the lake is named.
pub fn lake_url(value: &Value<'_>) -> Result<String, String> {
    let text = text(value)?;
    let url = Url::parse(&text).ok().filter(|url| url.scheme().len() > 1);
    if url.is_none() && text.contains("://") {
        // It may hold a secret, which is not repeated.
        return Err(" is no URL that can be read: it may hold credentials, which must be in the \
                    environment, or characters that must be escaped"
            .to_owned());
    }
    let is_secret =
        |url: Url| !url.username().is_empty() || url.password().is_some() || url.query().is_some();
    match url.is_some_and(is_secret) {
        true => Err(
            " holds a user, a password or parameters: credentials must be in the environment, as \
                     their store's variables such as AWS_SECRET_ACCESS_KEY"
                .to_owned(),
        ),
        false => Ok(text),
    }
}

/// The origin of pages as browsers send it, or `*` for all.
pub fn origin(value: &Value<'_>) -> Result<String, String> {
    let text = text(value)?;
    let url = Url::parse(&text).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
    let normal = url.map(|url| url.origin().ascii_serialization());
    match normal {
        _ if text == "*" => Ok(text),
        Some(normal) if normal == text => Ok(text),
        Some(normal) => Err(must(value, &format!("be as browsers send it: \"{normal}\""))),
        None => Err(must(value, "be an origin such as \"https://shop.example\", or \"*\"")),
    }
}

/// What a token may beyond reading.
pub fn right(value: &Value<'_>) -> Result<String, String> {
    let text = text(value)?;
    match text == "erase" {
        true => Ok(text),
        false => Err(must(value, "be \"erase\", which is all that a token may beyond reading")),
    }
}

pub fn sha256(value: &Value<'_>) -> Result<[u8; 32], String> {
    let mut hash = [0; 32];
    match as_text(value).map(|text| hex::decode_to_slice(text, &mut hash)) {
        // What comes of `sha256sum` when nothing was piped into it: everybody has that key.
        Some(Ok(())) if hash == *Sha256::digest(b"") => {
            Err(" is the SHA-256 of an empty text: must be that of a key".to_owned())
        }
        Some(Ok(())) => Ok(hash),
        // The value is not repeated: it may be the key itself.
        _ => Err(" must be the SHA-256 of a key: 64 hex digits".to_owned()),
    }
}

/// What a login by name and password is checked against.
pub fn scram(value: &Value<'_>) -> Result<Verifier, String> {
    let text = as_text(value).unwrap_or_default();
    // The value is not repeated: it may be the token itself.
    text.parse().map_err(|why| format!(" {why}"))
}

/// A condition on an event, in SQL.
pub fn condition(value: &Value<'_>, check_sql: super::CheckSql<'_>) -> Result<String, String> {
    let condition = some_text(value)?;
    check_sql(&condition).map_err(|fault| format!(": {fault}"))?;
    Ok(condition)
}

/// One of some words, and what each stands for.
pub fn choice<T: Copy>(value: &Value<'_>, choices: &[(&str, T)]) -> Result<T, String> {
    let chosen = as_text(value).and_then(|text| choices.iter().find(|choice| choice.0 == text));
    if let Some((_, chosen)) = chosen {
        return Ok(*chosen);
    }
    let words: Vec<String> = choices.iter().map(|choice| format!("\"{}\"", choice.0)).collect();
    Err(must(value, &format!("be {}", words.join(" or "))))
}

/// Words separated by commas, or nothing.
pub fn words(value: &Value<'_>) -> Result<Vec<String>, String> {
    let text = text(value)?;
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    Ok(words.map(str::to_owned).collect())
}

/// Levels, and `part=level`, separated by commas.
pub fn log_filter(value: &Value<'_>) -> Result<String, String> {
    let levels = ["error", "warn", "info", "debug", "trace", "off"];
    let is_level = |part: &str| {
        let (target, level) = part.rsplit_once('=').unwrap_or(("all", part));
        !target.trim().is_empty() && levels.contains(&level.trim().to_ascii_lowercase().as_str())
    };
    match as_text(value).filter(|text| text.split(',').all(is_level)) {
        Some(text) => Ok(text.to_owned()),
        None => Err(must(value, "be levels such as \"info,footfall_ingest=debug\"")),
    }
}

/// A fault: what the value is, and what it must.
pub fn must(value: &Value<'_>, wish: &str) -> String {
    format!(" is {}: must {wish}", describe(value))
}

/// A value as messages show it.
pub fn describe(value: &Value<'_>) -> String {
    let text = match value {
        Value::Plain(text) => format!("\"{text}\""),
        Value::Toml(DeValue::String(text)) => format!("\"{text}\""),
        Value::Toml(DeValue::Integer(number)) => number.to_string(),
        Value::Toml(DeValue::Float(number)) => number.as_str().to_owned(),
        Value::Toml(DeValue::Boolean(flag)) => flag.to_string(),
        Value::Toml(DeValue::Datetime(time)) => time.to_string(),
        Value::Toml(DeValue::Array(_)) => return "a list".to_owned(),
        Value::Toml(DeValue::Table(_)) => return "a table".to_owned(),
    };
    if text.chars().count() <= SHOWN_CHARS_MAX {
        return format!("`{text}`");
    }
    format!("`{}…`", text.chars().take(SHOWN_CHARS_MAX).collect::<String>())
}

pub fn as_text<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    match value {
        Value::Plain(text) => Some(text),
        Value::Toml(DeValue::String(text)) => Some(text),
        Value::Toml(_) => None,
    }
}

fn as_number(value: &Value<'_>) -> Option<u64> {
    match value {
        Value::Plain(text) => text.trim().parse().ok(),
        Value::Toml(DeValue::Integer(number)) => {
            u64::from_str_radix(number.as_str(), number.radix()).ok()
        }
        Value::Toml(_) => None,
    }
}

fn plain(value: &Value<'_>, bytes_max: usize) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let text = as_text(value)?;
    let fits = !text.is_empty() && text.len() <= bytes_max && text.bytes().all(is_plain);
    fits.then(|| text.to_owned())
}

fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_name),
    };
    is_host && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// A whole number and a unit of time.
fn parse_span(text: &str) -> Option<Micros> {
    let (number, unit) = split_unit(text)?;
    let (_, micros) = UNITS_OF_TIME.iter().find(|known| known.0 == unit)?;
    i64::try_from(number).ok()?.checked_mul(*micros).map(Micros)
}

/// A whole number, with a unit or of bytes.
fn parse_size(text: &str) -> Option<u64> {
    if let Ok(bytes) = text.trim().parse() {
        return Some(bytes);
    }
    let (number, unit) = split_unit(text)?;
    let (_, bytes) = UNITS_OF_SIZE.iter().find(|known| known.0 == unit)?;
    number.checked_mul(*bytes)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// In the largest unit that leaves a whole number.
pub fn show_span(span: Micros) -> String {
    let fitting = UNITS_OF_TIME.iter().find(|unit| span.0 % unit.1 == 0 && span.0 != 0);
    let (unit, micros) = fitting.unwrap_or(&("s", 1));
    format!("{}{unit}", span.0 / micros)
}

/// In the largest unit that leaves a whole number.
pub fn show_size(bytes: u64) -> String {
    let fitting = UNITS_OF_SIZE.iter().find(|unit| bytes.is_multiple_of(unit.1) && bytes != 0);
    fitting.map_or(bytes.to_string(), |(unit, size)| format!("{}{unit}", bytes / size))
}
