//! Dead letter after the rollback: an inline apply that fails must not go unnoticed, and the transaction that it failed in can write nothing
//! any more (25P02). So the append rolls back, and then writes its dead letter, a skip record, in a transaction of its own; its
//! client is told, and may try again.
//!
//! ```text
//! append   BEGIN  bump  insert  reads `live`                                       apply: 55P03  ROLLBACK  dead letter of event 1: there is no event 1
//! rebuild                                     BEGIN  locks the read model
//! ```
//!
//! The rollback took away the event, too. Where the client gives up, a drain applies what never happened; where it appends something else, a drain
//! applies that twice. (The way out is a savepoint before the apply: ROLLBACK TO keeps the event, and the dead letter is committed with
//! it or not at all.)
//!
//! What makes an apply fail here is that it does not wait for a rebuild that is just starting. The start is right: it locks the read model, then
//! waits for all appends that have begun, and none of them can have applied anything meanwhile.

use skiptrace::{DbError, Session as _, Statement, Value};

use super::Way;
use crate::exec::SimSession;
use crate::protocol::plain::Plain;
use crate::protocol::records::Records;

pub(super) struct DeadLetterAfterRollback {
    records: Records,
    lock_now: Statement,
    lock_read_model: Statement,
}

impl Way for DeadLetterAfterRollback {
    const NAME: &'static str = "dead_letter_after_rollback";
    const SUMMARY: &'static str =
        "skip records; an append whose inline apply fails rolls back and then writes a dead letter";
    const RECORDS: bool = true;

    fn new() -> Self {
        // An append that is tried again finds its dead letter there.
        let mut records = Records::gated();
        records.record = Statement::new(
            "append.record_skip",
            "INSERT INTO plain.skips (stream_id, version, generation) \
             SELECT $1::text, v, 1 FROM generate_series($2::bigint, $3::bigint) AS v ON CONFLICT DO NOTHING",
        );
        Self {
            records,
            lock_now: Statement::new(
                "append.lock_read_model_now",
                "LOCK TABLE plain.applied IN ROW EXCLUSIVE MODE NOWAIT",
            ),
            lock_read_model: Statement::new("rebuild.lock_read_model", "LOCK TABLE plain.applied IN EXCLUSIVE MODE"),
        }
    }

    fn records(&self) -> Option<&Records> {
        Some(&self.records)
    }

    async fn start(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        plain.begin(session).await?;
        session.execute(&self.lock_read_model, &[]).await?;
        plain.start_over(session).await?;
        plain.commit(session).await
    }

    async fn end(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        self.records.end(plain, session).await
    }

    async fn apply(&self, plain: &Plain, session: &mut SimSession, events: &[Value]) -> Result<(), DbError> {
        let Err(failure) = session.execute(&self.lock_now, &[]).await else {
            return plain.apply_inline(session, events).await;
        };
        if !failure.sqlstate().is_connection_lost() {
            plain.roll_back(session).await?;
            session.execute(&self.records.record, events).await?;
        }
        Err(failure)
    }
}
