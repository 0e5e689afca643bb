//! JSON lines: one object a line. What its values mean is left to the map.

use std::path::Path;

use footfall_event::Event;

use super::SourceError;
use super::file::{BytesRead, Lines, More, too_long};
use super::rows::{Raw, Rows};
use crate::map::{Plan, read_json};

pub struct JsonLinesReader {
    lines: Lines,
}

impl JsonLinesReader {
    /// # Errors
    /// When the file cannot be read.
    pub fn open(path: &Path, read: &BytesRead) -> Result<JsonLinesReader, SourceError> {
        Ok(JsonLinesReader { lines: Lines::open(path, read)? })
    }

    /// Reads a row, or finds that there is none left.
    pub fn read_row(&mut self, plan: &Plan, rows: &mut Rows) -> Result<bool, SourceError> {
        if self.lines.kept().is_empty() && self.lines.more()? == More::End {
            return Ok(false);
        }
        if self.lines.is_cut() {
            return self.reject_long(plan, rows).map(|()| true);
        }
        // Lines are taken one by one, so what is kept is one.
        let end = self.lines.kept().len();
        let line = self.lines.kept().trim_ascii();
        if !line.is_empty() {
            take(line, plan, rows);
            self.lines.rows += 1;
        }
        self.lines.pass(end);
        Ok(true)
    }

    fn reject_long(&mut self, plan: &Plan, rows: &mut Rows) -> Result<(), SourceError> {
        let (line, bytes) = self.lines.take_line()?;
        let mut event = Event::default();
        plan.complete(&mut event);
        rows.take(&mut event, Err(too_long("line")), &Raw::Line(&line, bytes));
        self.lines.rows += 1;
        Ok(())
    }
}

fn take(line: &[u8], plan: &Plan, rows: &mut Rows) {
    let raw = Raw::Line(line, line.len());
    let mut event = Event::default();
    let filled = read_json(line, "line", plan, &mut event);
    rows.take(&mut event, filled, &raw);
}
