//! How large a plan becomes when it is made to run, bounded before DataFusion begins: a name can
//! stand for a whole query or expression, and every use of it is planned again, so that a short
//! statement could keep a thread busy beyond any time limit. Making the plan is left to `engine`;
//! names of queries, which multiply before there is a plan, to `names`.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::QueryError;

/// The largest plan, in expressions and columns of all its steps, each name replaced by what it
/// stands for. What analysts write has some thousands; so many are planned in seconds.
const SIZE_MAX: u64 = 250_000;

/// # Errors
/// `Statement`.
pub(crate) fn check(plan: &LogicalPlan) -> Result<(), QueryError> {
    match Sizes::default().of_plan(plan).plan {
        0..=SIZE_MAX => Ok(()),
        _ => Err(too_large(&format!("{SIZE_MAX} expressions and columns"))),
    }
}

pub(crate) fn too_large(bound: &str) -> QueryError {
    QueryError::Statement {
        message: format!(
            "the statement is too large to plan: with every name replaced by what it stands for it \
             has more than {bound}"
        ),
        place: None,
        hint: Some(
            "use a query of WITH, and a column of a subquery, fewer times, or name the columns \
             that are needed in place of *"
                .to_owned(),
        ),
    }
}

/// Sizes of plans by where they lie: a query of WITH is one plan, whoever uses it.
#[derive(Default)]
struct Sizes(HashMap<*const LogicalPlan, Size>);

#[derive(Clone)]
struct Size {
    plan: u64,
    /// Of each column, as an expression over the tables' columns.
    columns: Arc<[u64]>,
}

impl Sizes {
    fn of_plan(&mut self, plan: &LogicalPlan) -> Size {
        let inputs: Vec<(&LogicalPlan, Size)> =
            plan.inputs().into_iter().map(|input| (input, self.of_shared(input))).collect();
        let mut size = plan.schema().fields().len() as u64;
        for (_, input) in &inputs {
            size = size.saturating_add(input.plan);
        }
        // What is too large already needs no columns, which could be many more.
        if size > SIZE_MAX {
            return Size { plan: size, columns: Arc::default() };
        }
        let mut expressions = Vec::new();
        // The closure never fails, and neither does the walk.
        let _ = plan.apply_expressions(|expression| {
            expressions.push(self.of_expression(expression, &inputs));
            Ok(TreeNodeRecursion::Continue)
        });
        for expression in &expressions {
            size = size.saturating_add(*expression);
        }
        Size { plan: size, columns: columns(plan, &inputs, &expressions) }
    }

    fn of_shared(&mut self, plan: &LogicalPlan) -> Size {
        if let Some(size) = self.0.get(&std::ptr::from_ref(plan)) {
            return size.clone();
        }
        let size = self.of_plan(plan);
        self.0.insert(std::ptr::from_ref(plan), size.clone());
        size
    }

    fn of_expression(&mut self, expression: &Expr, inputs: &[(&LogicalPlan, Size)]) -> u64 {
        let mut size = 0_u64;
        let _ = expression.apply(|part| {
            let part = match part {
                Expr::Column(column) => of_column(column, inputs),
                Expr::ScalarSubquery(query) => self.of_shared(&query.subquery).plan,
                Expr::Exists(exists) => self.of_shared(&exists.subquery.subquery).plan,
                Expr::InSubquery(within) => self.of_shared(&within.subquery.subquery).plan,
                _ => 1,
            };
            size = size.saturating_add(part);
            Ok(TreeNodeRecursion::Continue)
        });
        size
    }
}

fn of_column(column: &Column, inputs: &[(&LogicalPlan, Size)]) -> u64 {
    let found = inputs.iter().find_map(|(input, size)| {
        let index = input.schema().maybe_index_of_column(column)?;
        size.columns.get(index).copied()
    });
    found.unwrap_or(1)
}

fn columns(plan: &LogicalPlan, inputs: &[(&LogicalPlan, Size)], expressions: &[u64]) -> Arc<[u64]> {
    let count = plan.schema().fields().len();
    let mut sizes: Vec<u64> = match plan {
        LogicalPlan::Projection(_) => expressions.to_vec(),
        LogicalPlan::Aggregate(aggregate) => {
            expressions.iter().take(aggregate.group_expr.len()).copied().collect()
        }
        LogicalPlan::Union(_) => {
            let largest = |index: usize| {
                let sizes = inputs.iter().filter_map(|(_, input)| input.columns.get(index));
                sizes.copied().max().unwrap_or(1)
            };
            (0..count).map(largest).collect()
        }
        _ => inputs.iter().flat_map(|(_, input)| input.columns.iter().copied()).collect(),
    };
    // What a step adds by itself stays one column.
    sizes.resize(count, 1);
    sizes.into()
}
