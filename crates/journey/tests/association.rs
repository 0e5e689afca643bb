//! What an unmet need is associated with losing: its formula, its bounds, its interval.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use footfall_journey::association::{Sides, loss};

const SIDES: Sides =
    Sides { found: 400, found_converted: 80, not_found: 600, not_found_converted: 30 };

#[test]
fn the_loss_is_who_left_times_the_difference_times_the_average_order() {
    let loss = loss(SIDES, &[40.0, 60.0]).unwrap();
    // 570 left, 20 % against 5 %, 50 an order.
    assert!((loss.loss - 570.0 * 0.15 * 50.0).abs() < 1e-6, "{loss:?}");
}

#[test]
fn the_interval_holds_the_loss_and_grows_narrow_with_the_data() {
    let orders: Vec<f64> = (0..110).map(|order| 20.0 + f64::from(order % 7) * 10.0).collect();
    let few = loss(SIDES, &orders).unwrap();
    assert!(few.low < few.loss && few.loss < few.high, "{few:?}");
    let times = 100;
    let many = Sides {
        found: SIDES.found * times,
        found_converted: SIDES.found_converted * times,
        not_found: SIDES.not_found * times,
        not_found_converted: SIDES.not_found_converted * times,
    };
    let many = loss(many, &orders.repeat(times as usize)).unwrap();
    let width = |it: footfall_journey::association::Loss| (it.high - it.low) / it.loss;
    // The width falls with the root of the size.
    let narrower = width(few) / width(many);
    assert!((7.0..14.0).contains(&narrower), "{narrower}: {few:?} {many:?}");
    // Binomial and multinomial deviations by hand: some 13 % of the loss on either side and more.
    assert!((0.3..1.2).contains(&width(few)), "{few:?}");
}

#[test]
fn equal_data_give_equal_intervals_in_any_order() {
    let orders = [10.0, 20.0, 90.0, 40.0];
    let mut turned = orders;
    turned.reverse();
    assert_eq!(loss(SIDES, &orders), loss(SIDES, &turned));
}

#[test]
fn too_few_sessions_or_no_order_claim_nothing() {
    assert_eq!(loss(Sides { found: 29, found_converted: 5, ..SIDES }, &[10.0]), None);
    assert_eq!(loss(Sides { not_found: 29, not_found_converted: 5, ..SIDES }, &[10.0]), None);
    assert_eq!(loss(SIDES, &[]), None);
    assert!(loss(Sides { found: 30, found_converted: 5, ..SIDES }, &[10.0]).is_some());
}
