//! Whether a visitor lets an event be kept, and what of it: as the event says, else as the browser's signal does (Global
//! Privacy Control, globalprivacycontrol.github.io/gpc-spec), else as it is configured.

use footfall_event::{Event, Text};

/// A state of consent, in ascending order of what may be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consent {
    /// Nothing: the event is rejected, without its payload.
    Denied,
    /// The event, without what tells whose it is.
    Cookieless,
    #[default]
    Granted,
}

/// What holds where an event does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentPolicy {
    /// Of browsers that send `Sec-GPC: 1`.
    pub privacy_control: Consent,
    pub unsaid: Consent,
}

impl Default for ConsentPolicy {
    fn default() -> ConsentPolicy {
        ConsentPolicy { privacy_control: Consent::Cookieless, unsaid: Consent::Granted }
    }
}

/// What tells whose an event is. Of trade nothing does: an order is the shop's as well.
const IDENTIFYING: [Text; 5] =
    [Text::VisitorId, Text::UserId, Text::ClientSessionId, Text::ClickId, Text::Ip];

impl Consent {
    pub const ALL: [Consent; 3] = [Consent::Denied, Consent::Cookieless, Consent::Granted];

    /// As clients and the configuration say it.
    pub const fn name(self) -> &'static str {
        match self {
            Consent::Denied => "denied",
            Consent::Cookieless => "cookieless",
            Consent::Granted => "granted",
        }
    }

    /// What a text says that could not be read as an event: the strictest of the words in it that stand for a consent, wherever
    /// they stand. One that says none is as good as granted.
    pub fn said_in(text: &[u8]) -> Consent {
        let said = [Consent::Denied, Consent::Cookieless].into_iter();
        let mut said = said.filter(|consent| has_value(text, consent.name()));
        if has_untrue_key(text, "consent") {
            return Consent::Denied;
        }
        said.next().unwrap_or_default()
    }

    /// Takes out of an event what may not be kept of it.
    pub fn strip(self, event: &mut Event<'_>) {
        if self == Consent::Cookieless {
            for column in IDENTIFYING {
                event.set_text(column, "");
            }
            event.set_text(Text::Consent, self.name());
        }
    }
}

/// Does a text hold this word as a whole value, be it JSON, JSON within JSON, or a form?
fn has_value(text: &[u8], word: &str) -> bool {
    let is_begin = |at: usize| at.checked_sub(1).is_some_and(|at| b"\"'=:".contains(&text[at]));
    let is_end = |at: usize| text.get(at).is_none_or(|letter| b"\"'\\&".contains(letter));
    found(text, word).any(|at| is_begin(at) && is_end(at + word.len()))
}

/// Does a text hold this name of a field, whose value is `false` or 0?
fn has_untrue_key(text: &[u8], name: &str) -> bool {
    found(text, name).any(|at| {
        let value = text[at + name.len()..].trim_ascii_start();
        let value = value.strip_prefix(b"\\").unwrap_or(value);
        let value = value.strip_prefix(b"\"").unwrap_or(value).trim_ascii_start();
        let value = value.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        value.is_some_and(|value| value.starts_with(b"false") || value.starts_with(b"0"))
    })
}

/// Where a word stands, in any case of letters.
fn found<'t>(text: &'t [u8], word: &'t str) -> impl Iterator<Item = usize> + 't {
    let first = word.as_bytes()[0];
    let places = text.windows(word.len()).enumerate();
    let is_here = move |window: &[u8]| {
        window[0].eq_ignore_ascii_case(&first) && window.eq_ignore_ascii_case(word.as_bytes())
    };
    places.filter(move |(_, window)| is_here(window)).map(|(at, _)| at)
}

impl ConsentPolicy {
    /// What holds of an event. Any other text than the three says nothing.
    pub fn of(self, event: &Event<'_>, has_privacy_control: bool) -> Consent {
        let said = event.text(Text::Consent);
        let said = said.and_then(|said| {
            Consent::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(said))
        });
        said.unwrap_or_else(|| self.unsaid(has_privacy_control))
    }

    /// What holds where nothing is said.
    pub fn unsaid(self, has_privacy_control: bool) -> Consent {
        if has_privacy_control { self.privacy_control } else { self.unsaid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_event_says_comes_before_the_browsers_signal_and_the_rest() {
        let policy = ConsentPolicy { privacy_control: Consent::Denied, ..Default::default() };
        for (said, has_signal, expected) in [
            ("", false, Consent::Granted),
            ("", true, Consent::Denied),
            ("granted", true, Consent::Granted),
            ("Denied", false, Consent::Denied),
            ("cookieless", true, Consent::Cookieless),
            ("analytics=1", false, Consent::Granted),
            ("analytics=1", true, Consent::Denied),
        ] {
            let mut event = Event::default();
            event.set_text(Text::Consent, said);
            assert_eq!(policy.of(&event, has_signal), expected, "{said} {has_signal}");
        }
    }

    #[test]
    fn what_cannot_be_read_may_say_it_all_the_same() {
        for (text, expected) in [
            (r#"{"consent":"denied","timestamp":"bad"}"#, Consent::Denied),
            (r#"{"consent": "Cookieless", "value": "abc""#, Consent::Cookieless),
            (r#"[{"consent":"cookieless"},{"consent":"denied"}]"#, Consent::Denied),
            (r#"{"ue_pr":"{\"consent\":\"denied\"}"}"#, Consent::Denied),
            ("en=a&ep.consent=denied&cid=1", Consent::Denied),
            ("ep.consent=cookieless", Consent::Cookieless),
            (r#"{"consent" : false}"#, Consent::Denied),
            (r#"{\"consent\":0}"#, Consent::Denied),
            (r#"{"consent":"granted"}"#, Consent::Granted),
            (r#"{"consent":null,"page_title":"Access denied"}"#, Consent::Granted),
            (r#"{"context":{"consent":{"ads":false}}}"#, Consent::Granted),
            ("consent", Consent::Granted),
            ("", Consent::Granted),
        ] {
            assert_eq!(Consent::said_in(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn without_cookies_nothing_tells_whose_an_event_is() {
        for (consent, is_left) in [(Consent::Cookieless, false), (Consent::Granted, true)] {
            let mut event = Event::default();
            for column in IDENTIFYING.into_iter().chain([Text::OrderId]) {
                event.set_text(column, "x");
            }
            consent.strip(&mut event);
            assert!(IDENTIFYING.iter().all(|column| event.text(*column).is_some() == is_left));
            assert_eq!(event.text(Text::OrderId), Some("x"));
            assert_eq!(event.text(Text::Consent), (!is_left).then_some("cookieless"));
        }
    }
}
