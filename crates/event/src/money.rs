//! Amounts of money as decimals with four places, which every ISO 4217 currency fits.

/// An amount in ten-thousandths of its currency's unit. Refunds are negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(pub i64);

impl Money {
    /// Decimal places kept; a JavaScript sum such as 0.30000000000000004 is rounded to them.
    pub const SCALE: i8 = 4;
    /// Digits of an event's amount in the tables.
    pub const PRECISION: u8 = 18;
    /// Digits of a session's sum of amounts in the tables.
    pub const SUM_PRECISION: u8 = 28;
    /// The largest amount an event may carry, in whole units.
    pub const UNITS_MAX: f64 = 1e11;

    /// The nearest amount, halves away from zero; `None` beyond [`Money::UNITS_MAX`] or not finite.
    pub fn from_units(units: f64) -> Option<Money> {
        let fits = units.is_finite() && units.abs() <= Self::UNITS_MAX;
        fits.then(|| Money((units * 1e4).round() as i64))
    }

    pub fn units(self) -> f64 {
        self.0 as f64 / 1e4
    }
}

impl std::fmt::Display for Money {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (self.0.unsigned_abs() / 10_000, self.0.unsigned_abs() % 10_000);
        write!(f, "{sign}{whole}.{fraction:04}")
    }
}
