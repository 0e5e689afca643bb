//! A seeded synthetic storefront: events in the order they arrive, and what they were meant to come
//! to. A pure generator; posting, pacing and writing files are left to the binary.
//!
//! Each session's outcomes are decided first (`intent`, `edges`), then events are written that
//! realise them (`journey`, `script`), then each gets an arrival (`arrivals`). The truth is what was
//! decided, never what the events compute to.

mod arrivals;
mod catalog;
mod edges;
mod event;
mod idle;
mod intent;
mod journey;
mod json;
mod rng;
mod script;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod trade;
mod truth;
mod visitors;

use std::sync::Arc;

pub use settings::{BadSetting, SampleSettings};
pub use truth::{Totals, TruthRow};

use arrivals::Arrivals;
use edges::Edge;
use event::{PageType, Visit};
use intent::Need;
use rng::Rng;
use script::{Pace, Script};
use session::Session;
use visitors::{Coming, Visitor, Visitors};

/// Every so many sessions one touches a boundary; all boundaries come in turn, so that a sample of
/// 1,000 sessions touches each.
const EDGE_EVERY: u64 = 16;

/// One event on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleEvent {
    /// When it arrives, in microseconds UTC; never before the event's own `timestamp`.
    pub arrival: i64,
    /// The event in Footfall's own JSON form, without an end of line.
    pub json: String,
    /// Meant to arrive beyond the allowed lateness. No outcome depends on it.
    pub late: bool,
    /// The bytes of an event that has arrived before.
    pub resend: bool,
}

/// An iterator over the events of a sample in the order of their arrivals. Its memory grows with the
/// sessions that run at once, not with the sample, as long as the truth is taken now and then.
pub struct Sample {
    seed: u64,
    beyond_lateness: f64,
    pace: Pace,
    visitors: Visitors,
    arrivals: Arrivals,
    truth: Vec<TruthRow>,
    totals: Totals,
}

/// The numbers of the random streams that sessions do not use.
const VISITORS_STREAM: u64 = u64::MAX;
const ARRIVALS_STREAM: u64 = u64::MAX - 1;

impl Sample {
    /// # Errors
    /// A setting is out of its range.
    pub fn new(settings: &SampleSettings) -> Result<Sample, BadSetting> {
        settings.check()?;
        let visitors = Visitors::new(
            Rng::new(settings.seed, VISITORS_STREAM),
            &settings.site,
            settings.session_gap,
            settings.spacing(),
            settings.start,
            settings.sessions,
        );
        Ok(Sample {
            seed: settings.seed,
            beyond_lateness: settings.beyond_lateness,
            pace: Pace::of_gap(settings.session_gap),
            visitors,
            arrivals: Arrivals::new(Rng::new(settings.seed, ARRIVALS_STREAM), settings),
            truth: Vec::new(),
            totals: Totals::default(),
        })
    }

    /// What was meant for the sessions begun since the last call, in the order of their starts; after
    /// the last event, all of it has been told.
    pub fn take_truth(&mut self) -> Vec<TruthRow> {
        std::mem::take(&mut self.truth)
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    fn begin(&mut self, coming: Coming) {
        let rng = Rng::new(self.seed, coming.number);
        let edge = (coming.number.is_multiple_of(EDGE_EVERY) && !coming.over_midnight)
            .then(|| Edge::ALL[(coming.number / EDGE_EVERY) as usize % Edge::ALL.len()]);
        let visit = Arc::new(self.visitors.visit(&coming.visitor));
        let session = write_session(rng, self.pace, &coming, visit, edge, self.beyond_lateness);
        self.totals.sessions += 1;
        self.totals.page_views += session.page_views;
        for row in &session.truth {
            *self.totals.needs.entry((row.need, row.outcome)).or_default() += 1;
        }
        self.truth.extend(session.truth);
        self.visitors.leave(coming.visitor, session.ended_at, edge == Some(Edge::GapExceeded));
        for draft in session.drafts {
            self.arrivals.add(draft);
        }
        if coming.number % 50 == 7 {
            self.pass_cookieless(coming.number, coming.start);
        }
    }

    /// Someone without a visitor id looks at a product: counted, but no session and no need.
    fn pass_cookieless(&mut self, number: u64, start: i64) {
        let rng = Rng::new(!self.seed, number);
        let visit = Arc::new(self.visitors.cookieless_visit());
        let client = script::Client { counts: false, names_views: true };
        let mut script = Script::new(rng, self.pace, client, visit, start);
        script.open(PageType::Product);
        script.beat();
        script.show(Need::Delivery, 400, false);
        for draft in script.finish(0.0).drafts {
            self.arrivals.add(draft);
        }
    }
}

impl Iterator for Sample {
    type Item = SampleEvent;

    fn next(&mut self) -> Option<SampleEvent> {
        while let Some(start) = self.visitors.next_start()
            && self.arrivals.next_time().is_none_or(|time| start <= time)
            && let Some(coming) = self.visitors.next()
        {
            self.begin(coming);
        }
        let totals = &mut self.totals;
        self.arrivals.pop(|arrival| {
            let draft = &arrival.draft;
            if arrival.resend {
                totals.resends += 1;
            } else {
                totals.events += 1;
                totals.late += u64::from(draft.late);
                totals.hidden += u64::from(draft.hidden);
                totals.cookieless += u64::from(draft.visit.visitor().is_none());
            }
            SampleEvent {
                arrival: arrival.time,
                json: draft.to_json(),
                late: draft.late,
                resend: arrival.resend,
            }
        })
    }
}

fn write_session(
    mut rng: Rng,
    pace: Pace,
    coming: &Coming,
    visit: Arc<Visit>,
    edge: Option<Edge>,
    beyond_lateness: f64,
) -> Session {
    let Visitor { client, .. } = *coming.visitor;
    let intent = intent::choose(&mut rng);
    let mut script = Script::new(rng, pace, client, visit, coming.start);
    match edge {
        Some(edge) => edges::walk(&mut script, edge),
        None => journey::walk(&mut script, &intent),
    }
    if coming.over_midnight {
        script.beat();
        script.emit("page_hide", Default::default());
    }
    if script.rng.chance(0.03) {
        let after = script.rng.between(1, pace.session_gap / 10 * 9);
        script.emit_hidden(after);
    }
    script.finish(beyond_lateness)
}
