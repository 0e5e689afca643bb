//! The collector's settings: every bound, its default and what exceeding it is answered with. Named as
//! in `config/footfall.toml`, and with its defaults. Reading them from a file is left to the binary.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use footfall_enrich::Enricher;
use footfall_event::{Limits, Micros, check_site};
use footfall_guard::Tls;
use footfall_log::RECORD_BYTES_MAX;

use crate::IngestError;
use crate::consent::ConsentPolicy;
use crate::gzip::INFLATE_EXTRA_BYTES;
use crate::rate::Rates;
use crate::schema::Schemas;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// How much larger than its JSON an event's record can be: items with unknown keys are written
/// twice, and the collector adds names and times.
const RECORD_GROWTH_MAX: usize = 4;
/// What the collector itself adds to a record at most, in bytes.
const RECORD_EXTRA_BYTES_MAX: usize = 64 * KIB;

/// What the collector takes, from whom, and how much of it.
#[derive(Clone, Debug)]
pub struct IngestSettings {
    /// The site of events that name none, where no keys are configured.
    pub default_site: String,
    /// Who may send. Empty: everyone, and each event names its site.
    pub keys: Vec<Key>,
    /// Its listener's.
    pub tls: Tls,
    /// What is derived from what events say.
    pub enricher: Arc<Enricher>,
    /// How fast visitors and keys may send before what they send is flagged.
    pub rates: Arc<Rates>,
    /// What holds of events that do not tell whether they may be kept.
    pub consent: ConsentPolicy,
    /// What sites hold their events to.
    pub schemas: Arc<Schemas>,
    /// How many proxies stand before the collector: each of them adds to `X-Forwarded-For` who asked it.
    pub proxies: usize,
    /// Bounds on one event; beyond them it is rejected.
    pub limits: Limits,
    /// Largest body as sent, in bytes; beyond it 413, and a row in `rejected`.
    pub body_bytes_max: usize,
    /// Largest body after gzip, in bytes; beyond it 413, and a row in `rejected`.
    pub inflated_bytes_max: usize,
    /// Most events in one body; beyond it 413, and a row in `rejected`.
    pub batch_events_max: usize,
    /// Largest event as JSON, in bytes; beyond it the event is rejected as `too_large`.
    pub event_bytes_max: usize,
    /// Bytes of all bodies and answers in memory together; beyond it 503 before a body is read. The
    /// process needs some three times as much, for the records made of them.
    pub bodies_in_flight_bytes_max: usize,
    /// Connections served at once; beyond it 503 and the connection is closed.
    pub connections_max: usize,
    /// Largest head of a request, in bytes; beyond it 431, and the connection is closed.
    pub header_bytes_max: usize,
    /// How long a request's head may take from its first byte, the first one's and the handshake of TLS
    /// from the connection on; then the connection is closed.
    pub header_timeout: Duration,
    /// How long a body may take to come, then 408; and an answer to be taken, then the connection is
    /// closed.
    pub body_timeout: Duration,
    /// How long a connection may be idle between requests. Longer than the idle time of a load
    /// balancer before it, else that one meets closed connections.
    pub keep_alive_timeout: Duration,
    /// How long a client is waited for, for a body or its next request, before its place among
    /// `connections_max` may go to another. By it bodies that never come can take as many places a second
    /// as there are: longer would be fewer.
    pub client_wait_min: Duration,
    /// How long requests under way at shutdown may take; then their connections are cut.
    pub drain_timeout: Duration,
    /// The pipeline's lateness: half of it is how far this clock and the log's may be apart without
    /// a warning.
    pub allowed_lateness: Micros,
}

/// All that needs no file. It takes a while to make.
static DEFAULT_ENRICHER: LazyLock<Arc<Enricher>> = LazyLock::new(Arc::default);

/// A write key: what it opens, and the SHA-256 of its text.
#[derive(Clone, Debug)]
pub struct Key {
    /// Every event that comes with the key is of this site.
    pub site: String,
    pub sha256: [u8; 32],
    /// Pages of which origins may send with it, `*` for all; who is no page always may.
    pub origins: Vec<String>,
}

impl Default for IngestSettings {
    fn default() -> IngestSettings {
        IngestSettings::with(DEFAULT_ENRICHER.clone())
    }
}

impl IngestSettings {
    /// The defaults, but for the enricher: that of the defaults takes a while to make.
    pub fn with(enricher: Arc<Enricher>) -> IngestSettings {
        IngestSettings {
            default_site: "default".to_owned(),
            keys: Vec::new(),
            tls: Tls::default(),
            enricher,
            rates: Arc::default(),
            consent: ConsentPolicy::default(),
            schemas: Arc::default(),
            proxies: 0,
            limits: Limits::default(),
            body_bytes_max: 4 * MIB,
            inflated_bytes_max: 16 * MIB,
            batch_events_max: 10_000,
            event_bytes_max: 64 * KIB,
            bodies_in_flight_bytes_max: 64 * MIB,
            connections_max: 512,
            header_bytes_max: 64 * KIB,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(75),
            client_wait_min: Duration::from_millis(100),
            drain_timeout: Duration::from_secs(10),
            allowed_lateness: Micros(10 * Micros::SECOND.0),
        }
    }

    /// Checks what the settings must be on their own and among each other.
    ///
    /// # Errors
    /// `Unfit` with every problem there is.
    pub fn check(&self) -> Result<(), IngestError> {
        let mut problems = Vec::new();
        self.check_sites(&mut problems);
        self.check_bounds(&mut problems);
        if problems.is_empty() { Ok(()) } else { Err(IngestError::Unfit { problems }) }
    }

    /// The least `bodies_in_flight_bytes_max` with which every body within its bounds can be taken: a
    /// gzipped one is in memory as it was sent and as it is inflated.
    fn in_flight_bytes_min(&self) -> usize {
        let bodies = self.body_bytes_max.saturating_add(self.inflated_bytes_max);
        bodies.saturating_add(INFLATE_EXTRA_BYTES)
    }

    fn check_sites(&self, problems: &mut Vec<String>) {
        let sites = self.keys.iter().map(|key| key.site.as_str());
        for site in sites.chain([self.default_site.as_str()]) {
            problems.extend(check_site(site).err().map(|message| format!("site: {message}")));
        }
        for (i, key) in self.keys.iter().enumerate() {
            if let Some(other) = self.keys[..i].iter().find(|k| k.sha256 == key.sha256) {
                let (a, b) = (&other.site, &key.site);
                problems.push(format!("one key is given to two entries, `{a}` and `{b}`"));
            }
        }
    }

    fn check_bounds(&self, problems: &mut Vec<String>) {
        let ascending = [
            ("event_bytes_max", self.event_bytes_max),
            ("body_bytes_max", self.body_bytes_max),
            ("inflated_bytes_max", self.inflated_bytes_max),
        ];
        for [(lesser, a), (greater, b)] in ascending.array_windows() {
            if a > b {
                problems.push(format!("{lesser} is {a}, more than {greater}, {b}"));
            }
        }
        let (room, needed) = (self.bodies_in_flight_bytes_max, self.in_flight_bytes_min());
        if room < needed {
            problems.push(format!(
                "bodies_in_flight_bytes_max is {room}, but body_bytes_max, inflated_bytes_max and \
                 {INFLATE_EXTRA_BYTES} are {needed} together"
            ));
        }
        if u32::try_from(room).is_err() {
            let most = u32::MAX;
            problems
                .push(format!("bodies_in_flight_bytes_max is {room}, at most {most} are taken"));
        }
        let record_bytes = RECORD_GROWTH_MAX * self.event_bytes_max + RECORD_EXTRA_BYTES_MAX;
        if record_bytes > RECORD_BYTES_MAX {
            let most = (RECORD_BYTES_MAX - RECORD_EXTRA_BYTES_MAX) / RECORD_GROWTH_MAX;
            let bytes = self.event_bytes_max;
            problems.push(format!("event_bytes_max is {bytes}, the log takes at most {most}"));
        }
        let counts = [
            ("event_bytes_max", self.event_bytes_max),
            ("batch_events_max", self.batch_events_max),
            ("connections_max", self.connections_max),
        ];
        for (name, count) in counts {
            if count == 0 {
                problems.push(format!("{name} is 0, it must be 1 or more"));
            }
        }
    }
}
