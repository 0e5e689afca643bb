//! The channel that a visit came by: the first of ordered rules that holds of its source, medium and campaign.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use footfall_event::{Event, Text};
use hashbrown::{HashMap, HashSet};
use regex::{Regex, RegexBuilder};
use serde::Deserialize;

use crate::EnrichError;
use crate::campaign::Click;
use crate::text::lowercase;

/// GA4's rules, as they are compiled in.
const DEFAULT: &str = include_str!("../data/channels.toml");

/// Longest name of a channel.
const NAME_BYTES_MAX: usize = 100;

/// The list of search engines, whose referrals are `organic`.
const SEARCH: &str = "search";

/// The rules, in order.
pub struct Channels {
    lists: HashMap<String, Sources>,
    rules: Vec<Rule>,
}

/// Where a visit came from.
#[derive(Debug, PartialEq, Eq)]
struct Origin<'o> {
    source: Cow<'o, str>,
    medium: Cow<'o, str>,
    campaign: Cow<'o, str>,
}

/// A list of sources.
#[derive(Default)]
struct Sources {
    /// Names without a dot: those of campaigns, and domains under any suffix.
    names: HashSet<String>,
    /// Hosts, and whether they, and those below them, are of the list.
    hosts: HashMap<String, bool>,
}

struct Rule {
    name: String,
    sources: Vec<String>,
    mediums: Vec<String>,
    source_list: Option<String>,
    medium: Option<Regex>,
    campaign: Option<Regex>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    #[serde(default)]
    lists: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    channel: Vec<RuleText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    name: String,
    #[serde(default)]
    source: Vec<String>,
    #[serde(default)]
    medium: Vec<String>,
    source_list: Option<String>,
    medium_matches: Option<String>,
    campaign_matches: Option<String>,
}

impl Channels {
    /// The rules of a file; without one, those of GA4.
    ///
    /// # Errors
    /// `Unfit`; `Data`, which is a mistake in this program.
    pub fn read(file: Option<&Path>) -> Result<Channels, EnrichError> {
        let Some(path) = file else {
            return Channels::parse(DEFAULT)
                .map_err(|why| EnrichError::Data { what: "channels", why });
        };
        let unfit = |why: String| EnrichError::Unfit { path: path.display().to_string(), why };
        let text = std::fs::read_to_string(path).map_err(|error| unfit(error.to_string()))?;
        Channels::parse(&text).map_err(unfit)
    }

    fn parse(text: &str) -> Result<Channels, String> {
        let file: FileText = toml::from_str(text).map_err(|error| error.to_string())?;
        let lists: HashMap<String, Sources> =
            file.lists.into_iter().map(|(name, entries)| (name, Sources::of(&entries))).collect();
        let rules = file.channel.into_iter().map(|rule| Rule::of(rule, &lists));
        let rules = rules.collect::<Result<Vec<_>, _>>()?;
        Ok(Channels { lists, rules })
    }

    /// Fills the channel where the client left it open and the event tells where its visit came from: it names a
    /// campaign, an advertisement was clicked, its page was reached from another site, or it views a page that was
    /// reached from none.
    pub fn fill<'e>(&'e self, event: &mut Event<'e>, click: Option<Click>) {
        if event.text(Text::Channel).is_some() {
            return;
        }
        let channel = self.origin(event, click).and_then(|origin| self.channel(&origin));
        if let Some(channel) = channel {
            event.set_text(Text::Channel, channel);
        }
    }

    fn channel(&self, origin: &Origin<'_>) -> Option<&str> {
        let holds = |rule: &&Rule| rule.holds(origin, &self.lists);
        self.rules.iter().find(holds).map(|rule| rule.name.as_str())
    }

    fn origin<'o>(&self, event: &'o Event<'_>, click: Option<Click>) -> Option<Origin<'o>> {
        let small = |column| event.text(column).map_or(Cow::Borrowed(""), lowercase);
        let campaign = small(Text::UtmCampaign);
        let of = |source, medium| Some(Origin { source, medium, campaign: campaign.clone() });
        let (source, medium) = (small(Text::UtmSource), small(Text::UtmMedium));
        if !source.is_empty() || !medium.is_empty() {
            // A campaign that is half told is told in full by its click.
            let clicked = click.filter(|_| medium.is_empty()).map(|click| click.medium.into());
            return of(source, clicked.unwrap_or(medium));
        }
        if let Some(click) = click {
            return of(click.source.into(), click.medium.into());
        }
        let (page, referrer) = (event.text(Text::PageUrl)?, event.text(Text::Referrer));
        // Most views come from the page before.
        if referrer.is_some_and(|referrer| is_same_origin(referrer, page)) {
            return None;
        }
        let page = host_of(page)?;
        match referrer.and_then(host_of) {
            Some(referrer) if is_same_site(&referrer, &page) => None,
            Some(referrer) => {
                let is_search = self.lists.get(SEARCH).is_some_and(|list| list.has(&referrer));
                of(referrer, if is_search { "organic" } else { "referral" }.into())
            }
            None if event.text(Text::EventName) == Some("page_view") => {
                of("(direct)".into(), "(none)".into())
            }
            None => None,
        }
    }
}

impl Rule {
    fn of(text: RuleText, lists: &HashMap<String, Sources>) -> Result<Rule, String> {
        let RuleText { name, source, medium, source_list, medium_matches, campaign_matches } = text;
        if let Some(list) = source_list.as_ref().filter(|list| !lists.contains_key(*list)) {
            return Err(format!("channel `{name}`: there is no list `{list}`"));
        }
        let whole = |pattern: Option<String>| {
            let pattern = pattern.map(|pattern| format!("^(?:{pattern})$"));
            let built =
                pattern.map(|pattern| RegexBuilder::new(&pattern).case_insensitive(true).build());
            built.transpose().map_err(|error| format!("channel `{name}`: {error}"))
        };
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(format!(
                "channel `{name}`: its name must be 1 to {NAME_BYTES_MAX} bytes long"
            ));
        }
        let (of_medium, of_campaign) = (whole(medium_matches)?, whole(campaign_matches)?);
        let small = |texts: Vec<String>| texts.iter().map(|text| text.to_lowercase()).collect();
        Ok(Rule {
            sources: small(source),
            mediums: small(medium),
            source_list,
            medium: of_medium,
            campaign: of_campaign,
            name,
        })
    }

    fn holds(&self, origin: &Origin<'_>, lists: &HashMap<String, Sources>) -> bool {
        let Origin { source, medium, campaign } = origin;
        let is_one =
            |known: &[String], text: &str| known.is_empty() || known.iter().any(|k| k == text);
        let is_listed = |list: &String| lists.get(list).is_some_and(|sources| sources.has(source));
        is_one(&self.sources, source)
            && is_one(&self.mediums, medium)
            && self.source_list.as_ref().is_none_or(is_listed)
            && self.medium.as_ref().is_none_or(|pattern| pattern.is_match(medium))
            && self.campaign.as_ref().is_none_or(|pattern| pattern.is_match(campaign))
    }
}

impl Sources {
    fn of(entries: &[String]) -> Sources {
        let mut sources = Sources::default();
        for entry in entries.iter().map(|entry| entry.to_lowercase()) {
            match entry.strip_prefix('!') {
                Some(host) => drop(sources.hosts.insert(host.to_owned(), false)),
                None if entry.contains('.') => drop(sources.hosts.insert(entry, true)),
                None => drop(sources.names.insert(entry)),
            }
        }
        sources
    }

    /// Whether a name or a host, in small letters, is of the list.
    fn has(&self, source: &str) -> bool {
        let mut host = source;
        loop {
            if let Some(is_listed) = self.hosts.get(host) {
                return *is_listed;
            }
            match host.split_once('.') {
                Some((_, above)) => host = above,
                None => break,
            }
        }
        self.names.contains(source)
            || domain_of(source).is_some_and(|name| self.names.contains(name))
    }
}

/// The name of a host's domain without its suffix: `google` of `www.google.co.uk`. A suffix has one label, or a short
/// one and one of two letters.
fn domain_of(host: &str) -> Option<&str> {
    let mut labels = host.rsplit('.');
    let (top, second) = (labels.next()?, labels.next()?);
    let is_of_country = top.len() == 2 && second.len() <= 3;
    match labels.next() {
        Some(third) if is_of_country => Some(third),
        _ => Some(second),
    }
}

/// Whether both addresses begin alike, up to where the host and its port end.
fn is_same_origin(one: &str, other: &str) -> bool {
    let is_end = |byte: u8| matches!(byte, b'/' | b'?' | b'#');
    let Some(begin) = scheme_end(one) else { return false };
    let origin = &one[..begin + until(&one[begin..], is_end).len()];
    let rest = other.strip_prefix(origin);
    rest.is_some_and(|rest| rest.is_empty() || is_end(rest.as_bytes()[0]))
}

/// The host of an address, in small letters, without its port.
fn host_of(url: &str) -> Option<Cow<'_, str>> {
    let rest = scheme_end(url).map_or(url, |end| &url[end..]);
    let authority = until(rest, |byte| matches!(byte, b'/' | b'?' | b'#'));
    let user = authority.bytes().rposition(|byte| byte == b'@');
    let host = user.map_or(authority, |at| &authority[at + 1..]);
    let host = match host.strip_prefix('[') {
        Some(v6) => until(v6, |byte| byte == b']'),
        None => until(host, |byte| byte == b':'),
    };
    (!host.is_empty()).then(|| lowercase(host))
}

/// Where the `//` before a host ends.
fn scheme_end(url: &str) -> Option<usize> {
    url.as_bytes().windows(2).position(|two| two == b"//").map(|at| at + 2)
}

/// What stands before the first such byte, which is ASCII's; all, where there is none.
fn until(text: &str, is_end: impl Fn(u8) -> bool) -> &str {
    text.bytes().position(is_end).map_or(text, |end| &text[..end])
}

/// Hosts of one shop: one is the other, or lies below it.
fn is_same_site(one: &str, other: &str) -> bool {
    let bare = |host| str::strip_prefix(host, "www.").unwrap_or(host);
    let (one, other) = (bare(one), bare(other));
    let is_below = |low: &str, high: &str| {
        low.strip_suffix(high).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    is_below(one, other) || is_below(other, one)
}

#[cfg(test)]
mod tests;
