//! Transaction ids: who has one, and what became of it.

use super::snapshot::Snapshot;

/// A transaction id inside the model: small, dense, and without the server's offset (see [`Xacts::external`]).
pub(crate) type Xid = u32;

/// No transaction.
pub(crate) const NO_XID: Xid = 0;
/// The transaction of everything that was there at [`crate::Server::keep`]: committed, for every snapshot.
pub(crate) const FROZEN_XID: Xid = 1;

/// What a server that `initdb` has just made gives out next is near this.
const FIRST_EXTERNAL: u64 = 740;

/// What became of a transaction, or of a savepoint's part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Committed,
    Aborted,
}

#[derive(Clone, Copy, Debug)]
struct Xact {
    state: State,
    session: u16,
    /// The whole transaction that this id is a part of; its own number, if it is that.
    top: Xid,
}

/// All transaction ids given out since the last [`Xacts::keep`].
#[derive(Clone, Debug)]
pub(crate) struct Xacts {
    /// What the server shows is this much higher.
    offset: u64,
    known: Vec<Xact>,
    /// Those that run, savepoints' parts included, in the order in which they were given out.
    running: Vec<Xid>,
    latest_completed: Xid,
}

impl Xacts {
    pub(crate) fn new() -> Self {
        let mut new = Self { offset: 0, known: Vec::new(), running: Vec::new(), latest_completed: FROZEN_XID };
        new.keep();
        new.set_next(FIRST_EXTERNAL);
        new
    }

    /// Forgets all ids: nothing runs and no row names one any more.
    pub(crate) fn keep(&mut self) {
        assert!(self.running.is_empty(), "a transaction with an id is open");
        let next = self.next_external();
        self.reset();
        self.set_next(next);
    }

    /// Back to what [`Xacts::keep`] left.
    pub(crate) fn reset(&mut self) {
        self.running.clear();
        self.known.clear();
        self.known.push(Xact { state: State::Aborted, session: u16::MAX, top: NO_XID });
        self.known.push(Xact { state: State::Committed, session: u16::MAX, top: FROZEN_XID });
        self.latest_completed = FROZEN_XID;
    }

    /// How many ids were given out since the last [`Xacts::reset`].
    pub(crate) fn given_out(&self) -> usize {
        self.known.len()
    }

    fn next_external(&self) -> u64 {
        self.offset + self.known.len() as u64
    }

    /// The next id to be given out is shown as `xid`.
    pub(crate) fn set_next(&mut self, xid: u64) {
        self.offset = xid.saturating_sub(self.known.len() as u64);
    }

    /// As the server shows it.
    pub(crate) fn external(&self, xid: Xid) -> u64 {
        self.offset + u64::from(xid)
    }

    /// Gives out an id; `top` is none for a transaction, and its id for a savepoint's part of one.
    pub(crate) fn assign(&mut self, session: u16, top: Option<Xid>) -> Xid {
        let xid = Xid::try_from(self.known.len()).expect("fewer than 2^32 transactions between two resets");
        self.known.push(Xact { state: State::Running, session, top: top.unwrap_or(xid) });
        self.running.push(xid);
        xid
    }

    pub(crate) fn state(&self, xid: Xid) -> State {
        self.known[xid as usize].state
    }

    /// From now on the transaction with this id is another session's.
    pub(crate) fn hand_over(&mut self, xid: Xid, to: u16) {
        self.known[xid as usize].session = to;
    }

    pub(crate) fn session(&self, xid: Xid) -> u16 {
        self.known[xid as usize].session
    }

    /// Whether `xid` runs, and in `session`.
    pub(crate) fn is_own(&self, xid: Xid, session: u16) -> bool {
        let xact = self.known[xid as usize];
        xact.state == State::Running && xact.session == session
    }

    pub(crate) fn is_top(&self, xid: Xid) -> bool {
        self.known[xid as usize].top == xid
    }

    /// Ends an id, and with it moves the upper end of the snapshots to come.
    pub(crate) fn end(&mut self, xid: Xid, state: State) {
        self.known[xid as usize].state = state;
        self.running.retain(|running| *running != xid);
        self.latest_completed = self.latest_completed.max(xid);
    }

    /// What a new snapshot of `session` holds. Source: PostgreSQL, `GetSnapshotData` in src/backend/storage/ipc/procarray.c: the end is
    /// the latest *completed* id plus one, not the next id to be given out; one's own ids are not listed, but they lower `xmin`.
    pub(crate) fn snapshot(&self, session: u16, into: &mut Snapshot) {
        into.running.clear();
        into.xmax = self.latest_completed + 1;
        into.xmin = into.xmax;
        for xid in &self.running {
            if *xid >= into.xmax {
                break;
            }
            into.xmin = into.xmin.min(*xid);
            if self.session(*xid) != session {
                into.running.push(*xid);
            }
        }
    }
}
