//! Read tokens: who may see data. Which paths show data is left to the listener.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, ORIGIN};

use crate::scram::Verifier;
use crate::secret::{SecretHash, bearer};

/// A token's hash, and whose it is.
#[derive(Clone, Debug)]
pub struct Token {
    pub name: String,
    pub hash: SecretHash,
    /// For logins by name and password, which is the token. `None`: no login.
    pub scram: Option<Verifier>,
    /// Whether it opens what destroys, too.
    pub may_erase: bool,
}

/// All tokens that open a listener. None: whoever reaches it is let in, but for pages.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<Token>);

/// Why a request is not let in, as a sentence that names the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("a read token is required: send it as `Authorization: Bearer TOKEN`")]
    Missing,
    #[error(
        "the read token is not known here: `footfall token new` makes one, and its [[token]] goes into the \
         configuration"
    )]
    Unknown,
    #[error(
        "this token may only read: one that may erase has `may = [\"erase\"]` in its [[token]]"
    )]
    ReadsOnly,
    #[error("web pages may not ask here without a read token: configure a [[token]] and send it")]
    Page,
}

impl Tokens {
    pub const fn new(tokens: Vec<Token>) -> Tokens {
        Tokens(tokens)
    }

    /// One more.
    pub fn push(&mut self, token: Token) {
        self.0.push(token);
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who may come in, by name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|token| token.name.as_str())
    }

    /// What shows that somebody who calls themselves `name` knows the token of that name.
    pub fn verifier(&self, name: &str) -> Option<&Verifier> {
        self.0.iter().find(|token| token.name == name)?.scram.as_ref()
    }

    /// Lets a request in, or says why not. Every token is compared, so that the time taken does not tell
    /// which of them was near.
    ///
    /// # Errors
    /// When tokens are configured and the head shows none of them; when none is, and a page of a browser
    /// asks: a browser runs on this machine what any site wrote.
    pub fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        self.find(headers).map(drop)
    }

    /// As [`Tokens::admit`], for what destroys.
    ///
    /// # Errors
    /// `ReadsOnly` too.
    pub fn admit_eraser(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.find(headers)? { Ok(()) } else { Err(Refusal::ReadsOnly) }
    }

    /// Whether who asks may erase.
    fn find(&self, headers: &HeaderMap) -> Result<bool, Refusal> {
        if self.is_empty() {
            return if headers.contains_key(ORIGIN) { Err(Refusal::Page) } else { Ok(true) };
        }
        if !headers.contains_key(AUTHORIZATION) {
            return Err(Refusal::Missing);
        }
        let shown = SecretHash::of(bearer(headers).unwrap_or_default());
        let known = self.0.iter().fold(None, |known, token| match token.hash.is(&shown) {
            true => Some(token.may_erase),
            false => known,
        });
        known.ok_or(Refusal::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn showing(secret: &str) -> HeaderMap {
        let value = HeaderValue::try_from(format!("Bearer {secret}")).unwrap();
        HeaderMap::from_iter([(AUTHORIZATION, value)])
    }

    #[test]
    fn only_a_token_that_may_erases() {
        let token = |secret: &str, may_erase| {
            let hash = SecretHash::of(secret.as_bytes());
            Token { name: secret.to_owned(), hash, scram: None, may_erase }
        };
        let tokens = Tokens::new(vec![token("reads", false), token("erases", true)]);
        for (secret, admitted, admitted_eraser) in [
            ("reads", Ok(()), Err(Refusal::ReadsOnly)),
            ("erases", Ok(()), Ok(())),
            ("other", Err(Refusal::Unknown), Err(Refusal::Unknown)),
        ] {
            assert_eq!(tokens.admit(&showing(secret)), admitted, "{secret}");
            assert_eq!(tokens.admit_eraser(&showing(secret)), admitted_eraser, "{secret}");
        }
        assert_eq!(tokens.admit_eraser(&HeaderMap::new()), Err(Refusal::Missing));
    }

    #[test]
    fn without_tokens_a_page_may_not_erase() {
        let page = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static("https://a.example"))]);
        assert_eq!(Tokens::default().admit_eraser(&page), Err(Refusal::Page));
        assert_eq!(Tokens::default().admit_eraser(&HeaderMap::new()), Ok(()));
    }
}
