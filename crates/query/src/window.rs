//! The memory of window functions: DataFusion's operators hold rows without asking the pool that
//! queries share, so a gauge on either side of each asks for them. Running them is left to
//! DataFusion.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{WindowFrameBound, WindowFrameUnits};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::StreamExt;

use crate::bytes;

/// The operators join the batches that they hold into one: each row is there twice.
const COPIES: usize = 2;

/// Sets the gauges.
#[derive(Debug)]
pub(crate) struct GaugeWindows;

impl PhysicalOptimizerRule for GaugeWindows {
    fn name(&self) -> &str {
        "GaugeWindows"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let gauged = plan.transform_up(|plan| match Keeps::of(plan.as_ref()) {
            Some(keeps) => gauge(plan, keeps).map(Transformed::yes),
            None => Ok(Transformed::no(plan)),
        });
        gauged.data()
    }
}

fn gauge(window: Arc<dyn ExecutionPlan>, keeps: Keeps) -> Result<Arc<dyn ExecutionPlan>> {
    let ledger = Arc::new(Ledger { keeps, partitions: Mutex::default() });
    let gauge = |input: Arc<dyn ExecutionPlan>, side| -> Arc<dyn ExecutionPlan> {
        Arc::new(Gauge { input, side, ledger: ledger.clone() })
    };
    let inputs = window.children().into_iter().map(|input| gauge(input.clone(), Side::In));
    let inputs: Vec<_> = inputs.collect();
    let keep = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
    Ok(gauge(window.replace_children(inputs, keep)?, Side::Out))
}

/// Which of the rows that it has let out an operator still holds.
#[derive(Clone, Copy, Debug)]
enum Keeps {
    All,
    Last(usize),
}

impl Keeps {
    /// `None` for what is no window operator.
    fn of(plan: &dyn ExecutionPlan) -> Option<Keeps> {
        if plan.is::<WindowAggExec>() {
            return Some(Keeps::All);
        }
        let window = plan.downcast_ref::<BoundedWindowAggExec>()?;
        let frames = window.window_expr().iter().map(rows_behind);
        let longest: Option<usize> = frames.into_iter().try_fold(0, |a, b| Some(a.max(b?)));
        Some(longest.map_or(Keeps::All, Keeps::Last))
    }
}

/// How many rows before the current one a frame needs, where that is known. One that begins with
/// the first row is summed up as it grows.
fn rows_behind(window: &Arc<dyn WindowExpr>) -> Option<usize> {
    let frame = window.get_window_frame();
    match &frame.start_bound {
        WindowFrameBound::CurrentRow | WindowFrameBound::Following(_) => Some(0),
        start if start.is_unbounded() => Some(0),
        WindowFrameBound::Preceding(ScalarValue::UInt64(Some(rows)))
            if frame.units == WindowFrameUnits::Rows =>
        {
            usize::try_from(*rows).ok()
        }
        WindowFrameBound::Preceding(_) => None,
    }
}

/// What one operator holds, by partition, between the call that opens a partition's output and the
/// one that opens its input.
#[derive(Debug)]
struct Ledger {
    keeps: Keeps,
    partitions: Mutex<HashMap<usize, Arc<Mutex<Held>>>>,
}

impl Ledger {
    fn open(&self, partition: usize, pool: &Arc<dyn MemoryPool>) -> Arc<Mutex<Held>> {
        let memory = MemoryConsumer::new("window function").register(pool);
        let held = Held { keeps: self.keeps, memory, rows_in: 0, bytes_in: 0, rows_out: 0 };
        let held = Arc::new(Mutex::new(held));
        lock(&self.partitions).insert(partition, held.clone());
        held
    }
}

/// The rows that went into an operator and came out of it.
#[derive(Debug)]
struct Held {
    keeps: Keeps,
    memory: MemoryReservation,
    rows_in: usize,
    bytes_in: usize,
    rows_out: usize,
}

impl Held {
    fn count(&mut self, side: Side, batch: &RecordBatch) -> Result<()> {
        match side {
            Side::In => {
                self.rows_in += batch.num_rows();
                self.bytes_in += bytes::of_batch(batch);
            }
            Side::Out => self.rows_out += batch.num_rows(),
        }
        let left = match self.keeps {
            Keeps::All => 0,
            Keeps::Last(rows) => self.rows_out.saturating_sub(rows),
        };
        let rows_held = self.rows_in.saturating_sub(left);
        let row_bytes = self.bytes_in.div_ceil(self.rows_in.max(1));
        self.memory.try_resize(rows_held.saturating_mul(row_bytes).saturating_mul(COPIES))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    In,
    Out,
}

/// Passes batches on and counts them.
#[derive(Debug)]
struct Gauge {
    input: Arc<dyn ExecutionPlan>,
    side: Side,
    ledger: Arc<Ledger>,
}

impl DisplayAs for Gauge {
    fn fmt_as(&self, _: DisplayFormatType, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Gauge: {:?}", self.side)
    }
}

impl ExecutionPlan for Gauge {
    fn name(&self) -> &str {
        "Gauge"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().unwrap_or_else(|| self.input.clone());
        Ok(Arc::new(Gauge { input, side: self.side, ledger: self.ledger.clone() }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let opened = match self.side {
            Side::In => lock(&self.ledger.partitions).remove(&partition),
            Side::Out => None,
        };
        let held =
            opened.unwrap_or_else(|| self.ledger.open(partition, &context.memory_pool().clone()));
        let (input, side) = (self.input.execute(partition, context)?, self.side);
        let counted = input.map(move |batch| {
            let batch = batch?;
            lock(&held).count(side, &batch)?;
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), counted)))
    }
}

/// What is locked is whole at any moment, so a thread that panicked left nothing broken.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
