//! One client of Postgres after it came in: its statements, one message after the other, in the simple and in
//! the extended protocol. How they are read is left to `command`, how rows are written to `answer`.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::sql::parser::Statement;
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo};
use pgwire::error::ErrorInfo;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete,
    PortalSuspended, TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus,
};
use pgwire::messages::startup::{BackendKeyData, ParameterStatus, SecretKey};
use pgwire::messages::{PgWireBackendMessage as Out, PgWireFrontendMessage as In};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer::{self, Answer, Copying};
use super::command::{Command, CopyFormat, commands};
use super::error::{ERROR, canceled, error, fatal, protocol_violation, query_error};
use super::settings::Settings;
use super::wire::{NoMessage, Wire};
use super::{Server, login, parameters};
use crate::engine::Question;
use crate::{Parameters, QueryError, bind};

/// How long a client may say nothing.
const IDLE_TIME_MAX: Duration = Duration::from_secs(8 * 3600);
/// Prepared statements of a connection, and the bytes of all their texts; portals of one.
const STATEMENTS_MAX: usize = 500;
const STATEMENTS_BYTES_MAX: usize = 1024 * 1024;
const PORTALS_MAX: usize = 50;

/// Why a statement ends before its answer is whole.
enum Stop {
    /// The client is told, and goes on.
    Refused(Box<ErrorInfo>),
    /// There is nobody any more, or it was told to go.
    Over(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Over(error)
    }
}

impl From<Box<ErrorInfo>> for Stop {
    fn from(error: Box<ErrorInfo>) -> Self {
        Stop::Refused(error)
    }
}

impl From<ErrorInfo> for Stop {
    fn from(error: ErrorInfo) -> Self {
        Stop::Refused(Box::new(error))
    }
}

/// A statement that was prepared.
struct Prepared {
    text: Arc<str>,
    /// `None` where there is no statement.
    command: Option<Command>,
    types: Vec<Type>,
    /// `None` where it answers without rows.
    columns: Option<SchemaRef>,
}

/// A statement with its values, and its answer as far as it is taken.
struct Portal {
    prepared: Arc<Prepared>,
    values: Parameters,
    format: Format,
    state: PortalState,
}

enum PortalState {
    Bound,
    Begun(Box<Answer>),
    Over,
}

pub(super) struct Connection {
    server: Arc<Server>,
    wire: Wire,
    settings: Arc<Settings>,
    process: i32,
    cancel: Arc<Mutex<CancellationToken>>,
    status: TransactionStatus,
    statements: HashMap<String, Arc<Prepared>>,
    portals: HashMap<String, Portal>,
    /// Until when the statement at hand may run, beside the server's own limit.
    deadline: Option<Instant>,
    /// After a mistake in the extended protocol all is skipped up to the next Sync.
    is_skipping: bool,
}

impl Connection {
    /// Lets the client log in; `None` where it is not let in or goes.
    pub(super) async fn begin(
        server: Arc<Server>,
        mut wire: Wire,
        given: BTreeMap<String, String>,
    ) -> Option<Connection> {
        let user = given.get("user").cloned().unwrap_or_default();
        let allowed = login::authenticate(&mut wire, &user, &server.tokens, &server.nobody).await;
        if let Err(refused) = allowed {
            if let NoMessage::Broken(told) = refused {
                let _ = wire.put(&Out::ErrorResponse((*told).into()));
                wire.close().await;
            }
            return None;
        }
        let mut settings = Settings::new(&user);
        for (name, value) in &given {
            settings.take(name, value);
        }
        let cancel = Arc::new(Mutex::new(CancellationToken::new()));
        let (process, secret) = server.enter(cancel.clone());
        let mut connection = Connection {
            server,
            wire,
            settings: Arc::new(settings),
            process,
            cancel,
            status: TransactionStatus::Idle,
            statements: HashMap::new(),
            portals: HashMap::new(),
            deadline: None,
            is_skipping: false,
        };
        let told = connection.settings.told();
        let mut messages: Vec<Out> = told
            .map(|(name, value)| {
                Out::ParameterStatus(ParameterStatus::new(name.to_owned(), value.to_owned()))
            })
            .collect();
        messages.push(Out::BackendKeyData(BackendKeyData::new(process, SecretKey::I32(secret))));
        let greeted = async {
            for message in &messages {
                connection.wire.put(message)?;
            }
            connection.ready().await
        };
        greeted.await.ok().map(|()| connection)
    }

    /// Answers messages until the client goes, or the server stops.
    pub(super) async fn run(mut self) {
        let shutdown = self.server.shutdown.clone();
        let ended = loop {
            let message = tokio::select! {
                biased;
                () = shutdown.cancelled() => {
                    break Some(fatal("57P01", "the server stops"));
                }
                message = tokio::time::timeout(IDLE_TIME_MAX, self.wire.message()) => message,
            };
            let message = match message {
                Ok(Ok(In::Terminate(_))) | Ok(Err(NoMessage::Gone)) => break None,
                Ok(Ok(message)) => message,
                Ok(Err(NoMessage::Broken(told))) => break Some(*told),
                Err(_) => break Some(fatal("57P05", "nothing was said for 8 hours")),
            };
            if let Err(error) = self.take(message).await {
                tracing::debug!(%error, "a client went away");
                break None;
            }
        };
        if let Some(told) = ended {
            let _ = self.wire.put(&Out::ErrorResponse(told.into()));
        }
        self.wire.close().await;
    }

    async fn take(&mut self, message: In) -> io::Result<()> {
        let is_simple = matches!(message, In::Query(_));
        if self.is_skipping && !matches!(message, In::Sync(_)) {
            return Ok(());
        }
        self.begin_statement();
        let taken = match message {
            In::Query(query) => self.simple(&query.query).await,
            In::Parse(parse) => self.parse(parse).await,
            In::Bind(bind) => self.bind(&bind),
            In::Describe(describe) => self.describe(&describe),
            In::Execute(execute) => self.execute(&execute).await,
            In::Close(close) => self.close(&close),
            In::Flush(_) => self.wire.send().await.map_err(Stop::Over),
            In::Sync(_) => return self.sync().await,
            // What is left of a COPY that was never begun.
            In::CopyData(_) | In::CopyDone(_) | In::CopyFail(_) => Ok(()),
            _ => Err(protocol_violation(ERROR, "this message means nothing here").into()),
        };
        match taken {
            Ok(()) => {}
            Err(Stop::Over(error)) => return Err(error),
            Err(Stop::Refused(told)) => {
                self.wire.put(&Out::ErrorResponse((*told).into()))?;
                if self.status != TransactionStatus::Idle {
                    self.status = TransactionStatus::Error;
                }
                self.is_skipping = !is_simple;
                // Who waits for a Sync sends it without having read this.
                self.wire.send().await?;
            }
        }
        match is_simple {
            true => {
                self.end_transaction_if_idle();
                self.ready().await
            }
            false => self.wire.send_if_much().await,
        }
    }

    /// From here on a cancel is meant for what comes now.
    fn begin_statement(&mut self) {
        *self.cancel.lock().unwrap_or_else(PoisonError::into_inner) = CancellationToken::new();
        self.deadline = self.settings.statement_time_max().map(|time| Instant::now() + time);
    }

    async fn ready(&mut self) -> io::Result<()> {
        self.wire.put(&Out::ReadyForQuery(ReadyForQuery::new(self.status)))?;
        self.wire.send().await
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.is_skipping = false;
        self.end_transaction_if_idle();
        self.ready().await
    }

    /// Cursors and portals live as long as their transaction, which without BEGIN ends here.
    fn end_transaction_if_idle(&mut self) {
        if self.status == TransactionStatus::Idle {
            self.portals.clear();
        }
    }

    async fn simple(&mut self, text: &str) -> Result<(), Stop> {
        let text: Arc<str> = text.into();
        let commands = self.read(&text).await?;
        if commands.is_empty() {
            self.wire.put(&Out::EmptyQueryResponse(EmptyQueryResponse::new()))?;
        }
        for command in commands {
            self.require_sound(&command)?;
            match command {
                Command::Query { statement, tag } => {
                    let values = Parameters::default();
                    let mut answer =
                        self.begin_answer(&text, *statement, values, &Format::UnifiedText).await?;
                    self.wire.put(&answer::row_description(&answer.fields))?;
                    let (count, _) = self.send_rows(&mut answer, None).await?;
                    self.complete(tag, Some(count))?;
                }
                Command::Fetch { cursor, rows } => {
                    let mut portal = self.take_cursor(&cursor)?;
                    if let PortalState::Begun(answer) = &portal.state {
                        self.wire.put(&answer::row_description(&answer.fields))?;
                    } else if let Some(columns) = &portal.prepared.columns {
                        let fields = answer::fields(columns, &portal.format)?;
                        self.wire.put(&answer::row_description(&fields))?;
                    }
                    let (count, _) = self.send_portal(&mut portal, rows).await?;
                    self.portals.insert(cursor, portal);
                    self.complete("FETCH", Some(count))?;
                }
                other => self.command(&text, other, Parameters::default(), true).await?,
            }
        }
        Ok(())
    }

    /// What is neither a query nor a FETCH. `describes` says whether columns are told before rows.
    async fn command(
        &mut self,
        text: &Arc<str>,
        command: Command,
        values: Parameters,
        describes: bool,
    ) -> Result<(), Stop> {
        match command {
            Command::Query { .. } | Command::Fetch { .. } => {}
            Command::Copy { statement, format } => {
                let count = self.copy(text, *statement, values, &format).await?;
                self.complete("COPY", Some(count))?;
            }
            Command::Begin => {
                if self.status == TransactionStatus::Idle {
                    self.status = TransactionStatus::Transaction;
                }
                self.complete("BEGIN", None)?;
            }
            Command::Commit => {
                let tag = match self.status {
                    TransactionStatus::Error => "ROLLBACK",
                    _ => "COMMIT",
                };
                self.end_transaction(tag)?;
            }
            Command::Rollback => self.end_transaction("ROLLBACK")?,
            Command::RollbackTo => {
                self.require_transaction("ROLLBACK TO SAVEPOINT")?;
                self.status = TransactionStatus::Transaction;
                self.complete("ROLLBACK", None)?;
            }
            Command::Savepoint(tag) => {
                self.require_transaction(tag)?;
                self.complete(tag, None)?;
            }
            Command::Set { name, value } => {
                let told = Arc::make_mut(&mut self.settings).set(&name, &value)?;
                if let Some(warning) = told {
                    self.wire.put(&Out::NoticeResponse(warning.into()))?;
                }
                if let Some((name, value)) = self.settings.told_of(&name) {
                    let status = ParameterStatus::new(name.to_owned(), value.to_owned());
                    self.wire.put(&Out::ParameterStatus(status))?;
                }
                self.complete("SET", None)?;
            }
            Command::Reset(name) => {
                Arc::make_mut(&mut self.settings).reset(name.as_deref())?;
                self.complete("RESET", None)?;
            }
            Command::Show(name) => {
                let value = self.settings.show(&name)?.to_owned();
                self.send_texts(&[&name], &[vec![value]], describes)?;
            }
            Command::ShowAll => {
                let rows = self.settings.all();
                let rows: Vec<Vec<String>> =
                    rows.map(|(name, value)| vec![name.to_owned(), value.to_owned()]).collect();
                self.send_texts(&["name", "setting"], &rows, describes)?;
            }
            Command::Declare { cursor, statement } => {
                if self.portals.contains_key(&cursor) {
                    let message = format!("cursor \"{cursor}\" already exists");
                    return Err(error("42P03", &message).into());
                }
                let command = Command::Query { statement, tag: "FETCH" };
                // A cursor of a statement without values is planned when it is declared, for its mistakes.
                let prepared = self.prepare(text.clone(), Some(command), &[]).await?;
                let (values, format) = (values, Format::UnifiedText);
                let state = PortalState::Bound;
                let portal = Portal { prepared: Arc::new(prepared), values, format, state };
                self.keep_portal(cursor, portal)?;
                self.complete("DECLARE CURSOR", None)?;
            }
            Command::Close(None) => {
                self.portals.clear();
                self.complete("CLOSE CURSOR ALL", None)?;
            }
            Command::Close(Some(cursor)) => {
                self.take_cursor(&cursor)?;
                self.complete("CLOSE CURSOR", None)?;
            }
            Command::Deallocate(None) => {
                self.statements.clear();
                self.complete("DEALLOCATE ALL", None)?;
            }
            Command::Deallocate(Some(name)) => {
                if self.statements.remove(&name).is_none() {
                    return Err(no_statement(&name).into());
                }
                self.complete("DEALLOCATE", None)?;
            }
            Command::DiscardAll => {
                self.statements.clear();
                self.portals.clear();
                Arc::make_mut(&mut self.settings).reset(None)?;
                self.complete("DISCARD ALL", None)?;
            }
            Command::Nothing(tag) => self.complete(tag, None)?,
        }
        Ok(())
    }

    fn end_transaction(&mut self, tag: &str) -> Result<(), Stop> {
        self.status = TransactionStatus::Idle;
        self.portals.clear();
        self.complete(tag, None)
    }

    fn require_transaction(&self, what: &str) -> Result<(), Stop> {
        match self.status {
            TransactionStatus::Idle => {
                let message = format!("{what} can only be used in transaction blocks");
                Err(error("25P01", &message).into())
            }
            _ => Ok(()),
        }
    }

    /// In a transaction that failed nothing is done but to leave it.
    fn require_sound(&self, command: &Command) -> Result<(), Stop> {
        let leaves = matches!(command, Command::Commit | Command::Rollback | Command::RollbackTo);
        match self.status == TransactionStatus::Error && !leaves {
            true => {
                let message = "current transaction is aborted, commands ignored until end of transaction block";
                Err(error("25P02", message).into())
            }
            false => Ok(()),
        }
    }

    fn complete(&mut self, tag: &str, count: Option<usize>) -> Result<(), Stop> {
        let tag = match count {
            // SHOW and EXPLAIN tell no number.
            Some(count) if !matches!(tag, "SHOW" | "EXPLAIN") => format!("{tag} {count}"),
            _ => tag.to_owned(),
        };
        Ok(self.wire.put(&Out::CommandComplete(CommandComplete::new(tag)))?)
    }

    /// Texts that are known here, as an answer.
    fn send_texts(
        &mut self,
        names: &[&str],
        rows: &[Vec<String>],
        describes: bool,
    ) -> Result<(), Stop> {
        let fields = Arc::new(text_fields(names));
        if describes {
            self.wire.put(&answer::row_description(&fields))?;
        }
        let mut encoder = DataRowEncoder::new(fields);
        for row in rows {
            for value in row {
                encoder
                    .encode_field(&value.as_str())
                    .map_err(|error| io::Error::other(error.to_string()))?;
            }
            self.wire.put(&Out::DataRow(encoder.take_row()))?;
        }
        self.complete("SHOW", None)
    }

    async fn read(&mut self, text: &Arc<str>) -> Result<Vec<Command>, Stop> {
        let (server, thought) = (self.server.clone(), text.clone());
        let thought = async move { server.engine.think(async move { commands(&thought) }).await };
        let read = self.wait(thought).await?;
        Ok(read.map_err(|error| query_error(&error, text))??)
    }

    async fn parse(&mut self, parse: Parse) -> Result<(), Stop> {
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
        let kept: usize = self.statements.values().map(|statement| statement.text.len()).sum();
        if self.statements.len() >= STATEMENTS_MAX || kept + text.len() > STATEMENTS_BYTES_MAX {
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

    /// Plans a statement, to know its columns and the types of its placeholders.
    async fn prepare(
        &mut self,
        text: Arc<str>,
        command: Option<Command>,
        named: &[Option<Type>],
    ) -> Result<Prepared, Stop> {
        let (mut types, mut columns) = (Vec::new(), None);
        match &command {
            Some(Command::Query { statement, .. } | Command::Copy { statement, .. }) => {
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
    ) -> Result<(HashMap<String, Option<arrow::datatypes::DataType>>, SchemaRef), Stop> {
        let placeholders = bind::placeholders(&statement);
        let described = self.describe_with(text, statement.clone(), named).await?;
        let (mut inferred, columns) = match described {
            Ok(described) => (described.parameters, described.columns),
            Err(error) if placeholders.is_empty() => return Err(query_error(&error, text).into()),
            Err(error) => {
                let mut texts = named.to_vec();
                texts.resize(texts.len().max(placeholders.len()), None);
                for named in &mut texts {
                    named.get_or_insert(Type::TEXT);
                }
                let again = self.describe_with(text, statement, &texts).await?;
                let again = again.map_err(|_| query_error(&error, text))?;
                (again.parameters, again.columns)
            }
        };
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
    ) -> Result<Result<crate::engine::Description, QueryError>, Stop> {
        let question = self.question(text, statement, parameters::nulls(named));
        let server = self.server.clone();
        self.wait(async move { server.engine.describe(question).await }).await
    }

    fn bind(&mut self, bind: &Bind) -> Result<(), Stop> {
        let name = bind.statement_name.clone().unwrap_or_default();
        let prepared = self.statements.get(&name).cloned().ok_or_else(|| no_statement(&name))?;
        let values = parameters::values(bind, &prepared.types)?;
        let columns = prepared.columns.as_ref().map_or(0, |columns| columns.fields().len());
        let format = answer::format(&bind.result_column_format_codes, columns)?;
        let portal = Portal { prepared, values, format, state: PortalState::Bound };
        self.keep_portal(bind.portal_name.clone().unwrap_or_default(), portal)?;
        Ok(self.wire.put(&Out::BindComplete(BindComplete::new()))?)
    }

    /// The one without a name takes the place of the one before.
    fn keep_portal(&mut self, name: String, portal: Portal) -> Result<(), Stop> {
        if !name.is_empty() && self.portals.contains_key(&name) {
            return Err(error("42P03", &format!("cursor \"{name}\" already exists")).into());
        }
        if self.portals.len() >= PORTALS_MAX && !self.portals.contains_key(&name) {
            let message = format!("a connection has at most {PORTALS_MAX} cursors");
            let mut refused = error("53400", &message);
            refused.hint = Some("CLOSE those that are not needed any more".to_owned());
            return Err(refused.into());
        }
        self.portals.insert(name, portal);
        Ok(())
    }

    fn describe(&mut self, describe: &Describe) -> Result<(), Stop> {
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

    async fn execute(&mut self, execute: &Execute) -> Result<(), Stop> {
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
                let mut fetched = self.take_cursor(&cursor)?;
                let (count, _) = self.send_portal(&mut fetched, rows).await?;
                self.portals.insert(cursor, fetched);
                self.complete("FETCH", Some(count))?;
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

    fn close(&mut self, close: &Close) -> Result<(), Stop> {
        let name = close.name.clone().unwrap_or_default();
        match close.target_type {
            TARGET_TYPE_BYTE_STATEMENT => drop(self.statements.remove(&name)),
            TARGET_TYPE_BYTE_PORTAL => drop(self.portals.remove(&name)),
            _ => return Err(protocol_violation(ERROR, "Close of neither S nor P").into()),
        }
        Ok(self.wire.put(&Out::CloseComplete(CloseComplete::new()))?)
    }

    fn take_cursor(&mut self, name: &str) -> Result<Portal, Stop> {
        self.portals.remove(name).ok_or_else(|| no_cursor(name).into())
    }

    fn question(&self, text: &Arc<str>, statement: Statement, parameters: Parameters) -> Question {
        let sessions = self.server.catalog.sessions(self.settings.clone(), self.process);
        Question { text: text.clone(), statement, parameters, sessions }
    }

    async fn begin_answer(
        &mut self,
        text: &Arc<str>,
        statement: Statement,
        values: Parameters,
        format: &Format,
    ) -> Result<Answer, Stop> {
        let question = self.question(text, statement, values);
        let server = self.server.clone();
        let rows = self.wait(async move { server.engine.answer(question).await }).await?;
        let rows = rows.map_err(|error| query_error(&error, text))?;
        Ok(Answer::new(rows, format)?)
    }

    /// Sends what is left of a portal, or so many rows of it; how many, and whether it is over.
    async fn send_portal(
        &mut self,
        portal: &mut Portal,
        rows_max: Option<usize>,
    ) -> Result<(usize, bool), Stop> {
        if let PortalState::Bound = portal.state {
            let Some(Command::Query { statement, .. }) = &portal.prepared.command else {
                return Ok((0, true));
            };
            let (text, statement) = (portal.prepared.text.clone(), Statement::clone(statement));
            let values = portal.values.clone();
            let begun = self.begin_answer(&text, statement, values, &portal.format).await?;
            portal.state = PortalState::Begun(Box::new(begun));
        }
        let PortalState::Begun(answer) = &mut portal.state else { return Ok((0, true)) };
        answer.waits = None;
        let (count, is_over) = self.send_rows(answer, rows_max).await?;
        if is_over {
            portal.state = PortalState::Over;
        } else {
            // It keeps its place among the queries that run.
            let waits = self.server.waiting.clone().try_acquire_owned();
            answer.waits = Some(waits.map_err(|_| {
                let mut refused = error("53300", "too many cursors are left open halfway");
                refused.hint = Some(
                    "read them to their ends, or close them: their queries hold places that others wait for"
                        .to_owned(),
                );
                refused
            })?);
        }
        Ok((count, is_over))
    }

    async fn send_rows(
        &mut self,
        answer: &mut Answer,
        rows_max: Option<usize>,
    ) -> Result<(usize, bool), Stop> {
        let mut encoder = DataRowEncoder::new(answer.fields.clone());
        let mut count = 0;
        while rows_max.is_none_or(|rows_max| count < rows_max) {
            let Some((batch, row)) = self.next_row(answer).await? else { return Ok((count, true)) };
            let message = answer::row_message(&mut encoder, &batch, row, &answer.fields)?;
            self.put_row(&message).await?;
            count += 1;
        }
        Ok((count, false))
    }

    async fn copy(
        &mut self,
        text: &Arc<str>,
        statement: Statement,
        values: Parameters,
        format: &CopyFormat,
    ) -> Result<usize, Stop> {
        let mut answer = self.begin_answer(text, statement, values, &Format::UnifiedText).await?;
        let mut copying = Copying::new(format, answer.fields.clone());
        for message in copying.begin(format)? {
            self.wire.put(&message)?;
        }
        let mut count = 0;
        while let Some((batch, row)) = self.next_row(&mut answer).await? {
            let message = copying.row(&batch, row)?;
            self.put_row(&message).await?;
            count += 1;
        }
        self.wire.put(&Copying::end())?;
        Ok(count)
    }

    /// The batch that the next row stands in, and its place there.
    async fn next_row(
        &mut self,
        answer: &mut Answer,
    ) -> Result<Option<(RecordBatch, usize)>, Stop> {
        loop {
            match &mut answer.at_hand {
                Some((batch, sent)) if *sent < batch.num_rows() => {
                    *sent += 1;
                    return Ok(Some((batch.clone(), *sent - 1)));
                }
                _ => {}
            }
            let batch = self.wait(answer.rows.next()).await?;
            match batch {
                Some(Ok(batch)) => answer.at_hand = Some((batch, 0)),
                Some(Err(error)) => return Err(query_error(&error, "").into()),
                None => return Ok(None),
            }
        }
    }

    /// A cancel or the statement's end reaches an answer also while its client takes nothing.
    async fn put_row(&mut self, message: &Out) -> Result<(), Stop> {
        self.wire.put(message)?;
        let (canceled_by, deadline) = self.interruptions();
        tokio::select! {
            biased;
            sent = self.wire.send_if_much() => Ok(sent?),
            why = interrupted(canceled_by, deadline) => Err(why.into()),
        }
    }

    fn interruptions(&self) -> (CancellationToken, Option<Instant>) {
        let cancel = self.cancel.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (cancel, self.deadline)
    }

    /// Waits for `work`, unless the client goes, cancels it, or set it a time that is over.
    async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        let (cancel, deadline) = self.interruptions();
        tokio::select! {
            biased;
            why = interrupted(cancel, deadline) => Err(why.into()),
            done = work => Ok(done),
            error = self.wire.gone() => Err(Stop::Over(error)),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.server.leave(self.process);
    }
}

async fn interrupted(cancel: CancellationToken, deadline: Option<Instant>) -> ErrorInfo {
    let late = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => canceled("user request"),
        () = late => canceled("statement timeout"),
    }
}

fn text_fields(names: &[&str]) -> Vec<FieldInfo> {
    let field =
        |name: &&str| FieldInfo::new((*name).to_owned(), None, None, Type::TEXT, FieldFormat::Text);
    names.iter().map(field).collect()
}

fn text_schema(names: &[&str]) -> SchemaRef {
    use arrow::datatypes::{DataType, Field, Schema};
    let fields: Vec<Field> =
        names.iter().map(|name| Field::new(*name, DataType::Utf8, false)).collect();
    Arc::new(Schema::new(fields))
}

fn no_statement(name: &str) -> ErrorInfo {
    error("26000", &format!("prepared statement \"{name}\" does not exist"))
}

fn no_cursor(name: &str) -> ErrorInfo {
    error("34000", &format!("cursor \"{name}\" does not exist"))
}
