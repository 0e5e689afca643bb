//! What a request knows about its events before they are looked into: whose they are, and what is
//! added to each of them.

use std::sync::Arc;

use footfall_enrich::{AgentFacts, Failure};
use footfall_event::{BadField, Event, Text, Times};
use typed_arena::Arena;

use super::Head;
use crate::IngestSettings;
use crate::consent::Consent;
use crate::keys::{self, Access, Denial};
use crate::protocol::{Names, Protocol, Split};

/// A request's head, and the settings it is judged by.
pub struct Door<'h> {
    pub settings: &'h IngestSettings,
    pub head: &'h Head,
    /// What the sender's key opens: every event is of this site, whatever it says.
    site: Option<String>,
    is_admitted: bool,
}

impl<'h> Door<'h> {
    pub fn new(settings: &'h IngestSettings, head: &'h Head) -> Door<'h> {
        let (site, is_admitted) = match &head.access {
            Access::Open => (None, true),
            Access::Site(site) => (Some(site.clone()), true),
            Access::Missing => (None, false),
        };
        Door { settings, head, site, is_admitted }
    }

    pub fn is_admitted(&self) -> bool {
        self.is_admitted
    }

    /// Admits the sender by the key in the body where the head held none.
    ///
    /// # Errors
    /// Why it is not.
    pub fn admit(&mut self, protocol: Protocol, split: &Split<'_>) -> Result<(), Denial> {
        if !self.is_admitted {
            let key = split.key.clone().or_else(|| protocol.key_in_events(&split.pieces));
            let key = key.ok_or(Denial::Missing)?;
            let origin = self.head.origin.as_deref();
            self.site = Some(keys::site_of(&self.settings.keys, key.as_bytes(), origin)?);
            self.is_admitted = true;
        }
        Ok(())
    }

    /// Adds what the event lacks and the request knows, site, user agent and address, and what follows from it.
    ///
    /// # Errors
    /// What failed; all else was done.
    pub fn complete<'e>(
        &'e self,
        event: &mut Event<'e>,
        agents: &mut AgentMemo<'e>,
    ) -> Result<(), Failure> {
        match &self.site {
            Some(site) => event.set_text(Text::Site, site.as_str()),
            None if event.text(Text::Site).is_none() => {
                event.set_text(Text::Site, self.settings.default_site.as_str());
            }
            None => {}
        }
        if event.text(Text::UserAgent).is_none()
            && let Some(user_agent) = &self.head.user_agent
            && user_agent.len() <= self.settings.limits.bytes_max(Text::UserAgent)
        {
            event.set_text(Text::UserAgent, user_agent.as_str());
        }
        if event.text(Text::Ip).is_none()
            && let Some(address) = self.head.address
        {
            event.set_text(Text::Ip, address.to_string());
        }
        let enricher = &self.settings.enricher;
        let agent = event.text(Text::UserAgent).and_then(|user_agent| {
            let find = |may_find_out| enricher.agent(user_agent, may_find_out);
            agents.look_up(user_agent, find)
        });
        enricher.enrich(event, agent, &self.settings.limits)
    }

    /// What may be kept of an event.
    pub fn consent(&self, event: &Event<'_>) -> Consent {
        self.settings.consent.of(event, self.head.has_privacy_control)
    }

    /// The same of what could not be read as an event.
    pub fn consent_of_unread(&self, text: &[u8]) -> Consent {
        let unsaid = self.settings.consent.unsaid(self.head.has_privacy_control);
        unsaid.min(Consent::said_in(text))
    }

    /// Holds a checked event against its site's schema.
    ///
    /// # Errors
    /// The first field that does not fit.
    pub fn hold(&self, event: &Event<'_>, times: Times) -> Result<Times, BadField> {
        let record = || {
            let mut record = Vec::new();
            event.write_record(times, &mut record);
            record
        };
        let site = event.text(Text::Site).unwrap_or_default();
        self.settings.schemas.check(site, record).map(|()| times)
    }

    /// The site of what is refused: the key's, else its own, else the default.
    pub fn names<'n>(&'n self, names: Names<'n>) -> (Names<'n>, &'n str) {
        match &self.site {
            Some(site) => (Names { site: None, ..names }, site),
            None => (names, &self.settings.default_site),
        }
    }
}

/// What is known of the user agents of a request, for as long as its events borrow from it.
pub type Facts = Arena<Arc<AgentFacts>>;

/// The last user agent looked at: most requests come from one browser.
pub struct AgentMemo<'f> {
    facts: &'f Facts,
    user_agent: String,
    found: Option<&'f AgentFacts>,
    /// How many more may be found out about.
    left: usize,
}

impl<'f> AgentMemo<'f> {
    /// At most `found_out_max` are found out about, beside those that are known.
    pub fn new(facts: &'f Facts, found_out_max: usize) -> AgentMemo<'f> {
        AgentMemo { facts, user_agent: String::new(), found: None, left: found_out_max }
    }

    fn look_up(
        &mut self,
        user_agent: &str,
        find: impl Fn(bool) -> Option<Arc<AgentFacts>>,
    ) -> Option<&'f AgentFacts> {
        if self.user_agent != user_agent {
            user_agent.clone_into(&mut self.user_agent);
            let facts = self.facts;
            let found = find(false).or_else(|| {
                self.left = self.left.checked_sub(1)?;
                find(true)
            });
            self.found = found.map(|found| &**facts.alloc(found));
        }
        self.found
    }
}
