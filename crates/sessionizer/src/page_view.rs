//! The page view a session is on, and which events make one page view together.

use footfall_event::Micros;
use serde::{Deserialize, Serialize};

use crate::texts::Texts;
use crate::{Fact, Hit};

/// A page view that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPageView {
    /// By the places below.
    texts: Texts<5>,
    /// Counted from 1 within its session.
    pub index: u64,
    pub started_at: Micros,
    pub visible_ms: Option<i64>,
    pub lcp_ms: Option<i64>,
    pub click_count: u64,
    has_own_id: bool,
}

const ID: usize = 0;
const PATH: usize = 1;
const TYPE: usize = 2;
/// The page-view event that began it: its address and its name.
const URL: usize = 3;
const EVENT_NAME: usize = 4;

impl OpenPageView {
    pub fn begin(hit: &Hit, index: u64) -> OpenPageView {
        let own_id = hit.fact(Fact::PageViewId);
        let texts = [
            own_id.or(hit.fact(Fact::EventId)),
            hit.fact(Fact::PagePath),
            hit.fact(Fact::PageType),
            hit.fact(Fact::PageUrl),
            hit.fact(Fact::EventName),
        ];
        OpenPageView {
            texts: Texts::pack(|i| texts[i]),
            index,
            started_at: hit.event_time,
            visible_ms: None,
            lcp_ms: None,
            click_count: 0,
            has_own_id: own_id.is_some(),
        }
    }

    pub fn id(&self) -> &str {
        self.texts.at(ID).unwrap_or_default()
    }

    pub fn path(&self) -> Option<&str> {
        self.texts.at(PATH)
    }

    pub fn page_type(&self) -> Option<&str> {
        self.texts.at(TYPE)
    }

    /// Whether page-view event `hit` goes on with this page view: by an equal id, or, where one of
    /// the two has none, by the address of the event that began it under another name (a `page_view`
    /// and its `view_item`). A page view that began without an id takes the first that comes.
    pub fn joins(&mut self, hit: &Hit) -> bool {
        let theirs = hit.fact(Fact::PageViewId);
        if let Some(theirs) = theirs.filter(|_| self.has_own_id) {
            return theirs == self.id();
        }
        let url = self.texts.at(URL);
        let joins = url.is_some()
            && url == hit.fact(Fact::PageUrl)
            && self.texts.at(EVENT_NAME) != hit.fact(Fact::EventName);
        if joins && theirs.is_some() {
            self.texts = Texts::pack(|i| if i == ID { theirs } else { self.texts.at(i) });
            self.has_own_id = true;
        }
        joins
    }

    /// Counts an event for this page view.
    pub fn add(&mut self, hit: &Hit) {
        self.visible_ms = self.visible_ms.max(hit.visible_ms);
        self.lcp_ms = self.lcp_ms.max(hit.lcp_ms);
        self.click_count += u64::from(hit.is_click());
    }
}
