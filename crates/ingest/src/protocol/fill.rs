//! Fills columns with raw JSON values where they fit; what does not fit stays where it was, so that nothing that was
//! sent is lost.

use std::borrow::Cow;

use footfall_event::{Column, Event, Item, Limits, Text, Whole, check_raw_below};
use memchr::memchr2;

use super::fields::{self, Fields};

/// Columns that say who and what an event is: no property fills them, whatever it is called.
const OWN: [Text; 5] = [Text::EventId, Text::Site, Text::VisitorId, Text::UserId, Text::EventName];

/// Greatest whole number that a JSON number holds exactly.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Checks what is to stand in `properties`, one level down.
///
/// # Errors
/// A sentence.
pub fn check_part(raw: &str) -> Result<(), String> {
    check_raw_below(1, raw)
}

/// The path of a URL, which not all clients send by itself.
pub fn path_of(url: &str) -> Option<&str> {
    let scheme = url.as_bytes().windows(3).position(|three| three == b"://")?;
    let rest = &url[scheme + 3..];
    let begin = rest.bytes().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let path = begin.map_or("", |at| &rest[at..]);
    let path = memchr2(b'?', b'#', path.as_bytes()).map_or(path, |end| &path[..end]);
    Some(if path.is_empty() { "/" } else { path })
}

/// Fields that have the name of a column and fit it fill it.
pub fn fill_named<'a>(event: &mut Event<'a>, fields: &mut Fields<'a>, limits: &Limits) {
    fields.fill_each(|name, raw| match Column::named(name) {
        Some(Column::Text(column)) if !OWN.contains(&column) => {
            fill_text(event, column, raw, limits)
        }
        Some(Column::Whole(column)) => fill_whole(event, column, raw),
        Some(Column::Cls) => fill(&mut event.cls, fields::number(raw)),
        Some(Column::Value) => fill(&mut event.value, fields::money(raw)),
        _ => false,
    });
}

/// Is the value in its column, or is there nothing to it?
pub fn fill_text<'a>(event: &mut Event<'a>, column: Text, raw: &'a str, limits: &Limits) -> bool {
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

pub fn fill_whole(event: &mut Event<'_>, column: Whole, raw: &str) -> bool {
    match fields::number(raw).filter(|number| number.abs() <= EXACT_MAX) {
        Some(number) if event.whole(column).is_none() => {
            event.set_whole(column, number.round() as i64);
            true
        }
        _ => false,
    }
}

pub fn fill<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let fills = place.is_none() && value.is_some();
    if fills {
        *place = value;
    }
    fills
}

/// Fills `items` with a list of products; says whether the items hold all there is to them.
pub fn fill_items<'a>(event: &mut Event<'a>, raw: &'a str, limits: &Limits) -> bool {
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

/// A product of those fields that items have, by the names of any protocol.
pub fn take_item<'a>(product: &mut Fields<'a>, limits: &Limits) -> Item<'a> {
    let fits = |text: &Cow<'_, str>| text.len() <= limits.id_bytes_max;
    let text = |raw| fields::text(raw).filter(fits);
    let mut item = Item::default();
    // Of several the first is the product's own: an `id` may be a line's.
    for name in ["item_id", "product_id", "id", "sku"] {
        product.fill(name, |raw| fill(&mut item.item_id, fields::id(raw).filter(fits)));
    }
    product.fill_each(|name, raw| match name {
        "name" | "item_name" => fill(&mut item.item_name, text(raw)),
        "brand" | "item_brand" => fill(&mut item.item_brand, text(raw)),
        "category" | "item_category" => fill(&mut item.item_category, text(raw)),
        "variant" | "item_variant" => fill(&mut item.item_variant, text(raw)),
        "price" => fill(&mut item.price, fields::money(raw)),
        "quantity" => fill(&mut item.quantity, fields::number_or_text(raw)),
        _ => false,
    });
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One level is the object that it will stand in.
    #[test]
    fn a_part_is_nested_one_level_less_than_its_whole() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(check_part(&nested(63)), Ok(()));
        assert!(check_part(&nested(64)).is_err_and(|why| why.contains("64 levels")));
        assert_eq!(check_part(&format!("\"{}\"", "[".repeat(100))), Ok(()));
        assert!(check_part(r#""\ud800""#).is_err());
    }

    #[test]
    fn a_path_is_what_stands_between_host_and_query() {
        for (url, path) in [
            ("https://shop.example/p/1?a=/b#c", Some("/p/1")),
            ("https://shop.example", Some("/")),
            ("https://shop.example?a", Some("/")),
            ("https://shop.example/\u{e9}#/x", Some("/\u{e9}")),
            ("a:b://c/d", Some("/d")),
            ("/p/1", None),
        ] {
            assert_eq!(path_of(url), path, "{url}");
        }
    }
}
