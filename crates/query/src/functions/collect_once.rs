//! A step of planning for aggregates that collect events: rows are brought to their group's place before
//! they are collected. Collecting them in part, as for a sum, would copy each of them twice.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};

/// Puts the exchange of rows before the only aggregation.
#[derive(Debug)]
pub(crate) struct CollectOnce;

impl PhysicalOptimizerRule for CollectOnce {
    fn name(&self) -> &str {
        "CollectOnce"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let collected = plan.transform_up(|plan| match once(plan.as_ref())? {
            Some(once) => Ok(Transformed::yes(once)),
            None => Ok(Transformed::no(plan)),
        });
        collected.data()
    }
}

fn once(plan: &dyn ExecutionPlan) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(last) = aggregate(plan, AggregateMode::FinalPartitioned) else { return Ok(None) };
    if !last.aggr_expr().iter().any(|it| super::collects(it.fun().name())) {
        return Ok(None);
    }
    let Some(exchange) = last.input().downcast_ref::<RepartitionExec>() else { return Ok(None) };
    let Some(first) = aggregate(exchange.input().as_ref(), AggregateMode::Partial) else {
        return Ok(None);
    };
    let Partitioning::Hash(_, partitions) = exchange.partitioning() else { return Ok(None) };
    if !first.group_expr().is_single() {
        return Ok(None);
    }
    let whole = Partitioning::Hash(first.group_expr().input_exprs(), *partitions);
    let exchange = RepartitionExec::try_new(first.input().clone(), whole)?;
    let only = AggregateExec::try_new(
        AggregateMode::SinglePartitioned,
        first.group_expr().clone(),
        first.aggr_expr().to_vec(),
        first.filter_expr().to_vec(),
        Arc::new(exchange),
        first.input_schema(),
    )?;
    Ok(Some(Arc::new(only)))
}

fn aggregate(plan: &dyn ExecutionPlan, mode: AggregateMode) -> Option<&AggregateExec> {
    plan.downcast_ref::<AggregateExec>().filter(|aggregate| *aggregate.mode() == mode)
}
