//! Real Kafka brokers for tests, started by `tests/kafka/kafka` and ended with the test process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio::sync::OnceCell;

/// One or more brokers of a cluster of their own.
pub struct Brokers {
    pub addresses: String,
    state: TempDir,
}

impl Brokers {
    /// Starts a cluster and waits until it listens.
    pub async fn start(count: usize) -> Self {
        blocking(move || {
            let state = tempfile::tempdir().unwrap();
            let addresses = run(state.path(), &["start", &count.to_string()]);
            Self { addresses, state }
        })
        .await
    }

    /// The cluster of one broker that all tests share which do no harm to it.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Brokers> = OnceCell::const_new();
        SHARED.get_or_init(|| Brokers::start(1)).await
    }

    /// Ends broker `index`, counted from 1, at once.
    pub async fn kill(&self, index: usize) {
        self.command("kill", index).await;
    }

    /// Starts broker `index` again, on its port and data.
    pub async fn restart(&self, index: usize) {
        self.command("restart", index).await;
    }

    async fn command(&self, command: &'static str, index: usize) {
        let state = self.state.path().to_owned();
        blocking(move || run(&state, &[command, &index.to_string()])).await;
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        run(self.state.path(), &["stop"]);
    }
}

fn run(state: &Path, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/kafka/kafka");
    let script: PathBuf = script.canonicalize().expect("tests/kafka/kafka is missing");
    // Its error output is the test's: it says what to install.
    let output = Command::new(script)
        .args(arguments)
        .env("KAFKA_STATE", state)
        .env("KAFKA_OWNER", std::process::id().to_string())
        .env_remove("KAFKA_PORT")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "tests/kafka/kafka {arguments:?} failed: see above");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
