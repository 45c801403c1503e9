//! The few statements that the test bed itself sends: short connections, and a limit on every wait.

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use skiptrace::{DbError, SqlState};
use tokio_postgres::{Client, Config, NoTls};

use super::CALL_MAX;
use super::url::{DatabaseUrl, chain};
use crate::backend::block_on::block_on;

/// What a server says about itself.
pub(super) struct Facts {
    pub(super) version: String,
    pub(super) standby: bool,
    pub(super) may_create: bool,
    pub(super) user: String,
}

impl Facts {
    /// 15 of `15.18 (Debian 15.18-0+deb12u1)`, of `15beta1` too.
    pub(super) fn major(&self) -> u32 {
        let digits: String = self.version.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    }
}

/// A call that failed.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The server's answer, or the driver's about the connection.
    Db(DbError),
    /// It took longer than [`CALL_MAX`].
    TooLong,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Db(e) => e.fmt(f),
            Self::TooLong => write!(f, "no answer within {} s", CALL_MAX.as_secs()),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Db(match error.as_db_error() {
            Some(e) => DbError::new(SqlState::from_code(e.code().code()), e.message()),
            None => DbError::new(SqlState::CONNECTION_FAILURE, chain(&error)),
        })
    }
}

pub(super) fn facts(url: &DatabaseUrl) -> Result<Facts, Failure> {
    const FACTS: &str = "SELECT current_setting('server_version'), pg_is_in_recovery(), \
                         rolcreatedb OR rolsuper, quote_ident(rolname) FROM pg_roles WHERE rolname = current_user";
    call(url, async |client| {
        let row = client.query_one(FACTS, &[]).await?;
        Ok(Facts { version: row.get(0), standby: row.get(1), may_create: row.get(2), user: row.get(3) })
    })
}

pub(super) fn batch(url: &DatabaseUrl, sql: &str) -> Result<(), Failure> {
    call(url, async |client| {
        // One message each: CREATE DATABASE does not run in the implicit transaction of several.
        for statement in sql.split("; ") {
            client.batch_execute(statement).await?;
        }
        Ok(())
    })
}

/// Runs `work` on a connection of its own. On a thread of its own too, since the caller may stand inside a runtime.
pub(super) fn call<T: Send>(
    url: &DatabaseUrl,
    work: impl AsyncFnOnce(&Client) -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    let config = Config::from_str(url.as_given()).expect("parsed before");
    let on_a_thread = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        block_on(
            &runtime,
            limited(async {
                let (client, connection) = config.connect(NoTls).await?;
                let connection = tokio::spawn(connection);
                let result = work(&client).await;
                drop(client);
                // Until the server has it, too: a DROP DATABASE must not meet this connection.
                let _ = connection.await;
                result
            }),
        )
    };
    std::thread::scope(|scope| scope.spawn(on_a_thread).join().expect("the thread does not panic"))
}

pub(super) async fn limited<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(CALL_MAX, work).await.unwrap_or(Err(Failure::TooLong))
}
