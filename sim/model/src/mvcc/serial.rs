//! SERIALIZABLE: what is sure to be serializable runs, the rest is refused.
//!
//! PostgreSQL runs SERIALIZABLE transactions under one snapshot each, as REPEATABLE READ does, and watches who has read what somebody else, at the
//! same time, has written. It ends a transaction with 40001 only where one of them has such a conflict on both sides: it read what a second one wrote, and
//! wrote what a third one read. Here conflicts are noted by whole tables, which can only be too many. While no transaction has them on both
//! sides, PostgreSQL does not end any; where one has, the model does not know, and says so.
//! Source: PostgreSQL, src/backend/storage/lmgr/README-SSI and predicate.c.

use crate::catalog::TableId;
use crate::error::Error;

/// A SERIALIZABLE transaction that has a snapshot.
#[derive(Clone, Debug)]
struct Reader {
    session: u16,
    begun: u64,
    /// None: it runs.
    ended: Option<u64>,
    reads: Vec<TableId>,
    writes: Vec<TableId>,
}

/// The SERIALIZABLE transactions that run, and those that ended while one of them ran.
#[derive(Clone, Debug, Default)]
pub(crate) struct Serializable {
    known: Vec<Reader>,
    clock: u64,
}

fn add(to: &mut Vec<TableId>, tables: &[TableId]) {
    for table in tables {
        if !to.contains(table) {
            to.push(*table);
        }
    }
}

impl Serializable {
    /// Notes what a statement of `session` reads and writes. Errs where that may be one conflict too many.
    pub(crate) fn note(&mut self, session: u16, reads: &[TableId], writes: &[TableId]) -> Result<(), Error> {
        self.clock += 1;
        let place = self.known.iter().position(|one| one.session == session && one.ended.is_none());
        let place = place.unwrap_or_else(|| {
            let new = Reader { session, begun: self.clock, ended: None, reads: Vec::new(), writes: Vec::new() };
            self.known.push(new);
            self.known.len() - 1
        });
        add(&mut self.known[place].reads, reads);
        add(&mut self.known[place].writes, writes);
        if self.known.iter().any(|one| self.has_conflicts_on_both_sides(one)) {
            return Err(Error::refused("SERIALIZABLE where transactions at the same time read what others write"));
        }
        Ok(())
    }

    fn has_conflicts_on_both_sides(&self, one: &Reader) -> bool {
        let at_once = |other: &&Reader| {
            let overlaps = |left: &Reader, right: &Reader| left.ended.is_none_or(|ended| ended > right.begun);
            (other.session, other.begun) != (one.session, one.begun) && overlaps(one, other) && overlaps(other, one)
        };
        let mut others = self.known.iter().filter(at_once);
        let meets = |reads: &[TableId], writes: &[TableId]| reads.iter().any(|table| writes.contains(table));
        let out = others.clone().any(|other| meets(&one.reads, &other.writes));
        out && others.any(|other| meets(&other.reads, &one.writes))
    }

    /// The transaction of `session` has ended.
    pub(crate) fn end(&mut self, session: u16, committed: bool) {
        if self.known.is_empty() {
            return;
        }
        self.clock += 1;
        let clock = self.clock;
        self.known.retain(|one| committed || one.session != session || one.ended.is_some());
        for one in self.known.iter_mut().filter(|one| one.session == session && one.ended.is_none()) {
            one.ended = Some(clock);
        }
        if self.known.iter().all(|one| one.ended.is_some()) {
            self.known.clear();
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.clock = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sided_conflicts_are_sure_and_two_sided_ones_are_refused() {
        let mut serializable = Serializable::default();
        // 0 reads what 1 writes, 1 reads what 2 writes: 1 has one on both sides.
        serializable.note(0, &[7], &[]).expect("nobody else");
        serializable.note(1, &[], &[7]).expect("one side");
        serializable.note(2, &[], &[8]).expect("no conflict");
        serializable.note(1, &[8], &[]).expect_err("both sides");
    }

    #[test]
    fn what_was_over_before_or_rolled_back_does_not_count() {
        let mut serializable = Serializable::default();
        serializable.note(0, &[7], &[7]).expect("nobody else");
        serializable.end(0, true);
        serializable.note(1, &[7], &[7]).expect("it began after the other's end");
        serializable.end(1, false);
        // 2 keeps what ends from now on in mind.
        serializable.note(2, &[7], &[]).expect("nobody else");
        serializable.note(3, &[8], &[7]).expect("one side");
        serializable.end(3, true);
        serializable.note(4, &[9], &[8]).expect("3 was over before 4 began");
        serializable.note(2, &[], &[9]).expect_err("2 reads what 3 wrote, and 4 reads what 2 writes");
    }
}
