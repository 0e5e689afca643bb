//! The rules of a fold: what counts as a conversion, a step, a need, and every bound. Where they come
//! from is left to the configuration, how conditions are evaluated to the pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;

use footfall_event::Micros;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Everything that the tables depend on besides the events. Carried by control records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// A longer pause begins another session. Fixed when a lake is made.
    pub session_gap: Micros,
    /// An event further from its session's first begins another. Fixed when a lake is made.
    pub session_cap: Micros,
    /// How far log time runs ahead of the watermark.
    pub allowed_lateness: Micros,
    /// What a signal waits for beyond the deadline.
    pub signal_grace: Micros,
    /// How long, in log time, ids are remembered.
    pub dedupe_window: Micros,
    /// How many ids a partition remembers at most.
    pub dedupe_ids_max: u64,
    pub open_sessions_max: u64,
    /// Events that wait for the watermark at once; one beyond is late. Rules of before there was such a
    /// bound name none, and keep their id.
    #[serde(default = "unbounded", skip_serializing_if = "is_unbounded")]
    pub held_events_max: u64,
    /// Of them, those of one visitor.
    #[serde(default = "unbounded", skip_serializing_if = "is_unbounded")]
    pub held_events_per_visitor_max: u64,
    pub events_per_session_max: u64,
    /// A larger LCP makes a page slow, in ms (web.dev: over 4 s is poor).
    pub slow_page_ms: i64,
    pub conditions: Conditions,
    pub steps: Vec<Step>,
    pub needs: Vec<Need>,
}

fn unbounded() -> u64 {
    u64::MAX
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_unbounded(bound: &u64) -> bool {
    *bound == unbounded()
}

/// SQL boolean expressions over the columns of `events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    pub conversion: String,
    pub page_view: String,
    pub error: String,
    pub zero_search: String,
    pub hidden: String,
    pub rage_target: String,
}

/// A step of the shop's funnel, in the order declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub when: String,
}

/// An information need, as section 4 of docs/semantics.md defines it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    pub name: String,
    pub raised_by: String,
    pub found_by: String,
    /// Inclusive.
    pub within: Micros,
    pub max_clicks: u32,
}

/// Steps at most, so that all conditions fit one word of bits.
pub const STEPS_MAX: usize = 32;
/// Needs at most, likewise.
pub const NEEDS_MAX: usize = 40;
const _: () = assert!(Bits::FIXED + STEPS_MAX + 2 * NEEDS_MAX <= 128);

impl Rules {
    /// The first 64 bits, as hex, of the SHA-256 of the rules' JSON: what derived rows carry.
    pub fn config_id(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        hex::encode(&Sha256::digest(json)[..8])
    }

    /// All conditions with what they are called in messages, in the order of their bits.
    pub fn expressions(&self) -> Vec<(String, &str)> {
        let fixed = &self.conditions;
        let mut expressions = vec![
            ("condition `conversion`".to_owned(), fixed.conversion.as_str()),
            ("condition `page_view`".to_owned(), fixed.page_view.as_str()),
            ("condition `error`".to_owned(), fixed.error.as_str()),
            ("condition `zero_search`".to_owned(), fixed.zero_search.as_str()),
            ("condition `hidden`".to_owned(), fixed.hidden.as_str()),
            ("condition `rage_target`".to_owned(), fixed.rage_target.as_str()),
        ];
        for need in &self.needs {
            let name = &need.name;
            expressions.push((format!("`raised_by` of need `{name}`"), &need.raised_by));
            expressions.push((format!("`found_by` of need `{name}`"), &need.found_by));
        }
        for step in &self.steps {
            expressions.push((format!("`when` of step `{}`", step.name), &step.when));
        }
        expressions
    }
}

/// A set of rules within a [`RuleBook`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RulesId(pub u32);

/// All sets of rules that events and open sessions of a partition refer to, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleBook {
    sets: BTreeMap<RulesId, Named>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    config_id: Arc<str>,
    /// As in the log: rules may get another field, and a snapshot's layout stays.
    #[serde(with = "as_json")]
    rules: Arc<Rules>,
}

mod as_json {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    use super::Rules;

    pub fn serialize<S: Serializer>(rules: &Arc<Rules>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&serde_json::to_string(rules).map_err(ser::Error::custom)?)
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Arc<Rules>, D::Error> {
        let json = String::deserialize(deserializer)?;
        serde_json::from_str(&json).map_err(de::Error::custom)
    }
}

impl Named {
    fn new(rules: Arc<Rules>) -> Named {
        Named { config_id: rules.config_id().into(), rules }
    }
}

impl RuleBook {
    pub fn new(first: Arc<Rules>) -> RuleBook {
        RuleBook { sets: BTreeMap::from([(RulesId(0), Named::new(first))]) }
    }

    /// The sets of another layout, each with its id.
    pub fn of(sets: impl IntoIterator<Item = (RulesId, Rules)>) -> RuleBook {
        let named = |(id, rules)| (id, Named::new(Arc::new(rules)));
        RuleBook { sets: sets.into_iter().map(named).collect() }
    }

    /// Adds a set that holds from here on.
    pub fn push(&mut self, rules: Arc<Rules>) -> RulesId {
        let next = RulesId(self.sets.keys().next_back().map_or(0, |last| last.0 + 1));
        self.sets.insert(next, Named::new(rules));
        next
    }

    /// # Panics
    /// When `id` was never given out by this book, or was dropped by [`RuleBook::keep`].
    pub fn at(&self, id: RulesId) -> &Arc<Rules> {
        &self.sets[&id].rules
    }

    /// # Panics
    /// As [`RuleBook::at`].
    pub fn config_id(&self, id: RulesId) -> &str {
        &self.sets[&id].config_id
    }

    /// The set in force.
    pub fn newest(&self) -> (RulesId, &Arc<Rules>) {
        let newest = self.sets.last_key_value();
        let (id, rules) = newest.unwrap_or_else(|| unreachable!("a book begins with a set"));
        (*id, &rules.rules)
    }

    pub fn iter(&self) -> impl Iterator<Item = (RulesId, &Arc<Rules>)> {
        self.sets.iter().map(|(id, rules)| (*id, &rules.rules))
    }

    /// Drops the sets that nothing refers to, but never the newest.
    pub fn keep(&mut self, is_referred_to: impl Fn(RulesId) -> bool) {
        let newest = self.newest().0;
        self.sets.retain(|id, _| *id == newest || is_referred_to(*id));
    }
}

/// Which conditions an event fulfils: bit i is expression i of [`Rules::expressions`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bits(pub u128);

impl Bits {
    const FIXED: usize = 6;

    pub fn set(&mut self, expression: usize) {
        self.0 |= 1 << expression;
    }

    fn has(self, expression: usize) -> bool {
        self.0 >> expression & 1 == 1
    }

    pub fn conversion(self) -> bool {
        self.has(0)
    }
    pub fn page_view(self) -> bool {
        self.has(1)
    }
    pub fn error(self) -> bool {
        self.has(2)
    }
    pub fn zero_search(self) -> bool {
        self.has(3)
    }
    pub fn hidden(self) -> bool {
        self.has(4)
    }
    pub fn rage_target(self) -> bool {
        self.has(5)
    }
    pub fn raises(self, need: usize) -> bool {
        self.has(Self::FIXED + 2 * need)
    }
    pub fn finds(self, need: usize) -> bool {
        self.has(Self::FIXED + 2 * need + 1)
    }
    /// The furthest step the event fulfils, counted from 0.
    pub fn furthest_step(self, rules: &Rules) -> Option<usize> {
        let first = Self::FIXED + 2 * rules.needs.len();
        (0..rules.steps.len()).rev().find(|step| self.has(first + step))
    }
    /// Whether it raises or finds any need.
    pub fn touches_needs(self, rules: &Rules) -> bool {
        let mask = ((1u128 << (2 * rules.needs.len())) - 1) << Self::FIXED;
        self.0 & mask != 0
    }
}
