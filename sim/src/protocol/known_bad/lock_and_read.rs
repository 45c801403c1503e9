//! Lock and read in one statement: a rebuild starts under an exclusive advisory lock; an append takes the same lock, shared, if it can be
//! had at once, and reads the state *in the same statement*, to save a round trip. (If not, it waits for the lock, and reads then: that is right.)
//!
//! ```text
//! append   BEGIN  bump  insert  its snapshot                                       lock: had  reads `live`  applies  COMMIT
//! rebuild                                      lock  `building`  empties  COMMIT                                              replays it: twice
//! ```
//!
//! A statement's snapshot is taken before it begins, so it is older than the lock that the statement takes: the append has the lock after the
//! rebuild's start has given it up, and still reads what was there before.

use skiptrace::{DbError, Session as _, Statement};

use super::Way;
use crate::exec::SimSession;
use crate::protocol::plain::Plain;

pub(super) struct LockAndRead {
    try_and_read: Statement,
    wait_shared: Statement,
    lock_exclusive: Statement,
}

impl Way for LockAndRead {
    const NAME: &'static str = "lock_and_read";
    const SUMMARY: &'static str = "an advisory lock, exclusive around the start of a rebuild; an append takes it shared and reads the state in one statement";

    fn new() -> Self {
        Self {
            try_and_read: Statement::new(
                "append.lock_and_read",
                "SELECT pg_try_advisory_xact_lock_shared(1), state FROM plain.generations",
            ),
            wait_shared: Statement::new("append.lock_shared", "SELECT pg_advisory_xact_lock_shared(1)"),
            lock_exclusive: Statement::new("rebuild.lock_exclusive", "SELECT pg_advisory_xact_lock(1)"),
        }
    }

    async fn start(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        plain.begin(session).await?;
        session.execute(&self.lock_exclusive, &[]).await?;
        plain.start(session).await?;
        plain.truncate(session).await?;
        plain.commit(session).await
    }

    async fn is_live(&self, plain: &Plain, session: &mut SimSession) -> Result<bool, DbError> {
        let read = session.execute(&self.try_and_read, &[]).await?;
        if read.rows.row(0).bool(0) {
            return Ok(&**read.rows.row(0).text(1) == "live");
        }
        // A rebuild is starting. This way is right.
        session.execute(&self.wait_shared, &[]).await?;
        plain.is_live(session).await
    }
}
