//! Drain once: skip records as in the core, and the rebuild drains them when its projection is live again. Nobody else does.
//!
//! ```text
//! append   BEGIN  bump  insert  reads `building`  records a skip                               COMMIT: recorded, for good
//! rebuild                                                         `live`  COMMIT  drains all
//! ```
//!
//! What straddles the end is recorded and not lost; but a dead-letter queue is worth what the watch is that is kept on it. (The next append to the
//! stream finds the record, and joins it in the queue.)

use skiptrace::DbError;

use super::Way;
use crate::exec::SimSession;
use crate::protocol::plain::Plain;
use crate::protocol::records::Records;

pub(super) struct DrainOnce {
    records: Records,
}

impl Way for DrainOnce {
    const NAME: &'static str = "drain_once";
    const SUMMARY: &'static str = "skip records, which the rebuild drains once when it has ended, and nobody later";
    const RECORDS: bool = true;

    fn new() -> Self {
        Self { records: Records::gated() }
    }

    fn records(&self) -> Option<&Records> {
        Some(&self.records)
    }

    async fn end(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        self.records.end(plain, session).await?;
        self.records.drain(plain, session).await
    }
}
