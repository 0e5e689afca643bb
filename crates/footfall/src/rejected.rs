//! `footfall rejected`: what was refused and why, one row of it, and all of it once more when the cause is
//! mended.

mod replay;
mod wanted;

use anyhow::{Context, bail};

use crate::arguments::{RejectedCommand, RejectedFilter};
use crate::config::Config;
use crate::server::plain;
use crate::sql::Source;
use wanted::condition;

/// Lists, shows or replays.
///
/// # Errors
/// A lake or server that cannot be asked; what cannot be replayed.
pub async fn run(config: &Config, command: &RejectedCommand) -> anyhow::Result<()> {
    match command {
        RejectedCommand::List { filter, rows, limit, server, format } => {
            let statement = if *rows {
                rows_statement(filter, *limit)?
            } else {
                groups_statement(filter, *limit)?
            };
            let source = Source::open(config, server.clone(), None).await?;
            source.ask(&statement, *format, &mut std::io::stdout()).await
        }
        RejectedCommand::Show { place, server } => show(config, place, server.as_deref()).await,
        RejectedCommand::Replay(arguments) => replay::run(config, arguments).await,
    }
}

/// What a client named is told without the letters that move a terminal's cursor.
const FIELD: &str = "regexp_replace(field, '\\p{Cc}', ' ', 'g')";
const PLACE: &str = "concat(CAST(log_partition AS VARCHAR), '/', CAST(log_offset AS VARCHAR))";

fn groups_statement(filter: &RejectedFilter, limit: u32) -> anyhow::Result<String> {
    Ok(format!(
        "SELECT reason, site, received_date AS day, count(*) AS rows, \
         CAST(min(received_time) AS VARCHAR) AS first, CAST(max(received_time) AS VARCHAR) AS last, \
         left(min({FIELD}), 60) AS example, min({PLACE}) AS place FROM rejected WHERE {} \
         GROUP BY reason, site, received_date ORDER BY day DESC, rows DESC, reason, site LIMIT {limit}",
        condition(filter)?
    ))
}

fn rows_statement(filter: &RejectedFilter, limit: u32) -> anyhow::Result<String> {
    Ok(format!(
        "SELECT {PLACE} AS place, CAST(received_time AS VARCHAR) AS received, site, reason, \
         left({FIELD}, 80) AS field, payload_bytes AS bytes FROM rejected WHERE {} \
         ORDER BY received_time DESC, log_partition, log_offset LIMIT {limit}",
        condition(filter)?
    ))
}

/// Prints one row, its payload last.
async fn show(config: &Config, place: &str, server: Option<&str>) -> anyhow::Result<()> {
    let tables = Source::open(config, server.map(str::to_owned), None).await?;
    let statement = format!(
        "SELECT log, CAST(received_time AS VARCHAR), site, reason, field, payload_bytes, payload \
         FROM rejected WHERE {}",
        wanted::at(place)?
    );
    let rows = tables.rows(&statement).await?;
    let row = rows.first().with_context(|| {
        format!(
            "`rejected` has no row at {place}; `footfall rejected list --rows` tells the places"
        )
    })?;
    let text = |column: usize| row[column].as_str().unwrap_or_default();
    println!("place     {place} of {}", text(0));
    println!("received  {}", text(1));
    println!("site      {}", text(2));
    println!("reason    {}", text(3));
    println!("field     {}", plain(text(4)));
    let bytes = row[5].as_i64().unwrap_or_default();
    println!("payload   {bytes} bytes, {} of them stored", text(6).len().min(bytes as usize));
    for line in text(6).lines() {
        println!("{}", plain(line));
    }
    Ok(())
}

/// Refuses to go on where some rows were left as they are.
fn require_all(left: u64) -> anyhow::Result<()> {
    match left {
        0 => Ok(()),
        count => {
            bail!("{count} rows were refused again or cannot be replayed; they are listed above")
        }
    }
}
