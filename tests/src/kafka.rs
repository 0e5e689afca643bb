//! A real Apache Kafka on the loopback, through tests/kafka/kafka.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::repository;

/// Brokers of a test's own. They end when this is dropped.
pub struct Kafka {
    state: TempDir,
    proxy: Option<u16>,
    pub brokers: String,
}

impl Kafka {
    /// # Errors
    /// When Java or Maven are missing, or the brokers do not come up.
    pub fn start(count: usize) -> Result<Kafka> {
        Kafka::start_behind(count, None)
    }

    /// Brokers that tell clients to come through proxies on successive ports from `proxy`; the addresses are
    /// those behind them.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn start_behind(count: usize, proxy: Option<u16>) -> Result<Kafka> {
        let state = TempDir::new()?;
        let mut kafka = Kafka { state, proxy, brokers: String::new() };
        kafka.brokers = kafka.run(&["start", &count.to_string()])?.trim().to_owned();
        Ok(kafka)
    }

    /// Ends a broker, from 1, as a power failure would.
    ///
    /// # Errors
    /// When there is none of that number.
    pub fn kill(&self, broker: usize) -> Result<()> {
        self.run(&["kill", &broker.to_string()]).map(|_| ())
    }

    /// Starts a broker again where it was, and waits for it.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&self, broker: usize) -> Result<()> {
        self.run(&["restart", &broker.to_string()]).map(|_| ())
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let script: PathBuf = repository().join("tests/kafka/kafka");
        let proxy = self.proxy.map(|port| ("KAFKA_PROXY", port.to_string()));
        let output = Command::new(script)
            .args(arguments)
            .envs(proxy)
            .env("KAFKA_STATE", self.state.path())
            .env("KAFKA_OWNER", std::process::id().to_string())
            .output()
            .context("tests/kafka/kafka does not start")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kafka {arguments:?}: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // The brokers also end with this process.
        let _ = self.run(&["stop"]);
    }
}
