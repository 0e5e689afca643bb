//! Which of Segment's properties and context fill which column.

use std::borrow::Cow;

use footfall_event::{Column, Event, Item, Limits, Text, Whole};

use super::super::fields::{self, Fields, Object};

/// Columns that say who and what an event is: no property fills them, whatever it is called.
const OWN: [Text; 5] = [Text::EventId, Text::Site, Text::VisitorId, Text::UserId, Text::EventName];

/// Greatest whole number that a JSON number holds exactly.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

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
const CONTEXT: [(&str, Text); 4] = [
    ("userAgent", Text::UserAgent),
    ("locale", Text::Language),
    ("ip", Text::Ip),
    ("sessionId", Text::ClientSessionId),
];

/// A property that has the name of a column and fits it fills it, and so do those that Segment's
/// e-commerce events call otherwise. What does not fit stays.
pub fn fill_from_properties<'a>(
    event: &mut Event<'a>,
    kind: &str,
    properties: &mut Fields<'a>,
    limits: &Limits,
) {
    if kind == "page" {
        for (name, column) in PAGE {
            properties.fill(name, |raw| fill_text(event, column, raw, limits));
        }
    }
    properties.fill_each(|name, raw| match Column::named(name) {
        Some(Column::Text(column)) if !OWN.contains(&column) => {
            fill_text(event, column, raw, limits)
        }
        Some(Column::Whole(column)) => fill_whole(event, column, raw),
        Some(Column::Cls) => fill(&mut event.cls, fields::number(raw)),
        Some(Column::Value) => fill(&mut event.value, fields::money(raw)),
        _ => false,
    });
    properties.fill("revenue", |raw| fill(&mut event.value, fields::money(raw)));
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
    for (name, column) in CONTEXT {
        context.fill(name, |raw| fill_text(event, column, raw, limits));
    }
    let mut rest = Object::default();
    for (part, columns) in [("page", PAGE.as_slice()), ("campaign", CAMPAIGN.as_slice())] {
        let mut inner = Fields::default();
        context.fill(part, |raw| Fields::of_object(raw).map(|parsed| inner = parsed).is_some());
        for (name, column) in columns {
            inner.fill(name, |raw| fill_text(event, *column, raw, limits));
        }
        inner.fill("search", |raw| is_in_url(event, raw));
        let mut left = Object::default();
        inner.iter().for_each(|(key, raw)| left.push(key, raw));
        if let Some(left) = left.finish() {
            rest.push(part, &left);
        }
    }
    context.iter().for_each(|(key, raw)| rest.push(key, raw));
    rest.finish()
}

fn is_in_url(event: &Event<'_>, raw: &str) -> bool {
    let url = event.text(Text::PageUrl).unwrap_or("");
    fields::text(raw).is_some_and(|search| url.contains(search.as_ref()))
}

/// Is the value in its column, or is there nothing to it?
fn fill_text<'a>(event: &mut Event<'a>, column: Text, raw: &'a str, limits: &Limits) -> bool {
    let takes_numbers = column.name().ends_with("_id");
    let text = if takes_numbers { fields::id(raw) } else { fields::text(raw) };
    match (event.text(column), text) {
        (_, None) => raw == "null",
        (_, Some(text)) if text.len() > limits.bytes_max(column) => false,
        (Some(there), Some(text)) => text == there,
        (None, Some(text)) => {
            event.set_text(column, text);
            true
        }
    }
}

fn fill_whole(event: &mut Event<'_>, column: Whole, raw: &str) -> bool {
    match fields::number(raw).filter(|number| number.abs() <= EXACT_MAX) {
        Some(number) if event.whole(column).is_none() => {
            event.set_whole(column, number.round() as i64);
            true
        }
        _ => false,
    }
}

fn fill<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let fills = place.is_none() && value.is_some();
    if fills {
        *place = value;
    }
    fills
}

/// Fills `items` with a list of products; says whether the items hold all there is to them.
fn fill_items<'a>(event: &mut Event<'a>, raw: &'a str, limits: &Limits) -> bool {
    let products: Option<Vec<Fields<'a>>> = serde_json::from_str(raw).ok();
    let fits = |products: &Vec<_>| event.items.is_empty() && products.len() <= limits.items_max;
    let Some(products) = products.filter(fits) else { return false };
    let mut is_all = true;
    for mut product in products {
        event.items.push(take_item(&mut product, limits));
        is_all &= product.is_empty();
    }
    is_all
}

/// `Product Viewed` and its like are about one product, whose fields stand beside the others.
fn fill_item<'a>(event: &mut Event<'a>, properties: &mut Fields<'a>, limits: &Limits) {
    if properties.get("product_id").is_some() {
        let item = take_item(properties, limits);
        event.items.push(item);
    }
}

fn take_item<'a>(product: &mut Fields<'a>, limits: &Limits) -> Item<'a> {
    let fits = |text: &Cow<'_, str>| text.len() <= limits.id_bytes_max;
    let text = |raw| fields::text(raw).filter(fits);
    let mut item = Item::default();
    product.fill_each(|name, raw| match name {
        "product_id" | "item_id" => fill(&mut item.item_id, fields::id(raw).filter(fits)),
        "name" | "item_name" => fill(&mut item.item_name, text(raw)),
        "brand" | "item_brand" => fill(&mut item.item_brand, text(raw)),
        "category" | "item_category" => fill(&mut item.item_category, text(raw)),
        "variant" | "item_variant" => fill(&mut item.item_variant, text(raw)),
        "price" => fill(&mut item.price, fields::money(raw)),
        "quantity" => fill(&mut item.quantity, fields::number(raw)),
        _ => false,
    });
    item
}
