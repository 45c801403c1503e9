//! Generated columns: computed from the rest of a row before anything else looks at it. Source: PostgreSQL, nodeModifyTable.c,
//! `ExecComputeStoredGenerated`.

use crate::catalog::TableId;
use crate::exec::{Exec, Interrupt, Slot};
use crate::plan::OWN_ROW;

impl Exec<'_> {
    /// Computes the generated columns of the new row that [`OWN_ROW`] is bound to.
    pub(super) fn generate(&mut self, table: TableId) -> Result<(), Interrupt> {
        let def = self.core.catalog.table(table).clone();
        let Slot::Values(place) = self.bound(OWN_ROW) else { unreachable!("a new row stands in values") };
        for (column, def) in def.columns.iter().enumerate() {
            if let Some(expr) = &def.generated {
                let value = self.eval(expr)?;
                self.act.values[usize::from(place)][column] = value;
            }
        }
        self.row_done();
        Ok(())
    }
}
