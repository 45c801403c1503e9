//! Transaction id as the boundary: the transaction that sets the projection live takes an xid, B. Appends below B are the rebuild's: it
//! waits until all of them have ended and replays them. Appends from B on came later, so they will find the projection live.
//!
//! ```text
//! rebuild  BEGIN  boundary (xid 8)                            all below 8 have ended  replay xid < 8  `live`  COMMIT
//! append                            BEGIN  bump (xid 9)  insert  reads `building`                              COMMIT: lost
//! ```
//!
//! Xid order is not commit order. The append's xid is above the boundary, and still it has read the state from before.

use skiptrace::{DbError, Session as _, Statement};

use super::Way;
use crate::exec::SimSession;
use crate::protocol::plain::Plain;

pub(super) struct XidBoundary {
    take_boundary: Statement,
    replay_below: Statement,
}

impl Way for XidBoundary {
    const NAME: &'static str = "xid_boundary";
    const SUMMARY: &'static str =
        "the rebuild replays all appends below the xid that sets the projection live, once they have ended";

    fn new() -> Self {
        Self {
            take_boundary: Statement::new("rebuild.take_boundary", "SELECT pg_current_xact_id()::text"),
            replay_below: Statement::new(
                "rebuild.replay_below_boundary",
                "INSERT INTO plain.applied (stream_id, version) SELECT stream_id, version FROM plain.events \
                 WHERE xid < $3::text::xid8 AND pg_visible_in_snapshot(xid, $2::text::pg_snapshot) \
                 AND NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot) ORDER BY position",
            ),
        }
    }

    async fn end(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        plain.begin(session).await?;
        let boundary = session.execute(&self.take_boundary, &[]).await?;
        let boundary = boundary.rows.row(0).value(0);
        plain.wait_until_ended(session, boundary).await?;
        plain.pass_with(session, &self.replay_below, std::slice::from_ref(boundary)).await?;
        plain.set_live(session).await?;
        plain.commit(session).await
    }
}
