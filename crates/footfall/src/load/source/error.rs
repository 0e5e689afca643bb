//! Why a file cannot be loaded. A bad row is a row of `rejected`, never an error.

use std::path::{Path, PathBuf};

/// A file that stops its load. What was read of it, or of files before it, is not committed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is not there, or may not be read.
    #[error("{}: {why}", .file.display())]
    Unreadable { file: PathBuf, why: String },
    /// It is not what its name or the map says.
    #[error("{}: {why}", .file.display())]
    Unfit { file: PathBuf, why: String },
    /// It ends early or is damaged.
    #[error(
        "{}: {why}, after {rows} {}; nothing was loaded: get the file again",
        .file.display(),
        if *.rows == 1 { "row" } else { "rows" }
    )]
    Broken { file: PathBuf, rows: u64, why: String },
}

impl SourceError {
    pub(super) fn unreadable(file: &Path, why: impl Into<String>) -> SourceError {
        SourceError::Unreadable { file: file.to_owned(), why: why.into() }
    }

    pub(super) fn unfit(file: &Path, why: impl Into<String>) -> SourceError {
        SourceError::Unfit { file: file.to_owned(), why: why.into() }
    }
}
