//! Which catalog a session sees: DDL of an open transaction is seen by that transaction alone.
//!
//! There is one catalog in use, and while a transaction with DDL is open that is its own; the one from before, which it keeps for a rollback,
//! is everybody else's. So before anything is done for another session the two are exchanged, and afterwards exchanged back. Only one transaction
//! at a time may have DDL open: two would have to be merged.

use crate::catalog::{Catalog, Relation};
use crate::error::Error;
use crate::message::words;
use crate::parse;
use crate::plan::TableLockMode;
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

    /// An error of compiling, or a refusal where PostgreSQL might say something else: it locks a table before it looks for its columns, and what is
    /// wrong with names it finds after the wait; and that a transaction only reads it says before anything else.
    pub(crate) fn judged(&self, me: u16, text: &str, error: Error) -> Error {
        if error.is_refusal() || error.is_of_grammar() {
            return error;
        }
        let open = self.session(me).transaction.as_ref();
        let Ok(tokens) = parse::tokens(text) else { return error };
        let words = words(&tokens);
        let first = words.first().map_or("", |word| word.as_str());
        let is_query = ["select", "values", "insert", "update", "delete", "with"].contains(&first);
        if !is_query && open.is_some_and(|open| open.read_only && !open.failed) {
            return Error::refused(format_args!("a definition that errs in a transaction that only reads ({error})"));
        }
        let reads = ["select", "values"].contains(&first) && !words.iter().any(|word| word == "for");
        let mode = match is_query {
            true if reads => TableLockMode::AccessShare,
            true => TableLockMode::RowExclusive,
            false => TableLockMode::AccessExclusive,
        };
        let schemas = std::iter::once("public").chain(words.iter().map(smol_str::SmolStr::as_str));
        let waits = schemas.zip(&words).any(|(schema, word)| {
            let named = ["public", schema].into_iter().filter_map(|schema| self.catalog.lookup(schema, word));
            named
                .into_iter()
                .any(|relation| matches!(relation, Relation::Table(table) if self.locks.keeps_out(me, table, mode)))
        });
        if waits && !open.is_some_and(|open| open.failed) {
            return Error::refused(format_args!("a statement that errs, and might wait for a table before ({error})"));
        }
        error
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
