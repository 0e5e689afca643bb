//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as a server speaks it: who logs in shows that they know a secret
//! of which the server keeps a hash alone, and the secret does not go over the wire. How the messages
//! travel is left to the listener.

use std::str::FromStr;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The mechanism's name.
pub const MECHANISM: &str = "SCRAM-SHA-256";
/// What RFC 7677 asks for at least, and what Postgres takes; the secrets are too long to be guessed.
const ITERATIONS: u32 = 4096;
const ITERATIONS_MAX: u32 = 10_000_000;
const SALT_BYTES_MAX: usize = 64;
/// The nonce's own part of a client, in characters.
const NONCE_CHARS_MAX: usize = 256;

type Key = [u8; 32];

/// What a server keeps of a secret: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, as Postgres writes
/// it. Who reads it cannot log in with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

impl Verifier {
    /// Of a secret in plain ASCII, with a salt from a generator.
    pub fn of(secret: &[u8], salt: &[u8]) -> Verifier {
        Verifier::with_iterations(secret, salt, ITERATIONS)
    }

    fn with_iterations(secret: &[u8], salt: &[u8], iterations: u32) -> Verifier {
        let mut salted: Key = [0; 32];
        let rounds = std::num::NonZeroU32::new(iterations).unwrap_or(std::num::NonZeroU32::MIN);
        pbkdf2::derive(PBKDF2_HMAC_SHA256, rounds, salt, secret, &mut salted);
        Verifier {
            iterations,
            salt: salt.to_vec(),
            stored_key: Sha256::digest(mac(&salted, b"Client Key")).into(),
            server_key: mac(&salted, b"Server Key"),
        }
    }

    /// One that no secret fits, for a name that is not known: who guesses names shall not see which are.
    /// The same name gets the same salt as long as `key` lives.
    pub fn of_nobody(name: &str, key: &Key) -> Verifier {
        let salt = mac(key, name.as_bytes())[..16].to_vec();
        let nothing = mac(key, &salt);
        Verifier { iterations: ITERATIONS, salt, stored_key: nothing, server_key: nothing }
    }
}

impl FromStr for Verifier {
    type Err = String;

    fn from_str(text: &str) -> Result<Verifier, String> {
        let shape = || {
            format!(
                "is not {MECHANISM}$iterations:salt$StoredKey:ServerKey: `footfall token new` makes one"
            )
        };
        let mut parts = text.split('$');
        let (Some(MECHANISM), Some(salting), Some(keys), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(shape());
        };
        let (iterations, salt) = salting.split_once(':').ok_or_else(shape)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or_else(shape)?;
        let decode = |text: &str| BASE64.decode(text).map_err(|_| shape());
        let key = |text: &str| Key::try_from(decode(text)?).map_err(|_| shape());
        let iterations: u32 = iterations.parse().map_err(|_| shape())?;
        let salt = decode(salt)?;
        if !(ITERATIONS..=ITERATIONS_MAX).contains(&iterations) {
            return Err(format!(
                "has {iterations} iterations, not {ITERATIONS} to {ITERATIONS_MAX}"
            ));
        }
        if salt.is_empty() || salt.len() > SALT_BYTES_MAX {
            return Err(format!("has a salt of {} bytes, not 1 to {SALT_BYTES_MAX}", salt.len()));
        }
        Ok(Verifier {
            iterations,
            salt,
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }
}

impl std::fmt::Display for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (salt, stored) = (BASE64.encode(&self.salt), BASE64.encode(self.stored_key));
        let server = BASE64.encode(self.server_key);
        write!(f, "{MECHANISM}${}:{salt}${stored}:{server}", self.iterations)
    }
}

/// Shortened, as in all that is shown or logged.
impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{MECHANISM}${}…", self.iterations)
    }
}

/// Why nobody is let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("this is no message of {MECHANISM}: {0}")]
    Malformed(&'static str),
    #[error("the password is wrong, or nobody is called so")]
    Wrong,
}

/// A login between the server's first message and the client's last one.
#[derive(Debug)]
pub struct Exchange {
    verifier: Verifier,
    /// As the client's last message repeats it: the header of its first one.
    binding: String,
    nonce: String,
    /// The client's first message without its header, and the server's.
    said: String,
}

impl Exchange {
    /// Takes the client's first message; gives the server's. `nonce` is the server's part of the nonce,
    /// printable and from a generator.
    ///
    /// # Errors
    /// `Malformed`; a client that insists on binding to the channel, which is not offered.
    pub fn begin(
        client_first: &[u8],
        verifier: Verifier,
        nonce: &str,
    ) -> Result<(Exchange, String), ScramError> {
        use ScramError::Malformed;
        let text = std::str::from_utf8(client_first).map_err(|_| Malformed("it is not UTF-8"))?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(identity), Some(bare)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed("its header is cut off"));
        };
        match flag {
            "n" | "y" => {}
            _ => return Err(Malformed("binding to the channel is not offered here")),
        }
        if !identity.is_empty() {
            return Err(Malformed("nobody may log in for somebody else"));
        }
        let client_nonce = bare.split(',').find_map(|field| field.strip_prefix("r="));
        let client_nonce = client_nonce.ok_or(Malformed("it has no nonce"))?;
        if client_nonce.is_empty() || client_nonce.len() > NONCE_CHARS_MAX {
            return Err(Malformed("its nonce is empty or too long"));
        }
        let nonce = format!("{client_nonce}{nonce}");
        let salt = BASE64.encode(&verifier.salt);
        let answer = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let said = format!("{bare},{answer}");
        let binding = BASE64.encode(format!("{flag},,"));
        Ok((Exchange { verifier, binding, nonce, said }, answer))
    }

    /// Takes the client's last message; gives the server's, which shows the client that the server knows
    /// the secret's hash too.
    ///
    /// # Errors
    /// `Malformed`; `Wrong`.
    pub fn finish(self, client_final: &[u8]) -> Result<String, ScramError> {
        use ScramError::Malformed;
        let text = std::str::from_utf8(client_final).map_err(|_| Malformed("it is not UTF-8"))?;
        let (unproved, proof) = text.rsplit_once(",p=").ok_or(Malformed("it has no proof"))?;
        let proof = BASE64.decode(proof).map_err(|_| Malformed("its proof is no base64"))?;
        let proof = Key::try_from(proof).map_err(|_| Malformed("its proof has not 32 bytes"))?;
        let (mut binding, mut nonce) = (None, None);
        for field in unproved.split(',') {
            match field.split_once('=') {
                Some(("c", value)) => binding = Some(value),
                Some(("r", value)) => nonce = Some(value),
                _ => {}
            }
        }
        if binding != Some(self.binding.as_str()) || nonce != Some(self.nonce.as_str()) {
            return Err(Malformed("it does not belong to the messages before"));
        }
        let said = format!("{},{unproved}", self.said);
        let signature = mac(&self.verifier.stored_key, said.as_bytes());
        let client_key: Key = std::array::from_fn(|index| proof[index] ^ signature[index]);
        let stored: Key = Sha256::digest(client_key).into();
        if !bool::from(stored.ct_eq(&self.verifier.stored_key)) {
            return Err(ScramError::Wrong);
        }
        let proof = mac(&self.verifier.server_key, said.as_bytes());
        Ok(format!("v={}", BASE64.encode(proof)))
    }
}

fn mac(key: &[u8], message: &[u8]) -> Key {
    let tag = hmac::sign(&hmac::Key::new(HMAC_SHA256, key), message);
    let mut bytes: Key = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
    const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn verifier(secret: &str) -> Verifier {
        Verifier::of(secret.as_bytes(), &BASE64.decode(SALT).unwrap())
    }

    #[test]
    fn the_exchange_of_the_standard_succeeds() {
        let (exchange, answer) = Exchange::begin(FIRST, verifier("pencil"), NONCE).unwrap();
        assert_eq!(answer, format!("r=rOprNGfwEbeRWgbNEkqO{NONCE},s={SALT},i=4096"));
        let last = exchange.finish(FINAL.as_bytes()).unwrap();
        assert_eq!(last, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn another_secret_and_nobodys_are_refused_alike() {
        for verifier in [verifier("pencils"), Verifier::of_nobody("user", &[7; 32])] {
            let (exchange, _) = Exchange::begin(FIRST, verifier, NONCE).unwrap();
            assert_eq!(exchange.finish(FINAL.as_bytes()), Err(ScramError::Wrong));
        }
        let salt_of = |name| Verifier::of_nobody(name, &[7; 32]).salt;
        assert_eq!(salt_of("a"), salt_of("a"));
        assert_ne!(salt_of("a"), salt_of("b"));
    }

    #[test]
    fn what_does_not_belong_to_the_exchange_is_refused() {
        let (exchange, _) = Exchange::begin(FIRST, verifier("pencil"), "another").unwrap();
        assert!(matches!(exchange.finish(FINAL.as_bytes()), Err(ScramError::Malformed(_))));
        // A client that was talked out of a binding says `y`, and later has to repeat that.
        let first = [b"y".as_slice(), &FIRST[1..]].concat();
        let (exchange, _) = Exchange::begin(&first, verifier("pencil"), NONCE).unwrap();
        assert!(matches!(exchange.finish(FINAL.as_bytes()), Err(ScramError::Malformed(_))));
        for first in
            ["", "n", "n,,", "n,,n=u", "n,,n=u,r=", "p=tls-unique,,n=u,r=a", "n,a=b,n=u,r=a"]
        {
            let begun = Exchange::begin(first.as_bytes(), verifier("pencil"), NONCE);
            assert!(matches!(begun, Err(ScramError::Malformed(_))), "{first}");
        }
        for last in ["", "c=biws", "c=biws,r=x,p=", "c=biws,r=x,p=AAAA", "c=biws,r=x,p=!"] {
            let (exchange, _) = Exchange::begin(FIRST, verifier("pencil"), NONCE).unwrap();
            let ended = exchange.finish(last.as_bytes());
            assert!(matches!(ended, Err(ScramError::Malformed(_))), "{last}");
        }
    }

    #[test]
    fn a_verifier_is_read_as_it_was_written() {
        let written = verifier("pencil").to_string();
        assert!(written.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"), "{written}");
        assert_eq!(written.parse(), Ok(verifier("pencil")));
        assert!(!format!("{:?}", verifier("pencil")).contains('='));
        for wrong in [
            "".to_owned(),
            written.replace("SCRAM-SHA-256", "SCRAM-SHA-1"),
            written.replace("4096", "1"),
            written.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
            written.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "?"),
            format!("{written}$"),
            written.rsplit_once(':').unwrap().0.to_owned(),
        ] {
            assert!(wrong.parse::<Verifier>().is_err(), "{wrong}");
        }
    }
}
