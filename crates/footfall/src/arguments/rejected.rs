//! The arguments of `footfall rejected`.

use clap::{Args, Subcommand, ValueEnum};

use super::{EXIT_CODES, SqlFormat};

pub const EXAMPLES: &str = "\
What to do when events are rejected: `list` tells why, `show` one of them; mend the cause, such as a
bound of the configuration or a client; then replay.

Examples:
  footfall rejected list --since 2026-11-27T00:00:00Z
  footfall rejected list --reason too_old --rows
  footfall rejected show 2/1234
  footfall rejected replay --reason too_old --dry-run
  footfall rejected replay --reason too_old

Exit codes: 0 done, 1 failed, or rows were refused again, 2 called wrongly.";

const REPLAY_NOTES: &str = "\
A replayed event keeps the time at which its row was received, and is looked up among the rows that are
there: what was taken before, or was sent again since, is not taken twice. Rows whose payload is cut are
named and left. Rows stay in `rejected`: they tell what was refused, then.

The running `footfall up` of --data-dir judges and writes, through a socket there that its user alone may
use. On Kafka (--brokers) this command judges by its own configuration, and writes to the topic.

Exit codes: 0 all rows were taken, 1 some were not (each is told), 2 called wrongly.";

#[derive(Debug, Subcommand)]
pub enum RejectedCommand {
    /// Count what was rejected, by reason, site and day, with an example; or list each row.
    #[command(after_help = EXAMPLES)]
    List {
        #[command(flatten)]
        filter: RejectedFilter,
        /// List each row with its place.
        #[arg(long)]
        rows: bool,
        /// At most so many lines, the newest first.
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Ask a running query server.
        #[arg(long, value_name = "URL", env = "FOOTFALL_SERVER")]
        server: Option<String>,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = SqlFormat::Table)]
        format: SqlFormat,
    },
    /// Show one row with what is stored of its payload.
    #[command(after_help = EXIT_CODES)]
    Show {
        /// Where it stands in the log, as `list --rows` tells it.
        #[arg(value_name = "PARTITION/OFFSET")]
        place: String,
        /// Ask a running query server.
        #[arg(long, value_name = "URL", env = "FOOTFALL_SERVER")]
        server: Option<String>,
    },
    /// Send payloads through the same checks again, and keep what is taken.
    #[command(after_help = REPLAY_NOTES)]
    Replay(ReplayArguments),
}

/// Which rows are meant.
#[derive(Debug, Default, Args)]
pub struct RejectedFilter {
    /// Rejected for this reason, such as too_old.
    #[arg(long)]
    pub reason: Option<String>,
    /// Of this site.
    #[arg(long)]
    pub site: Option<String>,
    /// Received at this time or later, such as 2026-11-28T06:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Received before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// Rows by their places in the log, as `list --rows` tells them.
    #[arg(value_name = "PARTITION/OFFSET")]
    pub places: Vec<String>,
    #[command(flatten)]
    pub filter: RejectedFilter,
    /// Every row of the table.
    #[arg(long)]
    pub all: bool,
    /// By which path the payloads came, where they do not tell: /v1/events, Segment's or Snowplow's.
    #[arg(long = "as", value_enum, value_name = "PATH")]
    pub form: Option<ReplayForm>,
    /// Tell what would be taken, and keep nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Read the rows from a running query server.
    #[arg(long, value_name = "URL", env = "FOOTFALL_SERVER")]
    pub server: Option<String>,
}

/// A path that payloads came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplayForm {
    Events,
    Batch,
    Track,
    Page,
    Screen,
    Identify,
    Group,
    Alias,
    Snowplow,
    Ga4,
    Cloudevents,
}

impl From<ReplayForm> for footfall_ingest::PayloadForm {
    fn from(form: ReplayForm) -> Self {
        match form {
            ReplayForm::Events => Self::Events,
            ReplayForm::Batch => Self::Batch,
            ReplayForm::Track => Self::Track,
            ReplayForm::Page => Self::Page,
            ReplayForm::Screen => Self::Screen,
            ReplayForm::Identify => Self::Identify,
            ReplayForm::Group => Self::Group,
            ReplayForm::Alias => Self::Alias,
            ReplayForm::Snowplow => Self::Snowplow,
            ReplayForm::Ga4 => Self::Ga4,
            ReplayForm::Cloudevents => Self::Cloudevents,
        }
    }
}
