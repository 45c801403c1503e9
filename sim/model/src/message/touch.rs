//! What a message touched, by whole tables: enough to say that the order of two messages of two sessions does not matter.
//!
//! What was written is seen by others when its transaction ends; until then two messages meet only where they write to, or lock rows of, one table. Whatever
//! is not known so well counts as touching everything: waits, waking others, errors, DDL, sequences, functions that look at transaction ids.

use smol_str::SmolStr;

use crate::catalog::TableId;
use crate::plan::{Isolation, Query, Utility};
use crate::server::Core;

/// What a message touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touch {
    /// Anything at all, as far as is known.
    everything: bool,
    /// Tables by name: the same table, made anew by another setup, has another number.
    reads: Vec<SmolStr>,
    writes: Vec<SmolStr>,
    /// A transaction has ended, and this is what it had touched.
    published: Vec<SmolStr>,
    /// It read under a snapshot that later messages keep.
    keeps_snapshot: bool,
}

impl Touch {
    /// Something that is dependent on everything.
    pub fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// Whether two messages of two sessions, one after the other, come to the same in either order.
    pub fn is_independent_of(&self, other: &Self) -> bool {
        let meet = |left: &[SmolStr], right: &[SmolStr]| left.iter().any(|table| right.contains(table));
        let publishes_to = |one: &Self, two: &Self| {
            meet(&one.published, &two.reads)
                || meet(&one.published, &two.writes)
                || (!one.published.is_empty() && two.keeps_snapshot)
        };
        let apart = !self.everything && !other.everything;
        apart && !meet(&self.writes, &other.writes) && !publishes_to(self, other) && !publishes_to(other, self)
    }
}

fn add(to: &mut Vec<SmolStr>, tables: &[SmolStr]) {
    for table in tables {
        if !to.contains(table) {
            to.push(table.clone());
        }
    }
}

impl Core {
    /// Notes what a query touches, before it reads.
    pub(crate) fn touch_query(&mut self, me: u16, query: &Query) {
        let (reads, writes) = crate::compile::visit::reads_and_writes(&query.nodes);
        let name = |table: &TableId| self.catalog.table(*table).name.clone();
        let reads: Vec<SmolStr> = reads.iter().map(name).collect();
        let writes: Vec<SmolStr> = writes.iter().map(name).collect();
        let volatile = crate::compile::visit::has_volatile(&query.nodes);
        let isolation = self.transaction(me).isolation;
        let touched = &mut self.transaction_mut(me).touched;
        add(touched, &reads);
        add(touched, &writes);
        let touch = &mut self.touch;
        touch.everything |= volatile || isolation == Isolation::Serializable;
        touch.keeps_snapshot |= isolation.keeps_snapshot();
        add(&mut touch.reads, &reads);
        add(&mut touch.writes, &writes);
    }

    pub(crate) fn touch_utility(&mut self, utility: &Utility) {
        let local = matches!(
            utility,
            Utility::Begin(_)
                | Utility::Commit { .. }
                | Utility::Rollback { .. }
                | Utility::Savepoint(_)
                | Utility::Release(_)
                | Utility::Set { .. }
                | Utility::SetTransaction(_)
                | Utility::Show(_)
        );
        self.touch.everything |= !local;
    }

    /// A transaction has ended that had touched these tables.
    pub(crate) fn touch_end(&mut self, tables: &mut Vec<SmolStr>) {
        add(&mut self.touch.published, tables);
        tables.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_meets_whom() {
        let reads = Touch { reads: vec!["t".into()], ..Touch::default() };
        let writes = Touch { reads: vec!["t".into()], writes: vec!["t".into()], ..Touch::default() };
        let commits = Touch { published: vec!["t".into()], ..Touch::default() };
        let kept = Touch { reads: vec!["u".into()], keeps_snapshot: true, ..Touch::default() };
        let independent = |left: &Touch, right: &Touch| {
            assert_eq!(left.is_independent_of(right), right.is_independent_of(left));
            left.is_independent_of(right)
        };
        assert!(independent(&reads, &reads));
        assert!(independent(&reads, &writes), "what is not committed is not seen");
        assert!(!independent(&writes, &writes));
        assert!(!independent(&commits, &reads));
        assert!(!independent(&commits, &kept), "a snapshot that stays has it or has it not");
        assert!(independent(&writes, &kept));
        assert!(!independent(&Touch::everything(), &Touch::default()));
    }
}
