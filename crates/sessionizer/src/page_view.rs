//! The page view a session is on, and which events make one page view together.

use footfall_event::Micros;
use serde::{Deserialize, Serialize};

use crate::{Fact, Hit};

/// A page view that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPageView {
    pub page_view_id: Box<str>,
    /// Counted from 1 within its session.
    pub index: u64,
    pub page_path: Option<Box<str>>,
    pub page_type: Option<Box<str>>,
    pub started_at: Micros,
    pub visible_ms: Option<i64>,
    pub lcp_ms: Option<i64>,
    pub click_count: u64,
    /// Of the page-view event that began it.
    page_url: Option<Box<str>>,
    event_name: Box<str>,
    has_own_id: bool,
}

impl OpenPageView {
    pub fn begin(hit: &Hit, index: u64) -> OpenPageView {
        let own_id = hit.fact(Fact::PageViewId);
        OpenPageView {
            page_view_id: own_id.or(hit.fact(Fact::EventId)).unwrap_or_default().into(),
            index,
            page_path: hit.fact(Fact::PagePath).map(Into::into),
            page_type: hit.fact(Fact::PageType).map(Into::into),
            started_at: hit.event_time,
            visible_ms: None,
            lcp_ms: None,
            click_count: 0,
            page_url: hit.fact(Fact::PageUrl).map(Into::into),
            event_name: hit.fact(Fact::EventName).unwrap_or_default().into(),
            has_own_id: own_id.is_some(),
        }
    }

    /// Whether page-view event `hit` goes on with this page view: by an equal id, or, where one of
    /// the two has none, by the address of the event that began it under another name (a `page_view`
    /// and its `view_item`). A page view that began without an id takes the first that comes.
    pub fn joins(&mut self, hit: &Hit) -> bool {
        let theirs = hit.fact(Fact::PageViewId);
        if let Some(theirs) = theirs.filter(|_| self.has_own_id) {
            return theirs == &*self.page_view_id;
        }
        let joins = self.page_url.is_some()
            && self.page_url.as_deref() == hit.fact(Fact::PageUrl)
            && Some(&*self.event_name) != hit.fact(Fact::EventName);
        if let Some(theirs) = theirs.filter(|_| joins) {
            self.page_view_id = theirs.into();
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
