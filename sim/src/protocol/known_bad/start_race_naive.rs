//! Start race: the rebuild sets the projection `building` and empties the read model; appends that have read `live` are not waited for.
//!
//! ```text
//! append   BEGIN  bump  insert  reads `live`                          applies inline  COMMIT
//! rebuild                                     `building`  TRUNCATE                            pass: applies it again
//! ```
//!
//! Its end is right (all appends are kept out), so that this is all that is wrong with it.

use skiptrace::DbError;

use super::Way;
use crate::exec::SimSession;
use crate::protocol::plain::Plain;

pub(super) struct StartRaceNaive;

impl Way for StartRaceNaive {
    const NAME: &'static str = "start_race_naive";
    const SUMMARY: &'static str = "the rebuild starts without waiting for the appends that have read `live`";

    fn new() -> Self {
        Self
    }

    async fn start(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        plain.start_unguarded(session).await?;
        plain.truncate(session).await
    }
}
