//! Prepared transactions: PREPARE TRANSACTION takes a transaction away from its session, with its ids and its locks, and leaves it to
//! whoever says COMMIT PREPARED or ROLLBACK PREPARED.
//!
//! To the rest of the model it stays what it was, the transaction of a session: it is put into a session to which nobody is connected. So it
//! is running in every snapshot, its rows and locks are waited for, and no client can be found that it belongs to.
//!
//! A server has prepared transactions only where `max_prepared_transactions`, 0 unless it was set, is above 0; here it is as if it were
//! [`PREPARED_MAX`], beyond which they are refused. Refused, too: after DDL, LISTEN and NOTIFY, and under SERIALIZABLE.
//!
//! Source: PostgreSQL, src/backend/access/transam/twophase.c, `PrepareTransaction` in xact.c.

use smol_str::SmolStr;

use crate::error::Error;
use crate::plan::Isolation;
use crate::server::Core;

/// An identifier has fewer bytes. Source: PostgreSQL, `GIDSIZE`.
const GID_BYTES: usize = 200;

/// How many there are at a time at most: each keeps a session's place.
const PREPARED_MAX: usize = 1000;

impl Core {
    /// PREPARE TRANSACTION of the open block, which has not failed. Where this errs, the block is rolled back.
    pub(crate) fn prepare_transaction(&mut self, me: u16, gid: &SmolStr) -> Result<(), Error> {
        self.check_preparable(me, gid).inspect_err(|_| self.roll_back(me))?;
        self.assign_top_xid(me);
        let place = self.free_session();
        if !self.locks.hand_over(me, place) {
            self.roll_back(me);
            let message = "PREPARE TRANSACTION while a session and its transaction hold the same advisory lock";
            return Err(Error::refused(message));
        }
        let session = self.session_mut(me);
        session.settings.end_transaction(true);
        let mut transaction = session.transaction.take().expect("its block is open");
        transaction.become_prepared(gid.clone());
        for xid in transaction.xids() {
            self.xacts.hand_over(*xid, place);
        }
        self.session_mut(place).transaction = Some(transaction);
        Ok(())
    }

    fn check_preparable(&self, me: u16, gid: &SmolStr) -> Result<(), Error> {
        let transaction = self.transaction(me);
        if gid.len() >= GID_BYTES {
            return Err(Error::new("22023", format!("transaction identifier \"{gid}\" is too long")));
        }
        if transaction.has_ddl() {
            return Err(Error::refused("PREPARE TRANSACTION after DDL"));
        }
        if transaction.isolation == Isolation::Serializable {
            return Err(Error::refused("PREPARE TRANSACTION under SERIALIZABLE"));
        }
        if !transaction.outbox.is_empty() {
            return Err(Error::refused("PREPARE TRANSACTION after LISTEN, UNLISTEN or NOTIFY"));
        }
        let prepared = self.sessions.iter().filter_map(|session| session.transaction.as_ref()?.gid.as_ref());
        if prepared.count() >= PREPARED_MAX {
            return Err(Error::too_much(format_args!("more than {PREPARED_MAX} prepared transactions at a time")));
        }
        if self.find_prepared(gid).is_some() {
            return Err(Error::new("42710", format!("transaction identifier \"{gid}\" is already in use")));
        }
        Ok(())
    }

    /// COMMIT PREPARED, ROLLBACK PREPARED.
    pub(crate) fn finish_prepared(&mut self, gid: &SmolStr, commit: bool) -> Result<(), Error> {
        let missing = || Error::new("42704", format!("prepared transaction with identifier \"{gid}\" does not exist"));
        let place = self.find_prepared(gid).ok_or_else(missing)?;
        if commit {
            self.commit(place);
        } else {
            self.roll_back(place);
        }
        Ok(())
    }

    /// Where the transaction of this identifier is.
    fn find_prepared(&self, gid: &SmolStr) -> Option<u16> {
        let has_it = |place: &u16| {
            self.session(*place).transaction.as_ref().is_some_and(|transaction| transaction.gid.as_ref() == Some(gid))
        };
        (0..u16::try_from(self.sessions.len()).expect("fewer than 2^16 sessions")).find(has_it)
    }
}
