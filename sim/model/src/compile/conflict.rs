//! ON CONFLICT: which unique index arbitrates, and what is done.

use sqlparser::ast::{self, ConflictTarget};

use super::join::conjuncts;
use super::scope::{Scope, ident, qualified};
use super::visit;
use super::{Builder, refuse_if};
use crate::catalog::{IndexId, TableId};
use crate::error::Error;
use crate::plan::{ConflictAction, Expr, OWN_ROW, OnConflict, SlotId};

impl Builder<'_> {
    pub(super) fn on_conflict(
        &mut self,
        table: TableId,
        existing: SlotId,
        clause: &ast::OnConflict,
    ) -> Result<OnConflict, Error> {
        let ast::OnConflict { conflict_target, action } = clause;
        let arbiter = match conflict_target {
            Some(target) => Some(self.arbiter(table, existing, target)?),
            None => None,
        };
        let action = match action {
            ast::OnConflictAction::DoNothing => ConflictAction::Nothing,
            ast::OnConflictAction::DoUpdate(ast::DoUpdate { assignments, selection }) => {
                if arbiter.is_none() {
                    let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
                    return Err(Error::new("42601", message));
                }
                self.excluded(table)?;
                self.clause("UPDATE");
                let set = self.assignments(table, assignments)?;
                let condition = match selection {
                    Some(condition) => {
                        self.clause("WHERE");
                        let condition = self.expr(condition)?;
                        Some(self.boolean(condition, "WHERE")?)
                    }
                    None => None,
                };
                // RETURNING cannot name it.
                self.scope().sources.pop();
                ConflictAction::Update { existing, set, condition }
            }
        };
        Ok(OnConflict { arbiter, action })
    }

    /// The index that the target infers. Source: PostgreSQL, plancat.c, `infer_arbiter_indexes`.
    fn arbiter(&mut self, table: TableId, row: SlotId, target: &ConflictTarget) -> Result<IndexId, Error> {
        let def = self.catalog.table(table).clone();
        let (columns, predicate) = match target {
            ConflictTarget::OnConstraint(name) => {
                let (_, name) = qualified(name)?;
                let place = def.indexes.iter().position(|index| index.constraint && index.name == name);
                let message = || format!("constraint \"{name}\" for table \"{}\" does not exist", def.name);
                let place = place.ok_or_else(|| Error::new("42704", message()))?;
                return Ok(IndexId::try_from(place).expect("the number of indexes is limited"));
            }
            ConflictTarget::Columns { columns, predicate } => (columns, predicate),
        };
        let mut keys = Vec::with_capacity(columns.len());
        for column in columns {
            let key = if let Some(expr) = crate::parse::expression(column) {
                self.key_over_row(table, &expr)?
            } else {
                let name = ident(column);
                let missing = || Error::new("42703", format!("column \"{name}\" does not exist"));
                Expr::Column { slot: OWN_ROW, column: def.column(&name).ok_or_else(missing)? }
            };
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let asked = match predicate {
            Some(predicate) => self.over_row(table, predicate)?,
            None => Vec::new(),
        };
        let _ = row;
        let same_keys = |place: &usize| {
            let index = &def.indexes[*place];
            index.unique && index.keys.len() == keys.len() && index.keys.iter().all(|key| keys.contains(key))
        };
        let fits = |place: &usize| {
            let index = &def.indexes[*place];
            let implied = index.predicate.iter().flat_map(|predicate| conjuncts(predicate.clone()));
            same_keys(place) && implied.into_iter().all(|term| asked.contains(&term))
        };
        let fitting: Vec<usize> = (0..def.indexes.len()).filter(fits).collect();
        // PostgreSQL proves more than that one condition has the other's terms.
        let unproved = (0..def.indexes.len()).any(|place| same_keys(&place) && !fitting.contains(&place));
        refuse_if(unproved && !asked.is_empty(), "ON CONFLICT whose condition may imply an index's")?;
        refuse_if(fitting.len() > 1, "ON CONFLICT whose target fits several indexes")?;
        let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
        let place = fitting.first().ok_or_else(|| Error::new("42P10", message))?;
        Ok(IndexId::try_from(*place).expect("the number of indexes is limited"))
    }

    /// An expression over a row of a table, as an index has it.
    fn key_over_row(&mut self, table: TableId, expr: &ast::Expr) -> Result<Expr, Error> {
        self.scopes.push(Scope::default());
        let found = self.table_source(table, None).and_then(|(slot, _)| {
            let value = self.expr(expr)?;
            Ok((slot, self.settle(value)?))
        });
        self.scopes.pop();
        let (slot, value) = found?;
        Ok(visit::rebind(&value.expr, slot, OWN_ROW))
    }

    /// A condition over a row of a table, by the table's own expressions: its terms over `OWN_ROW`.
    fn over_row(&mut self, table: TableId, condition: &ast::Expr) -> Result<Vec<Expr>, Error> {
        self.scopes.push(Scope::default());
        let found = self.table_source(table, None).and_then(|(slot, _)| {
            let condition = self.expr(condition)?;
            Ok((slot, self.boolean(condition, "WHERE")?))
        });
        self.scopes.pop();
        let (slot, condition) = found?;
        Ok(conjuncts(visit::rebind(&condition, slot, OWN_ROW)))
    }
}
