//! Which user agents are machines': crawlers and libraries by the patterns of crawler-user-agents, automated browsers by
//! what they say of themselves.

use regex_filtered::Regexes;

/// crawler-user-agents' patterns (see data/README.md), one a line.
const PATTERNS: &str = include_str!("../data/crawlers.txt");

/// Browsers that a program drives.
const AUTOMATED: [&str; 5] = ["HeadlessChrome", "PhantomJS", "Cypress/", "Playwright", "Puppeteer"];

/// Words by which those call themselves that nobody has listed. A phone's name that ends with them is none.
const UNKNOWN: [&str; 3] = [r"\b[A-Za-z]+[Bb]ot/\d", r"\b(?i:crawler|spider)\b", r"\bbot\b"];

/// Longest reason that is kept, in bytes.
const REASON_BYTES_MAX: usize = 40;

pub struct Crawlers(Regexes);

impl Crawlers {
    /// # Errors
    /// A sentence: a mistake in this program.
    pub fn new() -> Result<Crawlers, String> {
        let patterns = AUTOMATED.into_iter().chain(PATTERNS.lines()).chain(UNKNOWN);
        let mut builder = regex_filtered::Builder::new_atom_len(3);
        for pattern in patterns {
            builder = builder.push(pattern).map_err(|error| format!("{pattern}: {error:?}"))?;
        }
        builder.build().map(Crawlers).map_err(|error| format!("{error:?}"))
    }

    /// Why the user agent is a machine's, such as `ua:Googlebot`: what of it gave it away. `None` for a person's.
    pub fn reason(&self, user_agent: &str) -> Option<String> {
        let (_, pattern) = self.0.matching(user_agent).next()?;
        let found = pattern.find(user_agent)?.as_str();
        let found = found.trim_matches(|letter: char| !letter.is_alphanumeric());
        let found = &found[..found.floor_char_boundary(REASON_BYTES_MAX)];
        Some(format!("ua:{}", if found.is_empty() { "?" } else { found }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_told_by_what_gave_them_away() {
        let crawlers = Crawlers::new().unwrap();
        for (user_agent, expected) in [
            (
                "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
                "ua:Googlebot",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/156.0 Safari/537.36",
                "ua:HeadlessChrome",
            ),
            ("python-requests/2.31", "ua:python-requests"),
            ("Mozilla/5.0 (compatible; NewThing crawler)", "ua:crawler"),
            ("Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)", "ua:GPTBot"),
        ] {
            let found = crawlers.reason(user_agent);
            assert_eq!(found.as_deref(), Some(expected), "{user_agent}");
        }
    }

    #[test]
    fn people_are_not() {
        let crawlers = Crawlers::new().unwrap();
        for user_agent in [
            "",
            "Mozilla/5.0 (Linux; Android 14; CUBOT P80) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/126.0 Safari/537.36",
        ] {
            assert_eq!(crawlers.reason(user_agent), None, "{user_agent}");
        }
    }
}
