//! Carts, checkouts, orders and refunds, with the mishaps of real shops: an order told twice, two
//! currencies in a session. Where in a session they stand is left to the journeys.

use super::catalog::{CURRENCIES, PRODUCTS};
use super::event::{Details, Trade};
use super::script::Script;

/// The `view_item` of the page just opened: the same view's, or without the view's id but on the
/// same URL; in the same microsecond where the client counts its events.
pub(super) fn view_item(script: &mut Script) {
    if !script.client.names_views {
        return;
    }
    if !script.client.counts || script.rng.chance(0.5) {
        let pause = script.rng.between(1, 40_000);
        script.wait(pause);
    }
    let without_view = script.rng.chance(0.2);
    let trade = Trade { items: items(script, 1), ..Trade::default() };
    let details = Details { without_view, trade: Some(Box::new(trade)), ..Details::default() };
    script.emit("view_item", details);
}

pub(super) fn add_to_cart(script: &mut Script) {
    script.think();
    let trade = order(script);
    emit(script, "add_to_cart", Trade { order: None, ..trade });
}

/// The steps of the funnel before the purchase, some of which a shop may leave out.
pub(super) fn checkout_steps(script: &mut Script) {
    let cart = Some(script.rng.word() >> 16);
    for (name, share) in
        [("begin_checkout", 1.0), ("add_shipping_info", 0.8), ("add_payment_info", 0.8)]
    {
        if script.rng.chance(share) {
            emit(script, name, Trade { cart, ..Trade::default() });
            script.beat();
        }
    }
}

/// An order, in some sessions told twice, which ends whatever the visitor was looking for.
pub(super) fn purchase(script: &mut Script) {
    let trade = purchase_once(script);
    if script.rng.chance(0.1) {
        script.beat();
        emit(script, "purchase", trade);
    }
}

/// An order in this very microsecond.
pub(super) fn purchase_once(script: &mut Script) -> Trade {
    let trade = order(script);
    emit(script, "purchase", trade.clone());
    script.converted();
    trade
}

/// What sometimes follows an order: a second one, often in another currency, and a refund.
pub(super) fn after_purchase(script: &mut Script) {
    if script.rng.chance(0.12) {
        script.beat();
        let currency = Some(script.rng.pick(CURRENCIES));
        let trade = Trade { currency, ..order(script) };
        emit(script, "purchase", trade);
    }
    if script.rng.chance(0.1) {
        script.beat();
        let trade = order(script);
        emit(script, "refund", trade);
    }
}

fn order(script: &mut Script) -> Trade {
    let count = script.rng.skewed(1, 4);
    let items = items(script, count);
    let cents =
        items.iter().map(|&(product, count)| PRODUCTS[product].cents * i64::from(count)).sum();
    let currency = script.rng.weighted(&[(85, 0), (10, 1), (5, 2)]);
    Trade {
        items,
        cart: Some(script.rng.word() >> 16),
        order: script.rng.chance(0.95).then(|| script.rng.word() >> 16),
        cents: Some(cents),
        currency: Some(CURRENCIES[currency]),
        coupon: script.rng.chance(0.1).then_some("FRÜHLING10"),
    }
}

fn items(script: &mut Script, count: i64) -> Vec<(usize, u32)> {
    let item = |_| {
        let product = script.rng.below(PRODUCTS.len() as u64) as usize;
        (product, script.rng.between(1, 3) as u32)
    };
    (0..count).map(item).collect()
}

fn emit(script: &mut Script, name: &'static str, trade: Trade) {
    script.emit(name, Details { trade: Some(Box::new(trade)), ..Details::default() });
}
