//! The fence: waiting until no transaction is left that may have read the states as they were before the start.
//!
//! An append or a drain that has read them has worked on a stream before. So it holds a lock on the table `streams`
//! (`RowExclusiveLock` or `RowShareLock`) and has an xid, and keeps both until its end. The start is committed: whoever
//! takes the lock or the xid later reads the new states. One reading of `pg_locks` therefore lists, once, everybody
//! who matters, and the list never grows: the wait is for these xids only and ends however busy the system is. Writers of other
//! tables and of other databases do not matter; a prepared transaction keeps its locks, so it is on the list.
//!
//! What would be wrong: waiting until nobody holds a lock (new ones come), or for a snapshot's xmax (it is one past the latest
//! *completed* xid; a running transaction can lie above it).

use std::fmt;

use super::{RebuildError, Rebuilder};
use crate::error::DbError;
use crate::session::{Row, Session, Value};

/// A transaction that a rebuild waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// Its transaction id, the low 32 bits.
    pub xid: i64,
    /// Its server process, for `pg_stat_activity` and `pg_terminate_backend`; none: it is a prepared transaction.
    pub pid: Option<i64>,
}

impl Blocker {
    fn from_row(row: Row<'_>) -> Self {
        Self { xid: row.int(0), pid: (!row.is_null(1)).then(|| row.int(1)) }
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "transaction {} of server process {pid}", self.xid),
            None => write!(f, "the prepared transaction {}", self.xid),
        }
    }
}

/// Before the start: a rebuild in place takes the read model out of service until it is done, so it does not begin while it
/// would have to wait. No promise depends on it.
pub(super) async fn wait_before_start<S: Session>(rebuilder: &Rebuilder, session: &mut S) -> Result<(), RebuildError> {
    wait_for_listed(rebuilder, session, false).await
}

/// After the start has been committed; anew after every restart.
pub(super) async fn wait<S: Session>(rebuilder: &Rebuilder, session: &mut S) -> Result<(), RebuildError> {
    wait_for_listed(rebuilder, session, true).await
}

async fn wait_for_listed<S: Session>(
    rebuilder: &Rebuilder,
    session: &mut S,
    started: bool,
) -> Result<(), RebuildError> {
    let sql = rebuilder.sql();
    let options = &rebuilder.options;
    let answer = session.execute(&sql.list_fence, &[]).await?;
    let mut blockers: Vec<Blocker> = answer.rows.iter().map(Blocker::from_row).collect();
    // The core has no clock: pauses are counted.
    let pauses_max = options.fence_wait_max.as_nanos() / options.poll_interval.as_nanos().max(1);
    let mut pauses = 0;
    while !blockers.is_empty() {
        if pauses >= pauses_max {
            return Err(RebuildError::FenceTimeout { started, blockers });
        }
        pauses += 1;
        session.pause(options.poll_interval).await;
        blockers = poll(rebuilder, session, &blockers).await?;
    }
    Ok(())
}

async fn poll<S: Session>(
    rebuilder: &Rebuilder,
    session: &mut S,
    blockers: &[Blocker],
) -> Result<Vec<Blocker>, DbError> {
    let xids: Vec<Value> = blockers.iter().map(|blocker| Value::Int(blocker.xid)).collect();
    let answer = session.execute(&rebuilder.sql().poll_fence, &[Value::from(xids)]).await?;
    Ok(answer.rows.iter().map(Blocker::from_row).collect())
}
