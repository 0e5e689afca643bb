//! A session's conversions and what they were worth.

use serde::{Deserialize, Serialize};

use crate::{Fact, Hit};

/// A conversion is counted once for each of a session's last so many orders.
const ORDERS_REMEMBERED: usize = 16;

/// Nothing at all for most sessions, so what there is lies apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Purchases(Option<Box<Account>>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    conversions: u64,
    orders: Vec<Box<str>>,
    sum: Option<i128>,
    currency: Option<Box<str>>,
    is_mixed: bool,
}

impl Purchases {
    /// Conversions that counted.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |account| account.conversions)
    }

    /// Takes in an event; true when it is a conversion that counts: one without an order, or of an
    /// order that the session does not remember.
    pub fn add(&mut self, hit: &Hit, is_conversion: bool) -> bool {
        if !is_conversion && !hit.is_refund() {
            return false;
        }
        let account = self.0.get_or_insert_default();
        let counts = is_conversion && account.is_fresh_order(hit.fact(Fact::OrderId));
        if counts {
            account.conversions += 1;
            account.add_value(hit, 1);
        }
        if hit.is_refund() {
            account.add_value(hit, -1);
        }
        counts
    }

    /// The sum and its currency; nothing when no amount was told or the currencies are mixed.
    pub fn total(self) -> (Option<i128>, Option<Box<str>>) {
        match self.0 {
            Some(account) if !account.is_mixed => (account.sum, account.currency),
            _ => (None, None),
        }
    }
}

impl Account {
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
