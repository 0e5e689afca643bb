//! Reads rows of `rejected` page by page and has them judged again: by the running `up` that holds the
//! log, or here, where the log is Kafka's.

use anyhow::bail;
use footfall_event::Micros;
use footfall_ingest::{IngestSettings, RejectedRow, Replayed, replay};
use footfall_log::EventLog;
use serde_json::Value;
use std::sync::Arc;

use super::{condition, require_all, wanted};
use crate::arguments::ReplayArguments;
use crate::config::Config;
use crate::exit::CalledWrongly;
use crate::operator::{Operator, ROWS_MAX, Request};
use crate::parts::kafka_log;
use crate::server::plain;
use crate::settings::ingest_settings;
use crate::sql::Source;

/// Who judges, and appends what is taken.
enum Door {
    Running(Operator),
    Kafka { log: Arc<dyn EventLog>, settings: Box<IngestSettings> },
}

/// Replays what the arguments name, and tells what became of it.
///
/// # Errors
/// When nothing is named, the tables or the log cannot be reached, or rows are left as they are.
pub async fn run(config: &Config, arguments: &ReplayArguments) -> anyhow::Result<()> {
    let wanted = wanted_rows(arguments)?;
    let tables = Source::open(config, arguments.server.clone(), None).await?;
    let mut door = match &config.log.brokers {
        None => Door::Running(Operator::connect(&config.data_dir).await?),
        Some(brokers) => Door::Kafka {
            log: kafka_log(config, brokers).await?,
            settings: Box::new(ingest_settings(config)?),
        },
    };
    let (mut rows, mut events, mut left) = (0u64, 0u64, 0u64);
    let mut after = (-1i64, -1i64);
    loop {
        let page = page(&tables, &wanted, after).await?;
        let Some(last) = page.last() else { break };
        after = (last.log_partition, last.log_offset);
        for replayed in door.replay(page, arguments).await? {
            rows += 1;
            events += replayed.accepted;
            if let Some(why) = &replayed.refused {
                left += 1;
                println!("{}/{}  {}", replayed.log_partition, replayed.log_offset, plain(why));
            }
        }
    }
    if rows == 0 {
        bail!("`rejected` has no such rows; `footfall rejected list` tells what it has");
    }
    let would = if arguments.dry_run { "would be " } else { "" };
    println!("{events} events {would}taken from {rows} rows");
    require_all(left)
}

fn wanted_rows(arguments: &ReplayArguments) -> anyhow::Result<String> {
    let filter = condition(&arguments.filter)?;
    let mut conditions = Vec::new();
    if !arguments.places.is_empty() {
        let places: Result<Vec<_>, _> =
            arguments.places.iter().map(|place| wanted::at(place)).collect();
        conditions.push(format!("({})", places?.join(" OR ")));
    }
    if filter != "true" || arguments.all {
        conditions.push(filter);
    }
    if conditions.is_empty() {
        let ways = "PARTITION/OFFSET, --reason, --site, --since, --until, or --all for every row";
        return Err(CalledWrongly(format!("say which rows to replay: {ways}")).into());
    }
    Ok(conditions.join(" AND "))
}

/// The next rows behind a place, in the order of the log.
async fn page(
    tables: &Source,
    wanted: &str,
    (partition, offset): (i64, i64),
) -> anyhow::Result<Vec<RejectedRow>> {
    let statement = format!(
        "SELECT log, log_partition, log_offset, CAST(received_time AS BIGINT), site, field, payload, \
         payload_bytes FROM rejected WHERE ({wanted}) AND log NOT LIKE 'load:%' AND (log_partition > {partition} \
         OR (log_partition = {partition} AND log_offset > {offset})) \
         ORDER BY log_partition, log_offset, log LIMIT {ROWS_MAX}"
    );
    let text = |cell: &Value| cell.as_str().unwrap_or_default().to_owned();
    let whole = |cell: &Value| cell.as_i64().unwrap_or_default();
    let rows = tables.rows(&statement).await?;
    let row = |row: &Value| RejectedRow {
        log: text(&row[0]),
        log_partition: whole(&row[1]),
        log_offset: whole(&row[2]),
        received_time: Micros(whole(&row[3])),
        site: text(&row[4]),
        field: text(&row[5]),
        payload: text(&row[6]),
        payload_bytes: whole(&row[7]),
    };
    Ok(rows.iter().map(row).collect())
}

impl Door {
    async fn replay(
        &mut self,
        rows: Vec<RejectedRow>,
        arguments: &ReplayArguments,
    ) -> anyhow::Result<Vec<Replayed>> {
        let (form, is_trial) = (arguments.form.map(Into::into), arguments.dry_run);
        match self {
            Door::Running(operator) => {
                operator.replay(&Request { replay: rows, form, is_trial }).await
            }
            Door::Kafka { log, settings } => {
                Ok(replay(log.as_ref(), settings, &rows, form, is_trial).await?)
            }
        }
    }
}
