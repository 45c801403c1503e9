//! Naive: when the rebuild has caught up, it sets the projection live.
//!
//! ```text
//! append  BEGIN  bump  insert  reads `building`                          COMMIT: the event is in no read model
//! rebuild                                        pass: nothing new  `live`
//! ```
//!
//! The append has skipped, since a rebuild was running that would replay its event; the rebuild could not see the event, since the append
//! had not committed. Neither is wrong by itself.

use skiptrace::DbError;

use super::Way;
use crate::exec::SimSession;
use crate::protocol::plain::Plain;

pub(super) struct Naive;

impl Way for Naive {
    const NAME: &'static str = "naive";
    const SUMMARY: &'static str =
        "appends skip while a rebuild runs; when it has caught up, it sets the projection live";

    fn new() -> Self {
        Self
    }

    async fn end(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        plain.set_live(session).await
    }
}
