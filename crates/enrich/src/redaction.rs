//! What an address must not tell: mail addresses and secrets in its parameters, and the password before its host.

use std::borrow::Cow;
use std::collections::HashSet;

use footfall_event::{Event, Limits, Text};

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

    /// Takes the values out of the event's addresses. Without parameters to look for nothing is taken out.
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
    }

    /// The address without what it must not tell; `None` where it tells nothing of the kind.
    fn redacted(&self, url: &str) -> Option<String> {
        if !url.bytes().any(|byte| matches!(byte, b'?' | b'#' | b'@')) {
            return None;
        }
        let plain = without_password(url);
        let (before, rest) = match plain.find(['?', '#']) {
            Some(at) => plain.split_at(at),
            None => (plain.as_ref(), ""),
        };
        let mut kept = before.to_owned();
        let mut is_changed = matches!(plain, Cow::Owned(_));
        for pair in rest.split_inclusive(['?', '&', '#', ';']) {
            let (pair, end) = match pair.char_indices().next_back() {
                Some((at, '?' | '&' | '#' | ';')) => pair.split_at(at),
                _ => (pair, ""),
            };
            match pair.split_once('=') {
                Some((name, value))
                    if !value.is_empty() && self.is_secret(&decoded(name), &decoded(value)) =>
                {
                    kept.push_str(name);
                    kept.push('=');
                    kept.push_str(REDACTED);
                    is_changed = true;
                }
                // Behind the address itself, which has none.
                None if kept.len() > before.len() && is_mail_address(&decoded(pair)) => {
                    kept.push_str(REDACTED);
                    is_changed = true;
                }
                _ => kept.push_str(pair),
            }
            kept.push_str(end);
        }
        is_changed.then_some(kept)
    }

    /// Whether the value of a parameter is not to be kept, both as they are meant. A value may be an address, too.
    pub fn is_secret(&self, name: &str, value: &str) -> bool {
        !self.0.is_empty()
            && (self.0.contains(lowercase(name).as_ref())
                || is_mail_address(value)
                || value.contains('?') && self.redacted(value).is_some())
    }
}

/// `https://user:password@host/` without what stands before the host.
fn without_password(url: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = url.split_once("://") else { return Cow::Borrowed(url) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => Cow::Owned(format!("{scheme}://{}", &rest[at + 1..])),
        None => Cow::Borrowed(url),
    }
}

/// A name or value of a query as it is meant.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
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
    fn without_parameters_nothing_is() {
        let mut event = Event::default();
        event.set_text(Text::Referrer, "https://s.example/?email=a@b.example");
        Redaction::default().redact(&mut event, &Limits::default());
        assert_eq!(event.text(Text::Referrer), Some("https://s.example/?email=a@b.example"));
    }
}
