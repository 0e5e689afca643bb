//! The columns of `events` that a client can fill, by type: one list from which parsing, the log's
//! record, and decoding to Arrow all follow.

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

macro_rules! columns {
    ($(#[$doc:meta])* $name:ident { $($variant:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($variant,)* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The column's name in tables, in JSON and in SQL.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// The column's name as it stands in a JSON object behind another field.
            pub(crate) const fn key(self) -> &'static str {
                match self { $($name::$variant => concat!(",\"", $text, "\":"),)* }
            }
        }
    };
}

columns! {
    /// Columns that hold text.
    Text {
        EventId "event_id",
        Site "site",
        VisitorId "visitor_id",
        UserId "user_id",
        ClientSessionId "client_session_id",
        EventName "event_name",
        PageViewId "page_view_id",
        PageUrl "page_url",
        PagePath "page_path",
        PageType "page_type",
        PageTitle "page_title",
        Referrer "referrer",
        Section "section",
        InfoKey "info_key",
        Target "target",
        SearchId "search_id",
        SearchTerm "search_term",
        CartId "cart_id",
        OrderId "order_id",
        Currency "currency",
        Coupon "coupon",
        UtmSource "utm_source",
        UtmMedium "utm_medium",
        UtmCampaign "utm_campaign",
        UtmTerm "utm_term",
        UtmContent "utm_content",
        ClickId "click_id",
        Channel "channel",
        UserAgent "user_agent",
        DeviceType "device_type",
        Browser "browser",
        Os "os",
        Language "language",
        Country "country",
        Region "region",
        Ip "ip",
        Error "error",
        Consent "consent",
        Bot "bot",
    }
}

columns! {
    /// Columns that hold whole numbers; a fraction is rounded (browsers send 12.5 px and 812.3 ms).
    Whole {
        Seq "seq",
        X "x",
        Y "y",
        VisibleMs "visible_ms",
        SearchResults "search_results",
        LcpMs "lcp_ms",
        InpMs "inp_ms",
        TtfbMs "ttfb_ms",
    }
}

/// A key of an event's JSON form that has a column or a meaning; any other goes to `properties`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Text(Text),
    Whole(Whole),
    Cls,
    Value,
    Items,
    Properties,
    /// The client's clock, in its JSON only.
    Timestamp,
    SentAt,
    /// The collector's, in the log's record only.
    EventTime,
    ClientTime,
    ReceivedTime,
    Replayed,
}

impl Column {
    pub fn named(name: &str) -> Option<Column> {
        let last = name.as_bytes().last()?;
        // Those that end alike are few among them.
        let is_it =
            |known: &&'static str| known.as_bytes().last() == Some(last) && **known == *name;
        let mut of_length = BY_LENGTH.get(name.len())?.iter();
        of_length.find(|(known, _)| is_it(known)).map(|(_, column)| *column)
    }
}

/// Finds the columns of keys that come in the order in which the log's records are written, as all but
/// foreign ones do: the next is a few places ahead, which is nearer than those of its length.
#[derive(Debug, Default)]
pub(crate) struct InOrder {
    next: usize,
}

impl InOrder {
    pub fn named(&mut self, name: &str) -> Option<Column> {
        let ahead = RECORD_ORDER.get(self.next..).unwrap_or_default();
        match ahead.iter().position(|(known, _)| *known == name) {
            Some(steps) => {
                self.next += steps + 1;
                Some(ahead[steps].1)
            }
            None => Column::named(name),
        }
    }
}

/// Columns by the lengths of their names. Every key of every event is looked for here: there are few names of one length,
/// and to compare with each of them takes half of the time that it takes to hash one.
static BY_LENGTH: LazyLock<Vec<Vec<(&'static str, Column)>>> = LazyLock::new(|| {
    let mut by_length = Vec::new();
    for named in RECORD_ORDER.iter() {
        let length = named.0.len();
        by_length.resize_with(by_length.len().max(length + 1), Vec::new);
        by_length[length].push(*named);
    }
    by_length
});

/// All columns, in the order in which a record has them.
static RECORD_ORDER: LazyLock<Vec<(&'static str, Column)>> = LazyLock::new(|| {
    let texts = Text::ALL.iter().map(|column| (column.name(), Column::Text(*column)));
    let wholes = Whole::ALL.iter().map(|column| (column.name(), Column::Whole(*column)));
    let others = [
        ("cls", Column::Cls),
        ("value", Column::Value),
        ("items", Column::Items),
        ("properties", Column::Properties),
        ("event_time", Column::EventTime),
        ("client_time", Column::ClientTime),
        ("sent_at", Column::SentAt),
        ("received_time", Column::ReceivedTime),
        ("replayed", Column::Replayed),
        // In a client's JSON only.
        ("timestamp", Column::Timestamp),
    ];
    texts.chain(wholes).chain(others).collect()
});
