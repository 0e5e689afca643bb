//! What the self-describing events and contexts of Snowplow's own schemas (github.com/snowplow/iglu-central) mean here.

use std::borrow::Cow;

use footfall_event::{Event, Item, Limits, Text, Whole};

use super::super::fields::{self, Fields, Object};
use super::super::fill::{fill, fill_named, fill_text, fill_whole, take_item};

const TRACKER: &str = "com.snowplowanalytics.snowplow";
const ECOMMERCE: &str = "com.snowplowanalytics.snowplow.ecommerce";

/// Which fields fill which text.
type Fills = &'static [(&'static str, Text)];

/// JSON that names its schema: `{"schema": "iglu:VENDOR/NAME/jsonschema/VERSION", "data": …}`.
pub struct SelfDescribing<'a> {
    schema: Cow<'a, str>,
    pub data: &'a str,
}

impl<'a> SelfDescribing<'a> {
    /// # Errors
    /// What was expected, as half a sentence.
    pub fn parse(json: &'a str) -> Result<SelfDescribing<'a>, String> {
        let told = "self-describing JSON, with `schema` and `data`";
        let mut fields = Fields::parse(json).map_err(|error| format!("{told}: {error}"))?;
        // PHP escapes its slashes.
        let schema = fields.take("schema").and_then(fields::text).ok_or(told)?;
        vendor_and_name(&schema).ok_or(told)?;
        let data = fields.take("data").ok_or(told)?;
        Ok(SelfDescribing { schema, data })
    }

    /// Its vendor and its name.
    fn kind(&self) -> (&str, &str) {
        vendor_and_name(&self.schema).unwrap_or_default()
    }
}

/// Of `iglu:VENDOR/NAME/…`.
fn vendor_and_name(schema: &str) -> Option<(&str, &str)> {
    let (vendor, rest) = schema.strip_prefix("iglu:")?.split_once('/')?;
    let name = rest.split('/').next()?;
    (!vendor.is_empty() && !name.is_empty()).then_some((vendor, name))
}

/// GA4's names of what a shop's action is.
const ACTIONS: [(&str, &str); 10] = [
    ("product_view", "view_item"),
    ("list_view", "view_item_list"),
    ("list_click", "select_item"),
    ("add_to_cart", "add_to_cart"),
    ("remove_from_cart", "remove_from_cart"),
    ("checkout_step", "begin_checkout"),
    ("transaction", "purchase"),
    ("refund", "refund"),
    ("promo_view", "view_promotion"),
    ("promo_click", "select_promotion"),
];

/// Snowplow's own events that are known here by another name, and which of their fields fill a text; of several
/// for one column the first that is there.
const EVENTS: [(&str, &str, Fills); 4] = [
    ("link_click", "click", &[("elementId", Text::Target), ("targetUrl", Text::Target)]),
    (
        "button_click",
        "click",
        &[("id", Text::Target), ("name", Text::Target), ("label", Text::Target)],
    ),
    ("application_error", "error", &[("message", Text::Error)]),
    ("site_search", "search", &[]),
];

const VITALS: [(&str, Whole); 3] =
    [("lcp", Whole::LcpMs), ("inp", Whole::InpMs), ("ttfb", Whole::TtfbMs)];

/// Sets the event's name and columns by what it says of itself; the rest goes to `rest`.
///
/// # Errors
/// What was expected, as half a sentence.
pub fn fill_from_event<'a>(
    event: &mut Event<'a>,
    told: &SelfDescribing<'a>,
    limits: &Limits,
    rest: &mut Object,
) -> Result<(), String> {
    let mut data = Fields::of_object(told.data).ok_or("an object as `data`")?;
    let (vendor, name) = told.kind();
    let known = EVENTS.iter().find(|(known, ..)| vendor == TRACKER && name == *known);
    match (vendor, name, known) {
        (ECOMMERCE, "snowplow_ecommerce_action", _) => {
            let kind = data.take("type").and_then(fields::text).ok_or("a `type` of action")?;
            let known = ACTIONS.iter().find(|(action, _)| *action == kind);
            let name = known.map_or(kind, |(_, name)| Cow::Borrowed(*name));
            event.set_text(Text::EventName, name);
        }
        (TRACKER, "web_vitals", _) => {
            event.set_text(Text::EventName, "web_vitals");
            for (name, column) in VITALS {
                data.fill(name, |raw| fill_whole(event, column, raw));
            }
            data.fill("cls", |raw| fill(&mut event.cls, fields::number(raw)));
        }
        (TRACKER, "add_to_cart" | "remove_from_cart", _) => {
            event.set_text(Text::EventName, name.to_owned());
            data.fill("currency", |raw| fill_text(event, Text::Currency, raw, limits));
            let names = ["sku", "name", "category", "unitPrice", "quantity"];
            event.items.extend(product(&mut data, names, limits));
        }
        (_, _, Some((_, name, columns))) => {
            event.set_text(Text::EventName, *name);
            for (field, column) in *columns {
                data.fill(field, |raw| fill_text(event, *column, raw, limits));
            }
            data.fill("terms", |raw| fill_terms(event, raw, limits));
            data.fill("totalResults", |raw| fill_whole(event, Whole::SearchResults, raw));
        }
        _ => {
            event.set_text(Text::EventName, name.to_owned());
            fill_named(event, &mut data, limits);
            let schema = fields::json(&told.schema);
            rest.push_new("schema", "snowplow_", &schema);
        }
    }
    data.iter().for_each(|(key, raw)| rest.push_new(key, "snowplow_", raw));
    Ok(())
}

/// The words that were searched for.
fn fill_terms(event: &mut Event<'_>, raw: &str, limits: &Limits) -> bool {
    let Ok(terms) = serde_json::from_str::<Vec<String>>(raw) else { return false };
    let terms = terms.join(" ");
    let is_free = event.text(Text::SearchTerm).is_none();
    let fits = is_free && terms.len() <= limits.bytes_max(Text::SearchTerm);
    if fits {
        event.set_text(Text::SearchTerm, terms);
    }
    fits
}

/// Which fields of which context fill which text.
const CONTEXTS: [(&str, &str, Fills); 8] = [
    (TRACKER, "web_page", &[("id", Text::PageViewId)]),
    (
        TRACKER,
        "client_session",
        &[("userId", Text::VisitorId), ("sessionId", Text::ClientSessionId)],
    ),
    (ECOMMERCE, "page", &[("type", Text::PageType), ("language", Text::Language)]),
    (ECOMMERCE, "cart", &[("cart_id", Text::CartId), ("currency", Text::Currency)]),
    (
        ECOMMERCE,
        "transaction",
        &[
            ("transaction_id", Text::OrderId),
            ("currency", Text::Currency),
            ("discount_code", Text::Coupon),
        ],
    ),
    (ECOMMERCE, "refund", &[("transaction_id", Text::OrderId), ("currency", Text::Currency)]),
    (ECOMMERCE, "checkout_step", &[("coupon_code", Text::Coupon)]),
    (ECOMMERCE, "user", &[("id", Text::UserId)]),
];

/// Fills what the event left open; what found no column, as an array of contexts.
pub fn fill_from_contexts<'a>(
    event: &mut Event<'a>,
    contexts: Vec<SelfDescribing<'a>>,
    limits: &Limits,
) -> Option<String> {
    let mut left = String::new();
    for context in contexts {
        let data = match context.data.starts_with('{') {
            true => fill_from_context(event, &context, limits),
            false => Some(context.data.to_owned()),
        };
        if let Some(data) = data {
            let mut rest = Object::default();
            rest.push("schema", &fields::json(&context.schema));
            rest.push("data", &data);
            left.push(if left.is_empty() { '[' } else { ',' });
            left.push_str(&rest.finish().unwrap_or_default());
        }
    }
    (!left.is_empty()).then(|| left + "]")
}

/// What is left of its data, if anything.
fn fill_from_context<'a>(
    event: &mut Event<'a>,
    context: &SelfDescribing<'a>,
    limits: &Limits,
) -> Option<String> {
    let mut data = Fields::of_object(context.data).unwrap_or_default();
    let kind = context.kind();
    let known = CONTEXTS.iter().filter(|(vendor, name, _)| kind == (*vendor, *name));
    for (field, column) in known.flat_map(|(_, _, columns)| *columns) {
        data.fill(field, |raw| fill_text(event, *column, raw, limits));
    }
    // Whose a context is, this may be said in it: trackers have no other place for it.
    data.fill("consent", |raw| fill_text(event, Text::Consent, raw, limits));
    match kind {
        (TRACKER, "client_session") => {
            data.fill("eventIndex", |raw| fill_whole(event, Whole::Seq, raw));
        }
        // The action says of each step that it is one.
        (ECOMMERCE, "checkout_step")
            if event.text(Text::EventName) == Some("begin_checkout")
                && data.get("step").and_then(fields::number).is_some_and(|step| step > 1.0) =>
        {
            event.set_text(Text::EventName, "checkout_step_viewed");
        }
        (ECOMMERCE, "transaction") => {
            data.fill("revenue", |raw| fill(&mut event.value, fields::money(raw)));
        }
        (ECOMMERCE, "refund") => {
            data.fill("refund_amount", |raw| fill(&mut event.value, fields::money(raw)));
        }
        (ECOMMERCE, "product") if event.items.len() < limits.items_max => {
            data.fill("currency", |raw| fill_text(event, Text::Currency, raw, limits));
            event.items.push(take_item(&mut data, limits));
        }
        _ => {}
    }
    let mut rest = Object::default();
    data.iter().for_each(|(key, raw)| rest.push(key, raw));
    rest.finish()
}

/// The product of a line of an order.
pub fn transaction_item<'a>(fields: &mut Fields<'a>, limits: &Limits) -> Option<Item<'a>> {
    product(fields, ["ti_sk", "ti_nm", "ti_ca", "ti_pr", "ti_qu"], limits)
}

/// A product under the names that its id, name, category, price and quantity have.
fn product<'a>(
    fields: &mut Fields<'a>,
    [id, name, category, price, quantity]: [&str; 5],
    limits: &Limits,
) -> Option<Item<'a>> {
    let fits = |text: &Cow<'_, str>| text.len() <= limits.id_bytes_max;
    let mut item = Item::default();
    fields.fill(id, |raw| fill(&mut item.item_id, fields::id(raw).filter(fits)));
    fields.fill(name, |raw| fill(&mut item.item_name, fields::text(raw).filter(fits)));
    fields.fill(category, |raw| fill(&mut item.item_category, fields::text(raw).filter(fits)));
    fields.fill(price, |raw| fill(&mut item.price, fields::money(raw)));
    fields.fill(quantity, |raw| fill(&mut item.quantity, fields::number_or_text(raw)));
    (item != Item::default()).then_some(item)
}
