//! Who may come in at a listener: TLS, and secrets that are kept as hashes. What is behind a listener,
//! and how a refusal is answered, is left to it.

pub mod scram;
mod secret;
mod socket;
mod tls;
mod tokens;
mod validity;

pub use secret::{SecretHash, bearer};
pub use socket::Socket;
pub use tls::{Tls, TlsError};
pub use tokens::{Refusal, Token, Tokens};

/// What stands before a listener that shows data. By default it lets everybody in, as is right on the
/// loopback alone.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    pub tls: Tls,
    pub tokens: Tokens,
}
