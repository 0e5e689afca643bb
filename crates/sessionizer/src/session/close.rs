//! The end of a session: its row, its needs' rows, its last page view's, and why the visitor left.

use footfall_event::{Micros, Offset};

use super::Session;
use crate::need::Episode;
use crate::page_view::OpenPageView;
use crate::{
    CloseCause, LeaveReason, NeedMark, NeedRow, PageViewRow, Rows, RuleBook, Rules, SessionRow,
};

/// GA4: a session is engaged when it lasts longer.
const ENGAGED_AFTER: Micros = Micros(10 * Micros::SECOND.0);

impl Session {
    /// Writes the rows of a session that is over.
    pub fn close(mut self, close_cause: CloseCause, book: &RuleBook, rows: &mut Rows) {
        let rules = book.at(self.rules);
        let last_page = self.page_view.take();
        let last_lcp = last_page.as_ref().and_then(|page| page.lcp_ms);
        if let Some(page) = last_page {
            rows.page_views.push(self.page_view_row(page, self.ended_at, true, rows.cause));
        }
        let is_converted = self.purchases.count() > 0;
        let reasons = if is_converted { Vec::new() } else { self.reasons(rules, last_lcp) };
        self.push_needs(rules, rows);
        let duration = self.ended_at - self.started_at;
        let needs = self.needs.iter().map(Episode::mark).collect();
        let conversion_count = self.purchases.count();
        let (value, currency) = self.purchases.total();
        rows.sessions.push(SessionRow {
            cause: rows.cause,
            rules: self.rules,
            session_id: self.id,
            visitor: self.visitor,
            started_at: self.started_at,
            ended_at: self.ended_at,
            event_count: self.event_count,
            overflow_count: self.overflow_count,
            page_view_count: self.page_view_count,
            engaged: duration > ENGAGED_AFTER || self.page_view_count >= 2 || is_converted,
            profile: self.profile,
            exit: self.exit,
            furthest_step: self.furthest_step,
            conversion_count,
            value,
            currency,
            reasons,
            progress_to_exit: self.ended_at - self.progress_at,
            close_cause,
            needs,
        });
    }

    /// All that hold, the strongest first: the order of [`LeaveReason`].
    fn reasons(&self, rules: &Rules, last_lcp: Option<i64>) -> Vec<LeaveReason> {
        let is_slow = |lcp: Option<i64>| lcp.is_some_and(|ms| ms > rules.slow_page_ms);
        let mut raised = self.needs.iter().filter_map(|episode| episode.raised());
        let slow_page = is_slow(last_lcp) || raised.any(|need| is_slow(need.load_ms));
        let not_found = self.needs.iter().any(|need| need.mark() == NeedMark::NotFound);
        let holds = [
            (self.has_error, LeaveReason::Error),
            (slow_page, LeaveReason::SlowPage),
            (self.rage.seen(), LeaveReason::RageClick),
            (self.has_zero_search, LeaveReason::ZeroSearch),
            (not_found, LeaveReason::NeedNotFound),
        ];
        holds.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect()
    }

    fn push_needs(&self, rules: &Rules, rows: &mut Rows) {
        for (index, (episode, need)) in self.needs.iter().zip(&rules.needs).enumerate() {
            let Some(raised) = episode.raised() else { continue };
            let left_after = self.ended_at - raised.raised_at;
            rows.needs.push(NeedRow {
                cause: rows.cause,
                rules: self.rules,
                session_id: self.id,
                visitor: self.visitor.clone(),
                session_started_at: self.started_at,
                need: index,
                raised_at: raised.raised_at,
                raised_path: raised.path.clone(),
                raised_page_type: raised.page_type.clone(),
                found_at: raised.found_at(),
                click_count: raised.click_count,
                load_ms: raised.load_ms,
                outcome: raised.outcome(need),
                left_after,
                left_before_deadline: raised.end.is_none() && left_after < need.within,
                converted: raised.converted,
                signalled: raised.signalled,
            });
        }
    }

    pub(super) fn page_view_row(
        &self,
        page: OpenPageView,
        ended_at: Micros,
        is_exit: bool,
        cause: Offset,
    ) -> PageViewRow {
        PageViewRow {
            cause,
            rules: self.rules,
            page_view_id: page.id().into(),
            session_id: self.id,
            visitor: self.visitor.clone(),
            session_started_at: self.started_at,
            index_in_session: page.index,
            page_path: page.path().map(Into::into),
            page_type: page.page_type().map(Into::into),
            started_at: page.started_at,
            ended_at,
            visible_ms: page.visible_ms,
            click_count: page.click_count,
            lcp_ms: page.lcp_ms,
            is_exit,
        }
    }
}
