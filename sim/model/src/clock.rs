//! Virtual time: it stands still until somebody moves it on, and then timeouts pass.

use crate::server::Server;

impl Server {
    /// The virtual time, in microseconds since the Unix epoch.
    pub fn clock(&self) -> i64 {
        self.core.clock
    }

    /// Moves the virtual time on by `microseconds`. Waits whose `lock_timeout` or `statement_timeout` has passed end; ask [`Server::next_woken`].
    pub fn advance_clock(&mut self, microseconds: i64) {
        self.core.clock += microseconds;
        self.core.locks.expire(self.core.clock, &self.core.xacts);
    }

    /// When the next `lock_timeout` or `statement_timeout`, or `deadlock_timeout` if it is heeded, of a waiting session passes.
    pub fn next_deadline(&self) -> Option<i64> {
        self.core.locks.next_due().map(|(at, _)| at)
    }

    /// From now on a deadlock is found as on a server: by whoever of the waiters in the cycle has waited for its `deadlock_timeout` first, and
    /// has to go. Until this is called, whoever closes the cycle finds it at once.
    pub fn heed_deadlock_timeout(&mut self) {
        self.core.locks.timed = true;
    }
}
