//! The plan: what compiling a statement makes and executing it reads. Plain data, shared by all sessions, never changed.
//!
//! A plan's [`Node`]s stand in one list, children before their parents, and are named by index. A node is polled for rows;
//! a row is not copied from node to node: it is what stands in the activation's **slots**. A scan binds its slot to a tuple, a
//! projection writes values into its own, and every expression names its input as (slot, column). A correlated
//! subquery needs nothing more: the outer query's slots are in the same list.
//!
//! Everything that PostgreSQL resolves at parse analysis is resolved here: names, types, defaults, and which index
//! answers a condition. Execution sees no names.

use smol_str::SmolStr;

use crate::catalog::{IndexDef, IndexId, SequenceDef, SequenceId, TableDef, TableId, ViewDef, ViewId};
use crate::error::Error;
use crate::function::{AggregateFunction, Function, ServerFunction, TableFunction};
use crate::types::{Type, Value};

/// Index into an activation's slots.
pub(crate) type SlotId = u16;
/// Index into [`Query::nodes`].
pub(crate) type NodeId = u16;
/// Index into [`Query::ctes`].
pub(crate) type CteId = u16;
/// A column of a table or of a slot, from 0.
pub(crate) type ColumnId = u16;

/// Some of a table's columns, a bit each. Those from number 63 on share the last bit, so two sets may be said to meet that do not.
pub(crate) type ColumnSet = u64;

/// All columns.
pub(crate) const ALL_COLUMNS: ColumnSet = ColumnSet::MAX;

/// The set of these columns.
pub(crate) fn column_set(columns: impl IntoIterator<Item = ColumnId>) -> ColumnSet {
    columns.into_iter().fold(0, |set, column| set | 1 << column.min(63))
}

/// In the expressions that a table owns (defaults, checks, index keys and predicates): the row in question.
pub(crate) const OWN_ROW: SlotId = SlotId::MAX;
/// In ON CONFLICT DO UPDATE: the row that was proposed for insertion.
pub(crate) const EXCLUDED: SlotId = SlotId::MAX - 1;

/// A compiled statement.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The type of each parameter, `$1` first.
    pub(crate) params: Vec<Type>,
    /// Name and type of each column of the answer; empty for a statement that returns no rows.
    pub(crate) columns: Vec<(SmolStr, Type)>,
    /// What is done.
    pub(crate) body: Body,
}

impl Plan {
    /// Whether a failed transaction block takes it.
    pub(crate) fn ends_failure(&self) -> bool {
        use Utility::{Commit, Prepare, Rollback, RollbackTo};
        matches!(self.body, Body::Utility(Commit { .. } | Prepare(_) | Rollback { .. } | RollbackTo(_)))
    }
}

/// The two kinds of statement, as in PostgreSQL.
#[derive(Debug)]
pub(crate) enum Body {
    /// SELECT, VALUES, INSERT, UPDATE, DELETE: planned, run under a snapshot.
    Query(Query),
    /// Everything else.
    Utility(Utility),
}

/// A planned statement.
#[derive(Debug)]
pub(crate) struct Query {
    /// SELECT, INSERT, UPDATE or DELETE, for the command tag.
    pub(crate) kind: QueryKind,
    /// Table locks, in the order in which the tables are named. They are taken, and waited for, *before* the snapshot is taken.
    pub(crate) locks: Vec<(TableId, TableLockMode)>,
    /// Children before parents.
    pub(crate) nodes: Vec<Node>,
    /// The node that is polled for the answer.
    pub(crate) root: NodeId,
    /// The slot that holds a row of the answer after each poll of the root, when the statement returns rows.
    pub(crate) output: Option<SlotId>,
    /// How many slots an activation has.
    pub(crate) slots: SlotId,
    /// WITH queries. A data-modifying one runs to its end exactly once, read or not.
    pub(crate) ctes: Vec<Cte>,
    /// How many [`Expr::Once`] there are.
    pub(crate) onces: u16,
    /// What planning it finds wrong, which is only known once it is executed.
    pub(crate) fails: Option<Error>,
    /// What is known of the order of its rows.
    pub(crate) order: RowOrder,
    /// If the statement can write or lock rows: its name, for read-only transactions.
    pub(crate) writes: Option<&'static str>,
}

/// What is known of the order in which a query's rows come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowOrder {
    /// What leaves it to a planner that is not modelled, if anything does.
    pub(crate) left_open_by: Option<&'static str>,
    /// For all that is known before it is executed, of whatever rows.
    pub(crate) always: bool,
    /// The sort that tells it all the same, where no two rows have equal keys.
    pub(crate) sort: Option<NodeId>,
    /// Which rows there are hangs on it, too.
    pub(crate) limited: bool,
}

/// See [`Query::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueryKind {
    Select,
    Insert,
    Update,
    Delete,
}

/// A WITH query: its rows are computed once and kept.
#[derive(Debug)]
pub(crate) struct Cte {
    pub(crate) root: NodeId,
    /// What these are bound to is kept, at each poll of the root; none for a data-modifying query without RETURNING.
    pub(crate) slots: Vec<SlotId>,
    pub(crate) modifies: bool,
}

/// Where rows come from and what is done with them.
#[derive(Debug)]
pub(crate) enum Node {
    /// Exactly one row, which binds nothing: `SELECT 1`.
    OneRow,
    /// `VALUES (..), (..)`: each row is written into `slot`.
    Values { slot: SlotId, rows: Vec<Vec<Expr>> },
    /// All visible tuples of a table, in heap order; `bitmap`: in the order in which the versions stand that an index names, from which
    /// others are found.
    SeqScan { slot: SlotId, table: TableId, bitmap: bool, filter: Option<Expr> },
    /// The visible tuples whose first index columns equal `keys`; the order is the index's.
    IndexScan { slot: SlotId, table: TableId, index: IndexId, keys: Vec<Expr>, filter: Option<Expr> },
    /// A system view, computed when the scan begins.
    ViewScan { slot: SlotId, view: View, filter: Option<Expr> },
    /// A function in FROM; with `ordinality`, one more bigint column counts from 1.
    FunctionScan { slot: SlotId, function: TableFunction, args: Vec<Expr>, ordinality: bool, filter: Option<Expr> },
    /// The rows of a WITH query: `slots` are bound to what its own were.
    CteScan { slots: Vec<SlotId>, cte: CteId, filter: Option<Expr> },
    /// For each outer row, the inner rows. `Left`: an outer row without match binds all `inner_slots` to a row of NULLs.
    NestLoop { outer: NodeId, inner: NodeId, kind: JoinKind, on: Option<Expr>, inner_slots: Vec<SlotId> },
    /// The rows for which `condition` is true.
    Filter { input: NodeId, condition: Expr },
    /// Writes the values of `exprs` into `slot`.
    Project { input: NodeId, slot: SlotId, exprs: Vec<Expr> },
    /// Groups by `keys` and writes keys, then aggregates, into `slot`. Without keys: exactly one row.
    Aggregate { input: NodeId, slot: SlotId, keys: Vec<Expr>, aggregates: Vec<Aggregate> },
    /// Reads all its input, orders it, and gives it back with `slots` bound as they were.
    Sort { input: NodeId, slots: Vec<SlotId>, keys: Vec<SortKey> },
    /// Sorts its input by `keys`, of which the first `parts` are those of PARTITION BY, and writes what `calls` come to into `slot`.
    Window { input: NodeId, slots: Vec<SlotId>, slot: SlotId, parts: usize, keys: Vec<SortKey>, calls: Vec<WindowCall> },
    /// Drops rows whose `slot` was seen before.
    Distinct { input: NodeId, slot: SlotId },
    /// OFFSET and LIMIT.
    Limit { input: NodeId, limit: Option<Expr>, offset: Option<Expr> },
    /// UNION ALL: the inputs in turn, each copied from its slot into `slot`.
    Append { inputs: Vec<(NodeId, SlotId)>, slot: SlotId },
    /// INTERSECT and EXCEPT: rows of the first input, copied into `slot`.
    SetOperation { inputs: [(NodeId, SlotId); 2], slot: SlotId, how: Difference },
    /// FOR UPDATE and its weaker forms: locks each row's tuple, waits for whoever has it, and re-checks.
    LockRows { input: NodeId, targets: Vec<RowLockTarget>, again: LockedAgain },
    /// Inserts the row in `source`, whose columns are the table's, in their order, defaults filled in.
    Insert {
        input: NodeId,
        source: SlotId,
        table: TableId,
        on_conflict: Option<OnConflict>,
        returning: Option<Returning>,
    },
    /// Updates the tuple in `target`.
    Update {
        input: NodeId,
        target: SlotId,
        table: TableId,
        set: Vec<(ColumnId, Expr)>,
        recheck: Vec<Expr>,
        returning: Option<Returning>,
    },
    /// Deletes the tuple in `target`.
    Delete { input: NodeId, target: SlotId, table: TableId, recheck: Vec<Expr>, returning: Option<Returning> },
}

/// See [`Node::SetOperation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The rows that the other input has not; else those that it has.
    pub(crate) except: bool,
    /// As often as they come here, less or at most as often as they come there; else each once.
    pub(crate) all: bool,
}

/// See [`Node::NestLoop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinKind {
    Inner,
    Left,
    /// A function in a select list: its rows for each row.
    Each,
}

/// RETURNING: evaluated with `row` bound to the new tuple (DELETE: the old one), written into `slot`.
#[derive(Debug)]
pub(crate) struct Returning {
    /// The slot that RETURNING's column references name. UPDATE and DELETE: the target's own slot.
    pub(crate) row: SlotId,
    pub(crate) slot: SlotId,
    pub(crate) exprs: Vec<Expr>,
}

/// ON CONFLICT.
#[derive(Debug)]
pub(crate) struct OnConflict {
    /// The unique index that arbitrates; none: DO NOTHING on any.
    pub(crate) arbiter: Option<IndexId>,
    pub(crate) action: ConflictAction,
}

/// See [`OnConflict`]. The existing tuple is bound to `existing`, the proposed row to [`EXCLUDED`].
#[derive(Debug)]
pub(crate) enum ConflictAction {
    Nothing,
    Update { existing: SlotId, set: Vec<(ColumnId, Expr)>, condition: Option<Expr> },
}

/// What is asked again of rows that were not the newest version.
#[derive(Debug)]
pub(crate) struct LockedAgain {
    pub(crate) recheck: Vec<Expr>,
    /// Outer joins, inner ones first: where the condition does not hold any more, what the slots were bound to is missing after all.
    pub(crate) missing: Vec<(Expr, Vec<SlotId>)>,
}

/// One table of a FOR UPDATE clause.
#[derive(Debug)]
pub(crate) struct RowLockTarget {
    pub(crate) slot: SlotId,
    pub(crate) table: TableId,
    pub(crate) strength: RowLockStrength,
    pub(crate) wait: WaitPolicy,
}

/// The four strengths of a row lock, weakest first. Source: PostgreSQL, src/include/nodes/lockoptions.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RowLockStrength {
    KeyShare,
    Share,
    NoKeyUpdate,
    Update,
}

/// What to do about a row that another transaction holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitPolicy {
    Block,
    SkipLocked,
    NoWait,
}

/// ORDER BY, one key.
#[derive(Debug, PartialEq)]
pub(crate) struct SortKey {
    pub(crate) expr: Expr,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

/// What is called over a window.
#[derive(Debug)]
pub(crate) enum WindowCall {
    RowNumber,
    Rank,
    DenseRank,
    Aggregate(Aggregate),
}

/// An aggregate call. `count(*)` has no argument.
#[derive(Debug)]
pub(crate) struct Aggregate {
    pub(crate) function: AggregateFunction,
    pub(crate) args: Vec<Expr>,
    pub(crate) distinct: bool,
    pub(crate) filter: Option<Expr>,
    pub(crate) order: Vec<SortKey>,
}

/// System views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// `pg_locks`; its columns are listed in [`crate::catalog::view_columns`].
    Locks,
    /// `pg_database`: one row.
    Databases,
    /// `pg_sequences`
    Sequences,
    /// `pg_sequence`
    SequenceOptions,
    /// A sequence read as a table
    Sequence(SequenceId),
}

/// An expression whose names and types are resolved. Operands have been cast to the operator's type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    Const(Value),
    /// `$1` is 0.
    Param(u16),
    Column {
        slot: SlotId,
        column: ColumnId,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    IsNull {
        expr: Box<Expr>,
        negated: bool,
    },
    /// `IS [NOT] TRUE`, `IS [NOT] FALSE`.
    IsBool {
        expr: Box<Expr>,
        value: bool,
        negated: bool,
    },
    IsDistinct {
        left: Box<Expr>,
        right: Box<Expr>,
        negated: bool,
    },
    /// Both sides have one type; NULL if either is NULL.
    Compare {
        op: CompareOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `left op ANY (array)`, `left op ALL (array)`; `IN (list)` is ANY over an array, too.
    AnyAll {
        op: CompareOp,
        left: Box<Expr>,
        array: Box<Expr>,
        all: bool,
    },
    /// CASE; with an operand, each WHEN has become a comparison.
    Case {
        arms: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    /// Evaluates its arguments only as far as it needs them.
    Coalesce(Vec<Expr>),
    /// ARRAY[..].
    Array(Vec<Expr>),
    /// A pure function or operator of its arguments' values.
    Call {
        function: Function,
        args: Vec<Expr>,
    },
    /// A function that reads or changes the server: may wait.
    ServerCall {
        function: ServerFunction,
        args: Vec<Expr>,
    },
    /// nextval of a known sequence: an identity or serial default.
    NextVal(SequenceId),
    /// An expression that comes to the same each time: it is evaluated when it is first asked for, and kept under a number.
    Once {
        number: u16,
        expr: Box<Expr>,
    },
    /// Of a row whose newest version is bound in place of the one that was found: true if `same` come to the same of both; else what is asked, or
    /// false; refused where the answer is `doubtful`.
    Rechecked {
        same: Vec<Expr>,
        asked: Option<Box<Expr>>,
        doubtful: bool,
    },
    /// A subquery of this statement, run anew for each evaluation.
    Subquery {
        kind: SubqueryKind,
        root: NodeId,
        /// Where its rows' only column stands.
        output: SlotId,
        column: ColumnId,
    },
}

/// How a subquery's rows become a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SubqueryKind {
    Exists {
        negated: bool,
    },
    /// Its only row's only column; NULL without a row; more rows are an error (21000).
    Scalar,
    /// `left op ANY (SELECT ..)`; `IN` is `=`, `NOT IN` is `<> ALL`.
    AnyAll {
        op: CompareOp,
        left: Box<Expr>,
        all: bool,
    },
    /// `ARRAY(SELECT ..)`.
    Array,
}

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompareOp {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
}

/// A statement that is not planned.
#[derive(Debug)]
pub(crate) enum Utility {
    Begin(TransactionModes),
    /// COMMIT and ROLLBACK; `chain`: another transaction like it begins.
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint(SmolStr),
    RollbackTo(SmolStr),
    Release(SmolStr),
    /// PREPARE TRANSACTION.
    Prepare(SmolStr),
    /// COMMIT PREPARED, ROLLBACK PREPARED.
    FinishPrepared {
        gid: SmolStr,
        commit: bool,
    },
    /// SET TRANSACTION.
    SetTransaction(TransactionModes),
    /// SET and SET LOCAL of a known setting.
    Set {
        name: SmolStr,
        value: Option<SmolStr>,
        local: bool,
    },
    Show(SmolStr),
    LockTable {
        tables: Vec<TableId>,
        mode: TableLockMode,
        nowait: bool,
    },
    /// `named`: so many of them are; CASCADE adds the others.
    Truncate {
        tables: Vec<TableId>,
        named: usize,
        restart_identity: bool,
    },
    CreateSchema {
        name: SmolStr,
        if_not_exists: bool,
    },
    /// `sequences` are those of serial and identity columns.
    CreateTable {
        table: Box<TableDef>,
        sequences: Vec<(ColumnId, SequenceDef)>,
        if_not_exists: bool,
    },
    /// `locked`: what it names; `replaced`: by CREATE OR REPLACE.
    CreateView {
        view: Box<ViewDef>,
        replaced: Option<ViewId>,
        locked: Vec<TableId>,
    },
    /// `indexes`: tables, and the places of theirs.
    DropIndex {
        indexes: Vec<(TableId, IndexId)>,
        missing: Vec<SmolStr>,
    },
    DropView {
        views: Vec<ViewId>,
        missing: Vec<SmolStr>,
        cascade: bool,
    },
    CreateIndex {
        table: TableId,
        index: Box<IndexDef>,
        if_not_exists: bool,
    },
    CreateSequence {
        sequence: Box<SequenceDef>,
        if_not_exists: bool,
    },
    /// `def` has columns more, which `fill` gives the rows that are there.
    AlterTable {
        table: TableId,
        def: Box<TableDef>,
        fill: Vec<Value>,
    },
    AlterSequence {
        sequence: SequenceId,
        def: Box<SequenceDef>,
        restart: Option<crate::parse::Restart>,
    },
    DropSequence {
        sequences: Vec<SequenceId>,
        /// As in [`Self::DropTable`].
        names: Vec<SmolStr>,
        missing: Vec<SmolStr>,
    },
    /// COMMENT ON TABLE: nobody reads it.
    Comment {
        table: TableId,
    },
    DropTable {
        tables: Vec<TableId>,
        /// Their names, to be forgotten where they are poisoned.
        names: Vec<SmolStr>,
        /// IF EXISTS: the notices of those that do not.
        missing: Vec<SmolStr>,
        /// With the foreign keys of other tables that refer to them.
        cascade: bool,
    },
    Listen(crate::notify::Listening),
    Notify {
        channel: SmolStr,
        payload: SmolStr,
    },
    /// A definition that could not be done.
    Poison(Box<crate::message::Poison>),
    DropSchema {
        name: SmolStr,
        cascade: bool,
        if_exists: bool,
    },
}

impl Utility {
    /// Whether it takes a snapshot before it does anything, which under REPEATABLE READ is the transaction's. Source: PostgreSQL,
    /// src/backend/tcop/pquery.c, `PlannedStmtRequiresSnapshot`.
    pub(crate) fn takes_snapshot(&self) -> bool {
        !matches!(
            self,
            Self::Begin(_)
                | Self::Commit { .. }
                | Self::Rollback { .. }
                | Self::Savepoint(_)
                | Self::RollbackTo(_)
                | Self::Release(_)
                | Self::SetTransaction(_)
                | Self::Set { .. }
                | Self::Show(_)
                | Self::LockTable { .. }
                | Self::Listen(_)
                | Self::Notify { .. }
        )
    }
}

/// What BEGIN and SET TRANSACTION say; none: not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TransactionModes {
    pub(crate) isolation: Option<Isolation>,
    pub(crate) read_only: Option<bool>,
    /// READ UNCOMMITTED was said: what `transaction_isolation` tells then.
    pub(crate) other_name: Option<&'static str>,
}

/// Isolation levels. READ UNCOMMITTED is READ COMMITTED in all but its name, as in PostgreSQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Isolation {
    #[default]
    ReadCommitted,
    RepeatableRead,
    /// REPEATABLE READ, watched: see [`crate::mvcc::Serializable`].
    Serializable,
}

impl Isolation {
    /// Whether a transaction has one snapshot for all its statements.
    pub(crate) fn keeps_snapshot(self) -> bool {
        self != Self::ReadCommitted
    }
}

/// Table lock modes, weakest first. Source: PostgreSQL, src/include/storage/lockdefs.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TableLockMode {
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}
