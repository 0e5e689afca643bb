//! Resends older than the fold's memory: an event whose own clock lies far from when it came may have
//! been sent before, hours ago, so it is looked up among its visitor's rows.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::prelude::{DataFrame, col, lit};
use datafusion::scalar::ScalarValue;
use footfall_event::schema::Table;
use footfall_event::{Decoded, Micros, Offset, Partition};
use footfall_lake::{Lake, TableWriter};
use footfall_sessionizer::{Fact, Fold};
use tokio_util::sync::CancellationToken;

use crate::PipelineError;
use crate::batch::{HitColumns, place};
use crate::patience::Patience;
use crate::scan::{context, failed};

/// How far behind an event's time its first sending may stand: a client's clock drifts.
const LEEWAY: Micros = Micros::DAY;

/// An event to look up.
#[derive(Clone, Debug)]
pub struct Suspect {
    pub offset: Offset,
    pub event_time: Micros,
    pub site: String,
    pub visitor_id: Option<String>,
    pub event_id: String,
}

/// Events that may be resends older than what the fold remembers: their clock says so, or they were
/// replayed, long after they and their resends came, or appended long after they were received.
pub fn suspects(decoded: &Decoded, columns: &HitColumns<'_>, fold: &Fold) -> Vec<Suspect> {
    let half = Micros(fold.rules().newest().1.dedupe_window.0 / 2);
    let times = |name| decoded.rows.column(place(name)).as_primitive::<TimestampMicrosecondType>();
    let (client, received, appended) =
        (times("client_time"), times("received_time"), times("appended_at"));
    let far = |a: Micros, b: Micros| (a - b).0.saturating_abs() > half.0;
    let is_suspect = |row: &usize| {
        let claimed = Micros(client.value(*row));
        let sent_at = decoded.sent_at[*row];
        let is_far = far(claimed, Micros(received.value(*row)))
            || sent_at.is_some_and(|sent_at| far(claimed, sent_at));
        let is_delayed = appended.is_valid(*row)
            && far(Micros(received.value(*row)), Micros(appended.value(*row)));
        decoded.replayed[*row] || is_delayed || client.is_valid(*row) && is_far
    };
    let suspect = |row: usize| {
        let text = |fact| columns.fact(row, fact).map(str::to_owned);
        Suspect {
            offset: columns.offset(row),
            event_time: columns.event_time(row),
            site: text(Fact::Site).unwrap_or_default(),
            visitor_id: text(Fact::VisitorId),
            event_id: text(Fact::EventId).unwrap_or_default(),
        }
    };
    (0..decoded.rows.num_rows()).filter(is_suspect).map(suspect).collect()
}

/// Looks suspects up in `events`.
pub struct OldResends {
    lake: Lake,
    log: String,
    partition: Partition,
    /// How far before an event's time its first sending is looked for: a day more than the door takes.
    reach: Micros,
    /// As of the last look.
    table: Option<TableWriter>,
    shutdown: CancellationToken,
}

type Id = (String, Option<String>, String);

/// Where a wanted id stands.
struct Standing {
    id: Id,
    event_time: Micros,
    partition: Partition,
    offset: Offset,
}

impl OldResends {
    /// `max_age` is the oldest event time that the door takes.
    pub fn new(
        lake: &Lake,
        log: &str,
        partition: Partition,
        max_age: Micros,
        shutdown: CancellationToken,
    ) -> OldResends {
        let reach = max_age + Micros::DAY;
        let (lake, log) = (lake.clone(), log.to_owned());
        OldResends { lake, log, partition, reach, table: None, shutdown }
    }

    /// The records of those suspects whose id stands in `events` at a record before their own. An
    /// unreachable store is waited out.
    ///
    /// # Errors
    /// `Stopping` when the pipeline is asked to stop while it waits.
    pub async fn among(&mut self, suspects: &[Suspect]) -> Result<BTreeSet<Offset>, PipelineError> {
        if suspects.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut patience = Patience::default();
        let standing = loop {
            let attempt = self.standing(suspects).await;
            if attempt.is_err() {
                // Its version may be made of files that were deleted: the next attempt opens it again.
                self.table = None;
            }
            if let Some(standing) = patience.judge("look-up of resends", attempt).await? {
                break standing;
            }
            if self.shutdown.is_cancelled() {
                return Err(PipelineError::Stopping);
            }
        };
        let is_resent = |suspect: &&Suspect| self.is_resent(suspect, &standing);
        Ok(suspects.iter().filter(is_resent).map(|suspect| suspect.offset).collect())
    }

    /// The verdict is the same whenever the log is read: rows that lie behind the suspect do not count, nor do
    /// those of loads, which may have come in between (a repair takes them out), and one whose own row stands was
    /// found to be no resend before.
    fn is_resent(&self, suspect: &Suspect, standing: &BTreeMap<Id, Vec<Standing>>) -> bool {
        let id = (suspect.site.clone(), suspect.visitor_id.clone(), suspect.event_id.clone());
        let rows = standing.get(&id).map_or(&[][..], Vec::as_slice);
        let is_here = |row: &&Standing| row.partition == self.partition;
        let has_row = rows.iter().filter(is_here).any(|row| row.offset == suspect.offset);
        let earliest = suspect.event_time - self.reach;
        let mut before = rows.iter().filter(|row| {
            let is_in_reach = (earliest..=suspect.event_time + LEEWAY).contains(&row.event_time);
            is_in_reach && !(is_here(row) && row.offset >= suspect.offset)
        });
        !has_row && before.next().is_some()
    }

    async fn standing(
        &mut self,
        suspects: &[Suspect],
    ) -> Result<BTreeMap<Id, Vec<Standing>>, PipelineError> {
        let table = match &mut self.table {
            Some(table) => {
                table.reload().await?;
                table
            }
            none => none.insert(TableWriter::open(&self.lake, Table::Events).await?),
        };
        let rows = table.provider().await?;
        let rows = context()?.read_table(rows).map_err(failed)?;
        let rows = self.wanted(rows, suspects).map_err(failed)?;
        let mut standing: BTreeMap<Id, Vec<Standing>> = BTreeMap::new();
        for batch in rows.collect().await.map_err(failed)? {
            for row in rows_of(&batch)? {
                standing.entry(row.id.clone()).or_default().push(row);
            }
        }
        Ok(standing)
    }

    fn wanted(
        &self,
        rows: DataFrame,
        suspects: &[Suspect],
    ) -> datafusion::error::Result<DataFrame> {
        let times = suspects.iter().map(|suspect| suspect.event_time);
        let (earliest, latest) = (times.clone().min(), times.max());
        let day = |time: Option<Micros>| {
            lit(ScalarValue::Date32(Some(time.unwrap_or(Micros(0)).day().0)))
        };
        let from = day(earliest.map(|time| time - self.reach));
        let to = day(latest.map(|time| time + LEEWAY));
        let texts = |text: fn(&Suspect) -> Option<&str>| {
            let texts: BTreeSet<&str> = suspects.iter().filter_map(text).collect();
            texts.into_iter().map(lit).collect::<Vec<_>>()
        };
        let rows = rows
            .filter(col("log").eq(lit(&self.log)))?
            .filter(col("event_date").between(from, to))?
            .filter(col("event_id").in_list(texts(|s| Some(&s.event_id)), false))?
            .filter(col("site").in_list(texts(|s| Some(&s.site)), false))?;
        let visitors = texts(|suspect| suspect.visitor_id.as_deref());
        let is_of_them = col("visitor_id").is_null().or(col("visitor_id").in_list(visitors, false));
        rows.filter(is_of_them)?.select_columns(&[
            "site",
            "visitor_id",
            "event_id",
            "event_time",
            "log_partition",
            "log_offset",
        ])
    }
}

fn rows_of(batch: &RecordBatch) -> Result<Vec<Standing>, PipelineError> {
    let text = |column: usize| {
        arrow::compute::cast(batch.column(column), &arrow::datatypes::DataType::Utf8)
    };
    let texts = [text(0)?, text(1)?, text(2)?];
    let at = |column: usize, row: usize| {
        let texts = texts[column].as_string::<i32>();
        texts.is_valid(row).then(|| texts.value(row).to_owned())
    };
    let times = batch.column(3).as_primitive::<TimestampMicrosecondType>();
    let partitions = batch.column(4).as_primitive::<Int32Type>();
    let offsets = batch.column(5).as_primitive::<Int64Type>();
    let standing = |row| Standing {
        id: (at(0, row).unwrap_or_default(), at(1, row), at(2, row).unwrap_or_default()),
        event_time: Micros(times.value(row)),
        partition: Partition(partitions.value(row)),
        offset: Offset(offsets.value(row)),
    };
    Ok((0..batch.num_rows()).map(standing).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use footfall_event::EventDecoder;

    use super::*;
    use crate::testing::{STARTED, Shop, TOPIC, at, rules};

    /// Nothing here takes long; what hangs is a failure.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn suspect(event_time: Micros) -> Suspect {
        Suspect {
            offset: Offset(7),
            event_time,
            site: "shop".to_owned(),
            visitor_id: Some("v".to_owned()),
            event_id: "a".to_owned(),
        }
    }

    /// The door takes what is a week old; the clocks of the two sendings may differ by a day.
    #[tokio::test]
    async fn a_first_sending_is_looked_for_a_day_beyond_what_the_door_takes() {
        let shop = Shop::new().await;
        shop.load("1", &[&at(0, "a", "")]).await;
        let (stop, week) = (CancellationToken::new(), Micros(7 * Micros::DAY.0));
        let mut resends = OldResends::new(&shop.lake, "load:1", Partition(0), week, stop);
        let stands = STARTED - Micros::DAY;
        let (before, behind) = (Micros::DAY, Micros(8 * Micros::DAY.0));
        for (time, is_resent) in [
            (stands - before - Micros(1), false),
            (stands - before, true),
            (stands + behind, true),
            (stands + behind + Micros(1), false),
        ] {
            let found = resends.among(&[suspect(time)]).await.unwrap();
            assert_eq!(!found.is_empty(), is_resent, "{time}");
        }
    }

    /// Those of one delivery may be days apart.
    #[tokio::test]
    async fn a_first_sending_is_found_beside_a_suspect_of_another_day() {
        let shop = Shop::new().await;
        shop.load("1", &[&at(0, "a", "")]).await;
        let (stop, reach) = (CancellationToken::new(), Micros(7 * Micros::DAY.0));
        let mut resends = OldResends::new(&shop.lake, "load:1", Partition(0), reach, stop);
        let resent = suspect(STARTED - Micros::DAY);
        for days in [-20, 20] {
            let event_time = resent.event_time + Micros(days * Micros::DAY.0);
            let (offset, event_id) = (Offset(6), "other".to_owned());
            let other = Suspect { offset, event_id, ..suspect(event_time) };
            let found = resends.among(&[other, suspect(resent.event_time)]).await.unwrap();
            assert_eq!(found, BTreeSet::from([resent.offset]), "{days} days");
        }
    }

    /// It may have come between two readings of the log.
    #[tokio::test]
    async fn the_row_of_a_load_makes_no_resend() {
        let shop = Shop::new().await;
        shop.load("1", &[&at(0, "a", "")]).await;
        let stop = CancellationToken::new();
        let suspect = suspect(STARTED - Micros::DAY);
        for (log, resent) in [(TOPIC, None), ("load:1", Some(Offset(7)))] {
            let reach = Micros(7 * Micros::DAY.0);
            let mut resends = OldResends::new(&shop.lake, log, Partition(0), reach, stop.clone());
            let found = resends.among(std::slice::from_ref(&suspect)).await.unwrap();
            assert_eq!(found.first().copied(), resent, "in {log}");
        }
    }

    /// An event is looked up if its own clock lies more than half of the window, of 20 minutes, from when it came or from
    /// when it says that it was sent, if it was appended so long after it came, or if it was replayed; by the clock that it
    /// claims.
    #[test]
    fn events_are_suspect_by_their_own_clock() {
        let (half, now) = (Micros(10 * Micros::MINUTE.0), STARTED);
        let (near, far) = (half, half + Micros(1));
        for (client, sent_at, replayed, expected) in [
            (None, None, false, false),
            (None, None, true, true),
            // Without a time of sending only the collector's tells.
            (Some(now - near), None, false, false),
            (Some(now - far), None, false, true),
            (Some(now + far), None, false, true),
            // A clock that is right, and an event that waited to be sent.
            (Some(now - near), Some(now - near), false, false),
            (Some(now), Some(now + near), false, false),
            (Some(now), Some(now + far), false, true),
            (Some(now), Some(now - far), false, true),
            // A clock that is off, and an event that was sent at once.
            (Some(now - far), Some(now - far), false, true),
        ] {
            let is_found = is_suspect((client, sent_at, replayed), now);
            assert_eq!(is_found, expected, "{client:?} {sent_at:?} {replayed}");
        }
        // Of a collector that stood still between the two, or whose clock is wrong.
        for (appended, expected) in [(near, false), (far, true), (Micros(-far.0), true)] {
            for client in [None, Some(now)] {
                assert_eq!(
                    is_suspect((client, None, false), now + appended),
                    expected,
                    "{appended:?}"
                );
            }
        }
    }

    fn is_suspect(
        (client, sent_at, replayed): (Option<Micros>, Option<Micros>, bool),
        appended: Micros,
    ) -> bool {
        let received = STARTED.0;
        let time = |name: &str, time: Option<Micros>| {
            time.map(|time| format!(r#","{name}":{}"#, time.0)).unwrap_or_default()
        };
        let replayed = if replayed { r#","replayed":true"# } else { "" };
        let json = format!(
            r#"{{"event_id":"a","site":"s","visitor_id":"v","event_name":"e","event_time":{received},"received_time":{received}{0}{1}{replayed}}}"#,
            time("client_time", client),
            time("sent_at", sent_at)
        );
        let mut decoder = EventDecoder::new("events", Partition(0));
        decoder.push(json.as_bytes(), Offset(7), appended).unwrap();
        let decoded = decoder.finish();
        let fold = Fold::new(Arc::new(rules()), Offset(0));
        let found = suspects(&decoded, &HitColumns::of(&decoded.rows), &fold);
        let found: Vec<_> =
            found.iter().map(|found| (found.offset, found.event_id.as_str())).collect();
        assert!(found.is_empty() || found == [(Offset(7), "a")]);
        !found.is_empty()
    }

    /// Without an answer it is not known whether an event came before.
    #[tokio::test]
    async fn a_store_that_fails_is_waited_for() {
        let shop = Shop::new().await;
        shop.load("1", &[&at(0, "a", "")]).await;
        let (table, aside) = (shop.table(Table::Events), shop.folder.path().join("aside"));
        std::fs::rename(&table, &aside).unwrap();
        std::fs::write(&table, "no folder").unwrap();
        let (stop, week) = (CancellationToken::new(), Micros(7 * Micros::DAY.0));
        let suspects = [suspect(STARTED - Micros::DAY)];
        let mut resends = OldResends::new(&shop.lake, "load:1", Partition(0), week, stop.clone());
        let mut looking = Box::pin(resends.among(&suspects));
        // Shorter than the first pause between two attempts.
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut looking).await.is_err());
        std::fs::remove_file(&table).unwrap();
        std::fs::rename(&aside, &table).unwrap();
        let found = tokio::time::timeout(PATIENCE, looking).await.expect("it is there again");
        assert_eq!(found.unwrap(), BTreeSet::from([Offset(7)]));
        // Nor is it waited for without end.
        std::fs::rename(&table, &aside).unwrap();
        std::fs::write(&table, "no folder").unwrap();
        stop.cancel();
        let mut resends = OldResends::new(&shop.lake, "load:1", Partition(0), week, stop);
        let ended = tokio::time::timeout(PATIENCE, resends.among(&suspects)).await;
        assert!(matches!(ended.expect("it was asked to stop"), Err(PipelineError::Stopping)));
    }
}
