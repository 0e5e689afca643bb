//! Prepared statements and portals, which cursors are too: what a connection keeps of them. Reading their
//! rows is left to `sending`.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::error::ErrorInfo;

use super::answer::{self, Answer};
use super::command::Command;
use super::connection::{Connection, Stop};
use super::error::error;
use crate::Parameters;

/// Portals of a connection, and the bytes of all their values.
const PORTALS_MAX: usize = 50;
const PORTALS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A statement that was prepared.
pub(super) struct Prepared {
    pub(super) text: Arc<str>,
    /// `None` where there is no statement.
    pub(super) command: Option<Command>,
    pub(super) types: Vec<Type>,
    /// `None` where it answers without rows.
    pub(super) columns: Option<SchemaRef>,
}

/// A statement with its values, and its answer as far as it is taken.
pub(super) struct Portal {
    pub(super) prepared: Arc<Prepared>,
    pub(super) values: Parameters,
    pub(super) format: Format,
    pub(super) state: PortalState,
    /// Of its values, as they came.
    pub(super) bytes: usize,
}

impl Portal {
    pub(super) fn new(
        prepared: Arc<Prepared>,
        values: Parameters,
        format: Format,
        bytes: usize,
    ) -> Portal {
        Portal { prepared, values, format, state: PortalState::Bound, bytes }
    }
}

pub(super) enum PortalState {
    Bound,
    Begun(Box<Answer>),
    Over,
}

impl Connection {
    /// Rows of a cursor, in a format that was asked for, else as text with their columns before them.
    pub(super) async fn fetch(
        &mut self,
        cursor: String,
        rows: Option<usize>,
        format: Option<&Format>,
    ) -> Result<(), Stop> {
        let mut portal = self.take_cursor(&cursor)?;
        portal.format = format.cloned().unwrap_or(Format::UnifiedText);
        if let Some(columns) = &portal.prepared.columns {
            let fields = Arc::new(answer::fields(columns, &portal.format)?);
            if format.is_none() {
                self.wire.put(&answer::row_description(&fields))?;
            }
            if let PortalState::Begun(answer) = &mut portal.state {
                answer.fields = fields;
            }
        }
        let (count, _) = self.send_portal(&mut portal, rows).await?;
        self.portals.insert(cursor, portal);
        self.complete("FETCH", Some(count))
    }

    /// The one without a name takes the place of the one before.
    pub(super) fn keep_portal(&mut self, name: String, portal: Portal) -> Result<(), Stop> {
        if !name.is_empty() && self.portals.contains_key(&name) {
            return Err(error("42P03", &format!("cursor \"{name}\" already exists")).into());
        }
        let others = self.portals.iter().filter(|(other, _)| **other != name);
        let (count, bytes) =
            others.fold((0, 0), |(count, bytes), (_, portal)| (count + 1, bytes + portal.bytes));
        if count >= PORTALS_MAX || bytes + portal.bytes > PORTALS_BYTES_MAX {
            let message = format!(
                "a connection has at most {PORTALS_MAX} cursors with values of together {PORTALS_BYTES_MAX} bytes"
            );
            let mut refused = error("53400", &message);
            refused.hint = Some("CLOSE those that are not needed any more".to_owned());
            return Err(refused.into());
        }
        self.portals.insert(name, portal);
        Ok(())
    }

    pub(super) fn take_cursor(&mut self, name: &str) -> Result<Portal, Stop> {
        self.portals.remove(name).ok_or_else(|| no_cursor(name).into())
    }
}

pub(super) fn no_statement(name: &str) -> ErrorInfo {
    error("26000", &format!("prepared statement \"{name}\" does not exist"))
}

pub(super) fn no_cursor(name: &str) -> ErrorInfo {
    error("34000", &format!("cursor \"{name}\" does not exist"))
}
