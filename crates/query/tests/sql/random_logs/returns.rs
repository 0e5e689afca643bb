//! `retention`.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::SmallRng;
use serde_json::json;

use super::calendar::{DAY_US, day_of, day_text, month_begin, week_begin};
use super::log::{self, Condition, Event, HORIZON_US, Scope, compare, condition, in_order};

const SEED: u64 = 71;
const CALLS: usize = 60;

struct Call {
    scope: Scope,
    started: Option<Condition>,
    returned: Option<Condition>,
    period: &'static str,
    periods: i64,
}

impl Call {
    fn random(rng: &mut SmallRng) -> Call {
        let condition = |rng: &mut SmallRng| rng.random_ratio(3, 4).then(|| condition(rng));
        Call {
            scope: Scope { is_session: false, ..Scope::random(rng) },
            started: condition(rng),
            returned: condition(rng),
            period: ["day", "week", "month"][rng.random_range(0..3)],
            periods: rng.random_range(0..12),
        }
    }

    fn sql(&self) -> String {
        let mut arguments = format!("period => '{}', periods => {}", self.period, self.periods);
        for (name, condition) in [("started", self.started), ("returned", self.returned)] {
            if let Some((sql, _)) = condition {
                arguments.push_str(&format!(", {name} => {sql}"));
            }
        }
        format!(
            "SELECT cohort, period, visitors, returned, share, is_over FROM retention({arguments}{})",
            self.scope.arguments()
        )
    }

    /// The first day of the period that comes so many behind that of `day`.
    fn begin(&self, day: i64, periods: i64) -> i64 {
        match self.period {
            "day" => day + periods,
            "week" => week_begin(day) + 7 * periods,
            _ => month_begin(day, periods),
        }
    }

    /// The day of the log's cohort, and the periods in which it returned.
    fn returns(&self, log: &[&Event]) -> Option<(i64, Vec<bool>)> {
        let any: Condition = ("true", |_| true);
        let (started, returned) = (self.started.unwrap_or(any), self.returned.unwrap_or(any));
        let log = in_order(log, &[started, returned], &[]);
        let begins = |event: &&Event| (started.1)(event) && self.scope.is_in_range(event);
        let start = log.iter().position(begins)?;
        let day = day_of(log[start].time_us);
        let came_back = |period: i64| {
            let days = self.begin(day, period)..self.begin(day, period + 1);
            log[start + 1..]
                .iter()
                .any(|event| (returned.1)(event) && days.contains(&day_of(event.time_us)))
        };
        Some((self.begin(day, 0), (0..=self.periods).map(came_back).collect()))
    }
}

#[tokio::test]
async fn the_returns_are_those_of_their_definition() {
    let events = log::logs();
    let service = log::lake(&events, Vec::new()).await;
    let mut rng = log::rng(SEED);
    let mut total = 0;
    for _ in 0..CALLS {
        let call = Call::random(&mut rng);
        let logs = call.scope.logs(&events);
        // Visitors, and those who returned, by cohort and period.
        let mut counts: BTreeMap<(i64, i64), (u64, u64)> = BTreeMap::new();
        for (cohort, returns) in logs.values().filter_map(|log| call.returns(log)) {
            for (period, has_returned) in (0..).zip(returns) {
                let (visitors, returned) = counts.entry((cohort, period)).or_default();
                *visitors += 1;
                *returned += u64::from(has_returned);
                total += u64::from(has_returned && period > 0);
            }
        }
        let wanted = counts.into_iter().map(|((cohort, period), (visitors, returned))| {
            let share = returned as f64 / visitors as f64;
            let is_over = call.begin(cohort, period + 1) * DAY_US <= HORIZON_US;
            json!([day_text(cohort), period, visitors, returned, share, is_over])
        });
        compare(service.rows(&call.sql()).await, wanted.collect(), &call.sql());
    }
    assert!(total > 1_000, "{total} returns");
}
