//! The start race, fenced: after `building` is committed the rebuild takes a fresh xid, F, and waits until no transaction below F is
//! running; only then it empties the read model. Whoever has read `live` had an xid before (it bumps its stream first), which is below
//! F. This holds. It stalls behind any writer of the cluster, though; the core's fence waits for appends only.
//!
//! [`super::xmax_fence`] differs from it in one expression.

use skiptrace::{DbError, Session as _, Statement};

use super::Way;
use crate::exec::SimSession;
use crate::protocol::plain::Plain;

pub(super) struct StartRaceFenced {
    take_fence: Statement,
}

impl Way for StartRaceFenced {
    const NAME: &'static str = "start_race_fenced";
    const SUMMARY: &'static str =
        "the rebuild waits for all transactions below a fresh xid before it empties the read model";

    fn new() -> Self {
        Self { take_fence: Statement::new("rebuild.take_fence", "SELECT pg_current_xact_id()::text") }
    }

    async fn start(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        plain.start_unguarded(session).await?;
        let fence = session.execute(&self.take_fence, &[]).await?;
        plain.wait_until_ended(session, fence.rows.row(0).value(0)).await?;
        plain.truncate(session).await
    }
}
