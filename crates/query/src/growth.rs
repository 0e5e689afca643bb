//! Functions whose values can be far longer than their arguments, wrapped so that each call has a
//! bound: DataFusion evaluates a call at once, outside the memory that queries share. How long a
//! value becomes is left to `growth/estimate`.

mod estimate;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};

use crate::bytes;
use estimate::Growth;

/// The share of the memory that queries share which one call may take.
const CALL_SHARE: usize = 8;

/// Puts the bounds on the functions of `session`, which shares `memory_bytes_max` and evaluates
/// `batch_rows` rows at once.
pub(crate) fn bound(
    session: &mut SessionState,
    memory_bytes_max: usize,
    batch_rows: usize,
) -> Result<()> {
    // A constant is repeated for each row of a batch: all of them together must fit.
    let value_bytes_max = memory_bytes_max / batch_rows;
    let call_bytes_max = memory_bytes_max / CALL_SHARE;
    for (name, growth) in estimate::GROWING {
        let inner = session.udf(name)?;
        let bounded = Bounded { inner, growth, value_bytes_max, call_bytes_max };
        session.register_udf(Arc::new(ScalarUDF::new_from_impl(bounded)))?;
    }
    Ok(())
}

/// One function with its bounds.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
    /// Bytes of one value that is made of constants or of a count.
    value_bytes_max: usize,
    /// Bytes of all values of a call.
    call_bytes_max: usize,
}

impl Bounded {
    /// The values for `args`, in pieces; `room` is what the call may still take.
    fn pieces(
        &self,
        args: ScalarFunctionArgs,
        room: &mut usize,
        pieces: &mut Vec<ArrayRef>,
    ) -> Result<()> {
        let rows = args.number_rows;
        let value_bytes = self.growth.value_bytes(&args.args)?;
        let value_bytes_max = match self.growth.has_count() {
            true => self.value_bytes_max,
            false => self.call_bytes_max,
        };
        let is_short = value_bytes <= value_bytes_max as u128;
        if is_short && value_bytes.saturating_mul(rows as u128) <= self.call_bytes_max as u128 {
            let piece = self.inner.invoke_with_args(args)?.into_array(rows)?;
            let piece_bytes = bytes::of_column(piece.as_ref());
            *room = room.checked_sub(piece_bytes).ok_or_else(|| self.refuse_call())?;
            pieces.push(piece);
            return Ok(());
        }
        if rows <= 1 {
            return Err(self.refuse_value(value_bytes, value_bytes_max));
        }
        // The longest value may be the only long one.
        let (first, second) = halves(args);
        self.pieces(first, room, pieces)?;
        self.pieces(second, room, pieces)
    }

    fn refuse_value(&self, bytes: u128, bytes_max: usize) -> DataFusionError {
        let name = self.name();
        let advice = match self.growth {
            Growth::Range => format!("; {name}() after FROM gives rows without this bound"),
            _ => String::new(),
        };
        DataFusionError::ResourcesExhausted(format!(
            "{name}() would make a value of {bytes} bytes, and may make one of {bytes_max}{advice}"
        ))
    }

    fn refuse_call(&self) -> DataFusionError {
        DataFusionError::ResourcesExhausted(format!(
            "{}() would make more than {} bytes for a batch of rows",
            self.name(),
            self.call_bytes_max
        ))
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn is_strict(&self) -> bool {
        self.inner.inner().is_strict()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        if is_constant {
            args.number_rows = 1;
        }
        let (mut room, mut pieces) = (self.call_bytes_max, Vec::new());
        self.pieces(args, &mut room, &mut pieces)?;
        if let (true, [piece]) = (is_constant, pieces.as_slice()) {
            let value_bytes = bytes::of_column(piece.as_ref());
            if value_bytes > self.value_bytes_max {
                return Err(self.refuse_value(value_bytes as u128, self.value_bytes_max));
            }
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(piece, 0)?));
        }
        if pieces.len() > 1 {
            let all: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            pieces = vec![concat(&all)?];
        }
        // A batch without rows makes one piece too.
        pieces.pop().map(ColumnarValue::Array).ok_or_else(|| self.refuse_call())
    }
}

fn halves(args: ScalarFunctionArgs) -> (ScalarFunctionArgs, ScalarFunctionArgs) {
    let middle = args.number_rows / 2;
    let part = |start: usize, rows: usize| {
        let column = |arg: &ColumnarValue| match arg {
            ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(start, rows)),
            scalar => scalar.clone(),
        };
        let columns = args.args.iter().map(column).collect();
        ScalarFunctionArgs { args: columns, number_rows: rows, ..args.clone() }
    };
    (part(0, middle), part(middle, args.number_rows - middle))
}
