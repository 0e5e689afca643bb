//! What an address must not tell: mail addresses and secrets in its parameters, and the password before its host.

use std::borrow::Cow;
use std::ops::Range;

use footfall_event::{Event, Limits, Text};
use hashbrown::HashSet;
use memchr::{memchr, memchr2, memchr3};

use crate::text::lowercase;

/// What stands in place of a value.
pub const REDACTED: &str = "REDACTED";

/// Parameters whose values are not kept, unless the configuration says otherwise.
pub const PARAMETERS: [&str; 24] = [
    "access_token",
    "api_key",
    "api_secret",
    "apikey",
    "auth",
    "authorization",
    "client_secret",
    "code",
    "e-mail",
    "email",
    "id_token",
    "jwt",
    "key",
    "mail",
    "passwd",
    "password",
    "phone",
    "pwd",
    "refresh_token",
    "secret",
    "sessionid",
    "tel",
    "token",
    "writekey",
];

/// Columns that hold addresses.
const COLUMNS: [Text; 4] = [Text::PageUrl, Text::PagePath, Text::Referrer, Text::Target];

/// Names of parameters, in small letters.
#[derive(Clone, Debug, Default)]
pub struct Redaction(HashSet<String>);

impl Redaction {
    pub fn new(parameters: &[String]) -> Redaction {
        Redaction(parameters.iter().map(|name| name.to_lowercase()).collect())
    }

    /// Takes the values out of the event's addresses, of those in its properties too. Without parameters to look for
    /// nothing is taken out.
    pub fn redact(&self, event: &mut Event<'_>, limits: &Limits) {
        if self.0.is_empty() {
            return;
        }
        for column in COLUMNS {
            let redacted = event.text(column).and_then(|url| self.redacted(url));
            if let Some(mut redacted) = redacted {
                // What stands in place of a short value is longer than it.
                if redacted.len() > limits.bytes_max(column) {
                    redacted.truncate(redacted.find(['?', '#']).unwrap_or(0));
                }
                event.set_text(column, redacted);
            }
        }
        if let Some(redacted) =
            event.properties.as_deref().and_then(|json| self.redacted_json(json))
        {
            event.properties = Some(Cow::Owned(redacted));
        }
    }

    /// JSON whose addresses tell nothing that they must not; `None` where none did.
    fn redacted_json(&self, json: &str) -> Option<String> {
        if !may_tell(json) {
            return None;
        }
        let (mut kept, mut copied) = (String::new(), 0);
        for text in texts(json).filter(|text| may_tell(&json[text.clone()])) {
            // What is no text of JSON's, which nothing here lets through, is no address either.
            if let Ok(told) = serde_json::from_str::<Cow<'_, str>>(&json[text.clone()])
                && is_address(&told)
                && let Some(redacted) = self.redacted(&told)
            {
                kept.push_str(&json[copied..text.start]);
                kept.push_str(&serde_json::Value::from(redacted).to_string());
                copied = text.end;
            }
        }
        (copied > 0).then(|| kept + &json[copied..])
    }

    /// The address without what it must not tell; `None` where it tells nothing of the kind.
    fn redacted(&self, url: &str) -> Option<String> {
        if !may_tell(url) {
            return None;
        }
        let plain = without_password(url);
        let mut at = memchr2(b'?', b'#', plain.as_bytes()).unwrap_or(plain.len());
        let query = at;
        // Mostly it is written as it is meant, so that no value can be a mail address, or one with parameters.
        let is_plain = memchr3(b'%', b'+', b'@', &plain.as_bytes()[at..]).is_none();
        // Most addresses tell nothing: what is kept is written from the first value on that is taken out.
        let mut kept: Option<String> = None;
        while at < plain.len() {
            let length = plain.as_bytes()[at..].iter().position(is_separator);
            let end = length.map_or(plain.len(), |length| at + length);
            let next = plain.len().min(end + 1);
            let told = &plain[at..end];
            let name = match told.split_once('=') {
                Some((name, value)) => {
                    let is_secret = match is_plain {
                        true => self.is_named(name),
                        false => self.is_secret(&decoded(name), &decoded(value)),
                    };
                    (is_secret && !value.is_empty()).then(|| &told[..=name.len()])
                }
                // Behind the address itself, which has none.
                None => {
                    let is_told = at > query && !is_plain && is_mail_address(&decoded(told));
                    is_told.then_some("")
                }
            };
            match name {
                Some(name) => {
                    let kept = kept.get_or_insert_with(|| plain[..at].to_owned());
                    kept.extend([name, REDACTED, &plain[end..next]]);
                }
                None => kept.iter_mut().for_each(|kept| kept.push_str(&plain[at..next])),
            }
            at = next;
        }
        kept.or(match plain {
            Cow::Owned(plain) => Some(plain),
            Cow::Borrowed(_) => None,
        })
    }

    /// Whether the value of a parameter is not to be kept, both as they are meant. A value may be an address, too.
    pub fn is_secret(&self, name: &str, value: &str) -> bool {
        !self.0.is_empty()
            && (self.is_named(name)
                || is_mail_address(value)
                || value.contains('?') && self.redacted(value).is_some())
    }

    fn is_named(&self, name: &str) -> bool {
        self.0.contains(lowercase(name).as_ref())
    }
}

/// Whether a text has what stands before a parameter, or behind a password.
fn may_tell(text: &str) -> bool {
    memchr3(b'?', b'#', b'@', text.as_bytes()).is_some()
}

/// What ends a parameter, or the address before the first.
fn is_separator(byte: &u8) -> bool {
    matches!(byte, b'?' | b'&' | b'#' | b';')
}

/// A whole address, one within a site, or what follows one.
fn is_address(text: &str) -> bool {
    text.contains("://") || text.starts_with(['/', '?', '#'])
}

/// Where the texts of JSON stand, with their quotes.
fn texts(json: &str) -> impl Iterator<Item = Range<usize>> {
    let bytes = json.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let begin = at + json[at..].find('"')?;
        let mut end = begin + 1;
        while *bytes.get(end)? != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        at = end + 1;
        Some(begin..at)
    })
}

/// `https://user:password@host/` without what stands before the host.
fn without_password(url: &str) -> Cow<'_, str> {
    if memchr(b'@', url.as_bytes()).is_none() {
        return Cow::Borrowed(url);
    }
    let Some((scheme, rest)) = url.split_once("://") else { return Cow::Borrowed(url) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => Cow::Owned(format!("{scheme}://{}", &rest[at + 1..])),
        None => Cow::Borrowed(url),
    }
}

/// A name or value of a query as it is meant.
fn decoded(text: &str) -> Cow<'_, str> {
    if memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    // As a name alone it has no `=` that would end it.
    let text = text.replace('=', "%3D");
    let pair = form_urlencoded::parse(text.as_bytes()).next();
    Cow::Owned(pair.map(|(name, _)| name.into_owned()).unwrap_or_default())
}

fn is_mail_address(value: &str) -> bool {
    value.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty()
            && host.split_once('.').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &str) {
        let redaction = Redaction::new(&PARAMETERS.map(str::to_owned));
        let mut event = Event::default();
        event.set_text(Text::PageUrl, url);
        redaction.redact(&mut event, &Limits::default());
        assert_eq!(event.text(Text::PageUrl), Some(expected), "{url}");
    }

    #[test]
    fn secrets_are_taken_out_and_all_else_stays() {
        check("https://s.example/p?q=a%20b&sort=price", "https://s.example/p?q=a%20b&sort=price");
        check("https://s.example/p?Email=x&q=1", "https://s.example/p?Email=REDACTED&q=1");
        check(
            "https://s.example/p?q=1&token=abc#top",
            "https://s.example/p?q=1&token=REDACTED#top",
        );
        check(
            "https://s.example/p#access_token=a=b&x=1",
            "https://s.example/p#access_token=REDACTED&x=1",
        );
        check("https://s.example/p?to%6ben=abc", "https://s.example/p?to%6ben=REDACTED");
        check("https://s.example/p?who=me%40mail.example", "https://s.example/p?who=REDACTED");
        check("https://s.example/p?at=@home&b=a@b", "https://s.example/p?at=@home&b=a@b");
        check("https://me:word@s.example/p?email=", "https://s.example/p?email=");
        check("/p;jwt=a?key=b", "/p;jwt=a?key=REDACTED");
        check("https://s.example/@x?a", "https://s.example/@x?a");
        check("https://s.example/?me%40mail.example&a=b", "https://s.example/?REDACTED&a=b");
        check(
            "https://s.example/?next=https%3A%2F%2Fs.example%2Freset%3Ftoken%3Dabc&a=%3F",
            "https://s.example/?next=REDACTED&a=%3F",
        );
        let long = format!("https://s.example/p?a={}&key=x", "y".repeat(8_192 - 29));
        check(&long, "https://s.example/p");
    }

    #[test]
    fn a_name_may_hold_a_space() {
        let mut event = Event::default();
        event.set_text(Text::PageUrl, "/?full+name=x&fullname=y&full%20name=z");
        Redaction::new(&["full name".to_owned()]).redact(&mut event, &Limits::default());
        let expected = "/?full+name=REDACTED&fullname=y&full%20name=REDACTED";
        assert_eq!(event.text(Text::PageUrl), Some(expected));
    }

    #[test]
    fn addresses_in_properties_are_no_other() {
        for (json, expected) in [
            (
                r#"{"tab_url":"https:\/\/s.example\/reset?token=a\"b","n":1,"q":"?a=b&email=x#c","\u00e9":"https://s.example/?a"}"#,
                r#"{"tab_url":"https://s.example/reset?token=REDACTED","n":1,"q":"?a=b&email=REDACTED#c","\u00e9":"https://s.example/?a"}"#,
            ),
            (
                r#"{"links":["/p?key=1",{"to":"https://me:word@s.example/"}]}"#,
                r#"{"links":["/p?key=REDACTED",{"to":"https://s.example/"}]}"#,
            ),
            (
                r#"{"a":"?key=1","b":"\ud83d?","c":"?key=1"}"#,
                r#"{"a":"?key=REDACTED","b":"\ud83d?","c":"?key=REDACTED"}"#,
            ),
            (
                r#"{"comment":"why? email=me@mail.example","token":"abc"}"#,
                r#"{"comment":"why? email=me@mail.example","token":"abc"}"#,
            ),
        ] {
            let redaction = Redaction::new(&PARAMETERS.map(str::to_owned));
            let mut event = Event::default();
            event.properties = Some(json.into());
            redaction.redact(&mut event, &Limits::default());
            assert_eq!(event.properties.as_deref(), Some(expected));
        }
    }

    #[test]
    fn without_parameters_nothing_is() {
        let mut event = Event::default();
        event.set_text(Text::Referrer, "https://s.example/?email=a@b.example");
        Redaction::default().redact(&mut event, &Limits::default());
        assert_eq!(event.text(Text::Referrer), Some("https://s.example/?email=a@b.example"));
    }
}
