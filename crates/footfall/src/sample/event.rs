//! An event as the storefront means it, and its bytes in Footfall's own JSON form. What happens in
//! which order is left to the scripts.

use std::sync::Arc;

use super::catalog::{Campaign, PRODUCTS};
use super::json::JsonObject;

/// What all events of a session share.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) site: Arc<str>,
    /// The device's id; an event with neither this nor `user_id` is cookieless.
    pub(super) visitor_id: Option<Arc<str>>,
    pub(super) user_id: Option<Arc<str>>,
    pub(super) client_session: Option<u64>,
    pub(super) campaign: Option<&'static Campaign>,
    pub(super) click_id: Option<u64>,
    pub(super) user_agent: &'static str,
    pub(super) language: &'static str,
    pub(super) consent: &'static str,
}

/// The page that an event happened on.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) view: Option<u64>,
    pub(super) kind: PageType,
    pub(super) path: String,
    pub(super) title: &'static str,
    pub(super) referrer: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageType {
    Home,
    Category,
    Search,
    Content,
    Account,
    Product,
    Cart,
    Checkout,
    Confirmation,
}

impl PageType {
    pub(super) const fn name(self) -> &'static str {
        match self {
            PageType::Home => "home",
            PageType::Category => "category",
            PageType::Search => "search",
            PageType::Content => "content",
            PageType::Account => "account",
            PageType::Product => "product",
            PageType::Cart => "cart",
            PageType::Checkout => "checkout",
            PageType::Confirmation => "confirmation",
        }
    }
}

/// One event before it has an arrival.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) visit: Arc<Visit>,
    pub(super) page: Option<Arc<Page>>,
    pub(super) name: &'static str,
    /// Microseconds UTC.
    pub(super) time: i64,
    pub(super) id: EventId,
    pub(super) seq: Option<u32>,
    /// Shares time and `seq` with the draft before it, so that only the id orders the two.
    pub(super) tied: bool,
    /// Meant to arrive beyond the allowed lateness.
    pub(super) late: bool,
    /// Belongs to no session: the heartbeat of a hidden page.
    pub(super) hidden: bool,
    pub(super) details: Details,
}

/// 128 random bits, and in a few ties a last character that UTF-8 and UTF-16 order differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventId {
    pub(super) bits: u128,
    pub(super) suffix: &'static str,
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (high, low) = ((self.bits >> 64) as u64, self.bits as u64);
        write!(f, "{high:016x}{low:016x}{}", self.suffix)
    }
}

/// The columns that only some events fill.
#[derive(Debug, Default)]
pub(super) struct Details {
    pub(super) section: Option<&'static str>,
    pub(super) info_key: Option<&'static str>,
    pub(super) target: Option<&'static str>,
    pub(super) position: Option<(i32, i32)>,
    pub(super) visible_ms: Option<u32>,
    pub(super) error: Option<&'static str>,
    pub(super) scroll_depth: Option<u32>,
    /// The view's id is left out, as clients do that send it with `page_view` alone.
    pub(super) without_view: bool,
    pub(super) speed: Option<Speed>,
    pub(super) search: Option<Search>,
    pub(super) trade: Option<Box<Trade>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Speed {
    pub(super) lcp_ms: u32,
    pub(super) inp_ms: u32,
    pub(super) ttfb_ms: u32,
    pub(super) cls_thousandths: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    pub(super) id: u64,
    pub(super) term: &'static str,
    pub(super) results: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Trade {
    /// Indexes into the products, with quantities.
    pub(super) items: Vec<(usize, u32)>,
    pub(super) cart: Option<u64>,
    pub(super) order: Option<u64>,
    pub(super) cents: Option<i64>,
    pub(super) currency: Option<&'static str>,
    pub(super) coupon: Option<&'static str>,
}

impl Draft {
    /// The event's bytes: a JSON object on one line. Equal drafts give equal bytes.
    pub(super) fn to_json(&self) -> String {
        let mut json = JsonObject::with_capacity(768);
        json.shown("event_id", self.id);
        json.text("event_name", self.name);
        json.time("timestamp", self.time);
        if let Some(seq) = self.seq {
            json.whole("seq", i64::from(seq));
        }
        self.visit.write(&mut json);
        if let Some(page) = &self.page {
            page.write(&mut json, &self.visit.site, self.details.without_view);
        }
        self.details.write(&mut json);
        json.finish()
    }
}

impl Visit {
    /// What a session's row calls the visitor: a user id that stands in for a device is `u:<id>`.
    pub(super) fn visitor(&self) -> Option<String> {
        let of_user = |id: &Arc<str>| format!("u:{id}");
        let of_device = self.visitor_id.as_ref().map(|id| id.to_string());
        of_device.or_else(|| self.user_id.as_ref().map(of_user))
    }

    fn write(&self, json: &mut JsonObject) {
        json.text("site", &self.site);
        json.text_if("visitor_id", self.visitor_id.as_deref());
        json.text_if("user_id", self.user_id.as_deref());
        if let Some(session) = self.client_session {
            json.shown("client_session_id", format_args!("c{session:016x}"));
        }
        if let Some(campaign) = self.campaign {
            json.text("utm_source", campaign.source);
            json.text("utm_medium", campaign.medium);
            json.text("utm_campaign", campaign.name);
            json.text_if("utm_term", campaign.term);
            json.text_if("utm_content", campaign.content);
        }
        if let Some(click) = self.click_id {
            json.shown("click_id", format_args!("gclid.{click:016x}"));
        }
        json.text("user_agent", self.user_agent);
        json.text("language", self.language);
        json.text("consent", self.consent);
    }
}

impl Page {
    fn write(&self, json: &mut JsonObject, site: &str, without_view: bool) {
        if let Some(view) = self.view.filter(|_| !without_view) {
            json.shown("page_view_id", format_args!("p{view:016x}"));
        }
        json.shown("page_url", format_args!("https://{site}.example{}", self.path));
        json.text("page_path", &self.path);
        json.text("page_type", self.kind.name());
        json.text("page_title", self.title);
        json.text_if("referrer", self.referrer);
    }
}

impl Details {
    fn write(&self, json: &mut JsonObject) {
        json.text_if("section", self.section);
        json.text_if("info_key", self.info_key);
        json.text_if("target", self.target);
        if let Some((x, y)) = self.position {
            json.whole("x", i64::from(x));
            json.whole("y", i64::from(y));
        }
        if let Some(visible_ms) = self.visible_ms {
            json.whole("visible_ms", i64::from(visible_ms));
        }
        if let Some(search) = self.search {
            json.shown("search_id", format_args!("q{:016x}", search.id));
            json.text("search_term", search.term);
            json.whole("search_results", i64::from(search.results));
        }
        if let Some(speed) = self.speed {
            json.whole("lcp_ms", i64::from(speed.lcp_ms));
            json.whole("inp_ms", i64::from(speed.inp_ms));
            json.decimal("cls", i64::from(speed.cls_thousandths), 3);
            json.whole("ttfb_ms", i64::from(speed.ttfb_ms));
        }
        if let Some(trade) = &self.trade {
            trade.write(json);
        }
        json.text_if("error", self.error);
        if let Some(depth) = self.scroll_depth {
            json.object("properties", |properties| properties.whole("depth", i64::from(depth)));
        }
    }
}

impl Trade {
    fn write(&self, json: &mut JsonObject) {
        if !self.items.is_empty() {
            json.array("items", &self.items, |item, &(product, quantity)| {
                let product = &PRODUCTS[product];
                item.text("item_id", product.id);
                item.text("item_name", product.name);
                item.text("item_brand", product.brand);
                item.text("item_category", product.category);
                item.text_if("item_variant", product.variant);
                item.decimal("price", product.cents, 2);
                item.whole("quantity", i64::from(quantity));
            });
        }
        if let Some(cart) = self.cart {
            json.shown("cart_id", format_args!("k{cart:012x}"));
        }
        if let Some(order) = self.order {
            json.shown("order_id", format_args!("o{order:012x}"));
        }
        if let Some(cents) = self.cents {
            json.decimal("value", cents, 2);
        }
        json.text_if("currency", self.currency);
        json.text_if("coupon", self.coupon);
    }
}
