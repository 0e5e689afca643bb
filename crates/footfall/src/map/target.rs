//! What a map can fill: the columns of `events` that a client can fill, and the fields of one item.
//! How they are filled is left to the rest of the map.

use footfall_event::{Column, Money, Text, Whole};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Never one that Footfall fills itself.
    Column(Column),
    /// Of the row's single item: `items.item_id` and so on.
    Item(ItemField),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemField {
    Id,
    Name,
    Brand,
    Category,
    Variant,
    Price,
    Quantity,
}

/// What a target's values look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Whole,
    Decimal,
    Money,
    Time,
    /// JSON: a list or an object.
    Nested,
}

impl ItemField {
    pub const ALL: [ItemField; 7] = [
        ItemField::Id,
        ItemField::Name,
        ItemField::Brand,
        ItemField::Category,
        ItemField::Variant,
        ItemField::Price,
        ItemField::Quantity,
    ];

    /// As maps name it.
    pub const fn name(self) -> &'static str {
        match self {
            ItemField::Id => "items.item_id",
            ItemField::Name => "items.item_name",
            ItemField::Brand => "items.item_brand",
            ItemField::Category => "items.item_category",
            ItemField::Variant => "items.item_variant",
            ItemField::Price => "items.price",
            ItemField::Quantity => "items.quantity",
        }
    }
}

/// Columns that are neither texts nor whole numbers.
const OTHERS: [Column; 6] = [
    Column::Cls,
    Column::Value,
    Column::Items,
    Column::Properties,
    Column::Timestamp,
    Column::SentAt,
];

impl Target {
    pub const EVENT_NAME: Target = Target::Column(Column::Text(Text::EventName));
    pub const SITE: Target = Target::Column(Column::Text(Text::Site));
    pub const TIMESTAMP: Target = Target::Column(Column::Timestamp);
    pub const ITEMS: Target = Target::Column(Column::Items);

    pub fn all() -> impl Iterator<Item = Target> {
        let texts = Text::ALL.iter().map(|text| Column::Text(*text));
        let wholes = Whole::ALL.iter().map(|whole| Column::Whole(*whole));
        let columns = texts.chain(wholes).chain(OTHERS).map(Target::Column);
        columns.chain(ItemField::ALL.map(Target::Item))
    }

    pub fn named(name: &str) -> Option<Target> {
        Target::all().find(|target| target.name() == name)
    }

    /// As maps name it.
    pub const fn name(self) -> &'static str {
        match self {
            Target::Item(field) => field.name(),
            Target::Column(Column::Text(text)) => text.name(),
            Target::Column(Column::Whole(whole)) => whole.name(),
            Target::Column(Column::Cls) => "cls",
            Target::Column(Column::Value) => "value",
            Target::Column(Column::Items) => "items",
            Target::Column(Column::Properties) => "properties",
            Target::Column(Column::Timestamp) => "timestamp",
            Target::Column(Column::SentAt) => "sent_at",
            Target::Column(Column::EventTime) => "event_time",
            Target::Column(Column::ClientTime) => "client_time",
            Target::Column(Column::ReceivedTime) => "received_time",
            Target::Column(Column::Replayed) => "replayed",
        }
    }

    pub const fn shape(self) -> Shape {
        match self {
            Target::Item(ItemField::Price) | Target::Column(Column::Value) => Shape::Money,
            Target::Item(ItemField::Quantity) | Target::Column(Column::Cls) => Shape::Decimal,
            Target::Item(_) | Target::Column(Column::Text(_)) => Shape::Text,
            Target::Column(Column::Whole(_)) => Shape::Whole,
            Target::Column(Column::Items | Column::Properties) => Shape::Nested,
            Target::Column(_) => Shape::Time,
        }
    }
}

impl Shape {
    /// Whether a constant fits; if not, what it must be.
    pub fn check(self, text: &str) -> Result<(), &'static str> {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        match self {
            Shape::Text if text.is_empty() => Err("not be empty"),
            Shape::Whole if text.parse::<i64>().is_err() => Err("be a whole number"),
            Shape::Decimal if number.is_none() => Err("be a number"),
            Shape::Money if number.and_then(Money::from_units).is_none() => Err("be an amount"),
            Shape::Time | Shape::Nested => Err("come from a column: name it in `[columns]`"),
            _ => Ok(()),
        }
    }
}
