//! `footfall key new`, `footfall token new`: secrets that are shown once, and the lines that keep their
//! hashes.

use anyhow::anyhow;
use footfall_guard::SecretHash;
use footfall_guard::scram::Verifier;

use crate::arguments::{KeyCommand, TokenCommand};

/// Of a secret, from the system's generator: 192 bits, beyond all guessing.
const RANDOM_BYTES: usize = 24;
/// Of the hash that a login by name and password is checked against.
const SALT_BYTES: usize = 16;

/// Makes a write key.
///
/// # Errors
/// When the system gives no random bytes.
pub fn key(KeyCommand::New { site, origins }: &KeyCommand) -> anyhow::Result<()> {
    let secret = secret("fw")?;
    let mut lines = lines("key", "site", site, &secret);
    if !origins.is_empty() {
        let list: Vec<toml::Value> =
            origins.iter().map(|origin| toml::Value::String(origin.clone())).collect();
        lines.push_str(&format!("origins = {}\n", toml::Value::Array(list)));
    }
    tell(&format!("write key of site `{site}`"), &secret, &lines);
    Ok(())
}

/// Makes a read token.
///
/// # Errors
/// As [`key`].
pub fn token(TokenCommand::New { name, may_erase }: &TokenCommand) -> anyhow::Result<()> {
    let secret = read_token()?;
    let mut lines = lines("token", "name", name, &secret);
    let mut salt = [0; SALT_BYTES];
    fill(&mut salt)?;
    lines.push_str(&format!("scram = \"{}\"\n", Verifier::of(secret.as_bytes(), &salt)));
    if *may_erase {
        lines.push_str("may = [\"erase\"]\n");
    }
    tell(&format!("read token `{name}`"), &secret, &lines);
    Ok(())
}

/// The lines alone are standard output: appended to a configuration, they do not bring the secret along.
fn tell(what: &str, secret: &str, lines: &str) {
    eprintln!("The {what}, shown this once and kept nowhere:\n\n  {secret}\n");
    eprintln!("Its lines for the configuration, which keeps the hash alone:\n");
    print!("{lines}");
}

/// A read token.
///
/// # Errors
/// As [`key`].
pub fn read_token() -> anyhow::Result<String> {
    secret("fr")
}

/// The prefix tells write keys and read tokens apart, and lets scanners find those that leaked.
fn secret(prefix: &str) -> anyhow::Result<String> {
    let mut random = [0; RANDOM_BYTES];
    fill(&mut random)?;
    Ok(format!("{prefix}_{}", hex::encode(random)))
}

fn fill(random: &mut [u8]) -> anyhow::Result<()> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let filled = provider.secure_random.fill(random);
    filled.map_err(|_| anyhow!("the system gives no random bytes: try again"))
}

fn lines(list: &str, owner: &str, name: &str, secret: &str) -> String {
    let hash = hex::encode(SecretHash::of(secret.as_bytes()).bytes());
    format!("[[{list}]]\n{owner} = \"{name}\"\nsha256 = \"{hash}\"\n")
}
