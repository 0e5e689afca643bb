//! How many tables and queries a statement names and joins when every query of WITH is put in the
//! place of its name, bounded before it is planned: DataFusion walks each of them again and again.
//! What columns stand for is left to `size`.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, Query, Select, TableFactor, Visit, Visitor,
};

use crate::{QueryError, size};

/// The most tables and queries.
const NAMED_MAX: u64 = 2000;
/// The most joins: each has all columns of those before it, and planning takes their sum.
const JOINED_MAX: u64 = 100;

/// # Errors
/// `Statement`.
pub(crate) fn check(statement: &Statement) -> Result<(), QueryError> {
    let statement = match statement {
        Statement::Explain(explain) => return check(&explain.statement),
        Statement::Statement(statement) => statement,
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => {
            return Ok(());
        }
    };
    match statement.visit(&mut Names::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => {
            Err(size::too_large(&format!("{NAMED_MAX} tables and queries, or {JOINED_MAX} joins")))
        }
    }
}

/// The queries around the place at hand, outermost first.
#[derive(Default)]
struct Names {
    around: Vec<Scope>,
    /// What the queries of WITH are called that are yet to be left.
    called: HashMap<*const Query, String>,
}

#[derive(Default)]
struct Scope {
    count: Count,
    /// The queries of its WITH, with what each counts.
    with: HashMap<String, Count>,
}

/// Tables and queries, and joins, so far.
#[derive(Clone, Copy, Default)]
struct Count {
    named: u64,
    joined: u64,
}

impl Count {
    const TABLE: Count = Count { named: 1, joined: 0 };

    fn add(&mut self, other: Count) {
        self.named = self.named.saturating_add(other.named);
        self.joined = self.joined.saturating_add(other.joined);
    }
}

impl Names {
    fn add(&mut self, count: Count) {
        if let Some(scope) = self.around.last_mut() {
            scope.count.add(count);
        }
    }
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for part in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.called.insert(std::ptr::from_ref(part.query.as_ref()), name(&part.alias.name));
        }
        self.around.push(Scope { count: Count::TABLE, with: HashMap::new() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let count = self.around.pop().map_or(Count::default(), |scope| scope.count);
        if count.named > NAMED_MAX || count.joined > JOINED_MAX {
            return ControlFlow::Break(());
        }
        match (self.called.remove(&std::ptr::from_ref(query)), self.around.last_mut()) {
            // It counts where it is named.
            (Some(name), Some(scope)) => drop(scope.with.insert(name, count)),
            _ => self.add(count),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let tables: usize = select.from.iter().map(|table| 1 + table.joins.len()).sum();
        self.add(Count { named: 0, joined: tables.saturating_sub(1) as u64 });
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::NestedJoin { table_with_joins, .. } = table {
            self.add(Count { named: 0, joined: table_with_joins.joins.len() as u64 });
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let alone = match relation.0.as_slice() {
            [part] => part.as_ident().map(name),
            _ => None,
        };
        let with = alone.and_then(|name| {
            self.around.iter().rev().find_map(|scope| scope.with.get(&name).copied())
        });
        self.add(with.unwrap_or(Count::TABLE));
        ControlFlow::Continue(())
    }
}

/// The name as DataFusion compares it.
fn name(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}
