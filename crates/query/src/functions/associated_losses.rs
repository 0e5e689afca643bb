//! `associated_losses(found, converted, value, currency)`: what an unmet need is associated with losing,
//! an entry for each currency of the orders. The figure is made by the journey.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Builder, ListArray, StringArray, StringBuilder, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use footfall_journey::association::{Sides, loss};
use serde::{Deserialize, Serialize};

use super::aggregate::{fields, list_of};

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct AssociatedLosses(Signature);

impl Default for AssociatedLosses {
    fn default() -> Self {
        let types = vec![DataType::Boolean, DataType::Boolean, DataType::Float64, DataType::Utf8];
        Self(Signature::exact(types, Volatility::Immutable))
    }
}

fn columns() -> Fields {
    fields(&[
        ("currency", DataType::Utf8),
        ("loss", DataType::Float64),
        ("low", DataType::Float64),
        ("high", DataType::Float64),
    ])
}

impl AggregateUDFImpl for AssociatedLosses {
    fn name(&self) -> &str {
        "associated_losses"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(list_of(DataType::Struct(columns())))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[sides]", args.name), DataType::Binary, true))])
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Sums::default()))
    }
}

/// Sessions so far.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sums {
    found: u64,
    found_converted: u64,
    not_found: u64,
    not_found_converted: u64,
    /// Values of converted sessions, by currency.
    orders: BTreeMap<Option<String>, Vec<f64>>,
    order_count: usize,
}

impl Accumulator for Sums {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (found, converted) = (values[0].as_boolean(), values[1].as_boolean());
        let amounts = values[2].as_primitive::<Float64Type>();
        let currencies: &StringArray = values[3].as_string::<i32>();
        for row in 0..found.len() {
            let has_converted = converted.is_valid(row) && converted.value(row);
            let (of, of_converted) = match found.is_valid(row) && found.value(row) {
                true => (&mut self.found, &mut self.found_converted),
                false => (&mut self.not_found, &mut self.not_found_converted),
            };
            *of += 1;
            *of_converted += u64::from(has_converted);
            if has_converted && amounts.is_valid(row) {
                let currency = currencies.is_valid(row).then(|| currencies.value(row).to_owned());
                self.orders.entry(currency).or_default().push(amounts.value(row));
                self.order_count += 1;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sides = Sides {
            found: self.found,
            found_converted: self.found_converted,
            not_found: self.not_found,
            not_found_converted: self.not_found_converted,
        };
        let mut currencies = StringBuilder::new();
        let mut figures: [Float64Builder; 3] = Default::default();
        let mut length = 0;
        for (currency, orders) in &self.orders {
            let Some(loss) = loss(sides, orders) else { continue };
            currencies.append_option(currency.as_deref());
            for (builder, figure) in figures.iter_mut().zip([loss.loss, loss.low, loss.high]) {
                builder.append_value(figure);
            }
            length += 1;
        }
        if length == 0 {
            return ScalarValue::try_from(&list_of(DataType::Struct(columns())));
        }
        let mut entries: Vec<ArrayRef> = vec![Arc::new(currencies.finish())];
        entries.extend(figures.iter_mut().map(|it| Arc::new(it.finish()) as ArrayRef));
        let losses = StructArray::new(columns(), entries, None);
        let entry = Arc::new(Field::new_list_field(DataType::Struct(columns()), true));
        let offsets = OffsetBuffer::from_lengths([length]);
        Ok(ScalarValue::List(Arc::new(ListArray::new(entry, offsets, Arc::new(losses), None))))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(postcard::to_stdvec(self).map_err(broken)?))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for bytes in states[0].as_binary::<i32>().iter().flatten() {
            let other: Sums = postcard::from_bytes(bytes).map_err(broken)?;
            self.found += other.found;
            self.found_converted += other.found_converted;
            self.not_found += other.not_found;
            self.not_found_converted += other.not_found_converted;
            self.order_count += other.order_count;
            for (currency, orders) in other.orders {
                self.orders.entry(currency).or_default().extend(orders);
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.order_count * 2 * size_of::<f64>()
    }
}

fn broken(error: postcard::Error) -> DataFusionError {
    exec_datafusion_err!("sums of a loss: {error}")
}
