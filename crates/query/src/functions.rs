//! Footfall's own functions. Aggregates (`window_funnel`, `sequence_match`, and those that the others
//! are made of) ask of each group's events; what stands after FROM (`funnel`, `needs`, `paths`,
//! `retention`) is replaced by the SQL that it stands for before a statement is planned.

mod aggregate;
mod arguments;
mod associated_losses;
mod collect_once;
mod declared_condition;
mod duration;
mod events;
mod funnel;
mod hits;
mod needs;
mod page_template;
mod paths;
mod retention;
mod sequence_match;
mod template;
mod texts;
mod window_funnel;

use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, ObjectName, Query, TableAlias, TableFactor, VisitMut, VisitorMut,
};

use crate::{QueryError, bind};
use aggregate::{Asks, Question};
use arguments::{Arguments, Signature, wrong};

pub(crate) use collect_once::CollectOnce;

/// What the configuration declares, for functions to name.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    pub steps: Vec<DeclaredStep>,
    pub needs: Vec<DeclaredNeed>,
    /// The condition of a conversion.
    pub conversion: Option<String>,
    /// How long a session may be.
    pub session_cap_us: i64,
}

impl Declared {
    /// With each condition as a query names it.
    pub(crate) fn in_sql(&self) -> Declared {
        use declared_condition::sql;
        let mut declared = self.clone();
        declared.steps.iter_mut().for_each(|step| step.when = sql(&step.when));
        for need in &mut declared.needs {
            (need.raised_by, need.found_by) = (sql(&need.raised_by), sql(&need.found_by));
        }
        declared.conversion = self.conversion.as_deref().map(sql);
        declared
    }

    /// Each condition, as it is configured.
    fn conditions(&self) -> impl Iterator<Item = &str> {
        let needs = self.needs.iter().flat_map(|need| [&need.raised_by, &need.found_by]);
        let steps = self.steps.iter().map(|step| &step.when);
        steps.chain(needs).chain(&self.conversion).map(String::as_str)
    }
}

#[derive(Clone, Debug)]
pub struct DeclaredStep {
    pub name: String,
    pub when: String,
}

#[derive(Clone, Debug)]
pub struct DeclaredNeed {
    pub name: String,
    pub raised_by: String,
    pub found_by: String,
    pub within_us: i64,
    pub clicks_max: i64,
}

/// Functions after FROM.
const AFTER_FROM: [Signature; 5] =
    [funnel::FUNNEL, funnel::VISITORS, needs::NEEDS, paths::PATHS, retention::RETENTION];

/// The names of the functions after FROM.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    AFTER_FROM.into_iter().map(|signature| signature.name)
}

/// Aggregates that collect the events of their group.
static COLLECTING: LazyLock<[Arc<AggregateUDF>; 7]> = LazyLock::new(|| {
    fn asks<Q: Question<N>, const N: usize>() -> Arc<AggregateUDF> {
        Arc::new(AggregateUDF::new_from_impl(Asks::<Q, N>::default()))
    }
    [
        asks::<window_funnel::Level, 0>(),
        asks::<window_funnel::Times, 0>(),
        asks::<sequence_match::SequenceMatch, 0>(),
        asks::<funnel::trials::FunnelTrials, 2>(),
        asks::<needs::episode::NeedEpisode, 4>(),
        asks::<paths::way::JourneyPath, 1>(),
        asks::<retention::returns::JourneyReturns, 0>(),
    ]
});

fn collects(name: &str) -> bool {
    COLLECTING.iter().any(|aggregate| aggregate.name() == name)
}

/// Makes the functions known to `session`.
pub(crate) fn register(session: &mut SessionState, declared: &Declared) -> Result<()> {
    declared_condition::register(session, declared)?;
    for aggregate in COLLECTING.iter() {
        session.register_udaf(aggregate.clone())?;
    }
    for aggregate in [
        AggregateUDF::new_from_impl(funnel::report::FunnelReport::default()),
        AggregateUDF::new_from_impl(associated_losses::AssociatedLosses::default()),
    ] {
        session.register_udaf(Arc::new(aggregate))?;
    }
    for function in [
        ScalarUDF::new_from_impl(funnel::outcomes::FunnelOutcomes::default()),
        ScalarUDF::new_from_impl(page_template::PageTemplate::default()),
    ] {
        session.register_udf(Arc::new(function))?;
    }
    Ok(())
}

/// Replaces the functions after FROM in `statement`.
///
/// # Errors
/// `Statement` for a call that is wrong.
pub(crate) fn expand(
    statement: &mut Statement,
    session: &SessionState,
    declared: &Declared,
) -> Result<(), QueryError> {
    let mut expansion = Expansion { session, declared };
    match bind::sql_mut(statement).map(|sql| sql.visit(&mut expansion)) {
        Some(ControlFlow::Break(error)) => Err(error),
        _ => Ok(()),
    }
}

struct Expansion<'a> {
    session: &'a SessionState,
    declared: &'a Declared,
}

/// What functions after FROM stand for calls these; nobody else does, and their arguments are not checked.
const INTERNAL: [&str; 6] = [
    "funnel_trials",
    "funnel_report",
    "funnel_outcomes",
    "need_episode",
    "journey_path",
    "journey_returns",
];

impl VisitorMut for Expansion<'_> {
    type Break = QueryError;

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<QueryError> {
        let Expr::Function(function) = expression else { return ControlFlow::Continue(()) };
        let called = function.name.0.last().and_then(|part| part.as_ident());
        let called = called.map(|called| called.value.to_lowercase()).unwrap_or_default();
        if let Some(signature) = AFTER_FROM.into_iter().find(|known| known.name == called) {
            return ControlFlow::Break(wrong(signature, "it is a table, and stands after FROM"));
        }
        match INTERNAL.contains(&called.as_str()) {
            true => ControlFlow::Break(QueryError::Statement {
                message: format!("`{called}` is not to be called"),
                place: None,
                hint: Some(format!("there are: {}", names().collect::<Vec<_>>().join(", "))),
            }),
            false => ControlFlow::Continue(()),
        }
    }

    fn post_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<QueryError> {
        let TableFactor::Table { name, alias, args: Some(args), .. } = table else {
            return ControlFlow::Continue(());
        };
        let Some(signature) = known(name) else { return ControlFlow::Continue(()) };
        let args = std::mem::take(&mut args.args);
        match self.query(signature, args) {
            Ok(subquery) => {
                let alias = alias.take().or_else(|| alias_of(signature.name));
                *table = TableFactor::Derived { lateral: false, subquery, alias, sample: None };
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Expansion<'_> {
    fn query(
        &self,
        signature: Signature,
        args: Vec<FunctionArg>,
    ) -> Result<Box<Query>, QueryError> {
        let arguments = Arguments::new(signature, args, self.session, self.declared)?;
        match signature.name {
            "funnel" => funnel::funnel(arguments),
            "funnel_visitors" => funnel::visitors(arguments),
            "needs" => needs::needs(arguments),
            "paths" => paths::paths(arguments),
            _ => retention::retention(arguments),
        }
    }
}

fn known(name: &ObjectName) -> Option<Signature> {
    let [part] = name.0.as_slice() else { return None };
    let ident = part.as_ident()?;
    AFTER_FROM.into_iter().find(|known| ident.value.eq_ignore_ascii_case(known.name))
}

fn alias_of(name: &str) -> Option<TableAlias> {
    Some(TableAlias { explicit: true, name: name.into(), columns: Vec::new(), at: None })
}
