//! What any client of any protocol does about a lost connection, a lost answer and a lost race.
//!
//! A client keeps a notebook that survives its crashes: how much of its work was acknowledged, and whether it had begun the next
//! piece. After a crash or a lost answer it asks the database whether that piece was done, by the id that it had given it, before
//! it does it (again). That is what a careful user does, whatever the store.

use skiptrace::{DbError, Session as _};

use crate::exec::{ActorContext, SimSession};

/// A store, as an appending client uses it.
pub(super) trait Store {
    /// Append `number` of `actor`, one transaction. An id of it is stored with the events.
    async fn append(&self, session: &mut SimSession, actor: u8, number: usize) -> Result<(), DbError>;

    /// Whether that append is committed.
    async fn is_appended(&self, session: &mut SimSession, actor: u8, number: usize) -> Result<bool, DbError>;
}

/// Appends whatever the notebook does not say to be done.
pub(super) async fn append_all(store: &impl Store, appends: usize, context: &ActorContext) -> Result<(), DbError> {
    let mut session = context.connect();
    let actor = context.actor();
    for number in context.acknowledged() as usize..appends {
        loop {
            let done =
                if context.is_begun() { store.is_appended(&mut session, actor, number).await } else { Ok(false) };
            let result = match done {
                Ok(true) => break,
                Ok(false) => {
                    context.begin();
                    store.append(&mut session, actor, number).await
                }
                Err(error) => Err(error),
            };
            match result {
                Ok(()) => break,
                Err(error) => cope(error, &mut session, context)?,
            }
        }
        context.acknowledge();
    }
    Ok(())
}

/// Does `work` as often as it takes.
pub(super) async fn until_done(
    context: &ActorContext,
    mut work: impl AsyncFnMut(&mut SimSession) -> Result<(), DbError>,
) -> Result<(), DbError> {
    let mut session = context.connect();
    loop {
        match work(&mut session).await {
            Ok(()) => return Ok(()),
            Err(error) => cope(error, &mut session, context)?,
        }
    }
}

/// A lost connection is opened anew, a lost race is run again; any other error is the actor's end.
pub(super) fn cope(error: DbError, session: &mut SimSession, context: &ActorContext) -> Result<(), DbError> {
    if error.sqlstate().is_connection_lost() {
        *session = context.connect();
        Ok(())
    } else if error.sqlstate().is_retryable() {
        session.abandon();
        Ok(())
    } else {
        Err(error)
    }
}
