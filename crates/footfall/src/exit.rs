//! The process's exit code: 0 done, 1 failed, 2 called wrongly. What went wrong is told by others.

use std::process::ExitCode;

use crate::config::Mistakes;
use crate::sample::BadSetting;

/// What clap exits with too.
const CALLED_WRONGLY: u8 = 2;

/// A command that cannot do what it was called for, whatever the machine is like: a sentence that names
/// the way out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CalledWrongly(pub String);

/// Tells the error, and gives the code for it.
pub fn failed(error: &anyhow::Error) -> ExitCode {
    if let Some(mistakes) = error.downcast_ref::<Mistakes>() {
        return mistaken(mistakes);
    }
    eprintln!("footfall: {}", told(error));
    match error.is::<CalledWrongly>() || error.is::<BadSetting>() {
        true => ExitCode::from(CALLED_WRONGLY),
        false => ExitCode::FAILURE,
    }
}

/// Tells the mistakes of a configuration or a map, each of which names its place.
pub fn mistaken(mistakes: &Mistakes) -> ExitCode {
    eprintln!("{mistakes}");
    ExitCode::from(CALLED_WRONGLY)
}

/// An error with its causes; most of ours tell theirs themselves.
fn told(error: &anyhow::Error) -> String {
    let mut told = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}
