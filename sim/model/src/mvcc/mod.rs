//! Multi-version concurrency control: transaction ids and their fate, snapshots, and tables as lists of tuple versions.
//!
//! A row is never overwritten. An UPDATE appends a version and writes its transaction id into the old one's `xmax`; whether a version
//! is there for a statement is decided by asking the statement's snapshot about `xmin` and `xmax`. A rollback undoes
//! nothing: it only marks its ids as aborted. Source: PostgreSQL, `src/backend/access/heap/heapam_visibility.c`.

mod heap;
mod holders;
mod index;
mod serial;
mod snapshot;
mod xid;

pub(crate) use heap::{NO_TUPLE, Table, TupleId};
pub(crate) use holders::{Holder, Holders};
pub(crate) use index::Index;
pub(crate) use serial::Serializable;
pub(crate) use snapshot::Snapshot;
pub(crate) use xid::{NO_XID, State, Xacts, Xid};
