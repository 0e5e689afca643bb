//! How many bytes rows are worth, whatever larger buffers they were cut from. Whose memory is
//! charged for them is left to the callers.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;

/// What a copy of the batch would take.
pub(crate) fn of_batch(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| of_column(column.as_ref())).sum()
}

/// What a copy of the column would take.
pub(crate) fn of_column(column: &dyn Array) -> usize {
    match column.data_type() {
        DataType::Utf8View => of_views(column.len(), column.as_string_view().total_bytes_len()),
        DataType::BinaryView => of_views(column.len(), column.as_binary_view().total_bytes_len()),
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            of_entries(list.values().as_ref(), list.value_offsets())
        }
        DataType::LargeList(_) => {
            let list = column.as_list::<i64>();
            of_entries(list.values().as_ref(), list.value_offsets())
        }
        DataType::Struct(_) => {
            let fields = column.as_struct().columns().iter();
            fields.map(|field| of_column(field.as_ref())).sum()
        }
        _ => {
            let data = column.to_data();
            data.get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
        }
    }
}

/// Each view takes 16 bytes, and its text as many as it has.
fn of_views(count: usize, text_bytes: usize) -> usize {
    16 * count + text_bytes
}

fn of_entries<Offset: arrow::array::OffsetSizeTrait>(
    entries: &dyn Array,
    offsets: &[Offset],
) -> usize {
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return 0 };
    let (first, last) = (first.as_usize(), last.as_usize());
    size_of_val(offsets) + of_column(entries.slice(first, last - first).as_ref())
}
