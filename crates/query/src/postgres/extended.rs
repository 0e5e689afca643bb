//! The extended protocol of Postgres: statements that are prepared, bound to values and executed, each by a
//! message of its own. Statements in one message, and all that is no query, are left to `connection`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::sql::parser::Statement;
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::messages::PgWireBackendMessage as Out;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete,
    PortalSuspended, TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::EmptyQueryResponse;

use super::answer;
use super::command::Command;
use super::connection::{Connection, Stop, text_schema};
use super::error::{ERROR, error, protocol_violation, query_error};
use super::parameters;
use super::portal::{Portal, Prepared, no_cursor, no_statement};
use crate::engine::{Description, Question};
use crate::{QueryError, bind};

/// Prepared statements of a connection, and the bytes of all their texts.
const STATEMENTS_MAX: usize = 1000;
const STATEMENTS_BYTES_MAX: usize = 2 * 1024 * 1024;

impl Connection {
    pub(super) async fn parse(&mut self, parse: Parse) -> Result<(), Stop> {
        let text: Arc<str> = parse.query.into();
        let mut commands = self.read(&text).await?;
        if commands.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(error("42601", message).into());
        }
        let command = commands.pop();
        if let Some(command) = &command {
            self.require_sound(command)?;
        }
        let name = parse.name.unwrap_or_default();
        if !name.is_empty() && self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(error("42P05", &message).into());
        }
        // The one without a name takes the place of the one before.
        let others = self.statements.iter().filter(|(other, _)| **other != name);
        let (count, bytes) = others.fold((0, 0), |(count, bytes), (_, statement)| {
            (count + 1, bytes + statement.text.len())
        });
        let is_full = count >= STATEMENTS_MAX || bytes + text.len() > STATEMENTS_BYTES_MAX;
        if !name.is_empty() && is_full {
            let message = format!(
                "a connection prepares at most {STATEMENTS_MAX} statements of together {STATEMENTS_BYTES_MAX} bytes"
            );
            let mut refused = error("53400", &message);
            refused.hint = Some("DEALLOCATE those that are not needed any more".to_owned());
            return Err(refused.into());
        }
        let known = |oid: &u32| match oid {
            0 => None,
            oid => Type::from_oid(*oid).filter(|known| *known != Type::UNKNOWN),
        };
        let named: Vec<Option<Type>> = parse.type_oids.iter().map(known).collect();
        let prepared = self.prepare(text, command, &named).await?;
        self.statements.insert(name, Arc::new(prepared));
        Ok(self.wire.put(&Out::ParseComplete(ParseComplete::new()))?)
    }

    pub(super) fn bind(&mut self, bind: &Bind) -> Result<(), Stop> {
        let name = bind.statement_name.clone().unwrap_or_default();
        let prepared = self.statements.get(&name).cloned().ok_or_else(|| no_statement(&name))?;
        let values = parameters::values(bind, &prepared.types)?;
        let format = answer::format(&bind.result_column_format_codes)?;
        if let Some(columns) = &prepared.columns {
            answer::fields(columns, &format)?;
        }
        let bytes = bind.parameters.iter().flatten().map(bytes::Bytes::len).sum();
        let portal = Portal::new(prepared, values, format, bytes);
        self.keep_portal(bind.portal_name.clone().unwrap_or_default(), portal)?;
        Ok(self.wire.put(&Out::BindComplete(BindComplete::new()))?)
    }

    pub(super) fn describe(&mut self, describe: &Describe) -> Result<(), Stop> {
        let name = describe.name.clone().unwrap_or_default();
        let (columns, format) = match describe.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                let prepared = self.statements.get(&name).ok_or_else(|| no_statement(&name))?;
                let oids = prepared.types.iter().map(Type::oid).collect();
                self.wire.put(&Out::ParameterDescription(ParameterDescription::new(oids)))?;
                (&prepared.columns, &Format::UnifiedText)
            }
            TARGET_TYPE_BYTE_PORTAL => {
                let portal = self.portals.get(&name).ok_or_else(|| no_cursor(&name))?;
                (&portal.prepared.columns, &portal.format)
            }
            _ => return Err(protocol_violation(ERROR, "Describe of neither S nor P").into()),
        };
        let told = match columns {
            Some(columns) => answer::row_description(&answer::fields(columns, format)?),
            None => Out::NoData(NoData::new()),
        };
        Ok(self.wire.put(&told)?)
    }

    pub(super) async fn execute(&mut self, execute: &Execute) -> Result<(), Stop> {
        let name = execute.name.clone().unwrap_or_default();
        let mut portal = self.portals.remove(&name).ok_or_else(|| no_cursor(&name))?;
        let Some(command) = portal.prepared.command.clone() else {
            self.portals.insert(name, portal);
            return Ok(self.wire.put(&Out::EmptyQueryResponse(EmptyQueryResponse::new()))?);
        };
        self.require_sound(&command)?;
        let rows_max = usize::try_from(execute.max_rows).ok().filter(|rows| *rows > 0);
        match command {
            Command::Query { tag, .. } => {
                let (count, is_over) = self.send_portal(&mut portal, rows_max).await?;
                match is_over {
                    true => self.complete(tag, Some(count))?,
                    false => self.wire.put(&Out::PortalSuspended(PortalSuspended::new()))?,
                }
            }
            Command::Fetch { cursor, rows } => {
                let format = portal.format.clone();
                self.fetch(cursor, rows, Some(&format)).await?;
            }
            other => {
                let text = portal.prepared.text.clone();
                let values = portal.values.clone();
                self.command(&text, other, values, false).await?;
                // Nothing is left to be fetched of it, and it may have closed all cursors.
                return Ok(());
            }
        }
        self.portals.insert(name, portal);
        Ok(())
    }

    pub(super) fn close(&mut self, close: &Close) -> Result<(), Stop> {
        let name = close.name.clone().unwrap_or_default();
        match close.target_type {
            TARGET_TYPE_BYTE_STATEMENT => drop(self.statements.remove(&name)),
            TARGET_TYPE_BYTE_PORTAL => drop(self.portals.remove(&name)),
            _ => return Err(protocol_violation(ERROR, "Close of neither S nor P").into()),
        }
        Ok(self.wire.put(&Out::CloseComplete(CloseComplete::new()))?)
    }

    /// Plans a statement, to know its columns and the types of its placeholders.
    pub(super) async fn prepare(
        &mut self,
        text: Arc<str>,
        command: Option<Command>,
        named: &[Option<Type>],
    ) -> Result<Prepared, Stop> {
        let (mut types, mut columns) = (Vec::new(), None);
        match &command {
            Some(
                Command::Query { statement, .. }
                | Command::Copy { statement, .. }
                | Command::Declare { statement, .. },
            ) => {
                let statement = Statement::clone(statement);
                let (inferred, described) = self.plan(&text, statement, named).await?;
                types = parameters::types(named, &inferred)?;
                let has_rows = matches!(command, Some(Command::Query { .. }));
                columns = has_rows.then_some(described);
            }
            Some(Command::Fetch { cursor, .. }) => {
                let portal = self.portals.get(cursor);
                columns = portal.and_then(|portal| portal.prepared.columns.clone());
            }
            Some(Command::Show(name)) => columns = Some(text_schema(&[name])),
            Some(Command::ShowAll) => columns = Some(text_schema(&["name", "setting"])),
            _ => {}
        }
        Ok(Prepared { text, command, types, columns })
    }

    /// Describes a statement. Where what a placeholder is compared with does not tell its type, it is a text.
    async fn plan(
        &mut self,
        text: &Arc<str>,
        statement: Statement,
        named: &[Option<Type>],
    ) -> Result<(HashMap<String, Option<DataType>>, SchemaRef), Stop> {
        let placeholders = bind::placeholders(&statement);
        let first = self.describe_with(text, statement.clone(), named).await?;
        let is_known = |first: &Description, name: &String| {
            first.parameters.get(name).is_some_and(Option::is_some)
        };
        let mut as_texts = named.to_vec();
        as_texts.resize(as_texts.len().max(placeholders.len()), None);
        let mut has_unknown = false;
        for (index, named) in as_texts.iter_mut().enumerate() {
            let name = format!("${}", index + 1);
            let is_known = first.as_ref().is_ok_and(|first| is_known(first, &name));
            if named.is_none() && !is_known && placeholders.contains(&name) {
                (*named, has_unknown) = (Some(Type::TEXT), true);
            }
        }
        let described = match has_unknown {
            true => self.describe_with(text, statement, &as_texts).await?.or(first),
            false => first,
        };
        let Description { parameters: mut inferred, columns } =
            described.map_err(|error| query_error(&error, text))?;
        for name in placeholders {
            inferred.entry(name).or_default();
        }
        Ok((inferred, columns))
    }

    async fn describe_with(
        &mut self,
        text: &Arc<str>,
        statement: Statement,
        named: &[Option<Type>],
    ) -> Result<Result<Description, QueryError>, Stop> {
        self.described(self.question(text, statement, parameters::nulls(named))).await
    }

    pub(super) async fn described(
        &mut self,
        question: Question,
    ) -> Result<Result<Description, QueryError>, Stop> {
        let server = self.server.clone();
        self.wait(async move { server.engine.describe(question).await }).await
    }
}
