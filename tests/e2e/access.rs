//! Keys, tokens and TLS as an operator sets them up: made by the command, kept as hashes, asked for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use footfall_tests::{Certificate, Footfall, wait_until};
use tempfile::TempDir;

/// A secret that was shown, and the lines that configure it.
pub struct Made {
    pub secret: String,
    pub lines: String,
}

pub fn make(footfall: &Footfall, arguments: &[&str]) -> Result<Made> {
    let output = footfall.run(arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{arguments:?}: {said}");
    let secret =
        said.split_whitespace().find(|word| word.starts_with("fw_") || word.starts_with("fr_"));
    let secret =
        secret.with_context(|| format!("{arguments:?} shows no secret: {said}"))?.to_owned();
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(!lines.contains(&secret), "the lines hold the secret: {lines}");
    Ok(Made { secret, lines })
}

fn write_config(folder: &Path, lines: &[&str], certificate: &Certificate) -> Result<PathBuf> {
    let mut text = String::new();
    for section in ["ingest", "query", "pipeline"] {
        let (certificate, key) = (certificate.certificate.display(), certificate.key.display());
        text += &format!("[{section}]\ntls_certificate = \"{certificate}\"\ntls_key = \"{key}\"\n");
    }
    text += &lines.concat();
    let file = folder.join("footfall.toml");
    std::fs::write(&file, text)?;
    Ok(file)
}

#[test]
fn keys_tokens_and_tls_work_as_they_were_made() -> Result<()> {
    let folder = TempDir::new()?;
    let certificate = Certificate::make()?;
    let plain = Footfall::at(&folder.path().join("data"));
    let key = make(&plain, &["key", "new", "--site", "shop", "--origin", "https://shop.example"])?;
    let token = make(&plain, &["token", "new", "--name", "analyst"])?;
    let file = write_config(folder.path(), &[&key.lines, &token.lines], &certificate)?;
    let trusted = certificate.certificate.to_string_lossy();
    let plain = plain.with("SSL_CERT_FILE", &trusted);
    let footfall = plain.clone().config(&file);
    let shown = footfall.run_well(&["config", "show"])?;
    for secret in [&key.secret, &token.secret] {
        ensure!(!shown.contains(secret.as_str()), "{shown}");
    }
    let running = footfall.start_unready("up", "127.0.0.1:0")?;

    let sample = |key: &str| {
        let sample = ["sample", "--sessions", "5", "--rate", "1000", "--server", running.ingest()];
        plain.clone().with("FOOTFALL_KEY", key).run(&sample)
    };
    let refused = sample("fw_wrong")?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(!refused.status.success() && said.contains("the write key is not known"), "{said}");
    let taken = sample(&key.secret)?;
    ensure!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));

    let sql = |footfall: &Footfall| {
        let count = "SELECT count(*) FROM events WHERE site = 'shop'";
        footfall.run(&["sql", "--server", running.query(), "--format", "csv", count])
    };
    let refused = sql(&plain)?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(!refused.status.success() && said.contains("FOOTFALL_TOKEN"), "{said}");
    let analyst = plain.clone().with("FOOTFALL_TOKEN", &token.secret);
    wait_until("events are seen", Duration::from_secs(60), || {
        let answer = sql(&analyst)?;
        ensure!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        let rows = String::from_utf8_lossy(&answer.stdout).into_owned();
        Ok(rows.lines().nth(1).is_some_and(|count| count != "0"))
    })?;

    // The query process has a token of its own for the pipeline.
    let live = "SELECT count(*) > 0 AS live FROM live_sessions WHERE site = 'shop'";
    let answer =
        analyst.run_well(&["sql", "--server", running.query(), "--format", "csv", live])?;
    ensure!(answer.lines().nth(1) == Some("true"), "{answer}");

    for path in ["/v1/signals", "/v1/live/sessions", "/v1/live/needs"] {
        let refused = certificate.ask(running.pipeline(), &format!("GET {path} HTTP/1.1\r\n"))?;
        ensure!(refused.starts_with("HTTP/1.1 401"), "{path}: {refused}");
    }
    let live = certificate.ask(running.pipeline(), "GET /livez HTTP/1.1\r\n")?;
    ensure!(live.starts_with("HTTP/1.1 200"), "{live}");
    running.stop()
}

#[test]
fn a_bad_certificate_stops_the_start() -> Result<()> {
    let folder = TempDir::new()?;
    let data = folder.path().join("data");
    let (mut certificate, other) = (Certificate::make()?, Certificate::make()?);
    certificate.key.clone_from(&other.key);
    let footfall = Footfall::at(&data).config(&write_config(folder.path(), &[], &certificate)?);
    for command in [&["up"][..], &["query"], &["config", "check"]] {
        let output = footfall.run(command)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{command:?}: {} {said}", output.status);
        ensure!(said.contains(&*other.key.to_string_lossy()), "{command:?}: {said}");
    }
    ensure!(!data.exists(), "something was made");
    Ok(())
}

#[test]
fn sql_on_a_public_address_needs_a_token_and_tls() -> Result<()> {
    let folder = TempDir::new()?;
    let data = folder.path().join("data");
    let footfall = Footfall::at(&data);
    let cases: [(&[&str], &[&str]); 4] = [
        (
            &["up", "--query-listen", "0.0.0.0:0"],
            &["`query.listen`", "a `token`", "`query.tls_certificate`"],
        ),
        (
            &["query", "--query-listen", "[::]:0"],
            &["`query.listen`", "a `token`", "`query.tls_certificate`"],
        ),
        (
            &["query", "--postgres-listen", "0.0.0.0:0"],
            &["`query.postgres_listen`", "a `token`", "`query.tls_certificate`"],
        ),
        (&["up", "--pipeline-listen", "0.0.0.0:0"], &["`pipeline.listen`", "a `token`"]),
    ];
    for (arguments, told) in cases {
        let output = footfall.run(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(2), "{arguments:?}: {} {said}", output.status);
        for told in told {
            ensure!(said.contains(told), "{arguments:?} does not tell {told}: {said}");
        }
    }
    ensure!(!data.exists(), "something was made");
    Ok(())
}
