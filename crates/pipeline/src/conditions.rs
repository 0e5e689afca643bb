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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{STARTED, decoded};

    /// What a query may look into stands in it as it is, what may fail does not.
    #[test]
    fn a_condition_may_fail_where_it_casts_or_computes() {
        for sql in [
            "event_name = 'purchase'",
            "event_name IN ('a', 'b') AND NOT (page_type <> 'x' OR target IS NULL)",
            "page_path LIKE '/p/%' OR visible_ms BETWEEN 1 AND 5",
            "value > 10 AND search_results = 0 AND cls < 0.1",
            "(event_time > received_time) IS NOT TRUE",
        ] {
            assert!(!Condition::compile(sql).unwrap().may_fail(), "{sql}");
        }
        for sql in [
            "page_path::BIGINT > 5",
            "search_results = '0'",
            "10 / visible_ms > 2",
            "event_name = 'a' OR CAST(page_type AS INT) = 1",
            "event_name IN ('a', 1)",
            "event_time > '2026-01-01'",
            "lower(event_name) = 'a'",
        ] {
            assert!(Condition::compile(sql).unwrap().may_fail(), "{sql}");
        }
    }

    #[test]
    fn an_event_for_which_a_condition_fails_does_not_fulfil_it_and_disturbs_no_other() {
        let line = |number: usize, path: &str| {
            format!(
                r#"{{"event_id":"e{number}","timestamp":"2026-01-01T00:00:00Z","page_path":"{path}"}}"#
            )
        };
        let lines: Vec<String> =
            ["5", "x", "0", "1"].iter().enumerate().map(|(n, path)| line(n, path)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let events = decoded("log", &lines, STARTED);
        for (sql, expected) in [
            ("page_path::BIGINT > 0", [true, false, false, true]),
            ("10 / page_path::BIGINT > 5", [false, false, false, true]),
            ("page_path::BIGINT > 0 IS NULL", [false, false, false, false]),
            ("page_path = 'x'", [false, true, false, false]),
        ] {
            let condition = Condition::compile(sql).unwrap();
            let fulfilled = condition.fulfilled(&events.project(condition.places()).unwrap());
            assert_eq!(fulfilled.iter().collect::<Vec<_>>(), expected, "{sql}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_its_reason() {
        for (sql, reason) in [
            ("page_typ = 'x'", "did you mean `page_type`?"),
            ("late", "says how an event was kept"),
            ("event_name", "not true or false"),
            ("random() > 0.5", "may answer differently each time"),
            ("count(*) > 1", "looks at more than one event"),
        ] {
            let told = Condition::compile(sql).unwrap_err();
            assert!(told.contains(reason), "{sql}: {told}");
        }
    }
}
