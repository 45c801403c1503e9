//! `character(n)`: its values are kept without the blanks at their ends, by which they are told apart, and get them where they are shown.

use super::coerce::{CHAR, TEXT, call};
use super::{Builder, Rows, refuse_if};
use crate::catalog::TableId;
use crate::error::Error;
use crate::function::Function;
use crate::plan::{Expr, Node, SlotId};
use crate::types::{Type, Value};

impl Builder<'_> {
    /// The rows of a statement, as they are shown. How many blanks a value gets is known of a table's column alone.
    pub(super) fn pad(&mut self, mut rows: Rows) -> Result<Rows, Error> {
        if rows.columns.iter().all(|(_, ty)| *ty != CHAR) {
            return Ok(rows);
        }
        let mut at = usize::from(rows.root);
        while let Node::Limit { input, .. } = &self.nodes[at] {
            at = usize::from(*input);
        }
        let mut tables: Vec<(SlotId, TableId)> =
            self.scope().sources.iter().filter_map(|source| Some((source.slot, source.table?))).collect();
        let exprs = match &mut self.nodes[at] {
            Node::Project { exprs, .. } => exprs,
            Node::Insert { table, returning: Some(returning), .. }
            | Node::Update { table, returning: Some(returning), .. }
            | Node::Delete { table, returning: Some(returning), .. } => {
                tables.push((returning.row, *table));
                &mut returning.exprs
            }
            _ => return Err(not_known()),
        };
        for (expr, (_, ty)) in exprs.iter_mut().zip(&mut rows.columns).filter(|(_, (_, ty))| *ty == CHAR) {
            let Expr::Column { slot, column } = expr else { return Err(not_known()) };
            let table = tables.iter().find(|(of, _)| of == slot).ok_or_else(not_known)?.1;
            let modifier = self.catalog.table(table).columns[usize::from(*column)].modifier;
            let numbers = modifier.ok_or_else(not_known)?.numbers();
            let value = std::mem::replace(expr, Expr::Const(Value::Null));
            *expr = call(Function::Padded, vec![value, Expr::Const(numbers[0].clone())]);
            *ty = TEXT;
        }
        Ok(rows)
    }
}

fn not_known() -> Error {
    Error::refused("a result of type character that is no column of a table")
}

/// Refuses what would show a value of this type with its blanks.
pub(super) fn refuse_shown(ty: Type, where_: &str) -> Result<(), Error> {
    refuse_if(ty == CHAR, &format!("a value of type character in {where_}"))
}
