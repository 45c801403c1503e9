//! Snapshots: which transactions' work a statement sees.

use smallvec::SmallVec;

use super::heap::Header;
use super::xid::{FROZEN_XID, NO_XID, State, Xacts, Xid};
use crate::types::PgSnapshot;

/// A snapshot, and the command id up to which one's own work is seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// All ids below have ended.
    pub(crate) xmin: Xid,
    /// Ids from here on are running, as far as this snapshot knows.
    pub(crate) xmax: Xid,
    /// Those between the two that were running, savepoints' parts included.
    pub(crate) running: SmallVec<[Xid; 8]>,
    /// What one's own transaction wrote in commands from this one on is not seen.
    pub(crate) command: u32,
}

impl Snapshot {
    /// Whether `xid` was running when the snapshot was taken.
    pub(crate) fn was_running(&self, xid: Xid) -> bool {
        xid >= self.xmax || (xid >= self.xmin && self.running.contains(&xid))
    }

    /// Whether a tuple version is there for this snapshot of `session`. Source: PostgreSQL, `HeapTupleSatisfiesMVCC`.
    pub(crate) fn sees(&self, header: &Header, xacts: &Xacts, session: u16) -> bool {
        if header.xmin != FROZEN_XID {
            match xacts.state(header.xmin) {
                State::Aborted => return false,
                State::Running => {
                    if xacts.session(header.xmin) != session || header.cmin >= self.command {
                        return false;
                    }
                }
                State::Committed => {
                    if self.was_running(header.xmin) {
                        return false;
                    }
                }
            }
        }
        if header.xmax == NO_XID {
            return true;
        }
        match xacts.state(header.xmax) {
            State::Aborted => true,
            State::Running => xacts.session(header.xmax) != session || header.cmax >= self.command,
            State::Committed => self.was_running(header.xmax),
        }
    }

    /// What `pg_current_snapshot()` shows: whole transactions only.
    pub(crate) fn external(&self, xacts: &Xacts) -> PgSnapshot {
        let tops = self.running.iter().filter(|xid| xacts.is_top(**xid));
        PgSnapshot {
            xmin: xacts.external(self.xmin),
            xmax: xacts.external(self.xmax),
            xip: tops.map(|xid| xacts.external(*xid)).collect(),
        }
    }
}
