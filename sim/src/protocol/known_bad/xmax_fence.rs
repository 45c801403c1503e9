//! The xmax fence: as [`super::start_race_fenced`], but the fence is the xmax of a snapshot, which reads like "the next xid".
//!
//! ```text
//! rebuild  `building` (xid 8)                            COMMIT  fence: xmax = 9  none below 9 runs  TRUNCATE
//! append                       bump (xid 9)  reads `live`                                                      applies inline
//! ```
//!
//! It is one past the last xid that has *completed* (PostgreSQL, src/backend/storage/ipc/procarray.c, `GetSnapshotData`): a running
//! transaction can have that xid, or a higher one. The append above has read `live`, since the rebuild had not committed, and the fence
//! passes it by. Its event is applied inline, and replayed.

use skiptrace::{DbError, Session as _, Statement};

use super::Way;
use crate::exec::SimSession;
use crate::protocol::plain::Plain;

pub(super) struct XmaxFence {
    take_fence: Statement,
}

impl Way for XmaxFence {
    const NAME: &'static str = "xmax_fence";
    const SUMMARY: &'static str =
        "as start_race_fenced, but the fence is the xmax of a snapshot instead of a fresh xid";

    fn new() -> Self {
        let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text";
        Self { take_fence: Statement::new("rebuild.take_fence", sql) }
    }

    async fn start(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        plain.start_unguarded(session).await?;
        let fence = session.execute(&self.take_fence, &[]).await?;
        plain.wait_until_ended(session, fence.rows.row(0).value(0)).await?;
        plain.truncate(session).await
    }
}
