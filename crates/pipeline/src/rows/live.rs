//! Rows of the live tables, of what a partition holds. When it is asked is left to `live`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, RecordBatch};
use arrow::error::ArrowError;
use footfall_event::Micros;
use footfall_event::schema::{LiveTable, money_sum_type};
use footfall_sessionizer::{First, LiveSession, NeedMark, NeedRow, RuleBook, SessionRow};

use super::{flag, session_id, text, texts, time, whole};

/// Rows of `live_sessions`, of a partition that has read up to `as_of`.
///
/// # Errors
/// `ArrowError` when the columns do not fit the schema, which is a mistake in this program.
pub fn live_session_rows(
    live: &[LiveSession],
    book: &RuleBook,
    as_of: Micros,
) -> Result<RecordBatch, ArrowError> {
    let name = |row: &SessionRow, need: usize| book.at(row.rules).needs[need].name.clone();
    let marked = |live: &LiveSession, is_wanted: fn(NeedMark) -> bool| {
        let marks = live.row.needs.iter().enumerate().filter(|(_, mark)| is_wanted(**mark));
        marks.map(|(need, _)| name(&live.row, need)).collect()
    };
    let open = |live: &LiveSession| {
        let open = live.needs.iter().filter(|need| need.decided().is_none());
        open.map(|need| name(&live.row, need.need)).collect()
    };
    let step = |live: &LiveSession| {
        let row = &live.row;
        row.furthest_step.map(|step| book.at(row.rules).steps[step].name.clone())
    };
    let values: Decimal128Array = live.iter().map(|live| live.row.value).collect();
    let columns: Vec<ArrayRef> = vec![
        session_id(live, |live| live.row.session_id),
        text(live, |live| Some(&*live.row.visitor.site)),
        text(live, |live| Some(&*live.row.visitor.visitor_id)),
        text(live, |live| live.row.profile.first(First::UserId)),
        time(live, |live| Some(live.row.started_at)),
        time(live, |live| Some(live.row.ended_at)),
        whole(live, |live| Some(live.row.event_count as i64)),
        whole(live, |live| Some(live.row.overflow_count as i64)),
        whole(live, |live| Some(live.row.page_view_count as i64)),
        text(live, |live| live.row.profile.first(First::LandingPath)),
        text(live, |live| live.row.exit.path.as_deref()),
        text(live, |live| live.row.exit.page_type.as_deref()),
        text(live, |live| live.row.exit.section.as_deref()),
        text(live, step),
        whole(live, |live| live.row.furthest_step.map(|step| step as i64 + 1)),
        flag(live, |live| live.row.conversion_count > 0),
        whole(live, |live| Some(live.row.conversion_count as i64)),
        Arc::new(values.with_data_type(money_sum_type())),
        text(live, |live| live.row.currency.as_deref()),
        text(live, |live| live.row.profile.first(First::Channel)),
        text(live, |live| live.row.profile.first(First::UtmSource)),
        text(live, |live| live.row.profile.first(First::UtmMedium)),
        text(live, |live| live.row.profile.first(First::UtmCampaign)),
        text(live, |live| live.row.profile.first(First::UtmTerm)),
        text(live, |live| live.row.profile.first(First::UtmContent)),
        text(live, |live| live.row.profile.first(First::DeviceType)),
        text(live, |live| live.row.profile.first(First::Country)),
        texts(live, |live| marked(live, |mark| mark != NeedMark::NotRaised)),
        texts(live, |live| marked(live, |mark| mark == NeedMark::Found)),
        texts(live, open),
        text(live, |live| live.row.profile.first(First::Bot)),
        text(live, |live| Some(book.config_id(live.row.rules))),
        time(live, |_| Some(as_of)),
    ];
    RecordBatch::try_new(LiveTable::Sessions.schema(), columns)
}

/// Rows of `live_needs`, likewise.
///
/// # Errors
/// As [`live_session_rows`].
pub fn live_need_rows(
    live: &[LiveSession],
    book: &RuleBook,
    as_of: Micros,
) -> Result<RecordBatch, ArrowError> {
    let rows: Vec<&NeedRow> = live.iter().flat_map(|live| &live.needs).collect();
    let rows = rows.as_slice();
    let need = |row: &NeedRow| &book.at(row.rules).needs[row.need];
    let info = |row: &NeedRow| row.found_at.map(|found| (found - row.raised_at).whole_ms());
    let outcome = |row: &NeedRow| row.decided().map_or(OPEN, |outcome| outcome.name());
    let columns: Vec<ArrayRef> = vec![
        session_id(rows, |row| row.session_id),
        text(rows, |row| Some(&*row.visitor.site)),
        text(rows, |row| Some(&*row.visitor.visitor_id)),
        text(rows, |row| Some(need(row).name.as_str())),
        time(rows, |row| Some(row.raised_at)),
        text(rows, |row| row.raised_path.as_deref()),
        text(rows, |row| row.raised_page_type.as_deref()),
        time(rows, |row| row.found_at),
        whole(rows, |row| info(row)),
        whole(rows, |row| Some(row.click_count as i64)),
        whole(rows, |row| row.load_ms),
        text(rows, |row| Some(outcome(row))),
        time(rows, |row| Some(row.raised_at + need(row).within)),
        flag(rows, |row| row.converted),
        flag(rows, |row| row.signalled),
        text(rows, |row| Some(book.config_id(row.rules))),
        time(rows, |_| Some(as_of)),
    ];
    RecordBatch::try_new(LiveTable::Needs.schema(), columns)
}

/// The outcome of a need that the visitor may still find.
const OPEN: &str = "open";
