//! Checkpoints: the whole of a server's state, to go back to. Slower than [`Server::reset`], which undoes only what was done; and unlike it in the middle
//! of anything, with transactions open and sessions waiting. What was compiled stays compiled.

use crate::server::{Core, Server};

/// A server's state.
#[derive(Clone, Debug)]
pub struct Checkpoint(Box<Core>);

impl Server {
    /// The present state.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint(Box::new(self.core.clone()))
    }

    /// Goes back to a state of this server. Virtual time goes on.
    pub fn go_back(&mut self, to: &Checkpoint) {
        let (catalog, clock) = (self.core.catalog.clone(), self.core.clock);
        self.core.clone_from(&to.0);
        self.core.catalog.rise_above(&catalog);
        self.core.clock = clock;
    }

    /// Whether nothing is left of what was done, but for settings that are in force in `then`, too: so that what led to `then` would lead there again.
    pub fn is_as_new(&self, then: &Checkpoint) -> bool {
        let core = &self.core;
        let idle = core.sessions.iter().zip(&then.0.sessions).all(|(now, then)| {
            now.transaction.is_none()
                && now.waiting.is_none()
                && now.message.is_none()
                && now.prepared.is_empty()
                && now.notices.is_empty()
                && now.mailbox.is_empty()
                && (now.settings.is_default() || now.settings == then.settings)
        });
        idle && core.sessions.len() == then.0.sessions.len() && core.locks.is_empty() && core.catalog.is_empty()
    }
}
