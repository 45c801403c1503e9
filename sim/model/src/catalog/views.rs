//! Views: a query with a name. It is compiled anew where it is read, which comes to the same as long as what it reads stays what it was.

use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;
use sqlparser::ast::{Query, Statement};

use super::{Catalog, IndexId, Relation, TableId};
use crate::error::Error;
use crate::types::Type;

/// A view, by number. Tables, sequences and views share one row of numbers.
pub(crate) type ViewId = u32;

/// See above.
#[derive(Clone, Debug)]
pub(crate) struct ViewDef {
    pub(crate) schema: SmolStr,
    pub(crate) name: SmolStr,
    pub(crate) columns: Vec<(SmolStr, Type)>,
    pub(crate) definition: Definition,
    /// The tables, sequences and views that it names.
    pub(crate) reads: Vec<TableId>,
}

/// The CREATE VIEW that made it. Shared with the statement: to copy its tree would compile the copying of all trees.
#[derive(Clone)]
pub(crate) struct Definition(pub(crate) Arc<Statement>);

impl Definition {
    pub(crate) fn query(&self) -> &Query {
        match &*self.0 {
            Statement::CreateView(create) => &create.query,
            _ => unreachable!("only CREATE VIEW makes one"),
        }
    }
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Definition")
    }
}

impl Catalog {
    /// A view by number. Panics if there is none, as [`Catalog::table`] does.
    pub(crate) fn view(&self, id: ViewId) -> &Arc<ViewDef> {
        self.names.views.get(&id).expect("a plan names only views of its catalog version")
    }

    /// CREATE VIEW.
    pub(crate) fn create_view(&mut self, view: &ViewDef) -> Result<ViewId, Error> {
        self.check_new(&view.schema, &view.name, false)?;
        let id = self.next_number();
        let names = self.write();
        let schema = names.schemas.get_mut(&view.schema).expect("checked above");
        schema.insert(view.name.clone(), Relation::View(id));
        names.tables.push(None);
        names.sequences.push(None);
        names.views.insert(id, Arc::new(view.clone()));
        Ok(id)
    }

    /// CREATE OR REPLACE VIEW of one that exists.
    pub(crate) fn redefine_view(&mut self, id: ViewId, view: &ViewDef) {
        self.write().views.insert(id, Arc::new(view.clone()));
    }

    /// DROP INDEX.
    pub(crate) fn drop_index(&mut self, table: TableId, index: IndexId) {
        let names = self.write();
        let def = names.tables[table as usize].as_mut().expect("a plan names only tables of its catalog version");
        let dropped = Arc::make_mut(def).indexes.remove(usize::from(index));
        names.schemas.get_mut(&def.schema).expect("a table's schema exists").remove(&dropped.name);
    }

    /// DROP VIEW.
    pub(crate) fn drop_view(&mut self, id: ViewId) {
        let names = self.write();
        let Some(view) = names.views.remove(&id) else { return };
        names.schemas.get_mut(&view.schema).expect("a view's schema exists").remove(&view.name);
    }

    /// Whether there is a view in a schema.
    pub(crate) fn has_views(&self, schema: &str) -> bool {
        self.names.views.values().any(|view| *view.schema == *schema)
    }

    /// The views that read one of `relations`, and those that read them, in the order of their creation.
    pub(crate) fn views_over(&self, relations: &[TableId]) -> Vec<ViewId> {
        let mut found: Vec<ViewId> = Vec::new();
        // A view comes after what it reads.
        for (id, view) in &self.names.views {
            if view.reads.iter().any(|read| relations.contains(read) || found.contains(read)) && !relations.contains(id)
            {
                found.push(*id);
            }
        }
        found
    }
}
