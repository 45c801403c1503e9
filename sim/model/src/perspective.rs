//! Which catalog a session sees: DDL of an open transaction is seen by that transaction alone.
//!
//! There is one catalog in use, and while a transaction with DDL is open that is its own; the one from before, which it keeps for a rollback,
//! is everybody else's. So before anything is done for another session the two are exchanged, and afterwards exchanged back. Only one transaction
//! at a time may have DDL open: two would have to be merged.

use crate::catalog::Catalog;
use crate::error::Error;
use crate::server::Core;

impl Core {
    /// Before anything is done for `me`: makes the catalog that it sees the one in use. True: [`Core::leave`] has to be called afterwards.
    pub(crate) fn enter(&mut self, me: u16) -> bool {
        match self.ddl_owner {
            Some(owner) if owner != me && !self.exchanged => {
                self.exchange(owner);
                self.exchanged = true;
                true
            }
            _ => false,
        }
    }

    /// Takes [`Core::enter`] back.
    pub(crate) fn leave(&mut self) {
        self.exchanged = false;
        if let Some(owner) = self.ddl_owner {
            self.exchange(owner);
        }
    }

    fn exchange(&mut self, owner: u16) {
        if let Some(before) = self.catalog_before_ddl(owner) {
            let theirs = std::mem::replace(before, Catalog::new());
            let own = std::mem::replace(&mut self.catalog, theirs);
            self.catalog.rise_above(&own);
            if let Some(before) = self.catalog_before_ddl(owner) {
                *before = own;
            }
        }
    }

    /// `me` is about to change the catalog. Errs where another transaction has.
    pub(crate) fn own_ddl(&mut self, me: u16) -> Result<(), Error> {
        if self.ddl_owner.is_some_and(|owner| owner != me) {
            return Err(Error::refused("DDL while another transaction with DDL is open"));
        }
        self.ddl_owner = Some(me);
        self.save_catalog(me);
        Ok(())
    }
}
