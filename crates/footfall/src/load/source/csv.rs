//! CSV (RFC 4180) with a header, row by row. What the values mean is left to `fill`.

use std::path::Path;

use csv_core::ReadRecordResult;
use footfall_event::{BadField, Event, Reason};

use super::SourceError;
use super::file::{BytesRead, Lines, More, too_long};
use super::rows::{Raw, Rows};
use crate::map::{Bound, Cell, Plan, Unnamed, fill};

pub struct CsvReader {
    lines: Lines,
    parser: csv_core::Reader,
    pub bound: Bound,
    /// The row's values one after the other, and where each ends; as long as the longest row so far.
    values: Vec<u8>,
    ends: Vec<usize>,
}

/// What stands at the beginning of what is kept.
enum Found {
    /// A row of so many fields, in so many bytes of the file.
    Row {
        fields: usize,
        bytes: usize,
    },
    /// A quote is not closed within the file, or within the longest row that is taken.
    Unclosed,
    /// The line is longer than any row that is taken.
    TooLong,
    End,
}

impl CsvReader {
    /// # Errors
    /// When the file cannot be read, or its header lacks what the plan needs.
    pub fn open(path: &Path, plan: &Plan, read: &BytesRead) -> Result<CsvReader, SourceError> {
        let mut reader = CsvReader {
            lines: Lines::open(path, read)?,
            parser: csv_core::Reader::new(),
            bound: Bound {
                slots: Vec::new(),
                others: Vec::new(),
                names: Vec::new(),
                has_seq: false,
            },
            values: vec![0; 1024],
            ends: vec![0; 32],
        };
        let Found::Row { fields, bytes } = reader.find()? else {
            return Err(SourceError::unfit(path, "has no header: is it empty, or no CSV?"));
        };
        let row = Row { values: &reader.values, ends: &reader.ends[..fields] };
        let Some(text) = row.text() else {
            return Err(SourceError::unfit(path, "is not UTF-8: save it as UTF-8"));
        };
        let header = (0..fields).map(|column| row.value(text, column).to_owned());
        let header: Vec<String> = header.collect();
        let delimiter = other_delimiter(&header);
        let bound = Bound::new(plan, header);
        reader.bound = bound.map_err(|why| SourceError::unfit(path, delimiter.unwrap_or(why)))?;
        reader.lines.pass(bytes);
        Ok(reader)
    }

    /// Reads a row, or finds that there is none left.
    pub fn read_row(&mut self, plan: &Plan, rows: &mut Rows) -> Result<bool, SourceError> {
        let (fields, bytes) = match self.find()? {
            Found::End => return Ok(false),
            Found::Unclosed => return self.reject_line(plan, rows, open_quote()).map(|()| true),
            Found::TooLong => {
                return self.reject_line(plan, rows, too_long("row")).map(|()| true);
            }
            Found::Row { fields, bytes } => (fields, bytes),
        };
        let line = self.lines.kept()[..bytes].trim_ascii_end();
        let columns = self.bound.names.len();
        let has_lines = line.contains(&b'\n');
        let bad = if has_lines && !are_quotes_closed(line) {
            Some(open_quote())
        } else if fields != columns {
            Some(cut(fields, &self.bound.names))
        } else {
            None
        };
        match bad {
            // A stray quote joined lines that may be sound: each is looked at by itself.
            Some(bad) if has_lines => {
                return self.reject_line(plan, rows, bad).map(|()| true);
            }
            Some(_) if line.trim_ascii().is_empty() => {}
            Some(bad) => {
                reject(plan, rows, bad, &Raw::Line(line, line.len()));
                self.lines.rows += 1;
            }
            None => {
                let row = Row { values: &self.values, ends: &self.ends[..fields] };
                row.take(&self.bound, line, plan, rows);
                self.lines.rows += 1;
            }
        }
        self.lines.pass(bytes);
        Ok(true)
    }

    /// Parses the next row and leaves it where it is.
    fn find(&mut self) -> Result<Found, SourceError> {
        self.pass_line_ends()?;
        let (mut at, mut written, mut fields) = (0, 0, 0);
        loop {
            let is_at_end = at == self.lines.kept().len();
            match if is_at_end { self.lines.more()? } else { More::Line } {
                More::Line => {}
                More::TooLong if at < self.lines.kept().len() => {}
                More::TooLong if self.lines.is_too_long() => return Ok(Found::TooLong),
                More::TooLong => return Ok(Found::Unclosed),
                More::End if at == 0 => return Ok(Found::End),
                More::End => {}
            }
            let rest = &self.lines.kept()[at..];
            // A line end closes the last row, unless it stands within quotes.
            let input = if rest.is_empty() { b"\n" } else { rest };
            let (values, ends) = (&mut self.values[written..], &mut self.ends[fields..]);
            let (result, read, bytes, ended) = self.parser.read_record(input, values, ends);
            at = (at + read).min(self.lines.kept().len());
            (written, fields) = (written + bytes, fields + ended);
            match result {
                ReadRecordResult::Record => return Ok(Found::Row { fields, bytes: at }),
                ReadRecordResult::InputEmpty if rest.is_empty() => return Ok(Found::Unclosed),
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.values.resize(2 * self.values.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::End => return Ok(Found::End),
            }
        }
    }

    /// Leaves empty lines behind, and the rest of a line end.
    fn pass_line_ends(&mut self) -> Result<(), SourceError> {
        loop {
            let is_end = |byte: &&u8| matches!(**byte, b'\r' | b'\n');
            let bytes = self.lines.kept().iter().take_while(is_end).count();
            self.lines.pass(bytes);
            if !self.lines.kept().is_empty() || self.lines.more()? == More::End {
                return Ok(());
            }
        }
    }

    /// Rejects the first line alone; what follows it is read again.
    fn reject_line(
        &mut self,
        plan: &Plan,
        rows: &mut Rows,
        bad: BadField,
    ) -> Result<(), SourceError> {
        self.parser.reset();
        let (line, bytes) = self.lines.take_line()?;
        reject(plan, rows, bad, &Raw::Line(&line, bytes));
        self.lines.rows += 1;
        Ok(())
    }
}

fn open_quote() -> BadField {
    BadField::new(Reason::BadRecord, "row", "a quote is not closed")
}

/// Whether a row's quoted fields end where their quotes do. Two stray quotes in two rows make one
/// row of both and all between them, but what follows the second is seldom the end of a field.
fn are_quotes_closed(row: &[u8]) -> bool {
    let mut rest = row;
    loop {
        if let [b'"', quoted @ ..] = rest {
            let Some(behind) = behind_quote(quoted) else { return false };
            if !matches!(behind.first(), None | Some(b',' | b'\r' | b'\n')) {
                return false;
            }
            rest = behind;
        }
        // A quote within a field that does not begin with one is a character like any other.
        let Some(end) = rest.iter().position(|byte| *byte == b',') else { return true };
        rest = &rest[end + 1..];
    }
}

/// What follows the quote that ends a field; two of them stand for one within it.
fn behind_quote(mut quoted: &[u8]) -> Option<&[u8]> {
    loop {
        let quote = quoted.iter().position(|byte| *byte == b'"')?;
        quoted = &quoted[quote + 1..];
        match quoted {
            [b'"', rest @ ..] => quoted = rest,
            _ => return Some(quoted),
        }
    }
}

/// What to say of a header that is one field because something else than commas separates it.
fn other_delimiter(header: &[String]) -> Option<String> {
    let [one] = header else { return None };
    let (delimiter, name) =
        [(';', "`;`"), ('\t', "tabs"), ('|', "`|`")].into_iter().find(|(c, _)| one.contains(*c))?;
    let columns = one.split(delimiter).count();
    Some(format!(
        "its header has one field, `{one}`, whose {columns} parts are separated by {name}: save the \
         file with commas"
    ))
}

fn cut(fields: usize, names: &[String]) -> BadField {
    let path = names.get(fields).map_or("row", String::as_str);
    let message = format!("the row has {fields} fields, the header {}", names.len());
    BadField::new(Reason::BadRecord, path, message)
}

fn reject(plan: &Plan, rows: &mut Rows, bad: BadField, raw: &Raw<'_>) {
    let mut event = Event::default();
    plan.complete(&mut event);
    rows.take(&mut event, Err(bad), raw);
}

/// A row's values.
struct Row<'r> {
    values: &'r [u8],
    ends: &'r [usize],
}

impl<'r> Row<'r> {
    fn take(&self, bound: &Bound, line: &[u8], plan: &Plan, rows: &mut Rows) {
        let end = self.ends.last().copied().unwrap_or_default();
        let raw = Raw::Fields { line, values: &self.values[..end], ends: self.ends };
        let Some(text) = self.text() else {
            let bad = BadField::new(Reason::BadRecord, "row", "is not UTF-8");
            return reject(plan, rows, bad, &raw);
        };
        let others = bound.others.iter().map(|other| Unnamed {
            name: &bound.names[other.column],
            cell: Cell::Text(self.value(text, other.column)),
            cut: None,
            target: other.target,
        });
        let mut event = Event::default();
        let cell = |slot: usize| Cell::Text(self.value(text, bound.slots[slot]));
        let filled = fill(plan, &mut event, cell, others);
        plan.complete(&mut event);
        rows.take(&mut event, filled, &raw);
    }

    /// The values as one text; `None` if a value is not UTF-8.
    fn text(&self) -> Option<&'r str> {
        let end = self.ends.last().copied().unwrap_or_default();
        let text = std::str::from_utf8(&self.values[..end]).ok()?;
        self.ends.iter().all(|end| text.is_char_boundary(*end)).then_some(text)
    }

    fn value<'t>(&self, text: &'t str, column: usize) -> &'t str {
        let start = if column == 0 { 0 } else { self.ends[column - 1] };
        &text[start..self.ends[column]]
    }
}
