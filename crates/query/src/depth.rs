//! How deep the tree of a statement can be, told from its tokens alone. Trees deeper than the stack
//! is large would end the process; parsing and what is wrong otherwise are left to `statement`.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{QueryError, statement};

/// The deepest tree. The parser has a bound for brackets; this one is for chains, which it has none
/// for: `a OR b OR …` and `a UNION b UNION …` are as deep as they are long.
const DEPTH_MAX: usize = 1000;

/// # Errors
/// `Statement`, with the place where it becomes too deep.
pub(crate) fn check(text: &str) -> Result<(), QueryError> {
    check_tokens(&statement::tokens(text), text)
}

/// [`check`] of the `tokens` of `text`, in whatever dialect it is.
pub(crate) fn check_tokens(tokens: &[TokenWithSpan], text: &str) -> Result<(), QueryError> {
    let mut levels = vec![Level::default()];
    for token in tokens {
        let depth = step(&mut levels, &token.token);
        if depth + levels.len() > DEPTH_MAX {
            return Err(QueryError::Statement {
                message: format!(
                    "the statement is nested too deeply: more than {DEPTH_MAX} operators in a chain"
                ),
                place: Some(statement::place(text, token)),
                hint: Some("write a long chain of OR as IN (…)".to_owned()),
            });
        }
    }
    Ok(())
}

/// What is between two brackets, so far.
#[derive(Default)]
struct Level {
    /// Depth of the chain, read as if every operator took all before it as its left side.
    chain: usize,
    /// Depth of the brackets in the operand at hand.
    operand: usize,
    /// Whether a comma joins, as in FROM and WITH, and does not merely list.
    comma_joins: bool,
}

/// Takes one token; the depth at it.
fn step(levels: &mut Vec<Level>, token: &Token) -> usize {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => {
            levels.push(Level::default());
            return 0;
        }
        Token::RParen | Token::RBracket | Token::RBrace if levels.len() > 1 => {
            let inner = levels.pop().map_or(0, |level| level.chain.max(level.operand) + 1);
            return match levels.last_mut() {
                Some(level) if matches!(token, Token::RBracket) => level.join(inner),
                Some(level) => level.hold(inner),
                None => inner,
            };
        }
        _ => {}
    }
    let Some(level) = levels.last_mut() else { return 0 };
    match token {
        Token::Comma if level.comma_joins => level.join(0),
        Token::Comma => {
            (level.chain, level.operand) = (0, 0);
            0
        }
        Token::Word(word) => level.word(word.keyword),
        Token::Number(..) | Token::SingleQuotedString(_) | Token::Period | Token::SemiColon => 0,
        _ => level.join(0),
    }
}

impl Level {
    fn word(&mut self, keyword: Keyword) -> usize {
        match keyword {
            Keyword::FROM | Keyword::WITH => self.comma_joins = true,
            Keyword::SELECT | Keyword::VALUES | Keyword::WHERE | Keyword::GROUP => {
                self.comma_joins = false;
            }
            Keyword::HAVING | Keyword::ORDER | Keyword::WINDOW => self.comma_joins = false,
            _ => {}
        }
        if is_operator(keyword) { self.join(0) } else { 0 }
    }

    /// An operator: what follows is the right side of all before.
    fn join(&mut self, inner: usize) -> usize {
        self.chain = self.chain.max(self.operand).max(inner) + 1;
        self.operand = 0;
        self.chain
    }

    /// A bracket closed. In WITH each can hold the one before, so their depths add up.
    fn hold(&mut self, inner: usize) -> usize {
        match self.comma_joins {
            true => {
                self.chain += inner;
                self.chain
            }
            false => {
                self.operand = self.operand.max(inner);
                self.operand
            }
        }
    }
}

/// Words that stand between operands, before one, or behind one, and can do so again and again.
fn is_operator(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::AND
            | Keyword::OR
            | Keyword::XOR
            | Keyword::NOT
            | Keyword::DIV
            | Keyword::IS
            | Keyword::NOTNULL
            | Keyword::IN
            | Keyword::BETWEEN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::RLIKE
            | Keyword::REGEXP
            | Keyword::SIMILAR
            | Keyword::MATCH
            | Keyword::MEMBER
            | Keyword::OVERLAPS
            | Keyword::CASE
            | Keyword::INTERVAL
            | Keyword::COLLATE
            | Keyword::AT
            | Keyword::OPERATOR
            | Keyword::EXPLAIN
            | Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::INTERSECT
            | Keyword::MINUS
            | Keyword::JOIN
            | Keyword::STRAIGHT_JOIN
            | Keyword::APPLY
            | Keyword::PIVOT
            | Keyword::UNPIVOT
            | Keyword::MATCH_RECOGNIZE
    )
}
