//! A session on one connection.
//!
//! Statements are prepared at their first use and kept. Flights are pipelined: all statements are sent before the first answer
//! is read, each with a Sync of its own, so that each is a statement with its own snapshot. The driver does not say
//! whether a transaction is open or has failed (it drops the status of `ReadyForQuery`), so the session keeps account itself.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, future, stream};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, RowStream};

use super::convert::Mismatch;
use crate::error::DbError;
use crate::session::{Answer, Call, Rows, Session, Statement, Tag, Value};
use crate::sqlstate::SqlState;

/// A [`Session`] on a connection of tokio-postgres.
#[derive(Debug)]
pub struct PostgresSession {
    client: Client,
    prepared: BTreeMap<u32, Prepared>,
    transaction: TransactionState,
    /// A statement was sent whose answer nobody has read: its future was dropped.
    in_flight: bool,
    connection: Option<JoinHandle<()>>,
}

#[derive(Clone, Debug)]
struct Prepared {
    statement: tokio_postgres::Statement,
    kind: Kind,
}

/// What a statement does to the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Begin,
    Commit,
    Rollback,
    /// ROLLBACK TO: a failed transaction goes on.
    RollbackTo,
    /// PREPARE TRANSACTION: it is the session's no more.
    Prepare,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TransactionState {
    None,
    Open,
    Failed,
}

impl PostgresSession {
    /// Connects to `url`, as in `postgres://user@host:5432/database`, without TLS. The connection ends with the session.
    ///
    /// Must be called within a tokio runtime.
    pub async fn connect(url: &str) -> Result<Self, DbError> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(into_db_error)?;
        // What ends a connection is told to whoever waits for an answer.
        let connection = tokio::spawn(async move { connection.await.unwrap_or(()) });
        let mut session = Self::new(client);
        session.connection = Some(connection);
        Ok(session)
    }

    /// A session on a client that is connected already, by whatever TLS or pool. It must not be in a transaction. Somebody
    /// else must drive its connection.
    pub fn new(client: Client) -> Self {
        let prepared = BTreeMap::new();
        Self { client, prepared, transaction: TransactionState::None, in_flight: false, connection: None }
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    async fn prepare(&mut self, statement: &Statement) -> Result<Prepared, DbError> {
        if let Some(prepared) = self.prepared.get(&statement.id()) {
            return Ok(prepared.clone());
        }
        let prepared = match self.client.prepare(statement.sql()).await {
            Ok(prepared) => Prepared { statement: prepared, kind: Kind::of(statement) },
            Err(error) => {
                self.transaction.fail();
                return Err(into_db_error(error));
            }
        };
        self.prepared.insert(statement.id(), prepared.clone());
        Ok(prepared)
    }

    /// Rolls back what a dropped future has left.
    fn clean_up(&mut self) {
        if self.in_flight {
            self.abandon();
        }
        self.in_flight = true;
    }

    /// Accounts for an answer, and makes it.
    fn answered(&mut self, kind: Kind, reply: Result<Reply, DbError>) -> Result<Answer, DbError> {
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                // A COMMIT that fails (a deferred constraint) ends the transaction too.
                if matches!(kind, Kind::Commit | Kind::Prepare) {
                    self.transaction = TransactionState::None;
                }
                self.transaction.fail();
                return Err(error);
            }
        };
        let tag = match kind {
            Kind::Begin => Tag::Begin,
            Kind::Commit if self.transaction == TransactionState::Failed => Tag::Rollback,
            Kind::Commit => Tag::Commit,
            Kind::Prepare if self.transaction != TransactionState::Open => Tag::Rollback,
            Kind::Rollback => Tag::Rollback,
            Kind::Prepare | Kind::RollbackTo | Kind::Other => Tag::Other,
        };
        match kind {
            Kind::Begin | Kind::RollbackTo => self.transaction = TransactionState::Open,
            Kind::Commit | Kind::Prepare | Kind::Rollback => self.transaction = TransactionState::None,
            Kind::Other => {}
        }
        Ok(Answer { tag, affected: reply.affected, rows: reply.rows })
    }
}

impl Session for PostgresSession {
    async fn execute(&mut self, statement: &Statement, params: &[Value]) -> Result<Answer, DbError> {
        self.clean_up();
        let result = match self.prepare(statement).await {
            Ok(prepared) => {
                let reply = send(&self.client, &prepared.statement, params).await;
                self.answered(prepared.kind, reply)
            }
            Err(error) => Err(error),
        };
        self.in_flight = false;
        result.map_err(|error| error.in_statement(statement))
    }

    async fn pipeline(&mut self, calls: Vec<Call>) -> Result<Vec<Answer>, DbError> {
        self.clean_up();
        let mut prepared = Vec::with_capacity(calls.len());
        for call in &calls {
            match self.prepare(&call.statement).await {
                Ok(it) => prepared.push(it),
                Err(error) => {
                    self.in_flight = false;
                    return Err(error.in_statement(&call.statement));
                }
            }
        }
        let replies = send_all(&self.client, &calls, &prepared).await;
        let mut answers = Vec::with_capacity(calls.len());
        let mut first_error = None;
        for ((call, prepared), reply) in calls.iter().zip(&prepared).zip(replies) {
            match self.answered(prepared.kind, reply) {
                Ok(answer) => answers.push(answer),
                Err(error) => first_error = first_error.or_else(|| Some(error.in_statement(&call.statement))),
            }
        }
        self.in_flight = false;
        first_error.map_or(Ok(answers), Err)
    }

    fn abandon(&mut self) {
        if self.transaction == TransactionState::None && !self.in_flight {
            return;
        }
        // Polled once, it is sent; whatever is sent later comes behind it. Nobody waits for the answer.
        let rollback = pin!(self.client.batch_execute("ROLLBACK"));
        let _: Poll<_> = rollback.poll(&mut Context::from_waker(Waker::noop()));
        self.transaction = TransactionState::None;
        self.in_flight = false;
    }

    async fn pause(&mut self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        // Without this a statement that waits for a lock would keep the connection, and its transaction, alive.
        if let Some(connection) = &self.connection {
            connection.abort();
        }
    }
}

impl Kind {
    /// By the first words. Source: PostgreSQL, src/backend/parser/gram.y, `TransactionStmt`.
    fn of(statement: &Statement) -> Self {
        if statement.goes_back() {
            return Self::RollbackTo;
        }
        let mut words = statement.sql().split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let first = words.next().unwrap_or_default().to_ascii_uppercase();
        let second = words.next().unwrap_or_default();
        let is_next = |word| second.eq_ignore_ascii_case(word);
        match first.as_str() {
            "BEGIN" | "START" => Self::Begin,
            "COMMIT" | "ROLLBACK" if is_next("PREPARED") => Self::Other,
            "COMMIT" | "END" => Self::Commit,
            "PREPARE" if is_next("TRANSACTION") => Self::Prepare,
            "ROLLBACK" | "ABORT" => Self::Rollback,
            _ => Self::Other,
        }
    }
}

impl TransactionState {
    fn fail(&mut self) {
        if *self == Self::Open {
            *self = Self::Failed;
        }
    }
}

/// What came back for one statement.
struct Reply {
    affected: u64,
    rows: Rows,
}

async fn send(client: &Client, statement: &tokio_postgres::Statement, params: &[Value]) -> Result<Reply, DbError> {
    let rows = client.query_raw(statement, params.iter()).await.map_err(into_db_error)?;
    collect(rows).await
}

async fn collect(rows: RowStream) -> Result<Reply, DbError> {
    let mut stream = pin!(rows);
    let (mut count, mut values) = (0, Vec::new());
    while let Some(row) = stream.try_next().await.map_err(into_db_error)? {
        count += 1;
        for index in 0..row.len() {
            values.push(row.try_get(index).map_err(into_db_error)?);
        }
    }
    Ok(Reply { affected: stream.rows_affected().unwrap_or(0), rows: Rows::new(count, values) })
}

/// Sends all, then reads all: a query of the driver is sent when it is first polled.
async fn send_all(client: &Client, calls: &[Call], prepared: &[Prepared]) -> Vec<Result<Reply, DbError>> {
    type Pending<'a> = Pin<Box<dyn Future<Output = Result<Reply, DbError>> + Send + 'a>>;
    let mut pending: Vec<future::MaybeDone<Pending<'_>>> = calls
        .iter()
        .zip(prepared)
        .map(|(call, prepared)| {
            future::maybe_done(Box::pin(send(client, &prepared.statement, &call.params)) as Pending<'_>)
        })
        .collect();
    future::poll_fn(|context| {
        for query in &mut pending {
            let _: Poll<()> = Pin::new(query).poll(context);
        }
        Poll::Ready(())
    })
    .await;
    stream::iter(pending)
        .then(|mut query| async move {
            Pin::new(&mut query).await;
            Pin::new(&mut query).take_output().expect("it is done")
        })
        .collect()
        .await
}

/// PostgreSQL's own error, a value that does not fit, or else the connection is lost.
fn into_db_error(error: tokio_postgres::Error) -> DbError {
    if let Some(db) = error.as_db_error() {
        let sqlstate = SqlState::from_code(db.code().code());
        return DbError::new(sqlstate, db.message()).with_source(error);
    }
    let mismatch = error.source().and_then(|source| source.downcast_ref::<Mismatch>());
    if let Some(mismatch) = mismatch {
        return DbError::new(mismatch.sqlstate, mismatch.to_string()).with_source(error);
    }
    DbError::new(SqlState::CONNECTION_FAILURE, connection_message(&error)).with_source(error)
}

fn connection_message(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
