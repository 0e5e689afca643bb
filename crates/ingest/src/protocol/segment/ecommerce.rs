//! Segment's e-commerce events, by the names that Google Analytics 4 gives them: by those the steps of funnels and
//! the rules of conversions go. What GA4 has no name for is called in its manner.
//!
//! Segment's list: segment.com/docs/connections/spec/ecommerce/v2; GA4's: developers.google.com/analytics/devguides/collection/ga4/reference/events.

const NAMES: [(&str, &str); 28] = [
    ("Cart Shared", "share"),
    ("Cart Viewed", "view_cart"),
    ("Checkout Started", "begin_checkout"),
    ("Checkout Step Completed", "checkout_step_completed"),
    ("Checkout Step Viewed", "checkout_step_viewed"),
    ("Coupon Applied", "coupon_applied"),
    ("Coupon Denied", "coupon_denied"),
    ("Coupon Entered", "coupon_entered"),
    ("Coupon Removed", "coupon_removed"),
    ("Order Cancelled", "order_cancelled"),
    ("Order Completed", "purchase"),
    ("Order Refunded", "refund"),
    ("Order Updated", "order_updated"),
    ("Payment Info Entered", "add_payment_info"),
    ("Product Added", "add_to_cart"),
    ("Product Added to Wishlist", "add_to_wishlist"),
    ("Product Clicked", "select_item"),
    ("Product List Filtered", "filter_item_list"),
    ("Product List Viewed", "view_item_list"),
    ("Product Removed", "remove_from_cart"),
    ("Product Removed from Wishlist", "remove_from_wishlist"),
    ("Product Reviewed", "review"),
    ("Product Shared", "share"),
    ("Product Viewed", "view_item"),
    ("Products Searched", "search"),
    ("Promotion Clicked", "select_promotion"),
    ("Promotion Viewed", "view_promotion"),
    ("Wishlist Product Added to Cart", "add_to_cart"),
];

/// GA4's name of an e-commerce event; `None` for any other event.
pub fn ga4_name(name: &str) -> Option<&'static str> {
    let place = NAMES.binary_search_by(|(segment, _)| (*segment).cmp(name)).ok()?;
    Some(NAMES[place].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        for (segment, ga4) in NAMES {
            assert_eq!(ga4_name(segment), Some(ga4));
        }
        for other in ["", "purchase", "order completed", "Order Completed ", "Product", "Zoom"] {
            assert_eq!(ga4_name(other), None);
        }
    }
}
