//! `LIKE … ESCAPE`: DataFusion knows the backslash alone, so a pattern with another sign is written anew, or
//! by a function where it is yet to be computed.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Statement, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::functions::LIKE_PATTERN;

/// Gives each pattern a backslash for its sign.
pub(super) fn translate_escapes(statement: &mut Statement) {
    let _ = statement.visit(&mut Escapes);
}

struct Escapes;

impl VisitorMut for Escapes {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } =
            expression
            && let Some(sign) = escape_char.as_ref().and_then(sign)
        {
            match pattern.as_mut() {
                Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => {
                    *text = translated(text, sign);
                }
                other => {
                    let quoted = sign.to_string().replace('\'', "''");
                    let call = format!("{LIKE_PATTERN}({other}, '{quoted}')");
                    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(&call);
                    let Ok(call) = parser.and_then(|mut parser| parser.parse_expr()) else {
                        return ControlFlow::Continue(());
                    };
                    *other = call;
                }
            }
            *escape_char = None;
        }
        ControlFlow::Continue(())
    }
}

fn sign(escape: &ValueWithSpan) -> Option<char> {
    let Value::SingleQuotedString(text) = &escape.value else { return None };
    let mut letters = text.chars();
    letters.next().filter(|_| letters.next().is_none())
}

/// The same pattern with a backslash as its sign.
pub(super) fn translated(pattern: &str, sign: char) -> String {
    let mut translated = String::with_capacity(pattern.len());
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        let (is_escaped, letter) = match letter == sign {
            true => (true, letters.next().unwrap_or(sign)),
            false => (false, letter),
        };
        let is_wild = matches!(letter, '%' | '_');
        if letter == '\\' || (is_escaped && is_wild) {
            translated.push('\\');
        }
        translated.push(letter);
    }
    translated
}
