//! SQL that stands for a call: a text of ours with places for what the analyst wrote. Theirs is put in
//! as syntax, so that it can mean nothing but what it meant in the statement.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::common::ScalarValue;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{Expr, Query, Statement as Sql, VisitMut, VisitorMut};
use datafusion::sql::unparser::expr_to_sql;

use crate::{QueryError, bind};

/// A query whose placeholders `$name` are yet to be filled.
#[derive(Debug, Default)]
pub(super) struct Template {
    parts: HashMap<String, Expr>,
}

impl Template {
    /// `name` stands for `expression`.
    pub(super) fn put(&mut self, name: impl Into<String>, expression: Expr) {
        self.parts.insert(format!("${}", name.into()), Expr::Nested(Box::new(expression)));
    }

    /// `name` stands for a constant.
    ///
    /// # Errors
    /// `Engine` for a value that has no SQL.
    pub(super) fn put_value(&mut self, name: &str, value: ScalarValue) -> Result<(), QueryError> {
        let literal = datafusion::logical_expr::Expr::Literal(value, None);
        let sql = expr_to_sql(&literal)
            .map_err(|error| QueryError::Engine { reason: error.to_string() })?;
        self.parts.insert(format!("${name}"), sql);
        Ok(())
    }

    /// The query that `text` is with everything in its place.
    ///
    /// # Errors
    /// `Engine` when `text` is no query, or names a part that was not put.
    pub(super) fn fill(&self, text: &str) -> Result<Box<Query>, QueryError> {
        let broken = |reason: String| QueryError::Engine { reason };
        let mut statement = DFParserBuilder::new(text)
            .build()
            .and_then(|mut parser| parser.parse_statement())
            .map_err(|error| broken(error.to_string()))?;
        let mut filling = Filling { parts: &self.parts };
        if let Some(sql) = bind::sql_mut(&mut statement)
            && let ControlFlow::Break(name) = sql.visit(&mut filling)
        {
            return Err(broken(format!("nothing stands for {name}")));
        }
        match statement {
            Statement::Statement(sql) => match *sql {
                Sql::Query(query) => Ok(query),
                other => Err(broken(format!("no query: {other}"))),
            },
            other => Err(broken(format!("no query: {other}"))),
        }
    }
}

struct Filling<'a> {
    parts: &'a HashMap<String, Expr>,
}

impl VisitorMut for Filling<'_> {
    type Break = String;

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<String> {
        // A placeholder of the analyst's stands within a part, which is not walked again.
        if let Some(name) = bind::placeholder(expression) {
            match self.parts.get(name) {
                Some(part) => *expression = part.clone(),
                None => return ControlFlow::Break(name.to_owned()),
            }
        }
        ControlFlow::Continue(())
    }
}
