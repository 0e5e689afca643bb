//! What an event says between its lines: the browser behind a user agent, the campaign and the channel behind its
//! addresses, the country behind an IP address; and what of it is not to be kept.
//!
//! Each part can be left out, fills only what the client left open, and is never in the way: where one fails, the event
//! goes on without it, and the failure is named.

mod address;
mod agent;
mod campaign;
mod channel;
mod crawler;
mod geo;
mod redaction;
mod text;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use footfall_event::{Event, Limits, Text};

pub use address::IpKept;
pub use agent::{AgentFacts, Agents};
pub use channel::Channels;
pub use geo::Geo;
pub use redaction::{REDACTED, Redaction};

/// What is derived, and of what.
#[derive(Clone, Debug)]
pub struct EnrichSettings {
    /// Browser, system and kind of device from the user agent.
    pub user_agent: bool,
    /// Crawlers and automated browsers by the user agent.
    pub bots: bool,
    /// Campaign, click id and channel from the addresses of pages.
    pub channels: bool,
    /// Rules of one's own for channels; `None`: those of GA4.
    pub channels_file: Option<PathBuf>,
    /// A database of MaxMind's form; `None`: no country is looked up.
    pub geo_database: Option<PathBuf>,
    /// How much of an IP address is kept.
    pub ip: IpKept,
    /// Parameters of addresses whose values are not kept, in small letters.
    pub redacted_parameters: Vec<String>,
}

impl Default for EnrichSettings {
    fn default() -> EnrichSettings {
        EnrichSettings {
            user_agent: true,
            bots: true,
            channels: true,
            channels_file: None,
            geo_database: None,
            ip: IpKept::default(),
            redacted_parameters: redaction::PARAMETERS.map(str::to_owned).into(),
        }
    }
}

/// Why what was asked for cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum EnrichError {
    #[error("{path}: {why}")]
    Unfit { path: String, why: String },
    /// A mistake in this program: its own data does not fit it.
    #[error("the {what} that are compiled in: {why}")]
    Data { what: &'static str, why: String },
}

/// A part of the enrichment that failed: a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The look-up of an address in the database.
    Geo,
}

impl Failure {
    pub const ALL: [Failure; 1] = [Failure::Geo];

    pub const fn name(self) -> &'static str {
        match self {
            Failure::Geo => "geo",
        }
    }
}

/// All parts.
pub struct Enricher {
    settings: EnrichSettings,
    agents: Option<Agents>,
    channels: Option<Channels>,
    geo: Option<Geo>,
    redaction: Redaction,
}

/// As it was asked for.
impl std::fmt::Debug for Enricher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}

/// What is compiled in fits, as the tests see; if it did not, nothing would be derived of it.
impl Default for Enricher {
    fn default() -> Enricher {
        let settings = EnrichSettings::default();
        let redaction = Redaction::new(&settings.redacted_parameters);
        Enricher::new(&settings).unwrap_or(Enricher {
            settings,
            agents: None,
            channels: None,
            geo: None,
            redaction,
        })
    }
}

impl Enricher {
    /// # Errors
    /// `Unfit` for a file that cannot be read or does not hold what it should.
    pub fn new(settings: &EnrichSettings) -> Result<Enricher, EnrichError> {
        let agents = (settings.user_agent || settings.bots)
            .then(|| Agents::new(settings.user_agent, settings.bots))
            .transpose()?;
        let channels = settings.channels.then(|| Channels::read(settings.channels_file.as_deref()));
        let geo = settings.geo_database.as_deref().map(Geo::open).transpose()?;
        Ok(Enricher {
            agents,
            channels: channels.transpose()?,
            geo,
            settings: settings.clone(),
            redaction: Redaction::new(&settings.redacted_parameters),
        })
    }

    /// What there is to know of a user agent; where it `may_find_out`, which takes its time, else what is remembered.
    pub fn agent(&self, user_agent: &str, may_find_out: bool) -> Option<Arc<AgentFacts>> {
        let agents = self.agents.as_ref()?;
        agents.known(user_agent).or_else(|| may_find_out.then(|| agents.look_up(user_agent)))
    }

    /// Fills what `event` leaves open, and takes out what is not to be kept. `agent` is what is known of its user
    /// agent.
    ///
    /// # Errors
    /// What failed; all else was done.
    pub fn enrich<'e>(
        &'e self,
        event: &mut Event<'e>,
        agent: Option<&'e AgentFacts>,
        limits: &Limits,
    ) -> Result<(), Failure> {
        if let Some(agent) = agent {
            agent.fill(event);
        }
        if let Some(channels) = &self.channels {
            let campaign = campaign::fill(event, &self.redaction);
            channels.fill(event, campaign);
        }
        // Before they are cut.
        let located = self.locate(event);
        self.settings.ip.cut(event);
        self.redaction.redact(event, limits);
        located
    }

    fn locate(&self, event: &mut Event<'_>) -> Result<(), Failure> {
        let Some(geo) = &self.geo else { return Ok(()) };
        let Some(address) = event.text(Text::Ip).and_then(|ip| ip.parse::<IpAddr>().ok()) else {
            return Ok(());
        };
        let place = geo.look_up(address)?;
        for (column, found) in [(Text::Country, place.country), (Text::Region, place.region)] {
            if let Some(found) = found
                && event.text(column).is_none()
            {
                event.set_text(column, found);
            }
        }
        Ok(())
    }
}
