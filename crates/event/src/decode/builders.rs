//! The columns under construction. A column that a row does not mention is not touched: its NULLs
//! are filled in when the next value or the end comes, as most columns of most events are NULL.

use std::borrow::Borrow;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Builder, Float64Builder, Int32Array,
    Int64Builder, ListBuilder, RecordBatch, StringArray, StringBuilder, StructBuilder,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::DataType;

use super::Decoded;
use crate::schema::{Table, item_fields};
use crate::{Column, Item, Micros, Money, Offset, Partition, TIME_RANGE, Text, Whole};

/// The times of the row being read.
#[derive(Default)]
pub(super) struct RowTimes {
    pub event_time: Option<Micros>,
    pub client_time: Option<Micros>,
    pub received_time: Option<Micros>,
    pub sent_at: Option<Micros>,
    pub is_replayed: bool,
}

impl RowTimes {
    /// A time that a table would keep and not every reader of it could represent. Each is written within the range:
    /// another is a stranger's.
    pub fn unreadable(&self) -> Option<&'static str> {
        let is_unreadable =
            |time: Option<Micros>| time.is_some_and(|time| !TIME_RANGE.contains(&time));
        let kept = [
            ("event_time", self.event_time),
            ("client_time", self.client_time),
            ("received_time", self.received_time),
        ];
        kept.into_iter().find(|(_, time)| is_unreadable(*time)).map(|(column, _)| column)
    }
}

/// Columns that a record must have.
const REQUIRED: [Text; 3] = [Text::EventId, Text::Site, Text::EventName];

/// A record that names a column twice.
#[derive(Debug)]
pub(super) struct Repeated;

impl std::fmt::Display for Repeated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key stands there twice")
    }
}

pub(super) struct Builders {
    log: String,
    partition: Partition,
    texts: Vec<Sparse<StringBuilder>>,
    wholes: Vec<Sparse<Int64Builder>>,
    cls: Sparse<Float64Builder>,
    value: Sparse<Decimal128Builder>,
    items: Sparse<ListBuilder<StructBuilder>>,
    properties: Sparse<StringBuilder>,
    pub times: RowTimes,
    offsets: Vec<i64>,
    appended_at: Vec<Option<i64>>,
    event_time: Vec<i64>,
    client_time: Vec<Option<i64>>,
    received_time: Vec<i64>,
    sent_at: Vec<Option<Micros>>,
    replayed: Vec<bool>,
    discarded: Vec<usize>,
}

impl Builders {
    pub fn new(log: &str, partition: Partition) -> Builders {
        Builders {
            log: log.to_owned(),
            partition,
            texts: Text::ALL.iter().map(|_| Sparse::default()).collect(),
            wholes: Whole::ALL.iter().map(|_| Sparse::default()).collect(),
            cls: Sparse::default(),
            value: Sparse::of(money_builder()),
            items: Sparse::of(items_builder()),
            properties: Sparse::default(),
            times: RowTimes::default(),
            offsets: Vec::new(),
            appended_at: Vec::new(),
            event_time: Vec::new(),
            client_time: Vec::new(),
            received_time: Vec::new(),
            sent_at: Vec::new(),
            replayed: Vec::new(),
            discarded: Vec::new(),
        }
    }

    /// Makes room for so many rows, which will be much like those before the last finish.
    pub fn expect(&mut self, rows: usize) {
        self.texts.iter_mut().for_each(|column| column.expect(rows));
        self.wholes.iter_mut().for_each(|column| column.expect(rows));
        self.cls.expect(rows);
        self.properties.expect(rows);
        self.offsets.reserve(rows);
        self.appended_at.reserve(rows);
        self.event_time.reserve(rows);
        self.client_time.reserve(rows);
        self.received_time.reserve(rows);
        self.sent_at.reserve(rows);
        self.replayed.reserve(rows);
    }

    /// Rows that [`Builders::finish`] will return.
    pub fn rows(&self) -> usize {
        self.offsets.len() - self.discarded.len()
    }

    fn row(&self) -> usize {
        self.offsets.len()
    }

    pub fn text(&mut self, column: Text, text: &str) -> Result<(), Repeated> {
        let row = self.row();
        self.texts[column as usize].at(row)?.append_value(text);
        Ok(())
    }

    pub fn whole(&mut self, column: Whole, whole: i64) -> Result<(), Repeated> {
        let row = self.row();
        self.wholes[column as usize].at(row)?.append_value(whole);
        Ok(())
    }

    pub fn cls(&mut self, cls: f64) -> Result<(), Repeated> {
        let row = self.row();
        self.cls.at(row)?.append_value(cls);
        Ok(())
    }

    pub fn value(&mut self, value: Money) -> Result<(), Repeated> {
        let row = self.row();
        self.value.at(row)?.append_value(i128::from(value.0));
        Ok(())
    }

    pub fn properties(&mut self, json: &str) -> Result<(), Repeated> {
        let row = self.row();
        self.properties.at(row)?.append_value(json);
        Ok(())
    }

    pub fn items<'i>(
        &mut self,
        items: impl IntoIterator<Item: Borrow<Item<'i>>>,
    ) -> Result<(), Repeated> {
        let row = self.row();
        let list = self.items.at(row)?;
        for item in items {
            let item: &Item<'i> = item.borrow();
            let entry = list.values();
            let texts = [
                &item.item_id,
                &item.item_name,
                &item.item_brand,
                &item.item_category,
                &item.item_variant,
            ];
            for (i, text) in texts.into_iter().enumerate() {
                if let Some(builder) = entry.field_builder::<StringBuilder>(i) {
                    builder.append_option(text.as_deref());
                }
            }
            if let Some(builder) = entry.field_builder::<Decimal128Builder>(5) {
                builder.append_option(item.price.map(|price| i128::from(price.0)));
            }
            if let Some(builder) = entry.field_builder::<Float64Builder>(6) {
                builder.append_option(item.quantity);
            }
            entry.append(true);
        }
        list.append(true);
        Ok(())
    }

    /// A required column that the row being read lacks.
    pub fn missing(&self) -> Option<&'static str> {
        let text = REQUIRED.iter().find(|column| self.texts[**column as usize].len() <= self.row());
        match text {
            Some(column) => Some(column.name()),
            None if self.times.event_time.is_none() => Some("event_time"),
            None if self.times.received_time.is_none() => Some("received_time"),
            None => None,
        }
    }

    pub fn end_row(&mut self, offset: Offset, append_time: Option<Micros>) {
        let times = std::mem::take(&mut self.times);
        self.offsets.push(offset.0);
        self.appended_at.push(append_time.map(|time| time.0));
        self.event_time.push(times.event_time.map_or(0, |time| time.0));
        self.client_time.push(times.client_time.map(|time| time.0));
        self.received_time.push(times.received_time.map_or(0, |time| time.0));
        self.sent_at.push(times.sent_at);
        self.replayed.push(times.is_replayed);
    }

    /// Ends a row that turned out bad: it is left out when the rows are finished.
    pub fn discard_row(&mut self) {
        self.discarded.push(self.offsets.len());
        self.times = RowTimes::default();
        self.end_row(Offset(0), None);
    }

    pub fn finish(&mut self) -> Decoded {
        let rows = self.row();
        let schema = Table::Events.schema();
        let event_time = std::mem::take(&mut self.event_time);
        let days = event_time.iter().map(|time| Micros(*time).day().0).collect::<Vec<_>>();
        let (offsets, appended_at) =
            (std::mem::take(&mut self.offsets), std::mem::take(&mut self.appended_at));
        let (client_time, received_time) =
            (std::mem::take(&mut self.client_time), std::mem::take(&mut self.received_time));
        let mut fixed: Vec<(&str, ArrayRef)> = vec![
            ("event_time", times(event_time.into())),
            ("client_time", times(client_time.into())),
            ("received_time", times(received_time.into())),
            ("appended_at", times(appended_at.into())),
            ("log", Arc::new(StringArray::from_iter_values(vec![&self.log; rows]))),
            ("log_partition", Arc::new(Int32Array::from(vec![self.partition.0; rows]))),
            ("log_offset", Arc::new(arrow::array::Int64Array::from(offsets))),
            ("event_date", Arc::new(Date32Array::from(days))),
        ];
        let columns = schema.fields().iter().map(|field| {
            if let Some(at) = fixed.iter().position(|(name, _)| name == field.name()) {
                return fixed.swap_remove(at).1;
            }
            match Column::named(field.name()) {
                Some(Column::Text(column)) => self.texts[column as usize].finish(rows),
                Some(Column::Whole(column)) => self.wholes[column as usize].finish(rows),
                Some(Column::Cls) => self.cls.finish(rows),
                Some(Column::Value) => self.value.finish(rows),
                Some(Column::Items) => self.items.finish(rows),
                Some(Column::Properties) => self.properties.finish(rows),
                _ => new_null_array(field.data_type(), rows),
            }
        });
        let columns = columns.collect::<Vec<_>>();
        #[allow(clippy::expect_used)]
        let rows = RecordBatch::try_new(schema, columns).expect("every column has the row count");
        let (sent_at, replayed) =
            (std::mem::take(&mut self.sent_at), std::mem::take(&mut self.replayed));
        let decoded = Decoded { rows, sent_at, replayed };
        self.without_discarded(decoded)
    }

    fn without_discarded(&mut self, decoded: Decoded) -> Decoded {
        let discarded = std::mem::take(&mut self.discarded);
        if discarded.is_empty() {
            return decoded;
        }
        let mut kept = vec![true; decoded.rows.num_rows()];
        for row in discarded {
            kept[row] = false;
        }
        #[allow(clippy::expect_used)]
        let rows = filter_record_batch(&decoded.rows, &BooleanArray::from(kept.clone()))
            .expect("the mask has the row count");
        let sent_at = decoded.sent_at.into_iter().zip(&kept).filter(|(_, kept)| **kept);
        let replayed = decoded.replayed.into_iter().zip(&kept).filter(|(_, kept)| **kept);
        Decoded {
            rows,
            sent_at: sent_at.map(|(time, _)| time).collect(),
            replayed: replayed.map(|(is_replayed, _)| is_replayed).collect(),
        }
    }
}

fn times(values: TimestampMicrosecondArray) -> ArrayRef {
    Arc::new(values.with_timezone("UTC"))
}

fn money_builder() -> Decimal128Builder {
    Decimal128Builder::new().with_data_type(DataType::Decimal128(Money::PRECISION, Money::SCALE))
}

fn items_builder() -> ListBuilder<StructBuilder> {
    let mut fields: Vec<Box<dyn arrow::array::ArrayBuilder>> = Vec::new();
    for _ in 0..5 {
        fields.push(Box::new(StringBuilder::new()));
    }
    fields.push(Box::new(money_builder()));
    fields.push(Box::new(Float64Builder::new()));
    let element = arrow::datatypes::Field::new("element", DataType::Struct(item_fields()), true);
    ListBuilder::new(StructBuilder::new(item_fields(), fields)).with_field(element)
}

/// A builder whose rows without a value are filled in late.
#[derive(Default)]
struct Sparse<B> {
    builder: B,
    /// What the rows before the last finish came to, and what is expected of these.
    before: Size,
    expected: Size,
}

#[derive(Clone, Copy, Default)]
struct Size {
    rows: usize,
    text_bytes: usize,
}

/// What [`Sparse`] needs of a builder.
trait Fill: arrow::array::ArrayBuilder {
    /// Makes room in the empty builder.
    fn make_room(&mut self, _: Size) {}
    fn text_bytes(&self) -> usize {
        0
    }
    fn append_nulls(&mut self, count: usize);
    fn finished(&mut self) -> ArrayRef;
}

macro_rules! fill {
    ($($builder:ty { $($text:item)* })*) => {$(
        impl Fill for $builder {
            $($text)*
            fn append_nulls(&mut self, count: usize) {
                <$builder>::append_nulls(self, count);
            }
            fn finished(&mut self) -> ArrayRef {
                Arc::new(<$builder>::finish(self))
            }
        }
    )*};
}
fill! {
    StringBuilder {
        fn make_room(&mut self, size: Size) {
            *self = StringBuilder::with_capacity(size.rows, size.text_bytes);
        }
        fn text_bytes(&self) -> usize {
            self.values_slice().len()
        }
    }
    Int64Builder {
        fn make_room(&mut self, size: Size) {
            *self = Int64Builder::with_capacity(size.rows);
        }
    }
    Float64Builder {
        fn make_room(&mut self, size: Size) {
            *self = Float64Builder::with_capacity(size.rows);
        }
    }
    Decimal128Builder {}
    ListBuilder<StructBuilder> {}
}

impl<B: Fill> Sparse<B> {
    fn of(builder: B) -> Sparse<B> {
        Sparse { builder, before: Size::default(), expected: Size::default() }
    }

    fn len(&self) -> usize {
        self.builder.len()
    }

    /// The builder, filled up to `row`.
    fn at(&mut self, row: usize) -> Result<&mut B, Repeated> {
        let len = self.builder.len();
        if len > row {
            return Err(Repeated);
        }
        if len == 0 {
            self.builder.make_room(self.expected);
        }
        self.builder.append_nulls(row - len);
        Ok(&mut self.builder)
    }

    fn expect(&mut self, rows: usize) {
        let Size { rows: before, text_bytes } = self.before;
        self.expected = Size { rows, text_bytes: text_bytes * rows / before.max(1) };
    }

    fn finish(&mut self, rows: usize) -> ArrayRef {
        self.before = Size { rows, text_bytes: self.builder.text_bytes() };
        self.expected = Size::default();
        self.builder.append_nulls(rows - self.builder.len());
        self.builder.finished()
    }
}
