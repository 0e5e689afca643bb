//! The rules of a running pipeline, changed by SIGHUP: the configuration is read again, and its rules
//! hold for what follows. Every other key is read once, at the start.

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::bail;
use footfall_sessionizer::Rules;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::settings::pipeline_rules;

/// Hears SIGHUP from here on, at which a process ends otherwise: to be called first of all. `None` on a
/// terminal, where the signal says that it was closed, and ends the process as ever.
///
/// # Errors
/// When the system does not let it listen.
pub fn listen() -> std::io::Result<Option<Signal>> {
    (!std::io::stdout().is_terminal()).then(|| signal(SignalKind::hangup())).transpose()
}

/// Gives the pipeline the rules that are configured each time that it is `asked`, until `stop`.
///
/// # Errors
/// Never: it is a task like those that can fail.
pub async fn follow_rules(
    asked: Option<Signal>,
    config: Config,
    rules: watch::Sender<Arc<Rules>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Some(mut asked) = asked else {
        stop.cancelled().await;
        return Ok(());
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = asked.recv() => {}
        }
        match reread(&config) {
            Ok(reread) if reread == **rules.borrow() => {
                tracing::info!("the configuration was read again: its rules are those in force");
            }
            Ok(reread) => drop(rules.send_replace(Arc::new(reread))),
            Err(error) => tracing::error!("the rules stay what they are: {error:#}"),
        }
    }
}

/// The rules of the sources that `config` was read from, as they are.
fn reread(config: &Config) -> anyhow::Result<Rules> {
    let reread = match config.reread(&footfall_pipeline::check_condition) {
        Ok(reread) => reread.rules,
        Err(mistakes) => bail!("{mistakes}"),
    };
    let fixed = |rules: &Rules| (rules.session_gap, rules.session_cap);
    if fixed(&reread) != fixed(&config.rules) {
        bail!(
            "rules.session_gap and rules.session_cap are fixed when a lake is made: set them back"
        );
    }
    // The shares are those of the partitions that it runs with.
    let mut config = config.clone();
    config.rules = reread;
    Ok(pipeline_rules(&config))
}
