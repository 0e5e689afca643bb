//! A session's conversions and what they were worth.

use serde::{Deserialize, Serialize};

use crate::{Fact, Hit};

/// A conversion is counted once for each of a session's last so many orders.
const ORDERS_REMEMBERED: usize = 16;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Purchases {
    pub count: u64,
    orders: Vec<Box<str>>,
    sum: Option<i128>,
    currency: Option<Box<str>>,
    is_mixed: bool,
}

impl Purchases {
    /// Takes in an event; true when it is a conversion that counts: one without an order, or of an
    /// order that the session does not remember.
    pub fn add(&mut self, hit: &Hit, is_conversion: bool) -> bool {
        let counts = is_conversion && self.is_fresh_order(hit.fact(Fact::OrderId));
        if counts {
            self.count += 1;
            self.add_value(hit, 1);
        }
        if hit.is_refund() {
            self.add_value(hit, -1);
        }
        counts
    }

    /// The sum and its currency; nothing when no amount was told or the currencies are mixed.
    pub fn total(self) -> (Option<i128>, Option<Box<str>>) {
        if self.is_mixed { (None, None) } else { (self.sum, self.currency) }
    }

    fn is_fresh_order(&mut self, order: Option<&str>) -> bool {
        let Some(order) = order else { return true };
        if self.orders.iter().any(|known| &**known == order) {
            return false;
        }
        if self.orders.len() == ORDERS_REMEMBERED {
            self.orders.remove(0);
        }
        self.orders.push(order.into());
        true
    }

    /// An amount without a currency is of a currency of its own.
    fn add_value(&mut self, hit: &Hit, sign: i128) {
        let Some(value) = hit.value else { return };
        let currency = hit.fact(Fact::Currency);
        if self.sum.is_none() {
            self.currency = currency.map(Into::into);
        }
        self.is_mixed |= self.currency.as_deref() != currency;
        *self.sum.get_or_insert(0) += sign * i128::from(value.0);
    }
}
