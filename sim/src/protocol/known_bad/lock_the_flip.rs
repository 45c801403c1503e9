//! Advisory lock around the flip: a last pass and the change to `live` happen under an exclusive advisory lock; an append takes the same
//! lock, shared, before it acts on the state, and keeps it until it commits.
//!
//! ```text
//! append   BEGIN  bump  insert  reads `building`                                       lock, shared  (skips)  COMMIT: lost
//! rebuild                                         lock, exclusive  pass  `live`  COMMIT
//! ```
//!
//! The lock does keep acting appends and the flip apart. But the skip was decided before the point where the append locks.

use skiptrace::{DbError, Session as _, Statement};

use super::Way;
use crate::exec::SimSession;
use crate::protocol::plain::Plain;

pub(super) struct LockTheFlip {
    lock_shared: Statement,
    lock_exclusive: Statement,
}

impl Way for LockTheFlip {
    const NAME: &'static str = "lock_the_flip";
    const SUMMARY: &'static str =
        "an advisory lock, shared while an append acts on the state, exclusive around the change to live";

    fn new() -> Self {
        Self {
            lock_shared: Statement::new("append.lock_shared", "SELECT pg_advisory_xact_lock_shared(1)"),
            lock_exclusive: Statement::new("rebuild.lock_exclusive", "SELECT pg_advisory_xact_lock(1)"),
        }
    }

    async fn end(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        plain.begin(session).await?;
        session.execute(&self.lock_exclusive, &[]).await?;
        plain.pass(session).await?;
        plain.set_live(session).await?;
        plain.commit(session).await
    }

    async fn is_live(&self, plain: &Plain, session: &mut SimSession) -> Result<bool, DbError> {
        let is_live = plain.is_live(session).await?;
        session.execute(&self.lock_shared, &[]).await?;
        Ok(is_live)
    }
}
