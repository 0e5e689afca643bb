//! Rules themselves: their id, what old ones leave out, the book that keeps several, and their bits.

use std::sync::Arc;

use footfall_event::Offset;
use footfall_sessionizer::{Bits, EventRow, RuleBook, Rules, RulesId};
use sha2::{Digest, Sha256};

use super::conditions::{shipped, with};
use super::language::Log;
use super::run::Run;

fn other() -> Rules {
    with(shipped(), &[("gap".to_owned(), "1m".to_owned())])
}

#[test]
fn rules_are_named_by_their_json() {
    let json = serde_json::to_vec(&shipped()).unwrap();
    let hex: String = Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(shipped().config_id(), hex[..16]);
    let book = RuleBook::new(Arc::new(shipped()));
    assert_eq!(book.config_id(RulesId(0)), shipped().config_id());
}

#[test]
fn rules_of_before_there_was_a_bound_keep_their_id_and_hold_all() {
    let mut json = serde_json::to_value(shipped()).unwrap();
    let fields = json.as_object_mut().unwrap();
    for bound in ["held_events_max", "held_events_per_visitor_max"] {
        fields.remove(bound).expect("rules tell their bounds");
    }
    let old: Rules = serde_json::from_value(json.clone()).unwrap();
    assert_eq!((old.held_events_max, old.held_events_per_visitor_max), (u64::MAX, u64::MAX));
    assert_eq!(serde_json::to_value(&old).unwrap(), json);
}

#[test]
fn a_book_of_another_layout_has_its_sets_by_their_ids() {
    let book = RuleBook::of([(RulesId(3), shipped()), (RulesId(7), other())]);
    assert_eq!(**book.at(RulesId(3)), shipped());
    assert_eq!((book.newest().0, &**book.newest().1), (RulesId(7), &other()));
    assert_eq!(book.config_id(RulesId(3)), shipped().config_id());
    assert_eq!(book.iter().count(), 2);
}

#[test]
fn a_book_forgets_what_nothing_refers_to_and_never_the_newest() {
    let mut book = RuleBook::new(Arc::new(shipped()));
    let second = book.push(Arc::new(other()));
    let third = book.push(Arc::new(shipped()));
    let ids = |book: &RuleBook| book.iter().map(|(id, _)| id).collect::<Vec<_>>();
    book.keep(|id| id == second);
    assert_eq!(ids(&book), [second, third]);
    book.keep(|_| false);
    assert_eq!(ids(&book), [third]);
}

/// A fold that read three sets of rules keeps those that a session or a held event follows.
#[test]
fn a_fold_keeps_the_rules_of_its_open_sessions() {
    let log = Log::parse(
        "12:00:00 v1 page_view
         tick 12:00:30
         rules 12:00:31 gap=10m
         rules 12:00:32 gap=20m
         tick 12:00:33
         stop",
    );
    let mut run = Run::new(&log);
    run.to(log.records.len());
    run.commit();
    let known = run.fold.rules().iter().map(|(id, _)| id.0);
    assert_eq!(known.collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn the_furthest_step_is_of_the_bits_behind_those_of_needs() {
    let rules = shipped();
    let (needs, steps) = (rules.needs.len(), rules.steps.len());
    let bits = |expressions: &[usize]| {
        let mut bits = Bits::default();
        expressions.iter().for_each(|expression| bits.set(*expression));
        bits
    };
    let (first_need, first_step) = (6, 6 + 2 * needs);
    let furthest = |expressions: &[usize]| bits(expressions).furthest_step(&rules);
    assert_eq!(furthest(&[first_step - 1]), None);
    assert_eq!(furthest(&[first_step]), Some(0));
    assert_eq!(furthest(&[first_step, first_step + 2]), Some(2));
    assert_eq!(furthest(&[first_step + steps - 1]), Some(steps - 1));
    assert_eq!(furthest(&[first_step + steps]), None);
    let touches = |expression: usize| bits(&[expression]).touches_needs(&rules);
    assert_eq!(
        [first_need - 1, first_need, first_step - 1, first_step].map(touches),
        [false, true, true, false]
    );
}

#[test]
fn rows_are_empty_until_a_table_has_one() {
    let log = Log::parse(
        "12:00:00 v1 page_view type=product
         12:00:01 v1 page_view",
    );
    let rows = Run::of(&log).output.rows;
    let mut empty = footfall_sessionizer::Rows::default();
    assert!(empty.is_empty());
    empty.sessions.push(rows.sessions[0].clone());
    assert!(!empty.is_empty());
    empty.sessions.clear();
    empty.needs.push(rows.needs[0].clone());
    assert!(!empty.is_empty());
    empty.needs.clear();
    empty.page_views.push(rows.page_views[0].clone());
    assert!(!empty.is_empty());
    empty.page_views.clear();
    let offset = Offset(0);
    empty.events.push(EventRow {
        cause: offset,
        offset,
        session_id: None,
        late: true,
        overflow: false,
    });
    assert!(!empty.is_empty());
}
