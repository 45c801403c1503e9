//! The connection beside the sessions: who blocks whom, ending a backend, and what a reset needs.

use std::fmt::Write;
use std::future::Future;
use std::time::Duration;

use futures_util::future;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, Row, Statement};

use crate::backend::testbed::chain;

/// No call takes longer, or it is an error.
const CALL_MAX: Duration = Duration::from_secs(20);

pub(super) struct Control {
    client: Client,
    blocking_pids: Statement,
    is_there: Statement,
    superuser: bool,
}

impl Control {
    pub(super) async fn open(url: &str) -> Result<Self, String> {
        limited("connecting", async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(connection);
            let blocking_pids =
                client.prepare("SELECT pid, pg_blocking_pids(pid) FROM unnest($1::int4[]) AS pid").await?;
            let is_there = client
                .prepare("SELECT EXISTS (SELECT FROM pg_stat_get_activity($1) AS a WHERE a.pid IS NOT NULL)")
                .await?;
            let superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user";
            let superuser = client.query_one(superuser, &[]).await?.get(0);
            Ok(Self { client, blocking_pids, is_there, superuser })
        })
        .await
    }

    pub(super) fn is_superuser(&self) -> bool {
        self.superuser
    }

    /// For each of `pids`: who blocks it.
    pub(super) async fn blocking_pids(&self, pids: &[i32]) -> Result<Vec<(i32, Vec<i32>)>, String> {
        let rows = limited("who blocks whom", self.client.query(&self.blocking_pids, &[&pids])).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Ends a backend, if it has not ended by itself. A backend that is gone from the list has released all it held before.
    /// Source: PostgreSQL, src/backend/utils/init/postinit.c, `ShutdownPostgres` runs before the status is given up.
    pub(super) async fn end_backend(&self, pid: i32) -> Result<(), String> {
        limited("the end of a session", async {
            self.client.query("SELECT pg_terminate_backend($1)", &[&pid]).await?;
            while self.client.query_one(&self.is_there, &[&pid]).await?.get(0) {
                std::thread::yield_now();
            }
            Ok(())
        })
        .await
    }

    /// What the server says about `pids` and about those who block them, a line each.
    pub(super) async fn describe(&self, pids: &[i32]) -> Result<String, String> {
        const ACTIVITY: &str = "WITH waiting AS (SELECT pid, pg_blocking_pids(pid) AS blockers FROM unnest($1::int4[]) AS pid) \
             SELECT a.pid, concat_ws(' ', a.backend_type, a.state, a.wait_event_type, a.wait_event), coalesce(a.query, ''), \
             coalesce((SELECT blockers FROM waiting w WHERE w.pid = a.pid), '{}') \
             FROM pg_stat_activity a WHERE a.pid = ANY ($1) OR EXISTS (SELECT FROM waiting WHERE a.pid = ANY (blockers)) ORDER BY 1";
        let rows = limited("who does what", self.client.query(ACTIVITY, &[&pids])).await?;
        let mut text = String::new();
        for row in rows {
            let (pid, state, query): (i32, &str, &str) = (row.get(0), row.get(1), row.get(2));
            let blockers: Vec<i32> = row.get(3);
            writeln!(text, "  pid {pid}: {state}; blocked by {blockers:?}; last statement: {query}")
                .expect("to a string");
        }
        Ok(text)
    }

    /// Several statements in one message.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), String> {
        if sql.is_empty() {
            return Ok(());
        }
        limited(sql, self.client.batch_execute(sql)).await
    }

    pub(super) async fn query(&self, sql: &str) -> Result<Vec<Row>, String> {
        limited(sql, self.client.query(sql, &[])).await
    }

    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement, String> {
        limited(sql, self.client.prepare(sql)).await
    }

    /// All in one flight; None where a table is locked by somebody who keeps readers out. Of a connection on which waits were
    /// [limited](Self::limit_waits).
    pub(super) async fn flight_unless_locked(
        &self,
        statements: impl Iterator<Item = &Statement>,
    ) -> Result<Option<Vec<Vec<Row>>>, String> {
        let rows = async {
            match self.all(statements).await {
                Err(e) if e.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(None),
                other => other.map(Some),
            }
        };
        limited("an observation", rows).await
    }

    /// No statement on this connection waits for a lock any longer than a moment.
    pub(super) async fn limit_waits(&self) -> Result<(), String> {
        self.batch("SET lock_timeout = '2ms'").await
    }

    /// All in one flight; the rows of each.
    pub(super) async fn flight(
        &self,
        what: &str,
        statements: impl Iterator<Item = &Statement>,
    ) -> Result<Vec<Vec<Row>>, String> {
        limited(what, self.all(statements)).await
    }

    /// A query of the driver is sent when it is first polled: all are sent, then the answers are read.
    async fn all(&self, statements: impl Iterator<Item = &Statement>) -> Result<Vec<Vec<Row>>, tokio_postgres::Error> {
        future::try_join_all(statements.map(|statement| self.client.query(statement, &[]))).await
    }
}

async fn limited<T>(what: &str, call: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, String> {
    match tokio::time::timeout(CALL_MAX, call).await {
        Ok(result) => result.map_err(|e| chain(&e)),
        Err(_) => Err(format!("the server did not answer within {} s: {what}", CALL_MAX.as_secs())),
    }
}
