//! What a user agent tells: browser, system, kind of device, and whether it is a machine's. Looking one up takes some
//! 50 µs, and a shop sees few of them over and over, so that the last are remembered.

use std::sync::{Arc, LazyLock};

use footfall_event::{Event, Text};
use quick_cache::sync::Cache;
use ua_parser::{os, user_agent};

use crate::EnrichError;
use crate::crawler::Crawlers;

/// User agents that are remembered: some 10 MB at most.
const REMEMBERED: usize = 10_000;
/// A longer user agent is looked at no further.
const AGENT_BYTES_MAX: usize = 512;
/// A longer name of a browser or a system is none.
const NAME_BYTES_MAX: usize = 100;

/// uap-core's patterns (see data/README.md).
const PATTERNS: &str = include_str!("../data/user_agents.json");

/// What there is to know of a user agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentFacts {
    pub browser: Option<String>,
    pub os: Option<String>,
    pub device_type: Option<&'static str>,
    /// Why it is a machine's.
    pub bot: Option<String>,
}

impl AgentFacts {
    /// Fills what the event leaves open.
    pub fn fill<'e>(&'e self, event: &mut Event<'e>) {
        for (column, fact) in [
            (Text::Browser, self.browser.as_deref()),
            (Text::Os, self.os.as_deref()),
            (Text::DeviceType, self.device_type),
            (Text::Bot, self.bot.as_deref()),
        ] {
            if let Some(fact) = fact
                && event.text(column).is_none()
            {
                event.set_text(column, fact);
            }
        }
    }
}

/// Both take a while to compile.
static BROWSERS: LazyLock<Result<Browsers, String>> = LazyLock::new(Browsers::new);
static CRAWLERS: LazyLock<Result<Crawlers, String>> = LazyLock::new(Crawlers::new);

/// All user agents.
pub struct Agents {
    browsers: Option<&'static Browsers>,
    crawlers: Option<&'static Crawlers>,
    known: Cache<Box<str>, Arc<AgentFacts>>,
}

struct Browsers {
    agents: user_agent::Extractor<'static>,
    systems: os::Extractor<'static>,
}

impl Agents {
    /// # Errors
    /// `Data`, which is a mistake in this program.
    pub fn new(browsers: bool, crawlers: bool) -> Result<Agents, EnrichError> {
        let bad = |what, why: &String| EnrichError::Data { what, why: why.clone() };
        let of_browsers = |_| BROWSERS.as_ref().map_err(|why| bad("patterns of user agents", why));
        let of_crawlers = |_| CRAWLERS.as_ref().map_err(|why| bad("patterns of crawlers", why));
        Ok(Agents {
            browsers: browsers.then_some(()).map(of_browsers).transpose()?,
            crawlers: crawlers.then_some(()).map(of_crawlers).transpose()?,
            known: Cache::new(REMEMBERED),
        })
    }

    /// What is remembered of it, or that there is nothing to find out.
    pub fn known(&self, user_agent: &str) -> Option<Arc<AgentFacts>> {
        match user_agent.len() > AGENT_BYTES_MAX {
            true => Some(Arc::default()),
            false => self.known.get(user_agent),
        }
    }

    pub fn look_up(&self, user_agent: &str) -> Arc<AgentFacts> {
        if let Some(known) = self.known(user_agent) {
            return known;
        }
        let found = Arc::new(self.find(user_agent));
        self.known.insert(user_agent.into(), found.clone());
        found
    }

    fn find(&self, user_agent: &str) -> AgentFacts {
        let mut facts = AgentFacts::default();
        if let Some(browsers) = &self.browsers {
            browsers.fill(&mut facts, user_agent);
        }
        facts.bot = self.crawlers.as_ref().and_then(|crawlers| crawlers.reason(user_agent));
        facts
    }
}

impl Browsers {
    fn new() -> Result<Browsers, String> {
        #[derive(serde::Deserialize)]
        struct Patterns {
            user_agent_parsers: Vec<user_agent::Parser<'static>>,
            os_parsers: Vec<os::Parser<'static>>,
        }
        let Patterns { user_agent_parsers, os_parsers } =
            serde_json::from_str(PATTERNS).map_err(|error| error.to_string())?;
        let agents = user_agent_parsers
            .into_iter()
            .try_fold(user_agent::Builder::new(), |builder, parser| builder.push(parser))
            .map_err(|error| error.to_string())?;
        let systems = os_parsers
            .into_iter()
            .try_fold(os::Builder::new(), |builder, parser| builder.push(parser))
            .map_err(|error| error.to_string())?;
        let agents = agents.build().map_err(|error| format!("{error:?}"))?;
        let systems = systems.build().map_err(|error| format!("{error:?}"))?;
        Ok(Browsers { agents, systems })
    }

    fn fill(&self, facts: &mut AgentFacts, user_agent: &str) {
        let is_name = |name: &String| name.len() <= NAME_BYTES_MAX;
        let browser = self.agents.extract(user_agent).map(|found| found.family.into_owned());
        let os = self.systems.extract(user_agent).map(|found| found.os.into_owned());
        (facts.browser, facts.os) = (browser.filter(is_name), os.filter(is_name));
        facts.device_type = device_type(user_agent);
    }
}

/// GA4's kinds of devices, by what browsers say of themselves (developer.mozilla.org, "Browser detection using the user
/// agent"): Android says `Mobile` on phones alone.
fn device_type(user_agent: &str) -> Option<&'static str> {
    let has = |word: &str| user_agent.contains(word);
    let is_tv = [
        "SmartTV", "SMART-TV", "Smart-TV", "AppleTV", "GoogleTV", "HbbTV", "CrKey", "Roku",
        "BRAVIA", "AFTS",
    ];
    Some(match () {
        () if is_tv.iter().any(|word| has(word)) || has("Web0S") && has("TV") => "tv",
        () if has("iPad") || has("Tablet") || has("PlayBook") || has("Silk/") && !has("Mobile") => {
            "tablet"
        }
        () if has("Android") && !has("Mobile") => "tablet",
        () if has("Mobi")
            || has("iPhone")
            || has("iPod")
            || has("Opera Mini")
            || has("IEMobile") =>
        {
            "mobile"
        }
        () if has("Windows NT") || has("Macintosh") || has("X11;") || has("CrOS") => "desktop",
        () => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
    const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
    const PIXEL: &str = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36";
    const GALAXY_TAB: &str = "Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0";

    #[test]
    fn browsers_tell_what_they_are() {
        let agents = Agents::new(true, true).unwrap();
        for (user_agent, browser, os, device_type) in [
            (CHROME, "Chrome", "Windows", "desktop"),
            (IPHONE, "Mobile Safari", "iOS", "mobile"),
            (PIXEL, "Chrome Mobile", "Android", "mobile"),
            (GALAXY_TAB, "Chrome", "Android", "tablet"),
            (FIREFOX, "Firefox", "Linux", "desktop"),
        ] {
            let facts = agents.look_up(user_agent);
            let told = (facts.browser.as_deref(), facts.os.as_deref(), facts.device_type);
            assert_eq!(told, (Some(browser), Some(os), Some(device_type)), "{user_agent}");
            assert_eq!(facts.bot, None, "{user_agent}");
            assert!(Arc::ptr_eq(&facts, &agents.look_up(user_agent)), "it is remembered");
        }
        assert_eq!(*agents.look_up(""), AgentFacts::default());
        assert_eq!(*agents.look_up(&CHROME.repeat(20)), AgentFacts::default());
    }

    #[test]
    fn what_the_client_told_stays() {
        let agents = Agents::new(true, true).unwrap();
        let facts = agents.look_up(IPHONE);
        let mut event = Event::default();
        event.set_text(Text::Browser, "Shop's app");
        facts.fill(&mut event);
        let told = [Text::Browser, Text::Os, Text::DeviceType].map(|column| event.text(column));
        assert_eq!(told, [Some("Shop's app"), Some("iOS"), Some("mobile")]);
    }

    #[test]
    fn each_part_can_be_left_out() {
        let bot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
        let browsers = Agents::new(true, false).unwrap().look_up(bot).as_ref().clone();
        assert_eq!((browsers.browser.as_deref(), browsers.bot), (Some("Googlebot"), None));
        let crawlers = Agents::new(false, true).unwrap().look_up(bot).as_ref().clone();
        assert_eq!((crawlers.browser, crawlers.bot.as_deref()), (None, Some("ua:Googlebot")));
    }
}
