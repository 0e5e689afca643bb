//! Sessions that touch a boundary of the definitions, to the microsecond, the click and the
//! millisecond. A share of all sessions goes through them in turn; ordinary ones are left to the
//! journeys.

use super::event::{Details, PageType};
use super::idle;
use super::intent::{Need, Outcome};
use super::script::Script;
use super::session::{MAX_CLICKS, WITHIN};
use super::trade;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    FoundAtDeadline,
    FoundAfterDeadline,
    FoundAtRaise,
    FoundAtRaiseById,
    MetAtRaise,
    MetAtRaiseById,
    ClicksAtEnds,
    ClicksAtEndsOverBudget,
    ClicksAtBudget,
    ClicksOverBudget,
    GapThenPage,
    GapThenFind,
    GapExceeded,
    ConvertedAfterFindAtOnce,
    ConvertedBeforeFindAtOnce,
    FoundAfterConversion,
    ConvertedAtRaise,
    ConvertedBeforeRaise,
    ShownTooShort,
    ShownLongEnough,
    PageAtRaise,
    PageAfterRaise,
    Prerendered,
    LeftAtDeadline,
    LeftBeforeDeadline,
    SingleEvent,
}

impl Edge {
    pub(super) const ALL: [Edge; 26] = [
        Edge::FoundAtDeadline,
        Edge::FoundAfterDeadline,
        Edge::FoundAtRaise,
        Edge::FoundAtRaiseById,
        Edge::MetAtRaise,
        Edge::MetAtRaiseById,
        Edge::ClicksAtEnds,
        Edge::ClicksAtEndsOverBudget,
        Edge::ClicksAtBudget,
        Edge::ClicksOverBudget,
        Edge::GapThenPage,
        Edge::GapThenFind,
        Edge::GapExceeded,
        Edge::ConvertedAfterFindAtOnce,
        Edge::ConvertedBeforeFindAtOnce,
        Edge::FoundAfterConversion,
        Edge::ConvertedAtRaise,
        Edge::ConvertedBeforeRaise,
        Edge::ShownTooShort,
        Edge::ShownLongEnough,
        Edge::PageAtRaise,
        Edge::PageAfterRaise,
        Edge::Prerendered,
        Edge::LeftAtDeadline,
        Edge::LeftBeforeDeadline,
        Edge::SingleEvent,
    ];
}

/// Shorter than any wait that is in time.
const MOMENT: i64 = 700_000;

pub(super) fn walk(script: &mut Script, edge: Edge) {
    if edge == Edge::SingleEvent {
        script.open(PageType::Product);
        script.look_for(Need::Delivery, Outcome::Abandoned);
        return;
    }
    let (need, page) = enter(script);
    let mut scene = Scene { script, need, page };
    match edge {
        Edge::FoundAtDeadline => scene.found_after(WITHIN, Outcome::FoundInTime),
        Edge::FoundAfterDeadline => scene.found_after(WITHIN + 1, Outcome::FoundLate),
        Edge::FoundAtRaise => scene.found_after(0, Outcome::FoundInTime),
        Edge::FoundAtRaiseById | Edge::MetAtRaise | Edge::MetAtRaiseById => {
            scene.shown_at_raise(edge)
        }
        Edge::ClicksAtEnds => scene.clicks_at_ends(false),
        Edge::ClicksAtEndsOverBudget => scene.clicks_at_ends(true),
        Edge::ClicksAtBudget => scene.clicks(MAX_CLICKS, Outcome::FoundInTime),
        Edge::ClicksOverBudget => scene.clicks(MAX_CLICKS + 1, Outcome::FoundLate),
        Edge::GapThenPage | Edge::GapThenFind | Edge::GapExceeded => scene.gap(edge),
        Edge::ConvertedAfterFindAtOnce
        | Edge::ConvertedBeforeFindAtOnce
        | Edge::FoundAfterConversion => scene.converted_near_find(edge),
        Edge::ConvertedAtRaise => scene.converted_before_raise(0, Outcome::ConvertedWithout),
        Edge::ConvertedBeforeRaise => scene.converted_before_raise(1, Outcome::Abandoned),
        Edge::ShownTooShort => scene.shown_too_short(Outcome::Abandoned),
        Edge::ShownLongEnough => scene.shown_too_short(Outcome::FoundInTime),
        Edge::PageAtRaise => scene.page_after(0, Outcome::Abandoned),
        Edge::PageAfterRaise => scene.page_after(1, Outcome::GaveUp),
        Edge::Prerendered => scene.prerendered(),
        Edge::LeftAtDeadline => scene.left_after(WITHIN),
        Edge::LeftBeforeDeadline => scene.left_after(WITHIN - 1),
        Edge::SingleEvent => {}
    }
}

/// A page that raises nothing; where the need is returns, delivery is met here, for the cart would
/// raise it too.
fn enter(script: &mut Script) -> (Need, PageType) {
    idle::calm_page(script);
    script.beat();
    let (need, page) = if script.rng.chance(0.6) {
        script.set_free(Need::Returns);
        (Need::Delivery, PageType::Product)
    } else {
        script.show(Need::Delivery, 150, false);
        script.set_free(Need::Delivery);
        (Need::Returns, PageType::Cart)
    };
    script.think();
    (need, page)
}

struct Scene<'a> {
    script: &'a mut Script,
    need: Need,
    page: PageType,
}

impl Scene<'_> {
    fn raise(&mut self, outcome: Outcome) {
        self.script.open(self.page);
        self.script.look_for(self.need, outcome);
    }

    fn see(&mut self) {
        self.script.show(self.need, 150, false);
        let now = self.script.now();
        self.script.found(self.need, now);
    }

    fn found_after(&mut self, wait: i64, outcome: Outcome) {
        self.raise(outcome);
        self.script.wait(wait);
        self.see();
        idle::dwell(self.script, 2);
    }

    /// The answer in the microsecond of the raising page: before it, the need is met; after it, it
    /// is found at once. What comes first is told by `seq`, or by the ids alone.
    fn shown_at_raise(&mut self, edge: Edge) {
        if edge == Edge::FoundAtRaiseById {
            self.raise(Outcome::FoundInTime);
            self.script.show(self.need, 150, true);
            let now = self.script.now();
            self.script.found(self.need, now);
        } else {
            let by_id = edge == Edge::MetAtRaiseById;
            self.script.show(self.need, 150, false);
            self.script.set_free(self.need);
            self.script.open_with(self.page, Details::default(), by_id);
        }
        idle::dwell(self.script, 2);
    }

    /// Clicks in the microseconds of the raising and of the find count; two are within the budget,
    /// a third just before the raising event, in its microsecond, is not.
    fn clicks_at_ends(&mut self, over_budget: bool) {
        if over_budget {
            self.script.click("nav>ul");
            self.raise(Outcome::FoundLate);
            self.script.count_earlier_click();
        } else {
            self.raise(Outcome::FoundInTime);
        }
        self.script.click("#gallery");
        self.script.wait(MOMENT);
        self.script.show(self.need, 150, false);
        self.script.click("#gallery");
        let now = self.script.now();
        self.script.found(self.need, now);
        self.script.wait(1);
        self.script.click("#gallery");
    }

    fn clicks(&mut self, clicks: u32, outcome: Outcome) {
        self.raise(outcome);
        for _ in 0..clicks {
            self.script.wait(MOMENT / 2);
            self.script.click("#tabs .details");
        }
        self.script.wait(MOMENT / 2);
        self.see();
        self.script.wait(1);
        self.script.click("#tabs .details");
    }

    /// A pause of exactly the session gap does not end a session; one of a microsecond more does,
    /// which is the visitor's next session to begin. A hidden page's heartbeat bridges nothing.
    fn gap(&mut self, edge: Edge) {
        let gap = self.script.pace.session_gap;
        match edge {
            Edge::GapThenPage => {
                self.raise(Outcome::GaveUp);
                self.script.beat();
                self.script.show_other("details");
                self.script.wait(gap);
                self.script.open(PageType::Category);
            }
            Edge::GapThenFind => {
                self.raise(Outcome::FoundLate);
                self.script.wait(gap);
                self.see();
            }
            _ => {
                self.raise(Outcome::Abandoned);
                self.script.beat();
                self.script.show_other("details");
                self.script.emit_hidden(gap / 2);
            }
        }
    }

    fn converted_near_find(&mut self, edge: Edge) {
        let outcome = match edge {
            Edge::FoundAfterConversion => Outcome::ConvertedWithout,
            _ => Outcome::FoundInTime,
        };
        self.raise(outcome);
        self.script.wait(MOMENT);
        match edge {
            Edge::ConvertedAfterFindAtOnce => {
                self.see();
                trade::purchase_once(self.script);
            }
            Edge::ConvertedBeforeFindAtOnce => {
                trade::purchase_once(self.script);
                self.see();
            }
            _ => {
                trade::purchase_once(self.script);
                self.script.wait(1);
                self.script.show(self.need, 150, false);
            }
        }
    }

    /// An order in the microsecond of the raising is one at or after it; a microsecond earlier, it
    /// is none of this need's.
    fn converted_before_raise(&mut self, wait: i64, outcome: Outcome) {
        trade::purchase_once(self.script);
        self.script.wait(wait);
        self.raise(outcome);
        if outcome == Outcome::ConvertedWithout {
            self.script.converted();
        }
        idle::dwell(self.script, 2);
    }

    fn shown_too_short(&mut self, outcome: Outcome) {
        self.raise(outcome);
        self.script.wait(MOMENT);
        self.script.show(self.need, 149, false);
        self.script.wait(MOMENT);
        if outcome == Outcome::FoundInTime {
            self.see();
        }
    }

    fn page_after(&mut self, wait: i64, outcome: Outcome) {
        self.raise(outcome);
        self.script.wait(wait);
        self.script.open(PageType::Category);
        idle::dwell(self.script, 3);
    }

    fn prerendered(&mut self) {
        let unseen = Details { visible_ms: Some(0), ..Details::default() };
        self.script.open_with(self.page, unseen, false);
        self.script.wait(WITHIN);
        self.found_after(MOMENT, Outcome::FoundInTime);
    }

    fn left_after(&mut self, wait: i64) {
        self.raise(Outcome::Abandoned);
        self.script.wait(wait);
        self.script.show_other("footer");
    }
}
