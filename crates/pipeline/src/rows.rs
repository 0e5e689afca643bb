//! The fold's rows as Arrow, in the schemas of their tables.

mod events;
mod live;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Int32Array, Int64Array,
    ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::error::ArrowError;
use footfall_event::schema::{Table, money_sum_type};
use footfall_event::{Micros, Offset, Partition, Rejection, SessionId};
use footfall_sessionizer::{
    First, LeaveReason, NeedMark, NeedRow, PageViewRow, ReceiptRow, RuleBook, SessionRow,
};

pub use events::{EventPlaces, settled_rows};
pub use live::{live_need_rows, live_session_rows};

/// Which log and partition rows come from.
#[derive(Clone, Debug)]
pub struct Origin {
    pub log: Arc<str>,
    pub partition: Partition,
}

/// A record that was recognised as resent: a row of `duplicates`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateRow {
    pub offset: Offset,
    pub site: String,
    pub event_id: String,
    pub received_time: Micros,
}

/// A refused record: a row of `rejected`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRow {
    pub offset: Offset,
    pub rejection: Rejection,
}

/// Rows of `sessions`.
///
/// # Errors
/// `ArrowError` when the columns do not fit the schema, which is a mistake in this program.
pub fn session_rows(rows: &[SessionRow], book: &RuleBook) -> Result<RecordBatch, ArrowError> {
    let step = |row: &SessionRow| {
        row.furthest_step.map(|step| book.at(row.rules).steps[step].name.clone())
    };
    let needs = |row: &SessionRow, wanted: fn(NeedMark) -> bool| {
        let names = book.at(row.rules).needs.iter().zip(&row.needs);
        names.filter(|(_, mark)| wanted(**mark)).map(|(need, _)| need.name.clone()).collect()
    };
    let is_raised = |mark: NeedMark| mark != NeedMark::NotRaised;
    let is_converted = |row: &SessionRow| row.conversion_count > 0;
    let reason = |row: &SessionRow| match row.reasons.first() {
        _ if is_converted(row) => None,
        Some(reason) => Some(reason.name()),
        None => Some("none"),
    };
    let reasons =
        |row: &SessionRow| row.reasons.iter().map(|r: &LeaveReason| r.name().to_owned()).collect();
    let values: Decimal128Array = rows.iter().map(|row| row.value).collect();
    let columns: Vec<ArrayRef> = vec![
        session_id(rows, |row| row.session_id),
        text(rows, |row| Some(&*row.visitor.site)),
        text(rows, |row| Some(&*row.visitor.visitor_id)),
        text(rows, |row| row.profile.first(First::UserId)),
        time(rows, |row| Some(row.started_at)),
        time(rows, |row| Some(row.ended_at)),
        whole(rows, |row| Some((row.ended_at - row.started_at).whole_ms())),
        whole(rows, |row| Some(row.event_count as i64)),
        whole(rows, |row| Some(row.overflow_count as i64)),
        whole(rows, |row| Some(row.page_view_count as i64)),
        flag(rows, |row| row.engaged),
        text(rows, |row| row.profile.first(First::LandingPath)),
        text(rows, |row| row.exit.path.as_deref()),
        text(rows, |row| row.exit.page_type.as_deref()),
        text(rows, |row| row.exit.section.as_deref()),
        text(rows, step),
        whole(rows, |row| row.furthest_step.map(|step| step as i64 + 1)),
        flag(rows, is_converted),
        whole(rows, |row| Some(row.conversion_count as i64)),
        Arc::new(values.with_data_type(money_sum_type())),
        text(rows, |row| row.currency.as_deref()),
        text(rows, |row| row.profile.first(First::Channel)),
        text(rows, |row| row.profile.first(First::UtmSource)),
        text(rows, |row| row.profile.first(First::UtmMedium)),
        text(rows, |row| row.profile.first(First::UtmCampaign)),
        text(rows, |row| row.profile.first(First::UtmTerm)),
        text(rows, |row| row.profile.first(First::UtmContent)),
        text(rows, |row| row.profile.first(First::DeviceType)),
        text(rows, |row| row.profile.first(First::Country)),
        texts(rows, |row| needs(row, is_raised)),
        texts(rows, |row| needs(row, |mark| mark == NeedMark::Found)),
        texts(rows, |row| needs(row, |mark| mark == NeedMark::NotFound)),
        text(rows, reason),
        texts(rows, reasons),
        whole(rows, |row| Some(row.progress_to_exit.whole_ms())),
        text(rows, |row| Some(row.close_cause.name())),
        text(rows, |row| row.profile.first(First::Bot)),
        whole(rows, |_| Some(0)),
        text(rows, |row| Some(book.config_id(row.rules))),
        day(rows, |row| row.started_at),
    ];
    RecordBatch::try_new(Table::Sessions.schema(), columns)
}

/// Rows of `needs`.
///
/// # Errors
/// As [`session_rows`].
pub fn need_rows(rows: &[NeedRow], book: &RuleBook) -> Result<RecordBatch, ArrowError> {
    let info = |row: &NeedRow| row.found_at.map(|found| (found - row.raised_at).whole_ms());
    let columns: Vec<ArrayRef> = vec![
        session_id(rows, |row| row.session_id),
        text(rows, |row| Some(&*row.visitor.site)),
        text(rows, |row| Some(&*row.visitor.visitor_id)),
        text(rows, |row| Some(book.at(row.rules).needs[row.need].name.as_str())),
        time(rows, |row| Some(row.raised_at)),
        text(rows, |row| row.raised_path.as_deref()),
        text(rows, |row| row.raised_page_type.as_deref()),
        time(rows, |row| row.found_at),
        whole(rows, info),
        whole(rows, |row| Some(row.click_count as i64)),
        whole(rows, |row| row.load_ms),
        text(rows, |row| Some(row.outcome.name())),
        whole(rows, |row| Some(row.left_after.whole_ms())),
        flag(rows, |row| row.left_before_deadline),
        flag(rows, |row| row.converted),
        flag(rows, |row| row.signalled),
        whole(rows, |_| Some(0)),
        text(rows, |row| Some(book.config_id(row.rules))),
        day(rows, |row| row.session_started_at),
    ];
    RecordBatch::try_new(Table::Needs.schema(), columns)
}

/// Rows of `page_views`.
///
/// # Errors
/// As [`session_rows`].
pub fn page_view_rows(rows: &[PageViewRow], book: &RuleBook) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = vec![
        text(rows, |row| Some(&*row.page_view_id)),
        session_id(rows, |row| row.session_id),
        text(rows, |row| Some(&*row.visitor.site)),
        text(rows, |row| Some(&*row.visitor.visitor_id)),
        whole(rows, |row| Some(row.index_in_session as i64)),
        text(rows, |row| row.page_path.as_deref()),
        text(rows, |row| row.page_type.as_deref()),
        time(rows, |row| Some(row.started_at)),
        time(rows, |row| Some(row.ended_at)),
        whole(rows, |row| row.visible_ms),
        whole(rows, |row| Some(row.click_count as i64)),
        whole(rows, |row| row.lcp_ms),
        flag(rows, |row| row.index_in_session == 1),
        flag(rows, |row| row.is_exit),
        whole(rows, |_| Some(0)),
        text(rows, |row| Some(book.config_id(row.rules))),
        day(rows, |row| row.session_started_at),
    ];
    RecordBatch::try_new(Table::PageViews.schema(), columns)
}

/// Rows of `duplicates`.
///
/// # Errors
/// As [`session_rows`].
pub fn duplicate_rows(rows: &[DuplicateRow], of: &Origin) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = vec![
        text(rows, |row| Some(row.site.as_str())),
        text(rows, |row| Some(row.event_id.as_str())),
        text(rows, |_| Some(&*of.log)),
        partition(rows, of),
        whole(rows, |row| Some(row.offset.0)),
        time(rows, |row| Some(row.received_time)),
        day(rows, |row| row.received_time),
    ];
    RecordBatch::try_new(Table::Duplicates.schema(), columns)
}

/// Rows of `rejected`.
///
/// # Errors
/// As [`session_rows`].
pub fn rejected_rows(rows: &[RejectedRow], of: &Origin) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = vec![
        time(rows, |row| Some(row.rejection.received_time)),
        text(rows, |row| Some(row.rejection.site.as_str())),
        text(rows, |row| Some(row.rejection.reason.as_str())),
        text(rows, |row| Some(row.rejection.field.as_str())),
        text(rows, |row| Some(row.rejection.payload.as_str())),
        whole(rows, |row| Some(row.rejection.payload_bytes)),
        text(rows, |_| Some(&*of.log)),
        partition(rows, of),
        whole(rows, |row| Some(row.offset.0)),
        day(rows, |row| row.rejection.received_time),
    ];
    RecordBatch::try_new(Table::Rejected.schema(), columns)
}

/// Rows of `receipts`.
///
/// # Errors
/// As [`session_rows`].
pub fn receipt_rows(rows: &[ReceiptRow], of: &Origin) -> Result<RecordBatch, ArrowError> {
    let count = |value: u64| Some(value as i64);
    let columns: Vec<ArrayRef> = vec![
        text(rows, |_| Some(&*of.log)),
        partition(rows, of),
        whole(rows, |row| Some(row.from.0)),
        whole(rows, |row| Some(row.to.0)),
        text(rows, |row| row.site.as_deref()),
        time(rows, |row| Some(row.hour)),
        whole(rows, |row| count(row.counts.received())),
        whole(rows, |row| count(row.counts.accepted())),
        whole(rows, |row| count(row.counts.on_time)),
        whole(rows, |row| count(row.counts.late)),
        whole(rows, |row| count(row.counts.duplicate)),
        whole(rows, |row| count(row.counts.rejected)),
        whole(rows, |row| count(row.counts.overflow)),
        whole(rows, |row| count(row.pending)),
        time(rows, |row| row.watermark),
        day(rows, |row| row.hour),
    ];
    RecordBatch::try_new(Table::Receipts.schema(), columns)
}

fn text<'r, R, T: AsRef<str>>(rows: &'r [R], column: impl Fn(&'r R) -> Option<T>) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(rows.len(), rows.len() * 16);
    for row in rows {
        builder.append_option(column(row));
    }
    Arc::new(builder.finish())
}

fn texts<'r, R>(rows: &'r [R], column: impl Fn(&'r R) -> Vec<String>) -> ArrayRef {
    let element = arrow::datatypes::Field::new("element", arrow::datatypes::DataType::Utf8, true);
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(element);
    for row in rows {
        for entry in column(row) {
            builder.values().append_value(entry);
        }
        builder.append(true);
    }
    Arc::new(builder.finish())
}

fn session_id<R>(rows: &[R], column: impl Fn(&R) -> SessionId) -> ArrayRef {
    let ids = rows.iter().map(|row| Some(column(row))).collect::<Vec<_>>();
    Arc::new(session_ids(&ids))
}

fn time<R>(rows: &[R], column: impl Fn(&R) -> Option<Micros>) -> ArrayRef {
    let times = rows.iter().map(|row| column(row).map(|time| time.0));
    Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

fn whole<R>(rows: &[R], column: impl Fn(&R) -> Option<i64>) -> ArrayRef {
    Arc::new(rows.iter().map(column).collect::<Int64Array>())
}

fn flag<R>(rows: &[R], column: impl Fn(&R) -> bool) -> ArrayRef {
    Arc::new(rows.iter().map(|row| Some(column(row))).collect::<BooleanArray>())
}

fn day<R>(rows: &[R], time: impl Fn(&R) -> Micros) -> ArrayRef {
    Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| time(row).day().0)))
}

fn partition<R>(rows: &[R], of: &Origin) -> ArrayRef {
    Arc::new(Int32Array::from(vec![of.partition.0; rows.len()]))
}

/// Rows of `sessions`, `needs` or `page_views` with the late events of each session, by its text.
///
/// # Errors
/// As [`session_rows`].
pub fn with_revisions(
    rows: &RecordBatch,
    late: &HashMap<SessionId, i64>,
) -> Result<RecordBatch, ArrowError> {
    let schema = rows.schema();
    let late: HashMap<String, i64> =
        late.iter().map(|(id, late)| (id.to_string(), *late)).collect();
    let sessions = rows.column(schema.index_of("session_id")?).as_string::<i32>();
    let revision = |session: Option<&str>| late.get(session?).copied();
    let revisions: Int64Array =
        sessions.iter().map(|session| Some(revision(session).unwrap_or(0))).collect();
    let mut columns = rows.columns().to_vec();
    columns[schema.index_of("revision")?] = Arc::new(revisions);
    RecordBatch::try_new(schema, columns)
}

/// The column of texts that most events' rows share.
pub fn session_ids(ids: &[Option<SessionId>]) -> StringArray {
    let mut texts = StringBuilder::with_capacity(ids.len(), ids.len() * SessionId::TEXT_BYTES);
    for id in ids {
        match id {
            Some(id) => texts.append_value(id.text(&mut [0; SessionId::TEXT_BYTES])),
            None => texts.append_null(),
        }
    }
    texts.finish()
}
