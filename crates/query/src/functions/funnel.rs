//! `funnel(…)` and `funnel_visitors(…)`: the calls, and the SQL that they stand for. Their trials are
//! made by `funnel/trials.rs`, counted by `funnel/report.rs` and told one by one by
//! `funnel/outcomes.rs`.

pub(super) mod outcomes;
pub(super) mod report;
mod state;
pub(super) mod trials;

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{Expr, Query};
use footfall_journey::funnel::{EXCLUSIONS_MAX, Entry, Exclusion, Funnel, Order, STEPS_MAX, Step};
use serde::{Deserialize, Serialize};

use super::arguments::{Arguments, EVENTS, Signature, wrong};
use super::events;
use super::template::Template;
use super::window_funnel::ORDERS;
use crate::QueryError;

/// What both functions take.
const TRIALS: &[&str] = &["within", "mode", "entry", "scope", "breakdown", "same"];

pub(super) const FUNNEL: Signature = Signature {
    name: "funnel",
    named: &[TRIALS, EVENTS],
    usage: "funnel('view_item', event_name = 'add_to_cart', 'purchase', within => '1 hour')",
};

pub(super) const VISITORS: Signature = Signature {
    name: "funnel_visitors",
    named: &[TRIALS, EVENTS, &["step", "outcome"]],
    usage: "funnel_visitors('view_item', 'purchase', within => '1 hour', step => 1, \
            outcome => 'lost')",
};

const STEP: Signature = Signature {
    name: "step",
    named: &[&["name", "min", "max", "optional"]],
    usage: "step(event_name = 'purchase', name => 'bought', max => '10 minutes')",
};

const EXCLUDE: Signature = Signature {
    name: "exclude",
    named: &[&["after", "before"]],
    usage: "exclude(error IS NOT NULL, after => 1, before => 2)",
};

/// What the aggregates know of a funnel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) funnel: Funnel,
    pub(super) names: Vec<String>,
    pub(super) has_same: bool,
}

/// Whose events are one log.
#[derive(Clone, Copy)]
enum Scope {
    Visitor,
    Session,
}

/// `funnel(…)`: a row per breakdown and step.
pub(super) fn funnel(arguments: Arguments<'_>) -> Result<Box<Query>, QueryError> {
    let call = Call::read(arguments)?;
    call.template.fill(&format!(
        "SELECT r['step'] AS step, r['name'] AS name, r['breakdown'] AS breakdown, \
         r['entered'] AS entered, r['converted'] AS converted, r['still_open'] AS still_open, \
         r['lost'] AS lost, r['share_of_previous'] AS share_of_previous, \
         r['share_of_first'] AS share_of_first, r['median_ms'] AS median_ms, \
         r['p90_ms'] AS p90_ms, r['median_total_ms'] AS median_total_ms, \
         r['p90_total_ms'] AS p90_total_ms \
         FROM (SELECT unnest(funnel_report($spec, trials, horizon)) AS r FROM {HORIZON} AS h \
         LEFT JOIN {} AS t ON true)",
        call.trials()
    ))
}

/// `funnel_visitors(…)`: a row per trial, of all or of one cell.
pub(super) fn visitors(mut arguments: Arguments<'_>) -> Result<Box<Query>, QueryError> {
    let step = arguments.whole("step", 1..=STEPS_MAX as i64)?;
    let outcome = arguments.choice(
        "outcome",
        &[
            ("entered", "entered"),
            ("converted", "converted"),
            ("lost", "lost"),
            ("still_open", "still_open"),
        ],
    )?;
    let step = step.unwrap_or(1);
    let call = Call::read(arguments)?;
    let steps = call.spec.names.len() as i64;
    if step > steps {
        return Err(wrong(
            VISITORS,
            &format!("`step` is {step}, and the funnel has {steps} steps"),
        ));
    }
    let went_on = format!("(o['furthest_step'] > {step} OR o['furthest_step'] = {steps})");
    let cell = match outcome {
        "entered" => "true".to_owned(),
        "converted" => went_on,
        other => format!("NOT {went_on} AND o['outcome'] = '{other}'"),
    };
    let session = match call.scope {
        Scope::Visitor => "",
        Scope::Session => "session_id, ",
    };
    call.template.fill(&format!(
        "SELECT site, visitor_id, {session}o['breakdown'] AS breakdown, \
         o['entered_at'] AS entered_at, o['furthest_step'] AS furthest_step, \
         o['reached_at'] AS reached_at, o['outcome'] AS outcome, o['times'] AS times \
         FROM (SELECT site, visitor_id, {session}\
         unnest(funnel_outcomes($spec, trials, horizon)) AS o FROM {} AS t \
         CROSS JOIN {HORIZON} AS h) WHERE o['times'][{step}] IS NOT NULL AND {cell}",
        call.trials()
    ))
}

/// The moment up to which all is known: the lowest, over the live partitions, of each one's newest
/// watermark; without live partitions the last event.
pub(super) const HORIZON: &str = "(SELECT coalesce((SELECT min(watermark) FROM (SELECT max(watermark) AS \
                       watermark FROM receipts WHERE NOT starts_with(log, 'load:') GROUP BY log, \
                       log_partition)), (SELECT max(event_time) FROM events)) AS horizon)";

struct Call {
    spec: Spec,
    scope: Scope,
    template: Template,
    /// Conditions of `events`, with its placeholders.
    condition: String,
}

impl Call {
    fn read(mut arguments: Arguments<'_>) -> Result<Call, QueryError> {
        let mut template = Template::default();
        let order = arguments.choice("mode", &ORDERS)?;
        let entry =
            arguments.choice("entry", &[("first", Entry::First), ("every", Entry::Every)])?;
        let scope = arguments
            .choice("scope", &[("visitor", Scope::Visitor), ("session", Scope::Session)])?;
        let window_us = arguments.duration_us("within")?.unwrap_or(DAY_US);
        let (from_us, to_us) = arguments.range_us()?;
        let steps = Steps::read(&mut arguments, &mut template)?;
        let funnel = Funnel {
            order,
            entry,
            window_us,
            steps: steps.steps,
            exclusions: steps.exclusions,
            from_us: from_us.unwrap_or(i64::MIN),
            to_us: to_us.unwrap_or(i64::MAX),
        };
        if order == Order::Any && !funnel.is_plain() {
            return Err(arguments.wrong(
                "with mode 'any' steps have no order: no `min`, `max`, `optional` or `exclude`",
            ));
        }
        let mut condition = events::condition(&mut arguments, &mut template)?;
        events::between(
            from_us,
            to_us.map(|to_us| to_us.saturating_add(window_us)),
            &mut condition,
            &mut template,
        )?;
        if order != Order::Strict {
            let any: Vec<String> = (0..steps.conditions).map(|it| format!("$c{it}")).collect();
            condition.push_str(&format!(" AND ({})", any.join(" OR ")));
        }
        let (same, breakdown) = (arguments.value("same")?, arguments.value("breakdown")?);
        let spec = Spec { funnel, names: steps.names, has_same: same.is_some() };
        for (name, expression) in [("same", same), ("breakdown", breakdown)] {
            match expression {
                Some(expression) => template.put(name, expression),
                None => template.put_value(name, ScalarValue::Utf8(None))?,
            }
        }
        let json = serde_json::to_string(&spec)
            .map_err(|error| QueryError::Engine { reason: error.to_string() })?;
        template.put_value("spec", ScalarValue::from(json))?;
        Ok(Call { spec, scope, template, condition })
    }

    fn trials(&self) -> String {
        let steps = self.spec.funnel.steps.len();
        let mut conditions: Vec<String> = (0..steps).map(|it| format!("$c{it}")).collect();
        if !self.spec.funnel.exclusions.is_empty() {
            // Exclusions have bits of their own, behind those of all possible steps.
            conditions.resize(STEPS_MAX, "false".to_owned());
            let exclusions = self.spec.funnel.exclusions.len();
            conditions.extend((steps..steps + exclusions).map(|it| format!("$c{it}")));
        }
        let (columns, whose) = match self.scope {
            Scope::Visitor => ("site, visitor_id", "visitor_id IS NOT NULL"),
            Scope::Session => ("site, visitor_id, session_id", "session_id IS NOT NULL"),
        };
        format!(
            "(SELECT {columns}, funnel_trials($spec, event_time, seq, CAST($same AS TEXT), \
             CAST($breakdown AS TEXT), {}) AS trials FROM events WHERE {whose}{} GROUP BY {columns})",
            conditions.join(", "),
            self.condition
        )
    }
}

const DAY_US: i64 = 86_400_000_000;

/// Steps and exclusions; their conditions are the parts `c0`, `c1`, … of the template.
struct Steps {
    names: Vec<String>,
    steps: Vec<Step>,
    exclusions: Vec<Exclusion>,
    conditions: usize,
}

impl Steps {
    fn read(arguments: &mut Arguments<'_>, template: &mut Template) -> Result<Steps, QueryError> {
        let mut read =
            Steps { names: Vec::new(), steps: Vec::new(), exclusions: Vec::new(), conditions: 0 };
        let (mut conditions, mut excluded) = (Vec::new(), Vec::new());
        let mut positional = std::mem::take(&mut arguments.positional);
        if positional.is_empty() {
            let declared = &arguments.declared.steps;
            positional = declared.iter().map(|step| events::text(&step.name)).collect();
        }
        for expression in positional {
            if let Some(inner) = arguments.inner(EXCLUDE, &expression) {
                excluded.push(inner?);
                continue;
            }
            let (step, name, condition) = match arguments.inner(STEP, &expression) {
                Some(inner) => step(inner?)?,
                None => {
                    let (name, condition) = arguments.step(&expression)?;
                    (Step::default(), name, condition)
                }
            };
            read.names.push(name);
            read.steps.push(step);
            conditions.push(condition);
        }
        let steps = read.steps.len();
        if steps == 0 {
            return Err(arguments.wrong("there is no step, and the configuration declares none"));
        }
        if steps > STEPS_MAX {
            let message = format!("{steps} steps, and there are at most {STEPS_MAX}");
            return Err(arguments.wrong(message));
        }
        if read.steps[0] != Step::default() {
            let message = "the first step has nothing before it: no `min`, `max` or `optional`";
            return Err(arguments.wrong(message));
        }
        if excluded.len() > EXCLUSIONS_MAX {
            let message = format!("there are at most {EXCLUSIONS_MAX} exclusions");
            return Err(arguments.wrong(message));
        }
        for mut inner in excluded {
            let after = inner.whole("after", 1..=steps as i64)?.unwrap_or(1);
            let before = inner.whole("before", 1..=steps as i64)?.unwrap_or(steps as i64);
            let [expression] = inner.positional.as_slice() else {
                return Err(inner.wrong("it takes one condition"));
            };
            if after >= before {
                return Err(inner.wrong("`after` is not before `before`"));
            }
            let (_, condition) = inner.step(expression)?;
            conditions.push(condition);
            let (after, before) = (after as usize - 1, before as usize - 1);
            read.exclusions.push(Exclusion { after, before });
        }
        read.conditions = conditions.len();
        for (number, condition) in conditions.into_iter().enumerate() {
            template.put(format!("c{number}"), condition);
        }
        Ok(read)
    }
}

fn step(mut inner: Arguments<'_>) -> Result<(Step, String, Expr), QueryError> {
    let name = inner.text("name")?;
    let optional = inner.flag("optional")?;
    let (min_us, max_us) = (inner.duration_us("min")?, inner.duration_us("max")?);
    let [expression] = inner.positional.as_slice() else {
        return Err(inner.wrong("it takes one condition"));
    };
    if let (Some(min_us), Some(max_us)) = (min_us, max_us)
        && min_us > max_us
    {
        return Err(inner.wrong("`min` is longer than `max`"));
    }
    let (own_name, condition) = inner.step(expression)?;
    let step = Step { min_us: min_us.unwrap_or(0), max_us, optional };
    Ok((step, name.unwrap_or(own_name), condition))
}
