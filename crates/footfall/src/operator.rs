//! The operators' door of a running `up`: a socket in its data directory. Who may write there has the log
//! already, so the system's permissions are the key, and no port is open for it.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use footfall_ingest::{IngestSettings, PayloadForm, RejectedRow, Replayed, replay};
use footfall_log::EventLog;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

/// Rows in one request.
pub const ROWS_MAX: usize = 100;
/// Longest request or answer: so many payloads, each letter of them escaped.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long one may take to come, or to be answered.
const PATIENCE: Duration = Duration::from_secs(60);

/// Behind an operator who could not be served.
const PAUSE: Duration = Duration::from_millis(100);

/// What is asked, one JSON line each.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub replay: Vec<RejectedRow>,
    pub form: Option<PayloadForm>,
    pub is_trial: bool,
}

/// What is answered, likewise.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Replayed(Vec<Replayed>),
    Error(String),
}

fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("operator.sock")
}

/// Listens in `data_dir`, whose log this process holds: a socket that lies there is a dead process's.
/// `None` where there can be none, which is told: events are taken all the same.
pub fn listen(data_dir: &Path) -> Option<UnixListener> {
    let path = socket(data_dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "an old socket cannot be removed");
        }
        _ => {}
    }
    let made = UnixListener::bind(&path).and_then(|listener| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    made.inspect_err(|error| {
        tracing::warn!(%error, path = %path.display(), "no socket for `footfall rejected replay`");
    })
    .ok()
}

/// Serves one operator after the other until `stop`.
pub async fn serve(
    listener: UnixListener,
    log: Arc<dyn EventLog>,
    settings: IngestSettings,
    stop: CancellationToken,
) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let serving = async {
            let (stream, _) = accepted?;
            converse(stream, log.as_ref(), &settings).await
        };
        if let Some(Err(error)) = stop.run_until_cancelled(serving).await {
            tracing::warn!(%error, "an operator was not served");
            // As when the process has no more file descriptors.
            let _ = stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        }
    }
}

/// Answers the requests of one connection.
async fn converse(
    stream: UnixStream,
    log: &dyn EventLog,
    settings: &IngestSettings,
) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = tokio::time::timeout(PATIENCE, line(&mut stream)).await?? {
        let answer = match serde_json::from_str::<Request>(&request) {
            Ok(request) if request.replay.len() <= ROWS_MAX => answer(log, settings, request).await,
            Ok(_) => Answer::Error(format!("more than {ROWS_MAX} rows in one request")),
            Err(error) => Answer::Error(format!("no request of this version: {error}")),
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        tokio::time::timeout(PATIENCE, stream.write_all(&text)).await??;
    }
    Ok(())
}

async fn answer(log: &dyn EventLog, settings: &IngestSettings, request: Request) -> Answer {
    let Request { replay: rows, form, is_trial } = request;
    match replay(log, settings, &rows, form, is_trial).await {
        Ok(replayed) => {
            let events: u64 = replayed.iter().map(|row| row.accepted).sum();
            if !is_trial {
                tracing::info!(rows = rows.len(), events, "rejected rows were replayed");
            }
            Answer::Replayed(replayed)
        }
        Err(error) => Answer::Error(error.to_string()),
    }
}

/// The next line; `None` at the end.
async fn line(stream: &mut BufReader<UnixStream>) -> anyhow::Result<Option<String>> {
    let mut line = String::new();
    let read = stream.take(LINE_BYTES_MAX).read_line(&mut line).await?;
    if read as u64 == LINE_BYTES_MAX {
        bail!("a line of more than {LINE_BYTES_MAX} bytes");
    }
    Ok((read > 0).then_some(line))
}

/// A running `up`, as its operator reaches it.
pub struct Operator(BufReader<UnixStream>);

impl Operator {
    /// # Errors
    /// When no `up` runs on `data_dir`, or this user may not reach it.
    pub async fn connect(data_dir: &Path) -> anyhow::Result<Operator> {
        let path = socket(data_dir);
        let connected = UnixStream::connect(&path).await.with_context(|| {
            format!(
                "no `footfall up` of this user answers at {}: start it, or name its --data-dir; on Kafka \
                 give --brokers",
                path.display()
            )
        });
        Ok(Operator(BufReader::new(connected?)))
    }

    /// # Errors
    /// What it answers, when it cannot.
    pub async fn replay(&mut self, request: &Request) -> anyhow::Result<Vec<Replayed>> {
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        self.0.write_all(&text).await?;
        let answer = line(&mut self.0).await?.context("`footfall up` ended before it answered")?;
        match serde_json::from_str(&answer)? {
            Answer::Replayed(replayed) => Ok(replayed),
            Answer::Error(error) => bail!("`footfall up` answers: {error}"),
        }
    }
}
