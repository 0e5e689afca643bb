//! The fold that turns a partition's records into sessions, needs and page views: pure, it reads no
//! clock, no file and no network. Evaluating conditions and writing rows is left to the pipeline.

mod clock;
mod dedupe;
mod fold;
mod held;
mod hit;
mod ledger;
mod need;
mod page_view;
mod rage;
mod rows;
mod rules;
mod session;
mod signal;
mod texts;
mod visitors;

pub use clock::LogClock;
pub use fold::{Fold, FoldState, FoldView, LiveSession, Output};
pub use held::Signalled;
pub use hit::{Fact, Facts, Hit};
pub use ledger::{Counts, ReceiptRow, Status};
pub use rows::{
    CloseCause, EventRow, Exit, First, LeaveReason, NeedMark, NeedRow, Outcome, PageViewRow,
    Profile, Rows, SessionRow,
};
pub use rules::{Bits, Conditions, NEEDS_MAX, Need, RuleBook, Rules, RulesId, STEPS_MAX, Step};
pub use session::{Membership, Session, Visitor, step};
pub use signal::Signal;
