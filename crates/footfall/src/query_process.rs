//! The query part of `footfall up` as a process of its own, for a query may bring its process down: `up`
//! holds the listeners and starts the process again; clients wait in the listeners' queues meanwhile.
//! What is answered is left to `footfall query`.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::own_pipeline::OwnPipeline;

/// Before a process that ended is started again, and at most so long: one that ends at once must not take
/// up a CPU.
const RESTART_PAUSE: Duration = Duration::from_millis(200);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Who runs for so long has started well.
const WELL: Duration = Duration::from_secs(10);
/// How long it may take to stop, beyond the time in which it drains.
const STOP_MAX: Duration = Duration::from_secs(20);
/// How much less of a contended CPU queries get than what takes events: niceness, 0 to 19.
const NICENESS: &str = "10";
/// What `up` writes to its child when it is to stop, over a socket in the folder for queries. Where that ends
/// without it, `up` is gone.
const STOP: u8 = b's';
const STOP_SOCKET: &str = "stop";

/// Where SQL is asked.
pub struct QueryListeners {
    pub http: TcpListener,
    pub postgres: TcpListener,
}

/// The process as `up` runs it.
pub struct QueryProcess {
    http: std::net::TcpListener,
    postgres: std::net::TcpListener,
    /// Where each child says that it is there.
    children: UnixListener,
    /// Of `footfall query`.
    settings: Vec<OsString>,
    own_pipeline: OwnPipeline,
    /// Deleted with this.
    spill: TempDir,
}

impl QueryProcess {
    /// `settings` are the arguments that give the child the configuration of this process.
    ///
    /// # Errors
    /// When the temporary folder takes nothing.
    pub fn new(
        listeners: QueryListeners,
        settings: Vec<OsString>,
        own_pipeline: OwnPipeline,
    ) -> anyhow::Result<QueryProcess> {
        let spill = tempfile::Builder::new().prefix("footfall-query-").tempdir();
        let spill = spill.with_context(|| {
            format!("no folder for queries in {}", std::env::temp_dir().display())
        })?;
        let socket = spill.path().join(STOP_SOCKET);
        let children = UnixListener::bind(&socket)
            .with_context(|| format!("no socket at {}: is the path too long?", socket.display()))?;
        let (http, postgres) = (listeners.http.into_std()?, listeners.postgres.into_std()?);
        Ok(QueryProcess { http, postgres, children, settings, own_pipeline, spill })
    }

    /// Runs the process, again and again, until `stop`.
    ///
    /// # Errors
    /// When it cannot be started at first. Later that passes, as a system that is short of processes does:
    /// it must not end what takes events.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut started = Some(self.start()?);
        let mut pause = RESTART_PAUSE;
        loop {
            let began = Instant::now();
            if let Some(mut child) = started.take() {
                let mut told = None;
                loop {
                    tokio::select! {
                        biased;
                        ended = child.wait() => {
                            let ended = ended.context("the query process is lost")?;
                            tracing::error!(%ended, "the query process ended and is started again");
                            break;
                        }
                        // Of those that came one after the other the last one lives.
                        Ok((here, _)) = self.children.accept() => told = Some(here),
                        () = stop.cancelled() => return end(child, told).await,
                    }
                }
            }
            pause = match began.elapsed() {
                long if long >= WELL => RESTART_PAUSE,
                _ => (2 * pause).min(RESTART_PAUSE_MAX),
            };
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Ok(());
            }
            started = self
                .start()
                .inspect_err(|error| tracing::error!("{error:#}; again in {pause:?}"))
                .ok();
        }
    }

    /// Starts it with less claim on the CPU than this process; without that where there is no `nice`. It is
    /// the program that runs here, also when its file was replaced since.
    fn start(&self) -> anyhow::Result<Child> {
        let program = format!("/proc/{}/exe", std::process::id());
        let mut nice = Command::new("nice");
        nice.args(["-n", NICENESS, &program]);
        self.spawn(nice)
            .or_else(|_| self.spawn(Command::new(&program)))
            .context("`footfall query` does not start")
    }

    fn spawn(&self, mut command: Command) -> std::io::Result<Child> {
        command.arg("query").arg("--spill-under-up").arg(self.spill.path());
        command.args(&self.settings).args(self.own_pipeline.arguments());
        command.envs(self.own_pipeline.variable());
        let http = OwnedFd::from(self.http.try_clone()?);
        let postgres = OwnedFd::from(self.postgres.try_clone()?);
        command.stdin(postgres).stdout(http).kill_on_drop(true).spawn()
    }
}

/// A child that has not yet said that it is there is still starting, and answers nobody.
async fn end(mut child: Child, told: Option<UnixStream>) -> anyhow::Result<()> {
    let Some(mut told) = told else {
        return child.kill().await.context("the query process cannot be killed");
    };
    // One that has ended takes nothing, and need not.
    let _ = told.write_all(&[STOP]).await;
    if tokio::time::timeout(STOP_MAX, child.wait()).await.is_err() {
        tracing::warn!("the query process did not stop in time and is killed");
        child.kill().await.context("the query process cannot be killed")?;
    }
    Ok(())
}

/// The child's side: the listeners that `up` gave it.
///
/// # Errors
/// When standard output or input is none.
pub fn given_listeners() -> anyhow::Result<QueryListeners> {
    let listener = |given: OwnedFd| {
        let listener = std::net::TcpListener::from(given);
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    let http = listener(std::io::stdout().as_fd().try_clone_to_owned()?);
    let postgres = listener(std::io::stdin().as_fd().try_clone_to_owned()?);
    Ok(QueryListeners {
        http: http.context("standard output is no listener")?,
        postgres: postgres.context("standard input is no listener")?,
    })
}

/// Returns when `up` says that this process shall stop; ends it at once when `up` is gone. TERM, Ctrl-C and
/// HUP are for `up` alone, which stops its parts in order, but reach all processes of a unit or a terminal.
///
/// # Errors
/// When signals cannot be listened to.
pub async fn stop_told(spill: PathBuf) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let _term = signal(SignalKind::terminate())?;
    let _interrupt = signal(SignalKind::interrupt())?;
    let _hangup = signal(SignalKind::hangup())?;
    let listen = async {
        let mut said = [0];
        let mut up = UnixStream::connect(spill.join(STOP_SOCKET)).await?;
        up.read_exact(&mut said).await.map(|_| said)
    };
    match listen.await {
        Ok([STOP]) => Ok(()),
        _ => {
            // What `up` cannot delete any more.
            let _ = std::fs::remove_dir_all(spill);
            std::process::exit(1)
        }
    }
}
