//! What a client sets and shows of its session. Most settings are kept for those who ask for them again and
//! change nothing; the few that would change an answer take the one value that holds here.

use std::collections::BTreeMap;
use std::time::Duration;

use pgwire::error::ErrorInfo;

use super::error::{error, warning};
use crate::diagnose::nearest;

/// The version of Postgres whose clients are answered, as number and as `server_version_num`.
pub(super) const VERSION: &str = "16.6";
const VERSION_NUMBER: &str = "160006";
/// Longest value.
const VALUE_CHARS_MAX: usize = 1000;

/// How a setting is treated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Kept, and told to the client at once when it changes.
    Told,
    Kept,
    /// Cannot be set.
    Fixed,
    /// Only one of these can be set, in lower case.
    Only(&'static [&'static str]),
    Time,
}

use Kind::{Fixed, Kept, Only, Time, Told};

const UTC: &[&str] =
    &["utc", "etc/utc", "gmt", "etc/gmt", "z", "zulu", "utc0", "0", "+00", "+00:00"];

/// By name: what it is until it is set, and how it is set.
const KNOWN: &[(&str, &str, Kind)] = &[
    ("application_name", "", Told),
    ("backslash_quote", "safe_encoding", Kept),
    ("bytea_output", "hex", Only(&["hex"])),
    ("client_encoding", "UTF8", Only(&["utf8", "utf-8", "unicode"])),
    ("client_min_messages", "notice", Kept),
    ("datestyle", "ISO, MDY", Only(&["iso", "iso, mdy", "iso, ymd", "iso, dmy", "iso,mdy"])),
    ("default_transaction_isolation", "read committed", Kept),
    ("default_transaction_read_only", "on", Kept),
    ("extra_float_digits", "1", Kept),
    ("idle_in_transaction_session_timeout", "0", Kept),
    ("integer_datetimes", "on", Fixed),
    ("intervalstyle", "postgres", Only(&["postgres"])),
    ("is_superuser", "off", Fixed),
    ("jit", "off", Kept),
    ("lc_collate", "C", Fixed),
    ("lc_ctype", "C", Fixed),
    ("lc_messages", "C", Kept),
    ("lc_monetary", "C", Kept),
    ("lc_numeric", "C", Kept),
    ("lc_time", "C", Kept),
    ("lock_timeout", "0", Kept),
    ("max_identifier_length", "63", Fixed),
    ("max_index_keys", "32", Fixed),
    ("row_security", "on", Kept),
    ("search_path", "public", Kept),
    ("server_encoding", "UTF8", Fixed),
    ("server_version", VERSION, Fixed),
    ("server_version_num", VERSION_NUMBER, Fixed),
    ("session_authorization", "", Fixed),
    ("session_replication_role", "origin", Kept),
    ("standard_conforming_strings", "on", Only(&["on", "true", "1", "yes"])),
    ("statement_timeout", "0", Time),
    ("synchronize_seqscans", "on", Kept),
    ("timezone", "UTC", Only(UTC)),
    ("transaction_isolation", "read committed", Kept),
    ("transaction_read_only", "on", Kept),
    ("xmloption", "content", Kept),
];

/// The settings that a client is told of when it logs in, as they are written there.
const TOLD: &[(&str, &str)] = &[
    ("application_name", "application_name"),
    ("client_encoding", "client_encoding"),
    ("datestyle", "DateStyle"),
    ("default_transaction_read_only", "default_transaction_read_only"),
    ("integer_datetimes", "integer_datetimes"),
    ("intervalstyle", "IntervalStyle"),
    ("is_superuser", "is_superuser"),
    ("server_encoding", "server_encoding"),
    ("server_version", "server_version"),
    ("session_authorization", "session_authorization"),
    ("standard_conforming_strings", "standard_conforming_strings"),
    ("timezone", "TimeZone"),
];

#[derive(Clone, Debug)]
pub(super) struct Settings {
    values: BTreeMap<&'static str, String>,
    user: String,
}

impl Settings {
    pub(super) fn new(user: &str) -> Settings {
        Settings { values: BTreeMap::new(), user: user.to_owned() }
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// Takes a setting of the log-in: one that does not hold here is left as it is, for nobody asked for it in
    /// a statement.
    pub(super) fn take(&mut self, name: &str, value: &str) {
        let _ = self.set(name, value);
    }

    /// Takes what a client gives as the command line of its server: `-c name=value --name=value`.
    pub(super) fn take_options(&mut self, options: &str) {
        let settings = options.split_whitespace().filter_map(|word| {
            let word = word.strip_prefix("-c").or(word.strip_prefix("--")).unwrap_or(word);
            word.split_once('=')
        });
        for (name, value) in settings {
            self.take(&name.replace('-', "_"), value);
        }
    }

    /// Sets `name`; what is to be told beside.
    ///
    /// # Errors
    /// A setting that is not there, or cannot have that value.
    pub(super) fn set(
        &mut self,
        name: &str,
        value: &str,
    ) -> Result<Option<ErrorInfo>, Box<ErrorInfo>> {
        let (name, initial, kind) = find(name)?;
        if value.chars().count() > VALUE_CHARS_MAX {
            let message =
                format!("the value of \"{name}\" has more than {VALUE_CHARS_MAX} characters");
            return Err(Box::new(error("22023", &message)));
        }
        match kind {
            Fixed => {
                Err(Box::new(error("55P02", &format!("parameter \"{name}\" cannot be changed"))))
            }
            Only(values)
                if name == "timezone" && !values.contains(&value.to_lowercase().as_str()) =>
            {
                Ok(Some(warning(&format!("times are shown in UTC here, not in {value}"))))
            }
            Only(values) if !values.contains(&value.to_lowercase().as_str()) => {
                let mut error =
                    error("22023", &format!("invalid value for parameter \"{name}\": \"{value}\""));
                error.hint = Some(format!("it is {initial} here"));
                Err(Box::new(error))
            }
            Only(_) => Ok(None),
            Time => match duration(value) {
                Some(_) => {
                    self.values.insert(name, value.to_owned());
                    Ok(None)
                }
                None => {
                    let mut error = error(
                        "22023",
                        &format!("invalid value for parameter \"{name}\": \"{value}\""),
                    );
                    error.hint = Some("such as 5000, which are milliseconds, or '5s'".to_owned());
                    Err(Box::new(error))
                }
            },
            Told | Kept => {
                self.values.insert(name, value.to_owned());
                Ok(None)
            }
        }
    }

    /// Takes a setting back, or all of them.
    ///
    /// # Errors
    /// One that is not there.
    pub(super) fn reset(&mut self, name: Option<&str>) -> Result<(), Box<ErrorInfo>> {
        match name {
            None => self.values.clear(),
            Some(name) => {
                self.values.remove(find(name)?.0);
            }
        }
        Ok(())
    }

    /// # Errors
    /// One that is not there.
    pub(super) fn show(&self, name: &str) -> Result<&str, Box<ErrorInfo>> {
        let (name, initial, _) = find(name)?;
        if name == "session_authorization" {
            return Ok(&self.user);
        }
        Ok(self.values.get(name).map_or(initial, String::as_str))
    }

    /// All names with their values.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        KNOWN.iter().map(|(name, initial, _)| (*name, self.show(name).unwrap_or(initial)))
    }

    /// What a client is told when it logs in.
    pub(super) fn told(&self) -> impl Iterator<Item = (&'static str, &str)> {
        TOLD.iter().map(|(name, told)| (*told, self.show(name).unwrap_or_default()))
    }

    /// What a client is told when `name` was set: its name there, and its value.
    pub(super) fn told_of(&self, name: &str) -> Option<(&'static str, &str)> {
        let (name, _, kind) = find(name).ok()?;
        (kind == Told).then(|| (name, self.show(name).unwrap_or_default()))
    }

    /// How long a statement may run, beside the server's own limit.
    pub(super) fn statement_time_max(&self) -> Option<Duration> {
        let set = self.values.get("statement_timeout").and_then(|value| duration(value));
        set.filter(|time| !time.is_zero())
    }
}

fn find(name: &str) -> Result<(&'static str, &'static str, Kind), Box<ErrorInfo>> {
    let lower = name.to_lowercase();
    let known = KNOWN.iter().find(|(known, ..)| *known == lower);
    known.copied().ok_or_else(|| {
        let message = format!("unrecognized configuration parameter \"{name}\"");
        let mut error = error("42704", &message);
        let near = nearest(&lower, KNOWN.iter().map(|(known, ..)| *known));
        error.hint = near.map(|near| format!("did you mean \"{near}\"?"));
        Box::new(error)
    })
}

/// Milliseconds, or with a unit.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}
