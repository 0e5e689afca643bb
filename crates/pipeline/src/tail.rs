//! Records as they are read, with what became of each, for whoever watches at `GET /v1/tail`. Nothing
//! is made where nobody watches, and a slow watcher holds nothing up: it misses lines.

use std::sync::Arc;

use footfall_event::{Micros, Offset, Partition, Rejection};
use footfall_sessionizer::{Fact, Status};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use crate::batch::HitColumns;

/// Lines that a watcher may lag behind before it misses some; a line has at most some 3 kB.
const WATCHER_LAG_MAX: usize = 1_024;
/// Watchers at once.
const WATCHERS_MAX: usize = 16;
/// Longest text of a path or a refused field in a line, bytes.
const TEXT_BYTES_MAX: usize = 512;

/// Gives out lines.
#[derive(Clone)]
pub struct Tail {
    lines: broadcast::Sender<Arc<TailLine>>,
    places: Arc<Semaphore>,
}

/// A record that was read.
pub struct TailLine {
    pub status: &'static str,
    pub site: String,
    pub json: String,
}

/// Lines from now on, as long as it is held.
pub struct Watching {
    pub lines: broadcast::Receiver<Arc<TailLine>>,
    pub place: OwnedSemaphorePermit,
}

/// A line's JSON form.
#[derive(Default, Serialize)]
struct LineJson<'r> {
    status: &'static str,
    site: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    visitor_id: Option<&'r str>,
    event_id: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_name: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_path: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    appended_at: String,
    log_partition: i32,
    log_offset: i64,
}

/// Where a record stands.
pub struct Place {
    pub partition: Partition,
    pub offset: Offset,
    pub append_time: Micros,
}

impl Default for Tail {
    fn default() -> Tail {
        let (lines, _) = broadcast::channel(WATCHER_LAG_MAX);
        Tail { lines, places: Arc::new(Semaphore::new(WATCHERS_MAX)) }
    }
}

impl Tail {
    /// Lines from now on; `Err` says how many watch already, when no more may.
    pub fn watch(&self) -> Result<Watching, usize> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| WATCHERS_MAX)?;
        Ok(Watching { lines: self.lines.subscribe(), place })
    }

    pub fn is_watched(&self) -> bool {
        self.lines.receiver_count() > 0
    }

    /// An event that was read, row `row` of `columns`.
    pub fn event(&self, place: &Place, status: Status, columns: &HitColumns<'_>, row: usize) {
        let text = |fact| columns.fact(row, fact);
        self.send(LineJson {
            status: name(status),
            site: text(Fact::Site).unwrap_or_default(),
            visitor_id: text(Fact::VisitorId),
            event_id: text(Fact::EventId).unwrap_or_default(),
            event_name: text(Fact::EventName),
            page_path: text(Fact::PagePath).map(cut),
            event_time: Some(columns.event_time(row).to_string()),
            ..LineJson::at(place)
        });
    }

    /// A refused one: why, and never what it held.
    pub fn rejection(&self, place: &Place, status: Status, rejection: &Rejection) {
        self.send(LineJson {
            status: name(status),
            site: &rejection.site,
            visitor_id: rejection.visitor_id.as_deref(),
            event_id: &rejection.id,
            reason: Some(&rejection.reason),
            field: Some(cut(&rejection.field)),
            ..LineJson::at(place)
        });
    }

    fn send(&self, line: LineJson<'_>) {
        let json = serde_json::to_string(&line).unwrap_or_default();
        let line = TailLine { status: line.status, site: line.site.to_owned(), json };
        // The last watcher may have left.
        let _ = self.lines.send(Arc::new(line));
    }
}

impl LineJson<'_> {
    fn at(place: &Place) -> Self {
        LineJson {
            appended_at: place.append_time.to_string(),
            log_partition: place.partition.0,
            log_offset: place.offset.0,
            ..LineJson::default()
        }
    }
}

/// As `footfall_pipeline_records_total` has it, with the late ones apart.
pub const STATUSES: [&str; 4] = ["accepted", "late", "duplicate", "rejected"];

const fn name(status: Status) -> &'static str {
    match status {
        Status::OnTime => STATUSES[0],
        Status::Late => STATUSES[1],
        Status::Duplicate => STATUSES[2],
        Status::Rejected => STATUSES[3],
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject(tail: &Tail, id: &str, field: &str) {
        let place =
            Place { partition: Partition(1), offset: Offset(7), append_time: Micros::SECOND };
        let rejection = Rejection {
            id: id.to_owned(),
            site: "shop".to_owned(),
            visitor_id: None,
            reason: "missing".to_owned(),
            field: field.to_owned(),
            payload: "secret".to_owned(),
            payload_bytes: 6,
            received_time: Micros(0),
        };
        tail.rejection(&place, Status::Rejected, &rejection);
    }

    #[test]
    fn a_line_says_why_and_not_what_was_refused() {
        let tail = Tail::default();
        let mut watching = tail.watch().unwrap_or_else(|_| panic!("nobody watches yet"));
        reject(&tail, "e", &"é".repeat(400));
        let line = watching.lines.try_recv().unwrap();
        let cut = "é".repeat(256);
        let expected = format!(
            r#"{{"status":"rejected","site":"shop","event_id":"e","reason":"missing","field":"{cut}","appended_at":"1970-01-01T00:00:01.000000Z","log_partition":1,"log_offset":7}}"#
        );
        assert_eq!((line.status, line.json.as_str()), ("rejected", expected.as_str()));
    }

    #[test]
    fn a_slow_watcher_misses_the_oldest_lines_and_is_told_how_many() {
        let tail = Tail::default();
        let mut watching = tail.watch().unwrap_or_else(|_| panic!("nobody watches yet"));
        for i in 0..WATCHER_LAG_MAX + 10 {
            reject(&tail, &i.to_string(), "f");
        }
        let missed = watching.lines.try_recv().err();
        assert_eq!(missed, Some(broadcast::error::TryRecvError::Lagged(10)));
        assert!(watching.lines.try_recv().unwrap().json.contains(r#""event_id":"10""#));
    }

    #[test]
    fn so_many_may_watch_and_no_more_until_one_leaves() {
        let tail = Tail::default();
        assert!(!tail.is_watched());
        let mut all: Vec<Watching> = (0..WATCHERS_MAX).filter_map(|_| tail.watch().ok()).collect();
        assert!(all.len() == WATCHERS_MAX && tail.watch().is_err() && tail.is_watched());
        all.pop();
        assert!(tail.watch().is_ok());
    }
}
