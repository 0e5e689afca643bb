//! The events of each group, as far as a question concerns them: collected as they come, handed out in
//! order. What is asked of them is left to who asks.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, StringArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    DataType, Field, FieldRef, Int64Type, TimestampMicrosecondType, UInt64Type,
};
use datafusion::common::Result;
use datafusion::common::cast::{as_string_array, as_string_view_array};
use datafusion::logical_expr::EmitTo;
use footfall_journey::Hit;

use super::texts::Texts;

/// A hit, with numbers of `N` texts in [`Texts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row<const N: usize> {
    pub(super) hit: Hit,
    pub(super) texts: [u32; N],
}

/// Rows by group. They are kept in one piece, for there may be a million groups of some rows each.
#[derive(Clone, Debug)]
pub(super) struct Hits<const N: usize> {
    /// Whether events that fulfil no condition are kept too.
    keeps_all: bool,
    rows: Vec<(u32, Row<N>)>,
    texts: Texts,
    group_count: usize,
}

/// Rows in the order of their groups; those of each group in the order of events.
#[derive(Debug)]
pub(super) struct Ordered<const N: usize> {
    rows: Vec<Row<N>>,
    /// Where each group ends.
    ends: Vec<usize>,
    /// Those of these rows alone: what is not held any more must not count as memory.
    texts: Texts,
}

impl<const N: usize> Ordered<N> {
    pub(super) fn texts(&self) -> &Texts {
        &self.texts
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &[Row<N>]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.rows[start..*end])
    }

    pub(super) fn group_count(&self) -> usize {
        self.ends.len()
    }
}

impl<const N: usize> Hits<N> {
    pub(super) fn new(keeps_all: bool) -> Self {
        Self { keeps_all, rows: Vec::new(), texts: Texts::default(), group_count: 0 }
    }

    /// Adds events: `values` are their times, counters, `N` texts, and the conditions, a column each.
    /// One without a time is none.
    pub(super) fn add(
        &mut self,
        values: &[ArrayRef],
        group_of: impl Fn(usize) -> usize,
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.group_count = self.group_count.max(group_count);
        let times = values[0].as_primitive::<TimestampMicrosecondType>();
        let seqs = values[1].as_primitive::<Int64Type>();
        let bits = bits(&values[2 + N..], times.len());
        let columns = &values[2..2 + N];
        for (row, bits) in bits.into_iter().enumerate() {
            let is_wanted = (self.keeps_all || bits != 0)
                && times.is_valid(row)
                && filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if !is_wanted {
                continue;
            }
            let mut texts = [Texts::NULL; N];
            for (text, column) in texts.iter_mut().zip(columns) {
                *text = self.texts.number(text_at(column, row)?);
            }
            let seq = if seqs.is_valid(row) { seqs.value(row) } else { 0 };
            let hit = Hit { time_us: times.value(row), seq, bits };
            self.rows.push((group_of(row) as u32, Row { hit, texts }));
        }
        Ok(())
    }

    /// Adds what [`Hits::state`] gave.
    pub(super) fn merge(
        &mut self,
        state: &[ArrayRef],
        group_of: impl Fn(usize) -> usize,
        group_count: usize,
    ) -> Result<()> {
        self.group_count = self.group_count.max(group_count);
        let lists: Vec<&ListArray> = state.iter().map(|list| list.as_list::<i32>()).collect();
        for row in 0..lists[0].len() {
            let entries: Vec<ArrayRef> = lists.iter().map(|list| list.value(row)).collect();
            let times = entries[0].as_primitive::<Int64Type>();
            let seqs = entries[1].as_primitive::<Int64Type>();
            let bits = entries[2].as_primitive::<UInt64Type>();
            for entry in 0..times.len() {
                let mut texts = [Texts::NULL; N];
                for (text, column) in texts.iter_mut().zip(&entries[3..]) {
                    *text = self.texts.number(text_at(column, entry)?);
                }
                let (time_us, seq, bits) =
                    (times.value(entry), seqs.value(entry), bits.value(entry));
                self.rows
                    .push((group_of(row) as u32, Row { hit: Hit { time_us, seq, bits }, texts }));
            }
        }
        Ok(())
    }

    /// The groups that `emit` names, which are forgotten.
    pub(super) fn take(&mut self, emit: EmitTo) -> Ordered<N> {
        let emitted = match emit {
            EmitTo::All => self.group_count,
            EmitTo::First(count) => count,
        };
        let rows = std::mem::take(&mut self.rows);
        let mut ends = vec![0_usize; emitted];
        for (group, _) in &rows {
            if let Some(count) = ends.get_mut(*group as usize) {
                *count += 1;
            }
        }
        let mut end = 0;
        for count in &mut ends {
            // Where the group begins; it becomes where it ends as it is filled.
            let begin = end;
            end += *count;
            *count = begin;
        }
        let nothing = Row { hit: Hit::default(), texts: [Texts::NULL; N] };
        let mut ordered = vec![nothing; end];
        for (group, row) in rows {
            match ends.get_mut(group as usize) {
                Some(place) => {
                    ordered[*place] = row;
                    *place += 1;
                }
                None => self.rows.push((group - emitted as u32, row)),
            }
        }
        self.group_count -= emitted;
        let mut start = 0;
        for end in &ends {
            // Of events that are equal in all that is asked the texts decide, not which came first.
            ordered[start..*end].sort_by(|one, other| {
                let by_texts = || {
                    one.texts
                        .map(|it| self.texts.text(it))
                        .cmp(&other.texts.map(|it| self.texts.text(it)))
                };
                one.hit.cmp(&other.hit).then_with(by_texts)
            });
            start = *end;
        }
        let texts = self.take_texts(&mut ordered);
        Ordered { rows: ordered, ends, texts }
    }

    /// The texts of the rows that were taken, which get their numbers in it; those that are left keep
    /// theirs alone.
    fn take_texts(&mut self, taken: &mut [Row<N>]) -> Texts {
        let all = std::mem::take(&mut self.texts);
        if self.rows.is_empty() {
            return all;
        }
        let mut texts = Texts::default();
        let renumber = |row: &mut Row<N>, texts: &mut Texts| {
            for number in &mut row.texts {
                *number = texts.number(all.text(*number));
            }
        };
        for row in taken {
            renumber(row, &mut texts);
        }
        for (_, row) in &mut self.rows {
            renumber(row, &mut self.texts);
        }
        texts
    }

    /// The groups that `emit` names as lists of times, counters, conditions and texts, one list a group.
    pub(super) fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let ordered = self.take(emit);
        let lengths = ordered.groups().map(<[Row<N>]>::len);
        let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
        let rows = &ordered.rows;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.hit.time_us))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.hit.seq))),
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.hit.bits))),
        ];
        for text in 0..N {
            let texts = rows.iter().map(|row| ordered.texts.text(row.texts[text]));
            columns.push(Arc::new(texts.collect::<StringArray>()));
        }
        let list = |(field, column): (FieldRef, ArrayRef)| -> ArrayRef {
            Arc::new(ListArray::new(field, offsets.clone(), column, None))
        };
        Ok(state_entries::<N>().into_iter().zip(columns).map(list).collect())
    }

    pub(super) fn at_least(&mut self, group_count: usize) {
        self.group_count = self.group_count.max(group_count);
    }

    pub(super) fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<(u32, Row<N>)>() * ORDERING_SHARE + self.texts.bytes()
    }
}

/// Rows are copied once when they are brought in order.
const ORDERING_SHARE: usize = 2;

/// The entries of the lists of [`Hits::state`].
fn state_entries<const N: usize>() -> Vec<FieldRef> {
    let entry = |data_type| Arc::new(Field::new_list_field(data_type, true));
    let mut entries = vec![entry(DataType::Int64), entry(DataType::Int64), entry(DataType::UInt64)];
    entries.extend((0..N).map(|_| entry(DataType::Utf8)));
    entries
}

/// The columns of [`Hits::state`], for an aggregate of this name.
pub(super) fn state_fields<const N: usize>(name: &str) -> Vec<FieldRef> {
    let entries = state_entries::<N>().into_iter().enumerate();
    entries
        .map(|(number, entry)| {
            Arc::new(Field::new(format!("{name}[{number}]"), DataType::List(entry), true))
        })
        .collect()
}

fn bits(conditions: &[ArrayRef], rows: usize) -> Vec<u64> {
    let mut bits = vec![0; rows];
    for (number, condition) in conditions.iter().enumerate() {
        let condition = condition.as_boolean();
        let fulfilled = match condition.nulls() {
            Some(nulls) => condition.values() & nulls.inner(),
            None => condition.values().clone(),
        };
        for row in fulfilled.set_indices() {
            bits[row] |= 1 << number;
        }
    }
    bits
}

fn text_at(column: &ArrayRef, row: usize) -> Result<Option<&str>> {
    if column.is_null(row) {
        return Ok(None);
    }
    Ok(Some(match column.data_type() {
        DataType::Utf8View => as_string_view_array(column)?.value(row),
        _ => as_string_array(column)?.value(row),
    }))
}
