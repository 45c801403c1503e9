//! A table's rows: tuple versions in the order in which they were written, their values in one flat list.
//!
//! [`Table::keep`] makes a base of what is committed: dead versions go, living ones are frozen. [`Table::reset`] takes back everything
//! since: it cuts the lists off and mends the few headers of the base that were written to.

use super::holders::{Holder, Holders};
use super::index::Index;
use super::xid::{FROZEN_XID, NO_XID, State, Xacts, Xid};
use crate::plan::{ColumnId, ColumnSet, RowLockStrength, column_set};
use crate::types::Value;

/// A tuple version's place in its table.
pub(crate) type TupleId = u32;

/// No tuple.
pub(crate) const NO_TUPLE: TupleId = TupleId::MAX;

const NO_HOLDERS: u32 = u32::MAX;

/// What is known of a tuple version beside its values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// Who wrote it, and in which command.
    pub(crate) xmin: Xid,
    pub(crate) cmin: u32,
    /// Who deleted it or put a new version in its place, and in which command.
    pub(crate) xmax: Xid,
    pub(crate) cmax: u32,
    /// The version that `xmax` put in its place; none where it deleted.
    pub(crate) next: TupleId,
    /// Where those stand who hold it, if there are others than `xmax`.
    holders: u32,
    /// `xmax` deleted it or changed a key column: this excludes even KEY SHARE.
    key_gone: bool,
    /// No index names it: it is found through the version before it (a heap-only tuple).
    pub(crate) heap_only: bool,
    touched: bool,
}

impl Header {
    fn new(xmin: Xid, cmin: u32, heap_only: bool) -> Self {
        Self {
            xmin,
            cmin,
            xmax: NO_XID,
            cmax: 0,
            next: NO_TUPLE,
            holders: NO_HOLDERS,
            key_gone: false,
            heap_only,
            touched: false,
        }
    }

    /// Whether nobody has changed the row since, or tried to, or locked it.
    pub(crate) fn is_untouched(&self) -> bool {
        self.xmax == NO_XID && self.holders == NO_HOLDERS
    }
}

/// Some columns of a table, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    list: Vec<ColumnId>,
    set: ColumnSet,
}

impl Columns {
    pub(crate) fn add(&mut self, column: ColumnId) {
        if !self.list.contains(&column) {
            self.list.push(column);
            self.set |= column_set([column]);
        }
    }

    /// Those of them that are also in `set`.
    pub(crate) fn of(&self, set: ColumnSet) -> impl Iterator<Item = ColumnId> {
        // Most often there is none.
        let list = if self.set & set == 0 { &[] } else { self.list.as_slice() };
        list.iter().copied().filter(move |column| set & column_set([*column]) != 0)
    }

    pub(crate) fn contains(&self, column: ColumnId) -> bool {
        self.list.contains(&column)
    }
}

/// A table's storage.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// Columns a row, those that expression indexes compute included.
    pub(crate) stride: usize,
    headers: Vec<Header>,
    values: Vec<Value>,
    pub(crate) indexes: Vec<Index>,
    /// Columns of unique indexes that a foreign key might refer to.
    pub(crate) key_columns: Columns,
    /// Columns that any index uses: an update of one of them is entered into the indexes.
    pub(crate) indexed_columns: Columns,
    holders: Vec<Holders>,
    /// How many versions the base has, and which of them have been written to since.
    kept: u32,
    touched: Vec<TupleId>,
}

impl Table {
    pub(crate) fn new(stride: usize) -> Self {
        Self { stride, ..Self::default() }
    }

    /// An empty one of the same shape, for TRUNCATE, with room for as much as this one has.
    pub(crate) fn emptied(&self) -> Self {
        Self {
            stride: self.stride,
            headers: Vec::with_capacity(self.headers.len()),
            values: Vec::with_capacity(self.values.len()),
            indexes: self.indexes.iter().map(Index::emptied).collect(),
            key_columns: self.key_columns.clone(),
            indexed_columns: self.indexed_columns.clone(),
            ..Self::default()
        }
    }

    /// The same rows with more columns. No column of it is computed.
    pub(crate) fn widened(&self, fill: &[Value]) -> Self {
        let mut new = self.clone();
        new.stride += fill.len();
        new.values = Vec::with_capacity(self.headers.len() * new.stride);
        for tuple in 0..self.len() {
            new.values.extend_from_slice(self.row(tuple));
            new.values.extend_from_slice(fill);
        }
        new
    }

    /// Adds values behind each row, for columns that the stride is going to count.
    pub(crate) fn widen_each(&mut self, added: &[Value]) {
        let rows = self.headers.len();
        if added.is_empty() {
            return;
        }
        let extra = added.len() / rows;
        let mut values = Vec::with_capacity(self.values.len() + added.len());
        for row in 0..rows {
            values.extend_from_slice(&self.values[row * self.stride..(row + 1) * self.stride]);
            values.extend_from_slice(&added[row * extra..(row + 1) * extra]);
        }
        self.values = values;
    }

    /// Keeps so many of each row's values, and so many of the indexes. What columns they have is to be counted anew, from `plain` on.
    pub(crate) fn narrow(&mut self, width: usize, plain: usize, indexes: usize) {
        if width < self.stride {
            let rows = self.values.chunks_exact(self.stride);
            self.values = rows.flat_map(|row| &row[..width]).cloned().collect();
        }
        self.stride = plain;
        self.indexes.truncate(indexes);
        self.key_columns = Columns::default();
        self.indexed_columns = Columns::default();
    }

    pub(crate) fn len(&self) -> TupleId {
        TupleId::try_from(self.headers.len()).expect("fewer than 2^32 tuple versions a table")
    }

    pub(crate) fn header(&self, tuple: TupleId) -> &Header {
        &self.headers[tuple as usize]
    }

    pub(crate) fn row(&self, tuple: TupleId) -> &[Value] {
        let start = tuple as usize * self.stride;
        &self.values[start..start + self.stride]
    }

    pub(crate) fn value(&self, tuple: TupleId, column: usize) -> &Value {
        debug_assert!(column < self.stride);
        &self.values[tuple as usize * self.stride + column]
    }

    /// Appends a version; its values are taken out of `row`.
    pub(crate) fn append(&mut self, xmin: Xid, cmin: u32, heap_only: bool, row: &mut Vec<Value>) -> TupleId {
        debug_assert_eq!(row.len(), self.stride);
        let tuple = self.len();
        self.headers.push(Header::new(xmin, cmin, heap_only));
        self.values.append(row);
        tuple
    }

    /// A header to write to.
    pub(crate) fn touch(&mut self, tuple: TupleId) -> &mut Header {
        let header = &mut self.headers[tuple as usize];
        if tuple < self.kept && !header.touched {
            header.touched = true;
            self.touched.push(tuple);
        }
        header
    }

    /// Those who hold a version, some of whom may have ended.
    pub(crate) fn holders(&self, tuple: TupleId) -> Holders {
        let header = self.header(tuple);
        if header.holders != NO_HOLDERS {
            return self.holders[header.holders as usize].clone();
        }
        if header.xmax == NO_XID {
            return Holders::default();
        }
        let strength = if header.key_gone { RowLockStrength::Update } else { RowLockStrength::NoKeyUpdate };
        Holders::one(Holder { xid: header.xmax, strength, changes: true })
    }

    fn set_holders(&mut self, tuple: TupleId, holders: Holders) {
        let next = u32::try_from(self.holders.len()).expect("fewer than 2^32 locked rows");
        let header = self.touch(tuple);
        if header.holders == NO_HOLDERS {
            header.holders = next;
            self.holders.push(holders);
        } else {
            let place = header.holders as usize;
            self.holders[place] = holders;
        }
    }

    /// Locks a version for `xid`.
    pub(crate) fn lock(&mut self, tuple: TupleId, xid: Xid, strength: RowLockStrength, xacts: &Xacts) {
        let mut holders = self.holders(tuple);
        holders.add(Holder { xid, strength, changes: false }, xacts);
        if holders.change().is_none() {
            // A change that was rolled back is forgotten.
            let header = self.touch(tuple);
            (header.xmax, header.next, header.key_gone) = (NO_XID, NO_TUPLE, false);
        }
        self.set_holders(tuple, holders);
    }

    /// Ends a version: `xid` deletes the row, or puts `next` in its place. Those who share the row are given back: they go on sharing it there.
    pub(crate) fn end(
        &mut self,
        tuple: TupleId,
        (xid, command): (Xid, u32),
        next: TupleId,
        strength: RowLockStrength,
        xacts: &Xacts,
    ) -> Holders {
        let mut shared = Holders::default();
        let mut key_gone = strength == RowLockStrength::Update;
        if !self.header(tuple).is_untouched() {
            let mut holders = self.holders(tuple);
            shared = holders.of_new_version(xacts);
            holders.add(Holder { xid, strength, changes: true }, xacts);
            key_gone = holders.change().is_some_and(|change| change.strength == RowLockStrength::Update);
            self.set_holders(tuple, holders);
        }
        if next != NO_TUPLE && !shared.is_empty() {
            self.set_holders(next, shared.clone());
        }
        let header = self.touch(tuple);
        (header.xmax, header.cmax, header.next, header.key_gone) = (xid, command, next, key_gone);
        shared
    }

    /// Makes what is committed the base of the resets to come. No transaction is open.
    pub(crate) fn keep(&mut self, xacts: &Xacts) {
        let mut kept = 0;
        let mut places = vec![NO_TUPLE; self.headers.len()];
        for tuple in 0..self.len() {
            if self.is_committed(tuple, xacts) {
                places[tuple as usize] = kept;
                kept += 1;
            }
        }
        let entries: Vec<Vec<TupleId>> = self
            .indexes
            .iter()
            .map(|index| index.entries().filter_map(|root| self.living(root, &places)).collect())
            .collect();
        for (tuple, place) in places.iter().enumerate().filter(|(_, place)| **place != NO_TUPLE) {
            for column in 0..self.stride {
                self.values.swap(*place as usize * self.stride + column, tuple * self.stride + column);
            }
        }
        self.headers.truncate(kept as usize);
        self.headers.fill(Header::new(FROZEN_XID, 0, false));
        self.values.truncate(kept as usize * self.stride);
        self.holders.clear();
        self.touched.clear();
        self.kept = kept;
        for (index, entries) in self.indexes.iter_mut().zip(entries) {
            index.keep(&self.values, self.stride, entries);
        }
    }

    /// Where the living version on an index entry's chain is going to stand.
    fn living(&self, root: TupleId, places: &[TupleId]) -> Option<TupleId> {
        let mut tuple = Some(root);
        while let Some(version) = tuple {
            if places[version as usize] != NO_TUPLE {
                return Some(places[version as usize]);
            }
            tuple = self.next_in_chain(version);
        }
        None
    }

    /// Back to the base.
    pub(crate) fn reset(&mut self) {
        let kept = self.kept as usize;
        self.headers.truncate(kept);
        self.values.truncate(kept * self.stride);
        self.holders.clear();
        while let Some(tuple) = self.touched.pop() {
            self.headers[tuple as usize] = Header::new(FROZEN_XID, 0, false);
        }
        for index in &mut self.indexes {
            index.reset();
        }
    }

    /// The committed row that a new snapshot would see under `tuple`, if there is one.
    pub(crate) fn is_committed(&self, tuple: TupleId, xacts: &Xacts) -> bool {
        let header = self.header(tuple);
        xacts.state(header.xmin) == State::Committed
            && (header.xmax == NO_XID || xacts.state(header.xmax) != State::Committed)
    }

    /// Enters a version into index `index`.
    pub(crate) fn enter(&mut self, index: usize, tuple: TupleId) {
        self.indexes[index].enter(&self.values, self.stride, tuple);
    }

    /// Enters a version into index `index` if nothing is there under its key.
    pub(crate) fn enter_new_key(&mut self, index: usize, tuple: TupleId) -> bool {
        self.indexes[index].enter_new_key(&self.values, self.stride, tuple)
    }

    /// The entries of index `index` whose first columns equal `keys`, in the index's order.
    pub(crate) fn find(&self, index: usize, keys: &[&Value], into: &mut Vec<TupleId>) {
        self.indexes[index].find(&self.values, self.stride, keys, into);
    }

    /// Enters the versions into all indexes that are found through the version before them.
    pub(crate) fn enter_all(&mut self) {
        for tuple in 0..self.len() {
            if self.header(tuple).heap_only {
                self.touch(tuple).heap_only = false;
                for index in &mut self.indexes {
                    index.enter(&self.values, self.stride, tuple);
                }
            }
        }
    }

    /// The entries of index `index` under the key of `row`.
    pub(crate) fn twins(&self, index: usize, row: &[Value]) -> impl Iterator<Item = TupleId> {
        self.indexes[index].twins(&self.values, self.stride, row)
    }

    /// Makes all entries of a new index.
    pub(crate) fn build(&mut self, mut index: Index, entries: &[TupleId]) {
        for tuple in entries {
            index.enter(&self.values, self.stride, *tuple);
        }
        self.indexes.push(index);
    }

    /// The next version on an index entry's chain.
    pub(crate) fn next_in_chain(&self, tuple: TupleId) -> Option<TupleId> {
        let next = self.header(tuple).next;
        (next != NO_TUPLE && self.header(next).heap_only).then_some(next)
    }
}
