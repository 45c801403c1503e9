//! CREATE VIEW and DROP VIEW, and what other drops do to views.

use crate::catalog::{Catalog, TableId, ViewDef, ViewId};
use crate::error::Error;
use crate::exec::Interrupt;
use crate::plan::TableLockMode;
use crate::server::Core;

impl Core {
    pub(super) fn create_view(
        &mut self,
        me: u16,
        view: &ViewDef,
        replaced: Option<ViewId>,
        locked: &[TableId],
    ) -> Result<(), Interrupt> {
        self.lock_tables(me, locked, TableLockMode::AccessShare, false)?;
        if let Some(id) = replaced {
            self.lock_tables(me, &[id], TableLockMode::AccessExclusive, false)?;
            self.before_ddl(me)?;
            self.catalog.redefine_view(id, view);
            return Ok(());
        }
        self.before_ddl(me)?;
        let id = self.catalog.create_view(view)?;
        self.set_tables(id as usize + 1);
        self.lock_table(me, id, TableLockMode::AccessExclusive)
    }

    pub(super) fn drop_views(&mut self, me: u16, views: &[ViewId], cascade: bool) -> Result<(), Interrupt> {
        self.lock_tables(me, views, TableLockMode::AccessExclusive, false)?;
        let over = self.catalog.views_over(views);
        let notices: Vec<String> = over.iter().map(|view| self.cascade_to(*view)).collect();
        if !notices.is_empty() && !cascade {
            return Err(self.depended_on("view", views).into());
        }
        if notices.len() > 1 {
            return Err(Error::refused("DROP VIEW .. CASCADE to several views").into());
        }
        self.lock_tables(me, &over, TableLockMode::AccessExclusive, false)?;
        self.before_ddl(me)?;
        for view in over.iter().chain(views) {
            self.catalog.drop_view(*view);
        }
        for notice in notices {
            self.notice(me, notice);
        }
        Ok(())
    }

    pub(super) fn cascade_to(&self, view: ViewId) -> String {
        format!("drop cascades to view {}", self.catalog.relation_text(Catalog::oid(view)))
    }

    /// The error of a drop without CASCADE.
    pub(super) fn depended_on(&self, what: &str, dropped: &[TableId]) -> Error {
        let message = match dropped {
            [one] => {
                let name = self.catalog.relation_text(Catalog::oid(*one));
                format!("cannot drop {what} {name} because other objects depend on it")
            }
            _ => "cannot drop desired object(s) because other objects depend on them".to_owned(),
        };
        Error::new("2BP01", message)
    }
}
