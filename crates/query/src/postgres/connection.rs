//! One client of Postgres after it came in: one message after the other, statements of one message, and all
//! that clients say beside queries. How statements are read is left to `command`, the extended protocol to
//! `extended`, portals to `portal`, rows to `sending`.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use datafusion::sql::parser::Statement;
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo};
use pgwire::error::ErrorInfo;
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus,
};
use pgwire::messages::startup::{BackendKeyData, ParameterStatus, SecretKey};
use pgwire::messages::{PgWireBackendMessage as Out, PgWireFrontendMessage as In};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer;
use super::command::{Command, commands};
use super::error::{ERROR, error, fatal, protocol_violation, query_error, warning};
use super::portal::{Portal, Prepared, no_statement};
use super::settings::Settings;
use super::wire::{NoMessage, Wire};
use super::{Server, login};
use crate::Parameters;
use crate::engine::Question;

/// How long a client may say nothing.
const IDLE_TIME_MAX: Duration = Duration::from_secs(8 * 3600);
/// Why a statement ends before its answer is whole.
pub(super) enum Stop {
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

pub(super) struct Connection {
    pub(super) server: Arc<Server>,
    pub(super) wire: Wire,
    pub(super) settings: Arc<Settings>,
    pub(super) process: i32,
    pub(super) cancel: Arc<Mutex<CancellationToken>>,
    pub(super) status: TransactionStatus,
    pub(super) statements: HashMap<String, Arc<Prepared>>,
    pub(super) portals: HashMap<String, Portal>,
    /// Until when the statement at hand may run, beside the server's own limit.
    pub(super) deadline: Option<Instant>,
    /// After a mistake in the extended protocol all is skipped up to the next Sync.
    pub(super) is_skipping: bool,
    /// The settings of before the first SET LOCAL of the transaction.
    pub(super) outside: Option<Arc<Settings>>,
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
            match name.as_str() {
                "options" => settings.take_options(value),
                name => settings.take(name, value),
            }
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
            outside: None,
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
            false if self.wire.has_much() => self.wire.send().await,
            false => Ok(()),
        }
    }

    /// From here on a cancel is meant for what comes now.
    fn begin_statement(&mut self) {
        *self.cancel.lock().unwrap_or_else(PoisonError::into_inner) = CancellationToken::new();
        self.begin_time();
    }

    /// The time that the client gave a statement begins.
    fn begin_time(&mut self) {
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
            self.begin_time();
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
                Command::Fetch { cursor, rows } => self.fetch(cursor, rows, None).await?,
                other => self.command(&text, other, Parameters::default(), true).await?,
            }
        }
        Ok(())
    }

    /// What is neither a query nor a FETCH. `describes` says whether columns are told before rows.
    pub(super) async fn command(
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
            Command::Set { is_local: true, .. } if self.status == TransactionStatus::Idle => {
                let told = warning("SET LOCAL can only be used in transaction blocks");
                self.wire.put(&Out::NoticeResponse(told.into()))?;
                self.complete("SET", None)?;
            }
            Command::Set { name, value, is_local } => {
                let before = self.settings.clone();
                let told = Arc::make_mut(&mut self.settings).set(&name, &value)?;
                if is_local {
                    self.outside.get_or_insert(before);
                }
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
                // It is planned when it is declared, for its mistakes.
                let question = self.question(text, Statement::clone(&statement), values.clone());
                let described = self.described(question).await?;
                let described = described.map_err(|error| query_error(&error, text))?;
                let prepared = Prepared {
                    text: text.clone(),
                    command: Some(Command::Query { statement, tag: "FETCH" }),
                    types: Vec::new(),
                    columns: Some(described.columns),
                };
                let portal = Portal::new(Arc::new(prepared), values, Format::UnifiedText, 0);
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
        if let Some(outside) = self.outside.take() {
            self.settings = outside;
        }
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
    pub(super) fn require_sound(&self, command: &Command) -> Result<(), Stop> {
        let leaves = matches!(command, Command::Commit | Command::Rollback | Command::RollbackTo);
        match self.status == TransactionStatus::Error && !leaves {
            true => {
                let message = "current transaction is aborted, commands ignored until end of transaction block";
                Err(error("25P02", message).into())
            }
            false => Ok(()),
        }
    }

    pub(super) fn complete(&mut self, tag: &str, count: Option<usize>) -> Result<(), Stop> {
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

    pub(super) async fn read(&mut self, text: &Arc<str>) -> Result<Vec<Command>, Stop> {
        let (server, thought) = (self.server.clone(), text.clone());
        let thought = async move { server.engine.think(async move { commands(&thought) }).await };
        let read = self.wait(thought).await?;
        Ok(read.map_err(|error| query_error(&error, text))??)
    }

    pub(super) fn question(
        &self,
        text: &Arc<str>,
        statement: Statement,
        parameters: Parameters,
    ) -> Question {
        let sessions = self.server.catalog.sessions(self.settings.clone(), self.process);
        Question { text: text.clone(), statement, parameters, sessions }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.server.leave(self.process);
    }
}

fn text_fields(names: &[&str]) -> Vec<FieldInfo> {
    let field =
        |name: &&str| FieldInfo::new((*name).to_owned(), None, None, Type::TEXT, FieldFormat::Text);
    names.iter().map(field).collect()
}

pub(super) fn text_schema(names: &[&str]) -> SchemaRef {
    use arrow::datatypes::{DataType, Field, Schema};
    let fields: Vec<Field> =
        names.iter().map(|name| Field::new(*name, DataType::Utf8, false)).collect();
    Arc::new(Schema::new(fields))
}
