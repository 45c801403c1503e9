//! Views: CREATE VIEW, DROP VIEW, and reading one. A view that is written to is refused.

use smol_str::SmolStr;
use sqlparser::ast;

use super::from::RowLock;
use super::join::{From, Leaf};
use super::scope::{Scope, Source, ident, qualified};
use super::{Builder, refuse_if};
use crate::catalog::{Definition, Relation, ViewDef, ViewId};
use crate::error::Error;
use crate::plan::{TableLockMode, Utility};

impl Builder<'_> {
    pub(super) fn create_view(&mut self, create: &ast::CreateView) -> Result<Utility, Error> {
        let query = plain_create_view(create)?;
        let (schema, name) = qualified(&create.name)?;
        let schema = schema.unwrap_or_else(|| "public".into());
        let rows = self.query(query, None)?;
        refuse_if(!self.params.is_empty(), "a parameter in a view")?;
        let modifies = self.ctes.iter().any(|cte| cte.modifies);
        refuse_if(modifies, "a view that changes rows")?;
        let mut columns = rows.columns;
        if create.columns.len() > columns.len() {
            return Err(Error::new("42601", "CREATE VIEW specifies more column names than columns"));
        }
        for (column, ast::ViewColumnDef { name, data_type, options }) in columns.iter_mut().zip(&create.columns) {
            refuse_if(data_type.is_some() || options.is_some(), "options of a view's columns")?;
            column.0 = ident(name);
        }
        if let Some(place) =
            (1..columns.len()).find(|place| columns[..*place].iter().any(|(name, _)| *name == columns[*place].0))
        {
            return Err(Error::new("42701", format!("column \"{}\" specified more than once", columns[place].0)));
        }
        // What stands there has a name that another command cannot take away.
        let locks = std::mem::take(&mut self.locks).into_iter().chain(std::mem::take(&mut self.view_locks));
        let (mut reads, mut locked): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        for (relation, mode) in locks {
            refuse_if(mode != TableLockMode::AccessShare, "a view that locks rows")?;
            reads.push(relation);
            locked.push(relation);
        }
        let replaced = match self.catalog.lookup(&schema, &name) {
            Some(Relation::View(id)) if create.or_replace => {
                let old = &self.catalog.view(id).columns;
                refuse_if(!columns.starts_with(old), "CREATE OR REPLACE VIEW with other columns")?;
                refuse_if(
                    self.catalog.views_over(&[id]).iter().any(|over| reads.contains(over)) || reads.contains(&id),
                    "a view that reads itself",
                )?;
                Some(id)
            }
            _ => None,
        };
        let definition = Definition(self.source.clone().expect("a statement makes a view"));
        let view = ViewDef { schema, name, columns, definition, reads };
        Ok(Utility::CreateView { view: Box::new(view), replaced, locked })
    }

    pub(super) fn drop_view(
        &mut self,
        names: &[ast::ObjectName],
        if_exists: bool,
        cascade: bool,
    ) -> Result<Utility, Error> {
        let (mut views, mut missing): (Vec<ViewId>, Vec<SmolStr>) = (Vec::new(), Vec::new());
        for name in names {
            let (schema, bare) = qualified(name)?;
            match self.catalog.lookup(schema.as_deref().unwrap_or("public"), &bare) {
                _ if self.catalog.is_poisoned(&bare) => return Err(Error::refused(format_args!("the view {bare}"))),
                Some(Relation::View(id)) if !views.contains(&id) => views.push(id),
                Some(Relation::View(_)) => {}
                Some(_) => return Err(Error::new("42809", format!("\"{bare}\" is not a view"))),
                None if if_exists => missing.push(bare),
                None => return Err(Error::new("42P01", format!("view \"{bare}\" does not exist"))),
            }
        }
        Ok(Utility::DropView { views, missing, cascade })
    }

    /// A view in FROM: its query, in which nothing of the query around it can be named.
    pub(super) fn view_source(
        &mut self,
        id: ViewId,
        alias: Option<&ast::TableAlias>,
        locks: &[RowLock],
    ) -> Result<From, Error> {
        let def = self.catalog.view(id).clone();
        let locked = locks.iter().any(|lock| lock.of.is_empty() || lock.of.contains(&def.name));
        refuse_if(locked, "a row lock on a view")?;
        self.lock(id, TableLockMode::AccessShare);
        let scopes = std::mem::replace(&mut self.scopes, vec![Scope::default()]);
        let ctes = std::mem::take(&mut self.cte_names);
        let own = std::mem::take(&mut self.locks);
        let rows = self.nested(|builder| builder.query(def.definition.query(), None));
        // Its tables are locked when the statement is rewritten, after all that it names itself. Source: PostgreSQL, `AcquireRewriteLocks`.
        let inner = std::mem::replace(&mut self.locks, own);
        self.view_locks.extend(inner);
        self.scopes = scopes;
        self.cte_names = ctes;
        let rows = rows?;
        let (name, schema, columns) = (def.name.clone(), Some(def.schema.clone()), def.columns.clone());
        self.add_aliased(alias, Source { name, schema, slot: rows.slot, columns, table: None, partial: false })?;
        Ok(From::Leaf(rows.slot, Leaf::Node(rows.root)))
    }
}

/// The query, if there is nothing else that matters.
fn plain_create_view(create: &ast::CreateView) -> Result<&ast::Query, Error> {
    let ast::CreateView {
        or_alter,
        or_replace: _,
        materialized,
        secure,
        name: _,
        name_before_not_exists,
        columns: _,
        query,
        options,
        cluster_by,
        comment,
        with_no_schema_binding,
        if_not_exists,
        temporary,
        copy_grants,
        to,
        params,
    } = create;
    refuse_if(*materialized, "materialized views")?;
    refuse_if(*temporary, "temporary views")?;
    refuse_if(!matches!(options, ast::CreateTableOptions::None), "options of a view")?;
    let elsewhere = *or_alter || *secure || *name_before_not_exists || *if_not_exists || *with_no_schema_binding;
    let elsewhere = elsewhere || !cluster_by.is_empty() || comment.is_some() || *copy_grants || to.is_some();
    refuse_if(elsewhere || params.is_some(), "what CREATE VIEW has in other databases only")?;
    Ok(query)
}
