//! The binary under test, as a user starts it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// How long a process may take to print where it listens.
const START_MAX: Duration = Duration::from_secs(60);
/// How long it may take to stop.
const STOP_MAX: Duration = Duration::from_secs(60);

/// The binary that `cargo build --release --workspace` made, or the one that `E2E_BINARY` names.
///
/// # Panics
/// When it was not built.
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("E2E_BINARY") {
        return named.into();
    }
    let own = std::env::current_exe().unwrap_or_default();
    let folder = own.parent().unwrap_or(Path::new("."));
    // Tests lie in a folder below it.
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let binary = folder.join("footfall");
    assert!(binary.is_file(), "{} is missing: run ./test, which builds it", binary.display());
    binary
}

/// Waits for `holds`, looking again and again.
///
/// # Errors
/// After `limit`, with `what`.
pub fn wait_until(
    what: &str,
    limit: Duration,
    mut holds: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < limit {
        if holds()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("{what}: not within {limit:?}")
}

/// A way to start `footfall` with settings of a test's own.
#[derive(Clone)]
pub struct Footfall {
    folder: PathBuf,
    tracer: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Footfall {
    /// Its data lie in `folder`; every listener gets a free port.
    pub fn at(folder: &Path) -> Footfall {
        Footfall {
            folder: folder.to_owned(),
            tracer: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Under a program that becomes the binary, as `strace -D` does.
    #[must_use]
    pub fn under(mut self, tracer: &[String]) -> Footfall {
        tracer.clone_into(&mut self.tracer);
        self
    }

    /// With a key of the configuration set.
    #[must_use]
    pub fn set(mut self, key_and_value: &str) -> Footfall {
        self.arguments.extend(["--set".to_owned(), key_and_value.to_owned()]);
        self
    }

    /// With a variable of the environment.
    #[must_use]
    pub fn with(mut self, variable: &str, value: &str) -> Footfall {
        self.environment.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// With a file of configuration.
    #[must_use]
    pub fn config(mut self, file: &Path) -> Footfall {
        self.arguments.extend(["--config".to_owned(), file.to_string_lossy().into_owned()]);
        self
    }

    pub fn lake(&self) -> PathBuf {
        self.folder.join("lake")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let program =
            self.tracer.iter().map(Into::into).chain([binary()]).collect::<Vec<PathBuf>>();
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).args(arguments).args(&self.arguments);
        command.envs(self.environment.iter().map(|(variable, value)| (variable, value)));
        command.args(["--data-dir", &self.folder.to_string_lossy()]);
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments).output().context("the binary does not start")
    }

    /// Runs a command that must succeed; what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn run_well(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "footfall {arguments:?}: {} {said}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts `up` or a part of it, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(&self, part: &str) -> Result<Running> {
        self.start_on(part, "127.0.0.1:0")
    }

    /// As [`Footfall::start`], with the collector at a given address.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_on(&self, part: &str, ingest: &str) -> Result<Running> {
        let running = self.start_unready(part, ingest)?;
        running.wait_until_ready()?;
        Ok(running)
    }

    /// As [`Footfall::start_on`], without waiting until it is ready: with TLS, it trusts only a client
    /// of the test's own.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_unready(&self, part: &str, ingest: &str) -> Result<Running> {
        let mut running = self.spawn(part, ingest)?;
        let out = running.child.stdout.take().context("no standard output")?;
        running.read_addresses(part, BufReader::new(out))?;
        Ok(running)
    }

    /// Starts a process without waiting for anything.
    ///
    /// # Errors
    /// When there is no such binary.
    pub fn spawn(&self, part: &str, ingest: &str) -> Result<Running> {
        let listeners = [
            "--query-listen",
            "127.0.0.1:0",
            "--postgres-listen",
            "127.0.0.1:0",
            "--pipeline-listen",
            "127.0.0.1:0",
        ];
        let arguments = [&[part, "--ingest-listen", ingest][..], &listeners].concat();
        self.spawn_command(&arguments)
    }

    /// Starts any command without waiting for anything.
    ///
    /// # Errors
    /// As [`Footfall::spawn`].
    pub fn spawn_command(&self, arguments: &[&str]) -> Result<Running> {
        let mut command = self.command(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        Ok(Running { child, ingest: None, query: None, postgres: None, pipeline: None })
    }
}

/// A process of Footfall. It is killed when it is dropped.
pub struct Running {
    child: Child,
    ingest: Option<String>,
    query: Option<String>,
    postgres: Option<String>,
    pipeline: Option<String>,
}

impl Running {
    /// `http://host:port` of the collector, or `https://`.
    ///
    /// # Panics
    /// When this process has none; likewise the others.
    pub fn ingest(&self) -> &str {
        self.ingest.as_deref().unwrap_or_else(|| panic!("this process collects nothing"))
    }

    pub fn query(&self) -> &str {
        self.query.as_deref().unwrap_or_else(|| panic!("this process answers no SQL"))
    }

    /// `postgresql://host:port`.
    pub fn postgres(&self) -> &str {
        self.postgres.as_deref().unwrap_or_else(|| panic!("this process answers no psql"))
    }

    pub fn pipeline(&self) -> &str {
        self.pipeline.as_deref().unwrap_or_else(|| panic!("this process folds nothing"))
    }

    fn read_addresses(&mut self, part: &str, out: impl BufRead + Send + 'static) -> Result<()> {
        let wanted = match part {
            "up" => 4,
            "query" => 2,
            _ => 1,
        };
        let (sender, lines) = std::sync::mpsc::channel();
        // The thread reads on, so that the process never waits for its output to be read.
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)))
        });
        let began = Instant::now();
        let mut found = 0;
        while found < wanted {
            let left = START_MAX.saturating_sub(began.elapsed());
            let line =
                lines.recv_timeout(left).with_context(|| format!("{part} did not come up"))?;
            let Some(url) = line.split_whitespace().find(|word| word.contains("://")) else {
                continue;
            };
            let address = url.split('/').take(3).collect::<Vec<_>>().join("/");
            match line.trim() {
                text if text.starts_with("post events to") => self.ingest = Some(address),
                text if text.starts_with("ask SQL at") => self.query = Some(address),
                text if text.starts_with("or with psql") => self.postgres = Some(address),
                text if text.starts_with("signals come at") => self.pipeline = Some(address),
                _ => continue,
            }
            found += 1;
        }
        Ok(())
    }

    fn wait_until_ready(&self) -> Result<()> {
        for part in [&self.ingest, &self.query, &self.pipeline].into_iter().flatten() {
            wait_until("ready", START_MAX, || {
                Ok(get(&format!("{part}/readyz")).is_ok_and(|answer| answer.0 == 200))
            })?;
        }
        Ok(())
    }

    /// Posts a body; status and answer.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Result<(u16, String)> {
        let url = format!("{}{path}", self.ingest());
        let answer = reqwest::blocking::Client::new().post(url).body(body.into()).send()?;
        Ok((answer.status().as_u16(), answer.text()?))
    }

    /// The rows of an answer.
    ///
    /// # Errors
    /// When the question is refused.
    pub fn sql(&self, statement: &str) -> Result<Vec<Value>> {
        let url = format!("{}/v1/sql", self.query());
        let answer =
            reqwest::blocking::Client::new().post(url).body(statement.to_owned()).send()?;
        let status = answer.status();
        let text = answer.text()?;
        ensure!(status.is_success(), "{statement}: {status} {text}");
        let answer: Value = serde_json::from_str(&text)?;
        Ok(answer["rows"].as_array().cloned().unwrap_or_default())
    }

    /// The single number that a question is answered with; 0 for NULL.
    ///
    /// # Errors
    /// As [`Running::sql`].
    pub fn number(&self, statement: &str) -> Result<i64> {
        let rows = self.sql(statement)?;
        Ok(rows.first().and_then(|row| row[0].as_i64()).unwrap_or(0))
    }

    /// A metric's value; the sum where it has labels. `selector` is a name, or a name and a label.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn metric(&self, part: &str, selector: &str) -> Result<f64> {
        let (_, text) = get(&format!("{part}/metrics"))?;
        let lines =
            text.lines().filter(|line| !line.starts_with('#') && line.starts_with(selector));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The process of queries, a child of `up`; `None` while there is none.
    pub fn query_process(&self) -> Option<u32> {
        let processes = std::fs::read_dir("/proc").ok()?;
        let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        numbers.into_iter().find(|number: &u32| parent(*number) == Some(self.process()))
    }

    /// Resident memory of all its processes and the greatest that each had, in MB of a million bytes.
    ///
    /// # Errors
    /// When a process is gone.
    pub fn resident_mb(&self) -> Result<(u64, u64)> {
        let (mut resident, mut peak) = (0, 0);
        for process in [Some(self.process()), self.query_process()].into_iter().flatten() {
            let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
            let megabytes = |name: &str| {
                let line = status.lines().find(|line| line.starts_with(name));
                let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
                number.map_or(0, |kibibytes: u64| kibibytes * 1_024 / 1_000_000)
            };
            resident += megabytes("VmRSS");
            peak += megabytes("VmHWM");
        }
        Ok((resident, peak))
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// kill -9.
    ///
    /// # Errors
    /// When it had ended before, which is never meant.
    pub fn kill(mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("it ended by itself: {status}");
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// kill -9 of a command, which may be done by now.
    ///
    /// # Errors
    /// When it failed before.
    pub fn kill_unless_done(mut self) -> Result<()> {
        const KILL: i32 = 9;
        let status = self.end_at_once()?;
        ensure!(status.success() || status.signal() == Some(KILL), "it failed: {status}");
        Ok(())
    }

    /// kill -9 of one that may be about to end; how it ended.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn end_at_once(&mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// TERM, and waits for a good end.
    ///
    /// # Errors
    /// When it fails or does not end.
    pub fn stop(mut self) -> Result<()> {
        let status = self.terminate()?;
        ensure!(status.success(), "it stopped with {status}");
        Ok(())
    }

    /// TERM at any moment of the start: one that nobody listens for yet may end it at once.
    ///
    /// # Errors
    /// When it ends by itself with a failure, or does not end.
    pub fn stop_starting(mut self) -> Result<()> {
        const TERM: i32 = 15;
        let status = self.terminate()?;
        ensure!(status.success() || status.signal() == Some(TERM), "it stopped with {status}");
        Ok(())
    }

    /// TERM, and waits for its end, however that comes.
    ///
    /// # Errors
    /// When it does not end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        Command::new("kill").arg(self.child.id().to_string()).status()?;
        let mut status = None;
        wait_until("stopped", STOP_MAX, || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })?;
        status.context("no status")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The fourth field of `stat`, behind the name, which may hold anything.
fn parent(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
}

fn get(url: &str) -> Result<(u16, String)> {
    let answer = reqwest::blocking::get(url)?;
    Ok((answer.status().as_u16(), answer.text()?))
}
