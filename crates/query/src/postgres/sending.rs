//! Answers on their way: a query is begun, and its rows are sent as its client takes them, until it is
//! cancelled or late. What is asked is left to `connection` and `extended`.

use std::future::Future;
use std::sync::{Arc, PoisonError};

use arrow::array::RecordBatch;
use datafusion::sql::parser::Statement;
use pgwire::api::portal::Format;
use pgwire::api::results::DataRowEncoder;
use pgwire::error::ErrorInfo;
use pgwire::messages::PgWireBackendMessage as Out;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer::{self, Answer, Copying};
use super::command::{Command, CopyFormat};
use super::connection::{Connection, Stop};
use super::error::{canceled, error, query_error};
use super::portal::{Portal, PortalState};
use crate::Parameters;

impl Connection {
    pub(super) async fn begin_answer(
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
    pub(super) async fn send_portal(
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
            if let Some(columns) = &portal.prepared.columns {
                answer::require_same(columns, begun.rows.schema())?;
            }
            portal.state = PortalState::Begun(Box::new(begun));
        }
        let PortalState::Begun(answer) = &mut portal.state else { return Ok((0, true)) };
        answer.rows.let_go();
        let (count, is_over) = self.send_rows(answer, rows_max).await?;
        if is_over {
            portal.state = PortalState::Over;
        } else {
            // It keeps its place among the queries that run.
            let waits = self.server.waiting.clone().try_acquire_owned();
            answer.rows.hold(waits.map_err(|_| {
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

    pub(super) async fn send_rows(
        &mut self,
        answer: &mut Answer,
        rows_max: Option<usize>,
    ) -> Result<(usize, bool), Stop> {
        let mut encoder = DataRowEncoder::new(answer.fields.clone());
        let mut count = 0;
        while rows_max.is_none_or(|rows_max| count < rows_max) {
            let Some((batch, start)) = self.next_rows(answer).await? else {
                return Ok((count, true));
            };
            let left = rows_max.map_or(usize::MAX, |rows_max| rows_max - count);
            let end = start.saturating_add(left).min(batch.num_rows());
            for row in start..end {
                let message = answer::row_message(&mut encoder, &batch, row, &answer.fields)?;
                self.put_row(&message).await?;
            }
            count += end - start;
            answer.at_hand = Some((batch, end));
        }
        Ok((count, false))
    }

    pub(super) async fn copy(
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
        while let Some((batch, start)) = self.next_rows(&mut answer).await? {
            for row in start..batch.num_rows() {
                let message = copying.row(&batch, row)?;
                self.put_row(&message).await?;
            }
            count += batch.num_rows() - start;
        }
        self.wire.put(&Copying::end())?;
        Ok(count)
    }

    /// Rows that are still to be sent: a batch, and the first of them in it.
    async fn next_rows(
        &mut self,
        answer: &mut Answer,
    ) -> Result<Option<(RecordBatch, usize)>, Stop> {
        loop {
            match answer.at_hand.take() {
                Some((batch, sent)) if sent < batch.num_rows() => return Ok(Some((batch, sent))),
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
        if !self.wire.has_much() {
            return Ok(());
        }
        let (cancel, deadline) = self.interruptions();
        tokio::select! {
            biased;
            sent = self.wire.send() => Ok(sent?),
            why = interrupted(cancel, deadline) => Err(why.into()),
        }
    }

    fn interruptions(&self) -> (CancellationToken, Option<Instant>) {
        let cancel = self.cancel.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (cancel, self.deadline)
    }

    /// Waits for `work`, unless the client goes, cancels it, or set it a time that is over.
    pub(super) async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        let (cancel, deadline) = self.interruptions();
        tokio::select! {
            biased;
            why = interrupted(cancel, deadline) => Err(why.into()),
            done = work => Ok(done),
            error = self.wire.gone() => Err(Stop::Over(error)),
        }
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
