//! Wait for running transactions: before it sets the projection live, the rebuild waits until every transaction that was running when
//! it had caught up has ended, and makes one more pass over what these left.
//!
//! ```text
//! append 1  BEGIN  bump  insert  reads `building`               COMMIT
//! rebuild                                         target: xid 8        ended  pass  `live`
//! append 2                                    BEGIN  bump (xid 8)  reads `building`        COMMIT: lost
//! ```
//!
//! The wait is right about those that it waits for. But the projection is still `building` while it waits, so an append that begins
//! meanwhile skips as well, and nobody waits for that one. Waiting again only moves the target.

use skiptrace::{DbError, Session as _, Statement};

use super::Way;
use crate::exec::SimSession;
use crate::protocol::plain::Plain;

pub(super) struct WaitForRunning {
    who_runs: Statement,
}

impl Way for WaitForRunning {
    const NAME: &'static str = "wait_for_running";
    const SUMMARY: &'static str =
        "as naive, but before it sets the projection live the rebuild waits for the transactions that run";

    fn new() -> Self {
        let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text";
        Self { who_runs: Statement::new("rebuild.list_running", sql) }
    }

    async fn end(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        let target = session.execute(&self.who_runs, &[]).await?;
        plain.wait_until_ended(session, target.rows.row(0).value(0)).await?;
        plain.begin(session).await?;
        plain.pass(session).await?;
        plain.set_live(session).await?;
        plain.commit(session).await
    }
}
