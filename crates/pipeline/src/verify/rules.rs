//! The rules that were ever in force, and which of them an event is folded by.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use footfall_event::Micros;
use footfall_event::schema::Table;
use footfall_lake::Lake;
use footfall_sessionizer::{Bits, RuleBook, RulesId};

use super::versions::Versions;
use super::visitor_rows::{VisitorKey, VisitorRows, by_visitor, visitor_at};
use crate::conditions::Conditions;
use crate::scan::{context, failed, text_at};
use crate::{PipelineError, rules_store};

/// The rules that stand beside the tables. Their order says nothing of when each was in force.
pub struct KnownRules {
    pub book: RuleBook,
    conditions: Vec<(RulesId, Conditions)>,
    /// Those by which late events are repaired, where a live log tells.
    in_force: Option<RulesId>,
    by_config: BTreeMap<String, RulesId>,
}

impl KnownRules {
    /// # Errors
    /// `Lake`, `Conditions`; `Source` when there are none.
    pub async fn read(lake: &Lake) -> Result<KnownRules, PipelineError> {
        let stored = rules_store::all(lake).await?;
        let mut sets = stored.into_iter().map(Arc::new);
        let none = || PipelineError::Source("no rules stand beside the tables".to_owned());
        let mut book = RuleBook::new(sets.next().ok_or_else(none)?);
        for rules in sets {
            book.push(rules);
        }
        let conditions = book.iter().map(|(id, rules)| Ok((id, Conditions::compile(rules)?)));
        let conditions: Result<_, String> = conditions.collect();
        let by_config = book.iter().map(|(id, _)| (book.config_id(id).to_owned(), id)).collect();
        Ok(KnownRules {
            conditions: conditions.map_err(PipelineError::Conditions)?,
            in_force: None,
            by_config,
            book,
        })
    }

    /// Tells the rules by which late events are repaired.
    pub fn repaired_by(&mut self, config_id: &str) {
        self.in_force = self.by_config.get(config_id).copied();
    }

    /// Whether an event of no session is hidden, and so waits for no repair; where nothing tells which rules
    /// are in force, it is if all of them hide it.
    pub fn is_hidden(&self, judged: &[(RulesId, Bits)]) -> bool {
        let mut of_repair =
            judged.iter().filter(|(id, _)| self.in_force.is_none_or(|by| *id == by));
        of_repair.all(|(_, bits)| bits.hidden())
    }

    /// Each row's conditions under each set of rules.
    ///
    /// # Errors
    /// `Rows`.
    pub fn judge(&self, events: &RecordBatch) -> Result<Vec<Vec<(RulesId, Bits)>>, PipelineError> {
        let mut judged = vec![Vec::with_capacity(self.conditions.len()); events.num_rows()];
        for (id, conditions) in &self.conditions {
            for (row, bits) in conditions.evaluate(events)?.into_iter().enumerate() {
                judged[row].push((*id, bits));
            }
        }
        Ok(judged)
    }

    /// Whether all sessions follow the same rules.
    pub fn is_one(&self) -> bool {
        self.conditions.len() == 1
    }

    /// The least and the greatest lateness ever allowed.
    pub fn lateness(&self) -> (Micros, Micros) {
        let first = self.book.newest().1.allowed_lateness;
        self.book.iter().fold((first, first), |(least, greatest), (_, rules)| {
            let allowed = rules.allowed_lateness;
            (least.min(allowed), greatest.max(allowed))
        })
    }

    /// Whether all rules agree on the events of a session that count.
    pub fn agree_on_overflow(&self) -> bool {
        let newest = self.book.newest().1.events_per_session_max;
        self.book.iter().all(|(_, rules)| rules.events_per_session_max == newest)
    }
}

/// The rules to step an event by; `None` where it is hidden.
///
/// Whether it is hidden was decided by the rules in force at its record. `begun` are those of the
/// session that it is known to begin; of all others nothing tells them, so where the sets disagree
/// the row's own word counts: `stands_outside`, that it is of no session.
pub fn rules_of(
    judged: &[(RulesId, Bits)],
    begun: Option<RulesId>,
    stands_outside: bool,
) -> Option<RulesId> {
    let mut shown = judged.iter().filter(|(_, bits)| !bits.hidden()).map(|(id, _)| *id);
    if begun.is_some_and(|begun| shown.clone().any(|id| id == begun)) {
        return begun;
    }
    let first = shown.next()?;
    let is_agreed = judged.iter().all(|(_, bits)| !bits.hidden());
    (is_agreed || !stands_outside).then_some(first)
}

/// Which rules each session of a visitor followed, as its rows say. Visitors are asked for in order.
pub struct Followed {
    tables: Vec<(VisitorRows, Option<RecordBatch>, usize)>,
    by_session: BTreeMap<String, RulesId>,
}

impl Followed {
    /// # Errors
    /// `Lake`.
    pub async fn read(versions: &Versions) -> Result<Followed, PipelineError> {
        let columns = ["site", "visitor_id", "session_id", "config_id"];
        let fields = columns.map(|column| Field::new(column, DataType::Utf8, true));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let context = context()?;
        let mut tables = Vec::new();
        // A session that is open has rows of the page views that are over; of one that retention removed
        // the needs may still stand.
        for table in [Table::PageViews, Table::Needs, Table::Sessions] {
            let rows = versions.read(&context, table).await?;
            let rows = rows.select_columns(&columns).map_err(failed)?;
            let of = (versions.partitions, versions.partition);
            let rows = VisitorRows::sorted(rows, schema.clone(), by_visitor(), of).await?;
            tables.push((rows, None, 0));
        }
        Ok(Followed { tables, by_session: BTreeMap::new() })
    }

    /// Takes up the sessions of a visitor in place of the one before.
    ///
    /// # Errors
    /// `Lake`, `Rows`.
    pub async fn turn_to(
        &mut self,
        visitor: &VisitorKey,
        rules: &KnownRules,
    ) -> Result<(), PipelineError> {
        self.by_session.clear();
        let wanted = (visitor.0.as_deref(), visitor.1.as_deref());
        for (rows, batch, row) in &mut self.tables {
            loop {
                let Some(current) = batch.as_ref().filter(|batch| *row < batch.num_rows()) else {
                    (*batch, *row) = (rows.next().await?, 0);
                    if batch.is_none() {
                        break;
                    }
                    continue;
                };
                let found = visitor_at(current, *row);
                if found > wanted {
                    break;
                }
                let text = |column| text_at(current, column, *row);
                if found == wanted
                    && let Some(session) = text("session_id")
                    && let Some(id) = text("config_id").and_then(|id| rules.by_config.get(id))
                {
                    self.by_session.insert(session.to_owned(), *id);
                }
                *row += 1;
            }
        }
        Ok(())
    }

    /// The rules of a session of the visitor.
    pub fn of(&self, session: &str) -> Option<RulesId> {
        self.by_session.get(session).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIDDEN: usize = 4;

    /// `judged`: a letter for each set of rules, `h` where it hides the event.
    #[track_caller]
    fn check(judged: &str, begun: Option<u32>, stands_outside: bool, expected: Option<u32>) {
        let judged = judged.chars().zip(0..).map(|(letter, id)| {
            let mut bits = Bits::default();
            if letter == 'h' {
                bits.set(HIDDEN);
            }
            (RulesId(id), bits)
        });
        let judged: Vec<_> = judged.collect();
        let rules = rules_of(&judged, begun.map(RulesId), stands_outside);
        assert_eq!(rules, expected.map(RulesId));
    }

    #[test]
    fn what_all_rules_say_counts() {
        check("--", None, true, Some(0));
        check("hh", None, false, None);
    }

    #[test]
    fn where_they_disagree_the_row_tells() {
        for judged in ["h-", "-h"] {
            let shown = judged.find('-').map(|at| at as u32);
            check(judged, None, true, None);
            check(judged, None, false, shown);
        }
    }

    #[test]
    fn the_rules_of_the_session_that_it_begins_come_first() {
        check("--", Some(1), false, Some(1));
        check("h-", Some(1), true, Some(1));
        check("-h", Some(1), false, Some(0));
    }
}
