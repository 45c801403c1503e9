//! Ungated drain order: skip records and a drain, as in the core; but an append that reads `live` applies its events at once.
//!
//! ```text
//! append-1  event 5 of s1: reads `building`, records a skip               COMMIT
//! rebuild                                                       `live`
//! append-2                                                                         event 6 of s1: reads `live`, applies inline
//! drain                                                                                                                  applies 5
//! ```
//!
//! Nothing is lost, and nothing is applied twice; the read model is told of 6 before 5.

use skiptrace::DbError;

use super::Way;
use crate::exec::SimSession;
use crate::protocol::plain::Plain;
use crate::protocol::records::Records;

pub(super) struct UngatedDrainOrder {
    records: Records,
}

impl Way for UngatedDrainOrder {
    const NAME: &'static str = "ungated_drain_order";
    const SUMMARY: &'static str = "skip records and a drain; what is appended to a live projection is applied at once";
    const RECORDS: bool = true;

    fn new() -> Self {
        Self { records: Records::ungated() }
    }

    fn records(&self) -> Option<&Records> {
        Some(&self.records)
    }

    async fn end(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        self.records.end(plain, session).await
    }
}
