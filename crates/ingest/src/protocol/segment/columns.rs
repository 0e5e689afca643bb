//! Which of Segment's properties and context fill which column.

use footfall_event::{Event, Limits, Text};

use super::super::fields::{self, Fields, Object};
use super::super::fill::{fill, fill_items, fill_named, fill_text, take_item};

const PAGE: [(&str, Text); 4] = [
    ("url", Text::PageUrl),
    ("path", Text::PagePath),
    ("title", Text::PageTitle),
    ("referrer", Text::Referrer),
];

const CAMPAIGN: [(&str, Text); 5] = [
    ("source", Text::UtmSource),
    ("medium", Text::UtmMedium),
    ("name", Text::UtmCampaign),
    ("term", Text::UtmTerm),
    ("content", Text::UtmContent),
];

/// `sessionId` is RudderStack's.
const CONTEXT: [(&str, Text); 5] = [
    ("userAgent", Text::UserAgent),
    ("locale", Text::Language),
    ("ip", Text::Ip),
    ("sessionId", Text::ClientSessionId),
    ("consent", Text::Consent),
];

/// What RudderStack's browser SDK says of a page that was reached from none.
const NO_REFERRER: &str = "$direct";

/// A property that has the name of a column and fits it fills it, and so do those that Segment's
/// e-commerce events call otherwise. What does not fit stays.
pub fn fill_from_properties<'a>(
    event: &mut Event<'a>,
    kind: &str,
    properties: &mut Fields<'a>,
    limits: &Limits,
) {
    properties.fill("referrer", is_no_referrer);
    if kind == "page" {
        fill_page(event, properties, limits);
    }
    fill_named(event, properties, limits);
    // A refund has a `total` alone.
    for name in ["revenue", "total"] {
        properties.fill(name, |raw| fill(&mut event.value, fields::money(raw)));
    }
    properties.fill("query", |raw| fill_text(event, Text::SearchTerm, raw, limits));
    for name in ["products", "items"] {
        properties.fill(name, |raw| fill_items(event, raw, limits));
    }
    if kind == "track" && event.items.is_empty() {
        fill_item(event, properties, limits);
    }
}

/// Fills what the properties left open, and gives what found no column as an object.
pub fn fill_from_context<'a>(
    event: &mut Event<'a>,
    mut context: Fields<'a>,
    limits: &Limits,
) -> Option<String> {
    fill_texts(event, &mut context, &CONTEXT, limits);
    // What is left of an address would not be cut.
    let _unfit = context.take("ip");
    let mut rest = Object::default();
    for part in ["page", "campaign"] {
        let mut inner = Fields::default();
        context.fill(part, |raw| Fields::of_object(raw).map(|parsed| inner = parsed).is_some());
        inner.fill("referrer", is_no_referrer);
        match part {
            "page" => fill_page(event, &mut inner, limits),
            _ => fill_texts(event, &mut inner, &CAMPAIGN, limits),
        }
        let mut left = Object::default();
        inner.iter().for_each(|(key, raw)| left.push(key, raw));
        if let Some(left) = left.finish() {
            rest.push(part, &left);
        }
    }
    context.iter().for_each(|(key, raw)| rest.push(key, raw));
    rest.finish()
}

fn fill_page<'a>(event: &mut Event<'a>, page: &mut Fields<'a>, limits: &Limits) {
    fill_texts(event, page, &PAGE, limits);
    page.fill("search", |raw| is_in_url(event, raw));
}

fn fill_texts<'a>(
    event: &mut Event<'a>,
    fields: &mut Fields<'a>,
    columns: &[(&str, Text)],
    limits: &Limits,
) {
    for (name, column) in columns {
        fields.fill(name, |raw| fill_text(event, *column, raw, limits));
    }
}

fn is_no_referrer(raw: &str) -> bool {
    fields::text(raw).is_some_and(|referrer| referrer == NO_REFERRER)
}

fn is_in_url(event: &Event<'_>, raw: &str) -> bool {
    let url = event.text(Text::PageUrl).unwrap_or("");
    fields::text(raw).is_some_and(|search| url.contains(search.as_ref()))
}

/// `Product Viewed` and its like are about one product, whose fields stand beside the others.
fn fill_item<'a>(event: &mut Event<'a>, properties: &mut Fields<'a>, limits: &Limits) {
    let has = |name| properties.get(name).is_some_and(|raw| raw != "null");
    if has("product_id") || has("sku") {
        let item = take_item(properties, limits);
        event.items.push(item);
    }
}
