//! What came out of a fold as rows of text: a kind, a head that tells the row apart, and fields.
//!
//! ```text
//! record a late                                what a record was when it was read
//! event a late session=a                       in the order in which they were settled
//! session v1 12:00:00-12:05:00 events=3 ...    by start; `id` is that of its first event
//! need delivery found_in_time clicks=2 ...     by the time it was raised
//! page_view a events=2 ...                     by start
//! live v1 12:00:00-12:05:00 events=3 ...       a session that is not over, as a look saw it; by start
//! live_need delivery open clicks=2 ...         its needs, by the time they were raised
//! signal delivery a due=12:00:03.500001 ...    by need and raising event, in order of publication
//! receipt shop 0-12 on_time=3 ...              by site (`*` for the range itself) and offsets
//! ```
//!
//! `written` is the append time of the record that made a row final, absent values are `-`.

use std::collections::BTreeMap;

use footfall_event::{Offset, SessionId};
use footfall_sessionizer::{
    EventRow, First, LiveSession, NeedMark, NeedRow, PageViewRow, ReceiptRow, SessionRow, Signal,
    Status, Visitor,
};

use super::language::{Event, Kind, show_span, show_time};
use super::run::Run;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub kind: &'static str,
    pub head: String,
    pub fields: Vec<(&'static str, String)>,
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.head)?;
        self.fields.iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

/// All rows, kind by kind.
pub fn rows(run: &Run) -> Vec<Row> {
    let Run { output, .. } = run;
    let names = Names::of(run);
    let mut sessions: Vec<_> = output.rows.sessions.iter().collect();
    sessions.sort_by_key(|row| (row.started_at, row.visitor.clone()));
    let mut needs: Vec<_> = output.rows.needs.iter().collect();
    needs.sort_by_key(|row| (row.raised_at, row.visitor.clone(), row.need));
    let mut page_views: Vec<_> = output.rows.page_views.iter().collect();
    page_views.sort_by_key(|row| (row.started_at, row.visitor.clone(), row.index_in_session));
    let mut rows = Vec::new();
    rows.extend(run.statuses.iter().map(|(at, status)| names.record(*at, *status)));
    rows.extend(output.rows.events.iter().map(|row| names.event(row)));
    rows.extend(sessions.into_iter().map(|row| names.session(row)));
    rows.extend(needs.into_iter().map(|row| names.need(row)));
    rows.extend(page_views.into_iter().map(|row| names.page_view(row)));
    rows.extend(run.looks.iter().flat_map(|look| live(run, look)));
    rows.extend(output.signals.iter().map(|row| names.signal(row)));
    rows.extend(output.receipts.iter().map(receipt));
    rows
}

/// The rows of one look at the open sessions, without what only an end tells.
pub fn live(run: &Run, look: &[LiveSession]) -> Vec<Row> {
    let names = Names::of(run);
    let mut sessions: Vec<_> = look.iter().map(|live| &live.row).collect();
    sessions.sort_by_key(|row| (row.started_at, row.visitor.clone()));
    let mut needs: Vec<_> = look.iter().flat_map(|live| &live.needs).collect();
    needs.sort_by_key(|row| (row.raised_at, row.visitor.clone(), row.need));
    let sessions = sessions.into_iter().map(|row| as_live(names.session(row), "live"));
    let needs = needs.into_iter().map(|row| {
        let outcome = row.decided().map_or("open", |outcome| outcome.name());
        let name = &run.rules[&row.rules].needs[row.need].name;
        Row { head: format!("{name} {outcome}"), ..as_live(names.need(row), "live_need") }
    });
    sessions.chain(needs).collect()
}

fn as_live(mut row: Row, kind: &'static str) -> Row {
    row.fields.retain(|(field, _)| !["close", "written", "signalled"].contains(field));
    Row { kind, ..row }
}

/// The names that the log gave to what rows name by numbers and hashes.
struct Names<'r, 'l> {
    run: &'r Run<'l>,
    /// Session ids are looked up by the events that may have begun them.
    sessions: BTreeMap<[u8; 16], String>,
}

impl<'r, 'l> Names<'r, 'l> {
    fn of(run: &'r Run<'l>) -> Names<'r, 'l> {
        let events = run.log.records.iter().filter_map(|record| match &record.kind {
            Kind::Event(event) => Some(event),
            _ => None,
        });
        let session = |event: &Event| {
            let visitor = event.visitor.as_deref()?;
            Some((SessionId::new(&event.site, visitor, event.id()).0, event.id().to_owned()))
        };
        Names { run, sessions: events.filter_map(session).collect() }
    }

    fn id_at(&self, offset: Offset) -> &'l str {
        match &self.run.log.records[offset.0 as usize].kind {
            Kind::Event(event) | Kind::Rejected(event) => event.id(),
            Kind::Tick | Kind::Rules(_) | Kind::Erase(..) => panic!("record {offset} has no id"),
        }
    }

    fn begun_by(&self, session: SessionId) -> String {
        self.sessions[&session.0].clone()
    }

    fn written(&self, cause: Offset) -> String {
        show_time(self.run.log.records[cause.0 as usize].append_time)
    }

    fn record(&self, at: usize, status: Status) -> Row {
        let status = match status {
            Status::OnTime => "on_time",
            Status::Late => "late",
            Status::Duplicate => "duplicate",
            Status::Rejected => "rejected",
        };
        let head = format!("{} {status}", self.id_at(Offset(at as i64)));
        Row { kind: "record", head, fields: Vec::new() }
    }

    fn event(&self, row: &EventRow) -> Row {
        let late = if row.late { " late" } else { "" };
        let overflow = if row.overflow { " overflow" } else { "" };
        let head = format!("{}{late}{overflow}", self.id_at(row.offset));
        let session = row.session_id.map(|session| self.begun_by(session));
        let fields = vec![
            ("session", session.unwrap_or_else(|| "-".into())),
            ("offset", row.offset.to_string()),
            ("written", self.written(row.cause)),
        ];
        Row { kind: "event", head, fields }
    }

    fn session(&self, row: &SessionRow) -> Row {
        let rules = &self.run.rules[&row.rules];
        let first = |fact| row.profile.first(fact).unwrap_or("-").to_owned();
        let exit = &row.exit;
        let marked = |mark: NeedMark| {
            let marks = row.needs.iter().zip(&rules.needs).filter(move |(m, _)| **m == mark);
            list(marks.map(|(_, need)| need.name.as_str()))
        };
        let step = row.furthest_step.map(|step| rules.steps[step].name.as_str());
        let value = row.value.map(|value| {
            let text = format!("{}.{:04}", value.abs() / 10_000, value.abs() % 10_000);
            let sign = if value < 0 { "-" } else { "" };
            format!("{sign}{}", text.trim_end_matches('0').trim_end_matches('.'))
        });
        let fields = vec![
            ("id", self.begun_by(row.session_id)),
            ("events", row.event_count.to_string()),
            ("overflow", row.overflow_count.to_string()),
            ("page_views", row.page_view_count.to_string()),
            ("engaged", yes(row.engaged)),
            ("user", first(First::UserId)),
            ("channel", first(First::Channel)),
            ("utm_source", first(First::UtmSource)),
            ("utm_medium", first(First::UtmMedium)),
            ("utm_campaign", first(First::UtmCampaign)),
            ("utm_term", first(First::UtmTerm)),
            ("utm_content", first(First::UtmContent)),
            ("device", first(First::DeviceType)),
            ("country", first(First::Country)),
            ("bot", first(First::Bot)),
            ("landing", first(First::LandingPath)),
            ("exit", text(&exit.path)),
            ("exit_type", text(&exit.page_type)),
            ("exit_section", text(&exit.section)),
            ("step", step.unwrap_or("-").into()),
            ("progress_to_exit", show_span(row.progress_to_exit)),
            ("conversions", row.conversion_count.to_string()),
            ("value", value.unwrap_or_else(|| "-".into())),
            ("currency", text(&row.currency)),
            ("reasons", list(row.reasons.iter().map(|reason| reason.name()))),
            ("found", marked(NeedMark::Found)),
            ("not_found", marked(NeedMark::NotFound)),
            ("close", row.close_cause.name().into()),
            ("rules", row.rules.0.to_string()),
            ("written", self.written(row.cause)),
        ];
        let span = format!("{}-{}", show_time(row.started_at), show_time(row.ended_at));
        Row { kind: "session", head: format!("{} {span}", who(&row.visitor)), fields }
    }

    fn need(&self, row: &NeedRow) -> Row {
        let need = &self.run.rules[&row.rules].needs[row.need];
        let fields = vec![
            ("visitor", who(&row.visitor)),
            ("session", self.begun_by(row.session_id)),
            ("session_start", show_time(row.session_started_at)),
            ("raised", show_time(row.raised_at)),
            ("path", text(&row.raised_path)),
            ("type", text(&row.raised_page_type)),
            ("found", row.found_at.map_or("-".into(), show_time)),
            ("clicks", row.click_count.to_string()),
            ("load_ms", number(row.load_ms)),
            ("left_after", show_span(row.left_after)),
            ("left_before_deadline", yes(row.left_before_deadline)),
            ("converted", yes(row.converted)),
            ("signalled", yes(row.signalled)),
            ("rules", row.rules.0.to_string()),
            ("written", self.written(row.cause)),
        ];
        Row { kind: "need", head: format!("{} {}", need.name, row.outcome.name()), fields }
    }

    fn page_view(&self, row: &PageViewRow) -> Row {
        let fields = vec![
            ("visitor", who(&row.visitor)),
            ("session", self.begun_by(row.session_id)),
            ("session_start", show_time(row.session_started_at)),
            ("index", row.index_in_session.to_string()),
            ("path", text(&row.page_path)),
            ("type", text(&row.page_type)),
            ("start", show_time(row.started_at)),
            ("end", show_time(row.ended_at)),
            ("visible", number(row.visible_ms)),
            ("lcp", number(row.lcp_ms)),
            ("clicks", row.click_count.to_string()),
            ("exit", yes(row.is_exit)),
            ("rules", row.rules.0.to_string()),
            ("written", self.written(row.cause)),
        ];
        Row { kind: "page_view", head: row.page_view_id.to_string(), fields }
    }

    fn signal(&self, row: &Signal) -> Row {
        let raising = self.run.log.records.iter().find_map(|record| match &record.kind {
            Kind::Event(event) if signal_id(&row.need, event) == row.id => Some(event.id()),
            _ => None,
        });
        let fields = vec![
            ("visitor", who(&row.visitor)),
            ("session", self.begun_by(row.session_id)),
            ("raised", show_time(row.raised_at)),
            ("path", text(&row.raised_path)),
            ("type", text(&row.raised_page_type)),
            ("clicks", row.click_count.to_string()),
            ("deadline", show_time(row.deadline)),
            ("due", show_time(row.due_at)),
            ("written", self.written(row.cause)),
        ];
        Row { kind: "signal", head: format!("{} {}", row.need, raising.unwrap()), fields }
    }
}

/// The parts are those of a session's id, with the need before them.
fn signal_id(need: &str, event: &Event) -> String {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    for part in [need, &event.site, event.visitor.as_deref().unwrap_or_default(), event.id()] {
        hash.update((part.len() as u32).to_be_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..16])
}

fn receipt(row: &ReceiptRow) -> Row {
    let counts = &row.counts;
    let fields = vec![
        ("hour", show_time(row.hour)),
        ("received", counts.received().to_string()),
        ("accepted", counts.accepted().to_string()),
        ("on_time", counts.on_time.to_string()),
        ("late", counts.late.to_string()),
        ("duplicate", counts.duplicate.to_string()),
        ("rejected", counts.rejected.to_string()),
        ("overflow", counts.overflow.to_string()),
        ("pending", row.pending.to_string()),
        ("watermark", row.watermark.map_or("-".into(), show_time)),
    ];
    let site = row.site.as_deref().unwrap_or("*");
    Row { kind: "receipt", head: format!("{site} {}-{}", row.from, row.to), fields }
}

fn who(visitor: &Visitor) -> String {
    let Visitor { site, visitor_id } = visitor;
    if &**site == "shop" { visitor_id.to_string() } else { format!("{site}/{visitor_id}") }
}

fn text(value: &Option<Box<str>>) -> String {
    value.as_deref().unwrap_or("-").into()
}

fn number(value: Option<i64>) -> String {
    value.map_or("-".into(), |value| value.to_string())
}

fn yes(is_so: bool) -> String {
    if is_so { "yes".into() } else { "no".into() }
}

fn list<'t>(names: impl Iterator<Item = &'t str>) -> String {
    let names = names.collect::<Vec<_>>().join(",");
    if names.is_empty() { "-".into() } else { names }
}
