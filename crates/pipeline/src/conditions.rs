//! The conditions of a set of rules, evaluated to one bit an event.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use footfall_condition::Condition;
use footfall_sessionizer::{Bits, Rules};

/// The conditions of a set of rules, compiled, in the order of their bits.
#[derive(Debug)]
pub struct Conditions(Vec<Condition>);

/// Checks one condition.
///
/// # Errors
/// A sentence: what is wrong, and for an unknown column the nearest one.
pub fn check_condition(sql: &str) -> Result<(), String> {
    Condition::compile(sql).map(|_| ())
}

impl Conditions {
    /// # Errors
    /// The first condition that does not compile, by the name that [`Rules::expressions`] gives it.
    pub fn compile(rules: &Rules) -> Result<Conditions, String> {
        let compiled = rules.expressions().into_iter().map(|(name, sql)| {
            Condition::compile(sql).map_err(|message| format!("{name}: {message}"))
        });
        Ok(Conditions(compiled.collect::<Result<_, _>>()?))
    }

    /// Which conditions each row of the `events` schema fulfils.
    ///
    /// # Errors
    /// `ArrowError` when `events` lacks columns.
    pub fn evaluate(&self, events: &RecordBatch) -> Result<Vec<Bits>, ArrowError> {
        let mut bits = vec![Bits::default(); events.num_rows()];
        for (number, condition) in self.0.iter().enumerate() {
            let columns = events.project(condition.places())?;
            for row in condition.fulfilled(&columns).set_indices() {
                bits[row].set(number);
            }
        }
        Ok(bits)
    }
}
