//! A batch of a partition's event records: rows as Arrow, and each row as the fold sees it.

use arrow::array::{Array, AsArray, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Decimal128Type, Int64Type, TimestampMicrosecondType};
use footfall_event::schema::Table;
use footfall_event::{Micros, Money, Offset};
use footfall_sessionizer::{Bits, Fact, Facts, Hit, RulesId};

/// Typed views of the columns that hits are made of.
pub struct HitColumns<'b> {
    facts: Vec<&'b StringArray>,
    event_time: &'b [i64],
    offsets: &'b [i64],
    seq: &'b Int64Array,
    visible_ms: &'b Int64Array,
    lcp_ms: &'b Int64Array,
    x: &'b Int64Array,
    y: &'b Int64Array,
    value: &'b Decimal128Array,
}

impl<'b> HitColumns<'b> {
    /// `rows` has the schema of `events`.
    pub fn of(rows: &'b RecordBatch) -> HitColumns<'b> {
        let facts = Fact::ALL.iter().map(|fact| rows.column(place(column_of(*fact))).as_string());
        let whole = |name| rows.column(place(name)).as_primitive::<Int64Type>();
        HitColumns {
            facts: facts.collect(),
            event_time: rows
                .column(place("event_time"))
                .as_primitive::<TimestampMicrosecondType>()
                .values(),
            offsets: whole("log_offset").values(),
            seq: whole("seq"),
            visible_ms: whole("visible_ms"),
            lcp_ms: whole("lcp_ms"),
            x: whole("x"),
            y: whole("y"),
            value: rows.column(place("value")).as_primitive::<Decimal128Type>(),
        }
    }

    pub fn event_time(&self, row: usize) -> Micros {
        Micros(self.event_time[row])
    }

    pub fn offset(&self, row: usize) -> Offset {
        Offset(self.offsets[row])
    }

    pub fn fact(&self, row: usize, fact: Fact) -> Option<&'b str> {
        let column = self.facts[fact as usize];
        column.is_valid(row).then(|| column.value(row))
    }

    pub fn hit(
        &self,
        row: usize,
        (rules, bits): (RulesId, Bits),
        other_bits: Vec<(RulesId, Bits)>,
    ) -> Hit {
        let whole = |column: &Int64Array| column.is_valid(row).then(|| column.value(row));
        let amount = |column: &Decimal128Array| Money(column.value(row) as i64);
        Hit {
            offset: self.offset(row),
            event_time: self.event_time(row),
            seq: whole(self.seq).unwrap_or(0),
            rules,
            bits,
            other_bits,
            visible_ms: whole(self.visible_ms),
            lcp_ms: whole(self.lcp_ms),
            place: whole(self.x).zip(whole(self.y)),
            value: self.value.is_valid(row).then(|| amount(self.value)),
            facts: Facts::pack(|fact| self.fact(row, fact)),
        }
    }
}

/// Where a column stands in the schema of `events`.
///
/// # Panics
/// When there is no such column, which is a mistake in this program.
pub fn place(name: &str) -> usize {
    let schema = Table::Events.schema();
    schema.index_of(name).unwrap_or_else(|_| unreachable!("`{name}` is a column of `events`"))
}

const fn column_of(fact: Fact) -> &'static str {
    match fact {
        Fact::Site => "site",
        Fact::VisitorId => "visitor_id",
        Fact::EventId => "event_id",
        Fact::EventName => "event_name",
        Fact::PageViewId => "page_view_id",
        Fact::PageUrl => "page_url",
        Fact::PagePath => "page_path",
        Fact::PageType => "page_type",
        Fact::Section => "section",
        Fact::Target => "target",
        Fact::OrderId => "order_id",
        Fact::Currency => "currency",
        Fact::UserId => "user_id",
        Fact::Channel => "channel",
        Fact::UtmSource => "utm_source",
        Fact::UtmMedium => "utm_medium",
        Fact::UtmCampaign => "utm_campaign",
        Fact::UtmTerm => "utm_term",
        Fact::UtmContent => "utm_content",
        Fact::DeviceType => "device_type",
        Fact::Country => "country",
        Fact::Bot => "bot",
    }
}
