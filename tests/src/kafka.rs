//! A real Apache Kafka on the loopback, through tests/kafka/kafka.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::repository;

/// Brokers of a test's own. They end when this is dropped.
pub struct Kafka {
    state: TempDir,
    pub brokers: String,
}

impl Kafka {
    /// # Errors
    /// When Java or Maven are missing, or the brokers do not come up.
    pub fn start(count: usize) -> Result<Kafka> {
        let state = TempDir::new()?;
        let mut kafka = Kafka { state, brokers: String::new() };
        kafka.brokers = kafka.run(&["start", &count.to_string()])?.trim().to_owned();
        Ok(kafka)
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let script: PathBuf = repository().join("tests/kafka/kafka");
        let output = Command::new(script)
            .args(arguments)
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
