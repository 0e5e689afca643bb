//! The command line. A flag that sets a key of the configuration is that key's highest source.

mod rejected;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use footfall_event::Day;

use crate::config::toml_reader::Value;
use crate::config::{Config, Mistakes, Override, process_environment, values};

use crate::sql::SqlFormat;

pub use rejected::{RejectedCommand, RejectedFilter, ReplayArguments};

/// Behind the help of every command.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 called wrongly (a flag, a configuration or a map that \
cannot be right).";

const UP_EXAMPLES: &str = "\
Examples:
  footfall up
  footfall up --data-dir /var/lib/footfall --config footfall.toml
  curl http://127.0.0.1:8080/v1/events -d '{\"event_name\": \"page_view\", \"visitor_id\": \"v-1\"}'

Exit codes: 0 stopped by TERM or Ctrl-C, 1 failed, 2 called wrongly.";

const INGEST_EXAMPLES: &str = "\
Example, beside which `footfall pipeline` runs on the same brokers:
  footfall ingest --brokers kafka-1:9092,kafka-2:9092 --config footfall.toml

Exit codes: 0 stopped by TERM or Ctrl-C, 1 failed, 2 called wrongly.";

const PIPELINE_EXAMPLES: &str = "\
Example, on a lake that `footfall query` reaches too:
  footfall pipeline --brokers kafka-1:9092,kafka-2:9092 --lake /mnt/lake

Exit codes: 0 stopped by TERM or Ctrl-C, 1 failed, 2 called wrongly.";

const LOAD_EXAMPLES: &str = "\
Examples:
  footfall sample --sessions 5000 > sample.jsonl
  footfall load sample.jsonl --map config/maps/footfall.toml
  footfall load 2019-10.csv.gz 2019-11.csv.gz --map config/maps/rees46.toml

Exit codes: 0 done, 1 failed, 2 called wrongly, as with a map that has mistakes; all of them are told.";

const STATUS_EXAMPLES: &str = "\
Examples:
  footfall status
  footfall status --data-dir /var/lib/footfall
  footfall status --server http://pipeline-1:8082 --server http://query:8081 --format json

Without --server, the listeners of the configuration are asked, and where no query server answers the
lake is read itself: so it also shows what a stopped system left. With --format csv each line is
section,name,field,value.

Exit codes: 0 done, 1 nothing runs and there is no lake, or a --server does not answer, 2 called wrongly.";

const ERASE_EXAMPLES: &str = "\
Examples:
  footfall erase --site shop --visitor v-1 > proof.json
  footfall erase --check proof.json --visitor v-1

What is behind the erasure in the log is a stranger's: a visitor who comes back is a new one. See
docs/erasure.md for what goes when, and for what stays.

Exit codes: 0 erased, or nothing found by --check; 1 failed, or --check found something; 2 called wrongly.";

const TAIL_EXAMPLES: &str = "\
Examples:
  footfall tail
  footfall tail --status rejected --site shop
  footfall tail --format json | jq 'select(.status != \"accepted\")'

A line has: when the log took it (UTC), what became of it, its site and visitor, the event's name and
page or why it was refused, and its id. Lines that this reader is too slow for are left out and counted.

Exit codes: 0 its reader left, 1 the pipeline ended or does not answer, 2 called wrongly.";

const RECOMPUTE_EXAMPLES: &str = "\
Examples:
  footfall recompute --dry-run
  footfall recompute --from 2026-01-01 --to 2026-01-31 --config footfall.toml

One that was killed is finished by the same command.

Exit codes: 0 done, 1 failed, 2 called wrongly.";

/// Footfall keeps every event of your storefronts exactly once, rebuilds visitors' sessions, and tells
/// where and why they leave.
///
/// Start everything with `footfall up`, post events to /v1/events, and ask with `footfall sql`.
#[derive(Debug, Parser)]
#[command(name = "footfall", version, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    settings: Settings,
}

/// Settings that have a flag; every key can be set in a file or by a FOOTFALL_… variable.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
struct Settings {
    /// A configuration file; `footfall config show` prints all keys with their values.
    #[arg(long, global = true, value_name = "FILE", env = "FOOTFALL_CONFIG")]
    config: Option<PathBuf>,
    /// Where the embedded log and the local lake lie [default: ./footfall-data].
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where events are posted [default: 127.0.0.1:8080]; port 0 picks a free one.
    #[arg(long, global = true, value_name = "HOST:PORT")]
    ingest_listen: Option<String>,
    /// Where SQL is asked [default: 127.0.0.1:8081].
    #[arg(long, global = true, value_name = "HOST:PORT")]
    query_listen: Option<String>,
    /// Where SQL is asked over the protocol of Postgres [default: 127.0.0.1:5433].
    #[arg(long, global = true, value_name = "HOST:PORT")]
    postgres_listen: Option<String>,
    /// Where the pipeline shows its state and signals [default: 127.0.0.1:8082].
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pipeline_listen: Option<String>,
    /// Kafka's brokers, HOST:PORT separated by commas.
    #[arg(long, global = true, value_name = "LIST")]
    brokers: Option<String>,
    /// Where the tables lie: a path or a URL [default: lake under the data dir].
    #[arg(long, global = true, value_name = "URL")]
    lake: Option<String>,
    /// Any other key, such as --set rules.session_gap=10s; may be given again.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run ingest, pipeline and query together, on an embedded log and a local lake.
    ///
    /// It needs nothing else, and prints where to post, where to ask and what to try next.
    #[command(after_help = UP_EXAMPLES)]
    Up,
    /// Run the collector alone: HTTP in, Kafka out.
    ///
    /// Needs Apache Kafka (--brokers); the topic is made if there is none. As many as are needed may run.
    #[command(after_help = INGEST_EXAMPLES)]
    Ingest,
    /// Run the pipeline alone: Kafka in, the lake's tables out.
    ///
    /// Needs Apache Kafka (--brokers), and a lake that the query server reaches (--lake). Up to one for
    /// each partition may run; they share the partitions.
    #[command(after_help = PIPELINE_EXAMPLES)]
    Pipeline,
    /// Run the query server alone, over a lake.
    ///
    /// Needs the lake alone (--lake): no Kafka, and no pipeline that runs.
    #[command(after_help = EXIT_CODES)]
    Query {
        /// By `footfall up` alone: the listeners are standard output and input, spilled rows go to this folder,
        /// and `up` says over a socket in it when to stop.
        #[arg(long, value_name = "DIR", hide = true)]
        spill_under_up: Option<PathBuf>,
    },
    /// Ask one question in SQL, of the lake or of a running server.
    ///
    /// Example: footfall sql "SELECT event_name, count(*) FROM events GROUP BY 1 ORDER BY 2 DESC"
    #[command(after_help = EXIT_CODES)]
    Sql {
        /// The question. Without one, a shell asks for them, or they are read from a pipe.
        statement: Option<String>,
        /// Ask a running server, such as http://127.0.0.1:8081.
        #[arg(long, value_name = "URL", env = "FOOTFALL_SERVER")]
        server: Option<String>,
        /// The server's read token, as the first line of a file; else it is taken from FOOTFALL_TOKEN.
        #[arg(long, value_name = "FILE", env = "FOOTFALL_TOKEN_FILE")]
        token_file: Option<PathBuf>,
        /// How to print the rows: a table for people, csv with a line of names, json as one object of
        /// columns and rows, jsonl as an object a row, an Arrow stream or a Parquet file.
        #[arg(long, value_enum, default_value_t = SqlFormat::Table)]
        format: SqlFormat,
    },
    /// Show the state of what runs: log, lag, watermark, freshness, sessions, tables, pending repairs.
    ///
    /// The one command to begin with when something seems wrong.
    #[command(after_help = STATUS_EXAMPLES)]
    Status {
        /// Ask this pipeline or query server, such as http://127.0.0.1:8082; may be given again.
        #[arg(long, value_name = "URL")]
        server: Vec<String>,
        /// How to print it: tables for people, csv or json for scripts.
        #[arg(long, value_enum, default_value_t = RowFormat::Table)]
        format: RowFormat,
    },
    /// Show events as the pipeline reads them: accepted, late, duplicate, or rejected and why.
    ///
    /// Until Ctrl-C. What was read before is in the tables.
    #[command(after_help = TAIL_EXAMPLES)]
    Tail(TailArguments),
    /// Look at what was rejected, and replay it when the cause is mended.
    #[command(after_help = rejected::EXAMPLES)]
    Rejected {
        #[command(subcommand)]
        command: RejectedCommand,
    },
    /// Make the traffic of a storefront that does not exist: the same for the same seed.
    ///
    /// Without --server, prints events as JSON lines, for `footfall load`. With it, posts them live.
    ///
    /// Example: footfall sample --sessions 100 --server http://127.0.0.1:8080
    #[command(after_help = EXIT_CODES)]
    Sample(SampleArguments),
    /// Load history from files: CSV, JSON lines or Parquet, plain or gzip.
    ///
    /// A map names the source's columns for ours; see config/maps. Loading the same files again adds
    /// nothing, and a load that was killed is finished by the same command.
    #[command(after_help = LOAD_EXAMPLES)]
    Load {
        /// The files, in order.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Which of the source's columns is which of ours, and how its times are written.
        #[arg(long, value_name = "MAP.toml")]
        map: PathBuf,
    },
    /// Recompute receipts, sessions, needs and page views from the tables, and tell every difference.
    #[command(
        after_help = "Exit codes: 0 the tables agree, 1 they differ, or cannot be read, 2 called wrongly."
    )]
    Verify,
    /// Look after the tables once: repair sessions that late events belong to, remove days beyond their
    /// retention, make few files of many, delete old ones.
    ///
    /// A running pipeline does so by itself every `pipeline.rewrite_interval`; both may run at once.
    #[command(after_help = EXIT_CODES)]
    Maintain,
    /// Fold history again after needs, steps or conditions were changed.
    ///
    /// Sessions that follow other rules than those configured are folded again with their whole run, page
    /// views and needs. What is still open stays what it is. A running pipeline may go on; one that runs by
    /// other rules is told of, and nothing is changed.
    #[command(after_help = RECOMPUTE_EXAMPLES)]
    Recompute(RecomputeArguments),
    /// Erase a visitor from tables, refused payloads, snapshots and the log, and print the proof.
    ///
    /// It is carried out by what runs; this command waits for it.
    #[command(after_help = ERASE_EXAMPLES)]
    Erase(EraseArguments),
    /// Make write keys, with which events are posted.
    #[command(after_help = EXIT_CODES)]
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Make read tokens, with which SQL is asked and signals are read.
    #[command(after_help = EXIT_CODES)]
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Look at the configuration.
    #[command(after_help = EXIT_CODES)]
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether the configuration is fit; if not, all its mistakes, and exit with 2.
    Check,
    /// Print every key with its value and where it comes from.
    Show,
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Show a new write key, once, on standard error, and print the lines that configure its hash.
    ///
    /// Example: footfall key new --site shop --origin https://shop.example >> footfall.toml
    New {
        /// The site of every event that comes with the key.
        #[arg(long, value_parser = site)]
        site: String,
        /// Pages of this origin may send with it; may be given again. Without, no page may.
        #[arg(long = "origin", value_name = "ORIGIN", value_parser = origin)]
        origins: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Show a new read token, once, on standard error, and print the lines that configure its hash.
    ///
    /// Example: footfall token new --name grafana >> footfall.toml
    New {
        /// Whose it is.
        #[arg(long, value_parser = name)]
        name: String,
        /// It may erase visitors too.
        #[arg(long)]
        may_erase: bool,
    },
}

#[derive(Debug, Args)]
pub struct SampleArguments {
    /// What chance begins with: another number makes another sample.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many sessions; some nine events each.
    #[arg(long, default_value_t = 1_000)]
    pub sessions: u64,
    /// Events a second [default: 200 with --server; without it, the sessions spread over two days].
    #[arg(long)]
    pub rate: Option<f64>,
    /// Post to a running collector, such as http://127.0.0.1:8080.
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Write what each session was meant to come to, as JSON lines.
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// Share of events that arrive beyond the allowed lateness [default: 0.002 with --server].
    #[arg(long, value_name = "SHARE")]
    pub late: Option<f64>,
    /// A write key, where the collector wants one; else it is taken from FOOTFALL_KEY, which other users
    /// of the machine do not see.
    #[arg(long, requires = "server")]
    pub key: Option<String>,
    /// Post every event a second time.
    #[arg(long, requires = "server")]
    pub twice: bool,
}

#[derive(Debug, Args)]
pub struct RecomputeArguments {
    /// The first day, by the sessions' start in UTC [default: the first there is].
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub from: Option<Day>,
    /// The last day, included [default: the last there is].
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub to: Option<Day>,
    /// Only tell how many sessions follow other rules.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct TailArguments {
    /// Ask this pipeline [default: that of the configuration]; may be given again.
    #[arg(long, value_name = "URL")]
    pub server: Vec<String>,
    /// Only records of this site.
    #[arg(long)]
    pub site: Option<String>,
    /// Only what became this.
    #[arg(long, value_enum)]
    pub status: Option<RecordStatus>,
    /// How to print a record: text for people, or json as the pipeline gives it.
    #[arg(long, value_enum, default_value_t = LineFormat::Text)]
    pub format: LineFormat,
}

#[derive(Debug, Args)]
pub struct EraseArguments {
    /// The visitor's site.
    #[arg(long, value_parser = site, required_unless_present = "check")]
    pub site: Option<String>,
    /// The visitor's id, as the column visitor_id has it.
    #[arg(long, value_name = "ID")]
    pub visitor: String,
    /// Ask this pipeline [default: that of the configuration].
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Print the erasure's id, and do not wait for the proof.
    #[arg(long, conflicts_with = "check")]
    pub no_wait: bool,
    /// Check a proof, by its id or its file: search everything for the visitor, and tell each place.
    #[arg(long, value_name = "ID|FILE", conflicts_with = "site")]
    pub check: Option<String>,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecordStatus {
    Accepted,
    Late,
    Duplicate,
    Rejected,
}

impl RecordStatus {
    pub const fn name(self) -> &'static str {
        match self {
            RecordStatus::Accepted => "accepted",
            RecordStatus::Late => "late",
            RecordStatus::Duplicate => "duplicate",
            RecordStatus::Rejected => "rejected",
        }
    }
}

/// How records are printed, a line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LineFormat {
    Text,
    Json,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RowFormat {
    Table,
    Csv,
    Json,
}

impl Arguments {
    /// The configuration of the file, the environment and the flags.
    ///
    /// # Errors
    /// All mistakes of all of them.
    pub fn configuration(&self) -> Result<Config, Mistakes> {
        let settings = &self.settings;
        let flags = [
            ("--data-dir", "data_dir", &settings.data_dir),
            ("--ingest-listen", "ingest.listen", &settings.ingest_listen),
            ("--query-listen", "query.listen", &settings.query_listen),
            ("--postgres-listen", "query.postgres_listen", &settings.postgres_listen),
            ("--pipeline-listen", "pipeline.listen", &settings.pipeline_listen),
            ("--brokers", "log.brokers", &settings.brokers),
            ("--lake", "lake.url", &settings.lake),
        ];
        let flags = flags.into_iter().filter_map(|(flag, key, value)| {
            let value = value.clone()?;
            Some(Override { flag: flag.to_owned(), key: key.to_owned(), value })
        });
        let sets = settings.set.iter().map(|(key, value)| Override {
            flag: format!("--set {key}"),
            key: key.clone(),
            value: value.clone(),
        });
        let overrides: Vec<Override> = flags.chain(sets).collect();
        let check = footfall_pipeline::check_condition;
        Config::load(settings.config.as_deref(), process_environment(), &overrides, &check)
    }
}

fn site(text: &str) -> Result<String, String> {
    footfall_event::check_site(text).map(|()| text.to_owned()).map_err(|fault| fault.to_string())
}

fn origin(text: &str) -> Result<String, String> {
    values::origin(&Value::Plain(text)).map_err(|fault| fault.trim().to_owned())
}

fn name(text: &str) -> Result<String, String> {
    values::name(&Value::Plain(text)).map_err(|fault| fault.trim().to_owned())
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}
