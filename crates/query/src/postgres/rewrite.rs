//! What clients ask of the catalog in words that DataFusion does not know, put into others: arrays of queries,
//! and the fields of records that the functions for keys and indexes give. There are no keys and no indexes,
//! so their place is taken by NULL. `information_schema` is ours. It is for questions of the catalog alone.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, CastKind, DataType, Expr, Function, FunctionArguments, Ident, ObjectName,
    Statement, TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut,
};

use super::catalog::PG_CATALOG;
use super::functions::ARRAY_TO_STRING;
use super::information_schema;

pub(super) fn rewrite(statement: &mut Statement) {
    let _ = statement.visit(&mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        information_schema::redirect(table, PG_CATALOG);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let null_of = match expression {
            Expr::Function(function) if is_array_of_query(function) => Some(DataType::Text),
            Expr::Function(function) if is_called(function, "array_to_string") => {
                let holds = function.args.visit(&mut ArraysOfQueries).is_break();
                holds.then_some(DataType::Text)
            }
            Expr::Function(function) if is_called(function, "_pg_expandarray") => {
                Some(DataType::Int(None))
            }
            Expr::CompoundFieldAccess { root, access_chain }
                if matches!(root.as_ref(), Expr::Nested(_))
                    && matches!(access_chain.as_slice(), [AccessExpr::Dot(_)]) =>
            {
                Some(DataType::Int(None))
            }
            _ => None,
        };
        if let Expr::Function(function) = expression
            && is_called(function, "array_to_string")
        {
            // DataFusion's takes no texts, as some lists of the catalog are.
            function.name = ObjectName::from(vec![Ident::new(ARRAY_TO_STRING)]);
        }
        if let Some(data_type) = null_of {
            *expression = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(Expr::Value(Value::Null.with_empty_span())),
                data_type,
                array: false,
                format: None,
            };
        }
        ControlFlow::Continue(())
    }
}

/// Finds `ARRAY(SELECT …)`.
struct ArraysOfQueries;

impl Visitor for ArraysOfQueries {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match expression {
            Expr::Function(function) if is_array_of_query(function) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn is_array_of_query(function: &Function) -> bool {
    is_called(function, "array") && matches!(function.args, FunctionArguments::Subquery(_))
}

fn is_called(function: &Function, name: &str) -> bool {
    let last = function.name.0.last().and_then(|part| part.as_ident());
    last.is_some_and(|ident| ident.value.eq_ignore_ascii_case(name))
}
