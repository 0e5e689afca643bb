//! The configuration: compiled-in defaults, then the file, the environment and the flags, each over
//! the one before, checked as a whole before anything starts. What a setting does is left to its user.

mod layers;
mod lists;
mod mistakes;
#[cfg(test)]
mod mutants;
mod relations;
mod sections;
mod show;
#[cfg(test)]
mod tests;
pub mod toml_reader;
pub mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use footfall_enrich::EnrichSettings;
use footfall_event::Micros;
use footfall_event::schema::Table;
use footfall_guard::Token;
use footfall_ingest::{ConsentPolicy, RateSettings};
use footfall_log::kafka::Start;
use footfall_sessionizer::Rules;

use layers::Layers;
pub use layers::Override;
pub use mistakes::{Mistakes, Origin, nearest, way_out};
use show::Setting;
use toml_reader::Document;

/// `config/footfall.toml`: every key with its default. The code holds no default of its own.
pub const DEFAULTS: &str = include_str!("../../../../config/footfall.toml");

/// Variables with the prefix of settings that are read elsewhere.
const OTHER_VARIABLES: [&str; 5] =
    ["FOOTFALL_CONFIG", "FOOTFALL_SERVER", "FOOTFALL_KEY", "FOOTFALL_TOKEN", "FOOTFALL_TOKEN_FILE"];

/// Everything that can be set, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the embedded log and the local lake lie.
    pub data_dir: PathBuf,
    pub ingest: Ingest,
    /// What the collector derives from what events say.
    pub enrich: EnrichSettings,
    pub gate: Gate,
    /// Who may post, and for which site. Empty: posts on the loopback are taken.
    pub keys: Vec<Key>,
    /// Topics of other systems that the collector carries into the log.
    pub bridges: Vec<Bridge>,
    /// Who may see data. Empty: whoever reaches a listener, which is on the loopback then.
    pub tokens: Vec<Token>,
    pub log: Log,
    /// A path or a URL; `None`: `lake` under `data_dir`.
    pub lake_url: Option<String>,
    pub pipeline: Pipeline,
    /// How long tables keep their rows; without an entry for ever.
    pub retention: BTreeMap<Table, Micros>,
    pub query: Query,
    pub rules: Rules,
    pub telemetry: Telemetry,
    settings: Vec<Setting>,
    sources: Sources,
}

/// Where it was read from, besides the environment.
#[derive(Clone, Debug, Default)]
struct Sources {
    file: Option<PathBuf>,
    overrides: Vec<Override>,
}

#[derive(Clone, Debug)]
pub struct Ingest {
    /// `host:port`, here and in the other sections; port 0 picks a free one.
    pub listen: String,
    /// Files of PEM; both or neither.
    pub tls: Option<TlsFiles>,
    pub default_site: String,
    pub body_bytes_max: usize,
    pub inflated_bytes_max: usize,
    pub event_bytes_max: usize,
    pub batch_events_max: usize,
    pub bodies_in_flight_bytes_max: usize,
    pub connections_max: usize,
    pub header_bytes_max: usize,
    pub header_timeout: Duration,
    pub keep_alive_timeout: Duration,
    pub body_timeout: Duration,
    pub drain_timeout: Duration,
    pub max_age: Micros,
    pub proxies: usize,
}

/// What of the events that come is kept, and what is flagged.
#[derive(Clone, Debug)]
pub struct Gate {
    pub rates: RateSettings,
    pub consent: ConsentPolicy,
    /// Files of JSON Schemas, by the site whose events are held to them.
    pub schemas: Vec<(String, PathBuf)>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    pub site: String,
    /// SHA-256 of the key that clients send.
    pub sha256: [u8; 32],
    /// As browsers send them, or `*`.
    pub origins: Vec<String>,
}

/// A topic of another system, of events as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    pub name: String,
    /// `host:port`s separated by commas.
    pub brokers: String,
    pub topic: String,
    pub map: PathBuf,
    pub start: Start,
}

/// What a listener needs for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Log {
    /// `host:port`s separated by commas; `None`: the embedded log.
    pub brokers: Option<String>,
    pub topic: String,
    pub signals_topic: String,
    pub group: String,
    pub partitions: u32,
    pub retention: Micros,
    pub segment: Micros,
    pub bytes_max: u64,
    pub delivery_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct Pipeline {
    pub listen: String,
    pub tls: Option<TlsFiles>,
    pub commit_interval: Duration,
    pub commit_rows_max: usize,
    pub snapshot_interval: Duration,
    pub rewrite_interval: Duration,
    pub erasure_grace: Duration,
}

#[derive(Clone, Debug)]
pub struct Query {
    pub listen: String,
    pub postgres_listen: String,
    pub tls: Option<TlsFiles>,
    pub time_max: Duration,
    pub rows_max: usize,
    pub memory_bytes_max: usize,
    pub spill_bytes_max: u64,
    pub concurrency_max: usize,
    pub queue_time_max: Duration,
    /// `None`: one for each core.
    pub threads: Option<usize>,
    /// URLs of those who hold the live tables.
    pub pipelines: Vec<String>,
    /// Holds the read token for them.
    pub pipelines_token_file: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Levels in `tracing-subscriber`'s form, checked: `info,footfall_ingest=debug`.
    pub filter: String,
    pub format: LogFormat,
}

/// The form of Footfall's own log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Says whether a text is a condition on an event; if it is not, why, with the nearest column.
pub type CheckSql<'a> = &'a dyn Fn(&str) -> Result<(), String>;

impl Config {
    /// Reads `file` over the defaults, `environment` (name and value, others than `FOOTFALL_…` are
    /// passed over) over it, and `overrides` over all.
    ///
    /// # Errors
    /// All mistakes of all sources, at least one.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        overrides: &[Override],
        check_sql: CheckSql<'_>,
    ) -> Result<Config, Mistakes> {
        let mut mistakes = Mistakes::default();
        let text = file.and_then(|path| toml_reader::read_file(path, &mut mistakes));
        let file = file.zip(text.as_deref());
        let environment: Vec<(String, String)> = environment.into_iter().collect();
        let mut config = Config::read(file, &environment, overrides, check_sql, mistakes)?;
        config.sources.file = file.map(|(path, _)| path.to_owned());
        config.sources.overrides = overrides.to_owned();
        Ok(config)
    }

    /// Reads the same sources again, as they are.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn reread(&self, check_sql: CheckSql<'_>) -> Result<Config, Mistakes> {
        let Sources { file, overrides } = &self.sources;
        Config::load(file.as_deref(), process_environment(), overrides, check_sql)
    }

    /// The arguments that give another command of this program, in the same environment, the same sources.
    pub fn arguments(&self) -> Vec<OsString> {
        let Sources { file, overrides } = &self.sources;
        let file = file.iter().flat_map(|path| ["--config".into(), path.clone().into_os_string()]);
        let sets = overrides.iter().map(|Override { key, value, .. }| format!("{key}={value}"));
        file.chain(sets.flat_map(|set| ["--set".into(), set.into()])).collect()
    }

    fn read(
        file: Option<(&Path, &str)>,
        environment: &[(String, String)],
        overrides: &[Override],
        check_sql: CheckSql<'_>,
        mut mistakes: Mistakes,
    ) -> Result<Config, Mistakes> {
        let mut documents = vec![Document::built_in(DEFAULTS, &mut mistakes)];
        if let Some((path, text)) = file {
            documents.push(Document::parse(path, text, &mut mistakes));
        }
        let mut layers = Layers::new(&documents, environment, overrides, mistakes);
        let mut config = sections::read(&mut layers, check_sql);
        relations::check(&config, &mut layers);
        layers.refuse_unknown(&OTHER_VARIABLES);
        let (settings, mistakes) = layers.finish();
        config.settings = settings;
        mistakes.or(config)
    }

    /// The effective configuration as TOML, each key with where its value comes from. Loading it
    /// gives the same configuration, but for keys and tokens, whose hashes are shortened.
    pub fn show(&self) -> String {
        show::show(&self.settings)
    }

    /// Where the tables lie: what is set, else `lake` under `data_dir`.
    pub fn lake(&self) -> String {
        match &self.lake_url {
            Some(url) => url.clone(),
            None => self.data_dir.join("lake").to_string_lossy().into_owned(),
        }
    }
}

/// The variables of this process; of bytes that are no text a stand-in, so that they are told.
pub fn process_environment() -> Vec<(String, String)> {
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Shortened, as in all that is shown or logged.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({}, {}…)", self.site, hex::encode(&self.sha256[..4]))
    }
}
