//! Certificates of a test's own, and a client of TLS that shares no code with Footfall's: both by openssl.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// A certificate for `localhost` and 127.0.0.1 that signs itself, and its key, as files of PEM.
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
    _folder: TempDir,
}

impl Certificate {
    /// One that holds today.
    ///
    /// # Errors
    /// When there is no openssl.
    pub fn make() -> Result<Certificate> {
        Certificate::with_days("1")
    }

    /// One that held yesterday.
    ///
    /// # Errors
    /// When there is no openssl.
    pub fn ended() -> Result<Certificate> {
        Certificate::with_days("-1")
    }

    fn with_days(days: &str) -> Result<Certificate> {
        let folder = TempDir::new()?;
        let file = |name: &str| folder.path().join(name);
        let (certificate, key) = (file("certificate.pem"), file("key.pem"));
        let (request, extensions) = (file("request.pem"), file("extensions"));
        std::fs::write(
            &extensions,
            "basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n",
        )?;
        let (key_text, request) = (key.to_string_lossy(), request.to_string_lossy());
        let new = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        openssl(
            &[&new[..], &["-subj", "/CN=localhost", "-keyout", &key_text, "-out", &request]]
                .concat(),
        )?;
        let (out, extensions) = (certificate.to_string_lossy(), extensions.to_string_lossy());
        let sign = ["x509", "-req", "-in", &request, "-signkey", &key_text, "-days", days];
        openssl(&[&sign[..], &["-extfile", &extensions, "-out", &out]].concat())?;
        Ok(Certificate { certificate, key, _folder: folder })
    }

    /// Sends a request's head to `https://host:port` by openssl, which must trust this certificate; what
    /// came back until the server closed.
    ///
    /// # Errors
    /// When no TLS is agreed on.
    pub fn ask(&self, server: &str, head: &str) -> Result<String> {
        let address = server.trim_start_matches("https://");
        let trusted = self.certificate.to_string_lossy();
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", "-verify_ip", "127.0.0.1"])
            .args(["-CAfile", &trusted, "-connect", address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("openssl is missing: run ./test, which installs it")?;
        let mut input = client.stdin.take().context("no standard input")?;
        input.write_all(format!("{head}Host: x\r\nConnection: close\r\n\r\n").as_bytes())?;
        // `-quiet` reads on when its input has ended.
        drop(input);
        let output = client.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "openssl at {server}: {} {said}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn openssl(arguments: &[&str]) -> Result<()> {
    let output = Command::new("openssl")
        .args(arguments)
        .output()
        .context("openssl is missing: run ./test, which installs it")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openssl {arguments:?}: {said}");
    Ok(())
}
