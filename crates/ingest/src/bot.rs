//! Which user agents name themselves as machines. Behaviour is left to whoever has more events.

/// Words of user agents, compared whole and without regard to ASCII case: `Googlebot/2.1` is one,
/// a `CUBOT` phone is not. A bot is reported in the spelling given here.
const WORDS: [&str; 36] = [
    "AdsBot-Google",
    "AhrefsBot",
    "Amazonbot",
    "Applebot",
    "archive.org_bot",
    "Baiduspider",
    "bingbot",
    "BingPreview",
    "Bytespider",
    "CCBot",
    "Chrome-Lighthouse",
    "ClaudeBot",
    "Cypress",
    "DataForSeoBot",
    "DotBot",
    "DuckDuckBot",
    "facebookexternalhit",
    "Google-InspectionTool",
    "Googlebot",
    "Googlebot-Image",
    "GPTBot",
    "HeadlessChrome",
    "LinkedInBot",
    "Mediapartners-Google",
    "meta-externalagent",
    "MJ12bot",
    "PerplexityBot",
    "PetalBot",
    "PhantomJS",
    "Pingdom",
    "SemrushBot",
    "Slackbot",
    "Slackbot-LinkExpanding",
    "Storebot-Google",
    "Twitterbot",
    "YandexBot",
];

/// One bit for each length that a word of the table has.
const LENGTHS: u64 = {
    let (mut lengths, mut i) = (0, 0);
    while i < WORDS.len() {
        lengths |= 1 << WORDS[i].len();
        i += 1;
    }
    lengths
};

/// Why the user agent is a bot's, such as `ua:HeadlessChrome`; `None` for a person's.
pub fn of_user_agent(user_agent: &str) -> Option<String> {
    let is_within = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    user_agent
        .split(|letter: char| !letter.is_ascii() || !is_within(letter as u8))
        .find_map(known)
        .map(|word| format!("ua:{word}"))
}

fn known(word: &str) -> Option<&'static str> {
    if word.len() >= 64 || LENGTHS >> word.len() & 1 == 0 {
        return None;
    }
    WORDS.into_iter().find(|known| known.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(user_agent: &str, expected: Option<&str>) {
        assert_eq!(of_user_agent(user_agent).as_deref(), expected, "{user_agent}");
    }

    #[test]
    fn bots_are_known_by_a_whole_word() {
        let headless = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                        HeadlessChrome/156.0.0.0 Safari/537.36";
        check(headless, Some("ua:HeadlessChrome"));
        check(
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            Some("ua:Googlebot"),
        );
        check("mozilla/5.0 (compatible; BINGBOT/2.0)", Some("ua:bingbot"));
        check("AdsBot-Google (+http://www.google.com/adsbot.html)", Some("ua:AdsBot-Google"));
    }

    #[test]
    fn people_are_not() {
        check("", None);
        check("Mozilla/5.0 (Linux; Android 14; CUBOT P80) Chrome/120.0 Mobile Safari/537.36", None);
        check("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Chrome/126.0 Safari/537.36", None);
        check("Googlebotter/1.0 \u{1F980}bingbots", None);
    }
}
