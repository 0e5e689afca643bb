//! How the query process of `footfall up` asks the pipeline beside it for the live tables, where nobody says
//! otherwise: its URL, and a token that is made at each start and kept in memory alone.

use std::ffi::OsString;
use std::net::SocketAddr;

use footfall_guard::{Guard, SecretHash, Token};

use crate::config::Config;
use crate::secrets;
use crate::server::{TOKEN_VARIABLE, url_of};

/// Of the token, in what is logged.
const NAME: &str = "footfall up";

/// What the query process is given; nothing where pipelines are configured.
pub struct OwnPipeline {
    url: Option<String>,
    secret: Option<String>,
}

impl OwnPipeline {
    /// The pipeline at `address`, whose `guard` takes the token from here on.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(
        config: &Config,
        address: SocketAddr,
        guard: &mut Guard,
    ) -> anyhow::Result<OwnPipeline> {
        if !config.query.pipelines.is_empty() {
            return Ok(OwnPipeline { url: None, secret: None });
        }
        let url = url_of(&address.to_string(), guard.tls.is_on());
        if guard.tokens.is_empty() || config.query.pipelines_token_file.is_some() {
            return Ok(OwnPipeline { url, secret: None });
        }
        let secret = secrets::read_token()?;
        let hash = SecretHash::of(secret.as_bytes());
        guard.tokens.push(Token { name: NAME.to_owned(), hash, scram: None, may_erase: false });
        Ok(OwnPipeline { url, secret: Some(secret) })
    }

    /// For the command line, which other users of the machine see: without the token.
    pub fn arguments(&self) -> Vec<OsString> {
        let set = |url: &String| ["--set".into(), format!("query.pipelines={url}").into()];
        self.url.iter().flat_map(set).collect()
    }

    /// For the environment, which they do not.
    pub fn variable(&self) -> Option<(&'static str, &str)> {
        self.secret.as_deref().map(|secret| (TOKEN_VARIABLE, secret))
    }
}
