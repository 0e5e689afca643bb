//! A file's bytes: counted, unpacked, and cut into lines. What a line means is left to the formats.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use footfall_event::{BadField, Reason};

use super::SourceError;

/// Longest row, in bytes: far above what the bounds on single fields let through, and far below what
/// a quote that nobody closes would collect.
pub const ROW_BYTES_MAX: usize = 1024 * 1024;
const READ_BYTES: usize = 256 * 1024;
/// How gzip begins (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How many bytes of the files were read; shared with what draws progress.
#[derive(Clone, Debug, Default)]
pub struct BytesRead(Arc<AtomicU64>);

impl BytesRead {
    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Opens a regular file.
pub fn open(path: &Path) -> Result<(File, u64), SourceError> {
    let unreadable = |error: io::Error| {
        SourceError::unreadable(path, format!("cannot be opened: {error}: check the path"))
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(SourceError::unreadable(path, "is a folder: name the files in it"));
    }
    if !metadata.is_file() {
        let why = "is no regular file, which a repeated load could read again: save it first";
        return Err(SourceError::unreadable(path, why));
    }
    Ok((file, metadata.len()))
}

/// A text file, plain or gzip, line by line. Some lines are kept together, as fields in quotes may
/// hold line ends: `kept` is what was read and not yet passed by.
pub struct Lines {
    path: PathBuf,
    input: Box<dyn BufRead + Send>,
    buffer: Vec<u8>,
    start: usize,
    /// Whether the buffer ends inside a line that is too long.
    is_cut: bool,
    pub rows: u64,
}

/// What [`Lines::more`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// Another line, or the last one without a line end.
    Line,
    /// What is kept would grow beyond [`ROW_BYTES_MAX`].
    TooLong,
    End,
}

impl Lines {
    pub fn open(path: &Path, read: &BytesRead) -> Result<Lines, SourceError> {
        let (file, _) = open(path)?;
        let counted = Counted { file, read: read.clone() };
        let mut input: Box<dyn BufRead + Send> =
            Box::new(BufReader::with_capacity(READ_BYTES, counted));
        let first = input
            .fill_buf()
            .map_err(|error| SourceError::unreadable(path, format!("cannot be read: {error}")))?;
        if first.starts_with(&GZIP) {
            let unpacked = MultiGzDecoder::new(input);
            input = Box::new(BufReader::with_capacity(READ_BYTES, unpacked));
        }
        let path = path.to_owned();
        let (buffer, start, is_cut, rows) = (Vec::new(), 0, false, 0);
        let mut lines = Lines { path, input, buffer, start, is_cut, rows };
        lines.more()?;
        if lines.kept().starts_with(b"\xff\xfe") || lines.kept().starts_with(b"\xfe\xff") {
            return Err(SourceError::unfit(&lines.path, "is UTF-16: save it as UTF-8"));
        }
        if lines.kept().starts_with(BYTE_ORDER_MARK) {
            lines.pass(BYTE_ORDER_MARK.len());
        }
        Ok(lines)
    }

    /// What was read and not passed by.
    pub fn kept(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Adds the next line, with its line end, to what is kept.
    pub fn more(&mut self) -> Result<More, SourceError> {
        if self.start == self.buffer.len() || self.start > READ_BYTES {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let room = ROW_BYTES_MAX.saturating_sub(self.kept().len());
        if room == 0 {
            return Ok(More::TooLong);
        }
        let mut bounded = (&mut self.input).take(room as u64);
        let bytes = bounded.read_until(b'\n', &mut self.buffer);
        let bytes = bytes.map_err(|error| broken(&self.path, self.rows, &error))?;
        self.is_cut = bytes == room && !self.buffer.ends_with(b"\n");
        Ok(match bytes {
            0 => More::End,
            _ if self.is_cut => More::TooLong,
            _ => More::Line,
        })
    }

    /// Leaves the first `bytes` of what is kept behind.
    pub fn pass(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// The length of the first line that is kept, with its line end.
    fn line_bytes(&self) -> usize {
        let end = self.kept().iter().position(|byte| *byte == b'\n');
        end.map_or(self.kept().len(), |end| end + 1)
    }

    /// Whether the last line that is kept goes on beyond it.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether the first line that is kept goes on beyond it: it is longer than [`ROW_BYTES_MAX`].
    pub fn is_too_long(&self) -> bool {
        self.is_cut && self.line_bytes() == self.kept().len()
    }

    /// Leaves the first line behind; gives it, cut if it is too long, and the length of all of it.
    /// Neither has the line end, or blanks before it.
    pub fn take_line(&mut self) -> Result<(Vec<u8>, usize), SourceError> {
        let mut is_cut = self.is_too_long();
        let whole = &self.kept()[..self.line_bytes()];
        let line = whole.trim_ascii_end().to_vec();
        let (mut read, mut bytes) = (whole.len(), line.len());
        self.pass(whole.len());
        while is_cut {
            is_cut = self.more()? == More::TooLong;
            // What ends a piece may stand within the line.
            if let kept @ 1.. = self.kept().trim_ascii_end().len() {
                bytes = read + kept;
            }
            read += self.kept().len();
            self.pass(self.kept().len());
        }
        Ok((line, bytes))
    }
}

/// What is said of a row beyond [`ROW_BYTES_MAX`].
pub fn too_long(path: &str) -> BadField {
    BadField::new(Reason::TooLarge, path, format!("is longer than {ROW_BYTES_MAX} bytes"))
}

fn broken(path: &Path, rows: u64, error: &io::Error) -> SourceError {
    let why = match error.kind() {
        io::ErrorKind::UnexpectedEof => "its gzip data is cut".to_owned(),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            format!("its gzip data is damaged ({error})")
        }
        _ => format!("cannot be read on ({error})"),
    };
    SourceError::Broken { file: path.to_owned(), rows, why }
}

struct Counted {
    file: File,
    read: BytesRead,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        self.read.add(bytes as u64);
        Ok(bytes)
    }
}
