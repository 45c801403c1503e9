//! Plain-read epoch check: whoever takes a rebuild over raises its epoch, and whoever works on it reads the epoch first, in the transaction
//! that writes.
//!
//! ```text
//! rebuild-1  BEGIN  epoch is 1, mine   checkpoint C                          replays C..now           COMMIT
//! rebuild-2                  takes over: epoch 2  BEGIN  epoch is 2, mine   checkpoint C  replays C..now      COMMIT: all of it twice
//! ```
//!
//! A read locks nothing, so what it has seen is over when the next statement is sent. The core *writes* the row that it checks: the
//! takeover waits for that, or the write finds no row.

use skiptrace::{DbError, Session as _, Statement};

use super::Way;
use crate::exec::SimSession;
use crate::protocol::plain::Plain;

pub(super) struct PlainReadEpoch {
    take_over: Statement,
    read_epoch: Statement,
}

impl Way for PlainReadEpoch {
    const NAME: &'static str = "plain_read_epoch";
    const SUMMARY: &'static str = "a takeover raises the epoch; whoever works on a rebuild reads it before it writes";

    fn new() -> Self {
        let take_over = "UPDATE plain.generations SET epoch = epoch + 1 RETURNING epoch, state = 'live'";
        Self {
            take_over: Statement::new("rebuild.take_over", take_over),
            read_epoch: Statement::new("rebuild.read_epoch", "SELECT epoch FROM plain.generations"),
        }
    }

    async fn rebuild(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        let taken = session.execute(&self.take_over, &[]).await?;
        let (epoch, is_live) = (taken.rows.row(0).int(0), taken.rows.row(0).bool(1));
        if is_live
            && self.as_owner(epoch, plain, session, async |session| plain.start_over(session).await).await?.is_none()
        {
            return Ok(());
        }
        loop {
            match self.as_owner(epoch, plain, session, async |session| plain.pass(session).await).await? {
                None => return Ok(()),
                Some(0) => break,
                Some(_) => {}
            }
        }
        self.as_owner(epoch, plain, session, async |session| plain.end_now(session).await).await.map(drop)
    }
}

impl PlainReadEpoch {
    /// Does `work` in a transaction; none: somebody else has taken the rebuild over.
    async fn as_owner<T>(
        &self,
        epoch: i64,
        plain: &Plain,
        session: &mut SimSession,
        work: impl AsyncFnOnce(&mut SimSession) -> Result<T, DbError>,
    ) -> Result<Option<T>, DbError> {
        plain.begin(session).await?;
        let found = session.execute(&self.read_epoch, &[]).await?;
        let done = if found.rows.row(0).int(0) == epoch { Some(work(session).await?) } else { None };
        plain.commit(session).await?;
        Ok(done)
    }
}
