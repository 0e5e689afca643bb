//! The same page views by each protocol, as its SDKs write them.

/// How a protocol says a batch.
pub struct Form {
    pub name: &'static str,
    pub path: &'static str,
    /// The body of a batch of so many events, whose first has the number `seed` times the batch.
    pub body: fn(seed: usize, batch: usize) -> String,
}

pub const FORMS: [Form; 5] = [
    Form { name: "events", path: "/v1/events", body: events },
    Form { name: "segment", path: "/v1/batch", body: segment },
    Form { name: "snowplow", path: "/com.snowplowanalytics.snowplow/tp2", body: snowplow },
    Form { name: "ga4", path: "/mp/collect", body: ga4 },
    Form { name: "cloudevents", path: "/v1/cloudevents", body: cloudevents },
];

/// A page view: its number, and where it falls.
struct View {
    number: usize,
    visitor: usize,
    product: usize,
}

impl View {
    fn id(&self) -> String {
        format!("0192f3a4-5b6c-4d8e-9f00-{:012x}", self.number)
    }
}

fn views(seed: usize, batch: usize) -> impl Iterator<Item = View> {
    (seed * batch..(seed + 1) * batch).map(|number| View {
        number,
        visitor: number * 2_654_435_761 % 100_003,
        product: number % 1_000,
    })
}

fn listed(events: impl Iterator<Item = String>) -> String {
    events.collect::<Vec<_>>().join(",")
}

/// Of some 360 bytes each, as a shop's pages send them, with both times, as the others have them.
fn own(view: &View) -> String {
    let View { number, visitor, product } = view;
    format!(
        "{{\"event_id\":\"{}\",\"site\":\"shop\",\
         \"visitor_id\":\"v-{visitor:08x}\",\"event_name\":\"page_view\",\"seq\":{number},\
         \"page_url\":\"https://shop.example/product/{product}?ref=list\",\
         \"page_path\":\"/product/{product}\",\"page_type\":\"product\",\
         \"page_view_id\":\"pv-{number}\",\"referrer\":\"https://shop.example/list\",\
         \"timestamp\":\"2100-01-01T00:00:00.000Z\",\"sent_at\":\"2100-01-01T00:00:00.000Z\"}}",
        view.id()
    )
}

fn events(seed: usize, batch: usize) -> String {
    let all = listed(views(seed, batch).map(|view| own(&view)));
    if batch == 1 { all } else { format!("[{all}]") }
}

fn cloudevents(seed: usize, batch: usize) -> String {
    let event = |view: View| {
        format!(
            "{{\"specversion\":\"1.0\",\"id\":\"{}\",\"source\":\"/shop\",\"type\":\"page_view\",\
             \"datacontenttype\":\"application/json\",\"data\":{}}}",
            view.id(),
            own(&view)
        )
    };
    let all = listed(views(seed, batch).map(event));
    if batch == 1 { all } else { format!("[{all}]") }
}

fn segment(seed: usize, batch: usize) -> String {
    let event = |view: View| {
        let View { visitor, product, .. } = view;
        format!(
            "{{\"type\":\"page\",\"messageId\":\"{}\",\"anonymousId\":\"v-{visitor:08x}\",\
             \"timestamp\":\"2100-01-01T00:00:00.000Z\",\
             \"properties\":{{\"url\":\"https://shop.example/product/{product}?ref=list\",\
             \"path\":\"/product/{product}\",\"referrer\":\"https://shop.example/list\"}},\
             \"context\":{{\"library\":{{\"name\":\"analytics.js\",\"version\":\"1.84.0\"}}}}}}",
            view.id()
        )
    };
    let all = listed(views(seed, batch).map(event));
    format!("{{\"batch\":[{all}],\"sentAt\":\"2100-01-01T00:00:00.000Z\"}}")
}

fn snowplow(seed: usize, batch: usize) -> String {
    let event = |view: View| {
        let View { visitor, product, .. } = view;
        format!(
            "{{\"e\":\"pv\",\"eid\":\"{}\",\"duid\":\"v-{visitor:08x}\",\"tv\":\"js-4.10.0\",\
             \"p\":\"web\",\"dtm\":\"4102444800000\",\"stm\":\"4102444800000\",\
             \"url\":\"https://shop.example/product/{product}?ref=list\",\
             \"page\":\"Product {product}\",\"refr\":\"https://shop.example/list\",\
             \"lang\":\"de\",\"res\":\"1920x1080\"}}",
            view.id()
        )
    };
    let all = listed(views(seed, batch).map(event));
    let schema = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4";
    format!("{{\"schema\":\"{schema}\",\"data\":[{all}]}}")
}

/// Of one visitor, as a body is.
fn ga4(seed: usize, batch: usize) -> String {
    let event = |view: View| {
        let View { number, product, .. } = view;
        format!(
            "{{\"name\":\"page_view\",\"params\":{{\
             \"page_location\":\"https://shop.example/product/{product}?ref=list\",\
             \"page_title\":\"Product {product}\",\"page_referrer\":\"https://shop.example/list\",\
             \"engagement_time_msec\":{number},\"session_id\":\"1796003042\"}}}}"
        )
    };
    let all = listed(views(seed, batch).map(event));
    format!("{{\"client_id\":\"{seed}.1796003042\",\"events\":[{all}]}}")
}
