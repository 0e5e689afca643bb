//! Closes a written session: adds its late events, gives numbers and ids that keep the order of
//! writing, and tells what was meant. What happens in a session is left to the script.

use std::sync::Arc;

use super::event::{Details, Draft, EventId, Page};
use super::intent::{Need, Outcome};
use super::rng::Rng;
use super::truth::TruthRow;

/// The wait of the shipped needs that is still in time.
pub(super) const WITHIN: i64 = 3_000_000;
/// The clicks of the shipped needs that are still within the budget.
pub(super) const MAX_CLICKS: u32 = 2;

/// What a visitor looks for, from its raising to its end.
#[derive(Debug)]
pub(super) struct Episode {
    pub(super) need: Need,
    pub(super) outcome: Outcome,
    pub(super) raised_at: i64,
    pub(super) page: Arc<Page>,
    pub(super) found_at: Option<i64>,
    pub(super) clicks: u32,
    pub(super) converted: bool,
    pub(super) looking: bool,
}

/// A session as it was written.
pub(super) struct Session {
    /// In the order (time, seq, id); those that belong to no session at the end.
    pub(super) drafts: Vec<Draft>,
    pub(super) truth: Vec<TruthRow>,
    pub(super) ended_at: i64,
    pub(super) page_views: u64,
}

/// A session's events as the script left them, in the order they are meant to have.
pub(super) struct Written {
    pub(super) rng: Rng,
    /// Whether the client counts its events.
    pub(super) counts: bool,
    pub(super) drafts: Vec<Draft>,
    pub(super) page_views: u64,
}

impl Written {
    pub(super) fn finish(
        mut self,
        late_share: f64,
        episodes: Vec<Episode>,
        site: &Arc<str>,
        visitor_id: &str,
    ) -> Session {
        self.add_late(late_share);
        self.number();
        self.order_ids();
        let (hidden, mut drafts): (Vec<_>, Vec<_>) =
            self.drafts.into_iter().partition(|draft| draft.hidden);
        let started_at = drafts.first().map_or(0, |draft| draft.time);
        let ended_at = drafts.last().map_or(started_at, |draft| draft.time);
        let first_id = drafts.first().map(|draft| draft.id.to_string()).unwrap_or_default();
        let row = |episode: Episode| {
            episode.check();
            TruthRow {
                site: site.clone(),
                visitor_id: visitor_id.to_owned(),
                need: episode.need,
                raised_at: episode.raised_at,
                raised_path: episode.page.path.clone(),
                raised_page_type: episode.page.kind.name(),
                outcome: episode.outcome,
                found_at: episode.found_at,
                click_count: episode.clicks,
                converted: episode.converted,
                session_first_event_id: first_id.clone(),
                session_started_at: started_at,
                session_ended_at: ended_at,
                within: WITHIN,
            }
        };
        let truth = episodes.into_iter().map(row).collect();
        drafts.extend(hidden);
        Session { drafts, truth, ended_at, page_views: self.page_views }
    }

    /// Late events change no outcome and no session's bounds: a scroll between two events, never the
    /// first or the last.
    fn add_late(&mut self, share: f64) {
        let mut index = 0;
        while index + 1 < self.drafts.len() {
            let (before, after) = (&self.drafts[index], &self.drafts[index + 1]);
            let room = after.time - before.time;
            index += 1;
            if room < 2 || before.hidden || after.hidden || !self.rng.chance(share) {
                continue;
            }
            let late = Draft {
                visit: before.visit.clone(),
                page: before.page.clone(),
                name: "scroll",
                time: before.time + room / 2,
                id: EventId { bits: self.rng.wide(), suffix: "" },
                seq: None,
                tied: false,
                late: true,
                hidden: false,
                details: Details { scroll_depth: Some(50), ..Details::default() },
            };
            self.drafts.insert(index, late);
            index += 1;
        }
    }

    fn number(&mut self) {
        if !self.counts {
            return;
        }
        let mut seq = 0;
        for draft in &mut self.drafts {
            seq += u32::from(!draft.tied);
            draft.seq = Some(seq);
        }
    }

    /// Ids of tied events ascend as they were written; some pairs differ in a last character alone,
    /// whose order in UTF-8 is not its order in UTF-16.
    fn order_ids(&mut self) {
        let mut start = 0;
        while start < self.drafts.len() {
            let tied = self.drafts[start + 1..].iter().take_while(|draft| draft.tied).count();
            let run = &mut self.drafts[start..=start + tied];
            let mut bits: Vec<u128> = run.iter().map(|draft| draft.id.bits).collect();
            bits.sort_unstable();
            for (draft, bits) in run.iter_mut().zip(bits) {
                draft.id.bits = bits;
            }
            if let [first, second] = run
                && self.rng.chance(0.3)
            {
                second.id = EventId { suffix: "😀", ..first.id };
                first.id.suffix = "～";
            }
            start += tied + 1;
        }
    }
}

impl Episode {
    /// The journeys must have led where the intent wanted to go.
    fn check(&self) {
        let in_time =
            self.found_at.map(|at| at - self.raised_at <= WITHIN && self.clicks <= MAX_CLICKS);
        let expected = match self.outcome {
            Outcome::FoundInTime => Some(true),
            Outcome::FoundLate => Some(false),
            _ => None,
        };
        assert_eq!(in_time, expected, "the journey of {self:?} missed its outcome");
        assert!(self.converted || self.outcome != Outcome::ConvertedWithout, "{self:?}");
        let lost = matches!(self.outcome, Outcome::Abandoned | Outcome::GaveUp);
        assert!(!(self.converted && lost), "{self:?}");
    }
}
