//! Execution: a plan's nodes are polled for rows, and everything that is known on the way is plain data.
//!
//! An [`Activation`] is the state of one statement: where each node is, what each slot is bound to, which rows a WITH query has given.
//! [`Exec::poll`] asks a node for its next row, and the node asks its inputs. Where a lock cannot be had, the request is put into
//! its queue and [`Interrupt::Wait`] goes up through all polls; each node has written down how far it was *before* it asked for
//! anything that may wait. When the lock was granted, the root is polled again, each node goes on where it was, and the request that
//! waited is made once more: now it finds the lock held. So a suspended statement needs neither a thread nor a future, and
//! can be copied, compared and thrown away.
//!
//! An expression that waits, `pg_advisory_lock(1)` in a WHERE clause, is evaluated again from its beginning. What its volatile
//! functions have already done for this row is remembered in [`Memo`] and given out again, not done twice.

mod aggregate;
mod budget;
mod build;
mod call;
mod conflict;
mod delete;
mod expr;
mod foreign_key;
mod generated;
mod insert;
mod query;
mod read_only;
mod row_lock;
mod scan;
mod sort;
#[cfg(test)]
mod tests;
mod update;
mod utility;
mod view;
mod views;
mod window;

use budget::Budget;
pub(crate) use budget::{UNITS, is_little, is_small};
pub(crate) use call::process_id;
pub(crate) use expr::any_all;
pub(crate) use foreign_key::Checks;
pub(crate) use read_only::name_of_query;
pub(crate) use row_lock::excludes as rows_exclude;
pub(crate) use utility::columns_of;
pub(crate) use view::Names;

use crate::catalog::TableId;
use crate::error::Error;
use crate::footprint::{Access, Lock};
use crate::lock::{End, LockTag, Request, Waiter};
use crate::message::Message;
use crate::mvcc::{Snapshot, TupleId, Xid};
use crate::plan::{Body, CteId, EXCLUDED, Isolation, Node, NodeId, Plan, Query, QueryKind, SlotId, TableLockMode};
use crate::rows::Rows;
use crate::server::{Answer, CommandTag, Core};
use crate::session::Block;
use crate::types::Value;

/// How far a statement got.
pub(crate) enum Flow {
    Done(Answer),
    Waits,
    /// It has its snapshot.
    Paused,
    Failed(Error),
}

/// Why a poll has no answer.
#[derive(Debug)]
pub(crate) enum Interrupt {
    /// A request stands in a queue. Poll again when it was granted.
    Wait,
    /// The snapshot was taken, and a pause was asked for.
    Pause,
    Error(Box<Error>),
}

impl From<Error> for Interrupt {
    fn from(error: Error) -> Self {
        Self::Error(Box::new(error))
    }
}

/// A node's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// Its slots are bound to a row.
    Row,
    End,
}

/// What a slot is bound to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Slot {
    #[default]
    Unbound,
    Tuple {
        table: TableId,
        tuple: TupleId,
    },
    /// The missing side of an outer join.
    Nulls,
    /// Values that stand in [`Activation::values`].
    Values(u16),
    /// Values that stand in [`Activation::buffers`], from `start` on.
    Buffer {
        buffer: u16,
        width: u16,
        start: u32,
    },
}

/// How far a node is. What the numbers mean is the node's own business.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeState {
    pub(crate) stage: Stage,
    pub(crate) at: u32,
    pub(crate) end: u32,
    /// Where the last row stands in its table.
    pub(crate) last: u32,
    pub(crate) flag: bool,
}

/// What a node does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing was done since it was rescanned.
    #[default]
    Fresh,
    /// Ask the (first) input for a row.
    Input,
    /// Ask the inner input for a row, or compute with the row that is bound.
    Work,
    /// Look for a conflict.
    Probe,
    /// Act on the conflict that was found.
    Resolve,
    /// Write.
    Write,
    /// Lock the newest version.
    Newest,
    /// Ask whether the newest version still qualifies.
    Recheck,
    /// Enter what was written into the indexes.
    Enter,
    /// Give it back.
    Return,
    Done,
}

/// The results of volatile calls for the row that is being worked on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memo {
    results: Vec<Value>,
    next: usize,
    /// Inside how many subqueries.
    depth: u32,
}

/// The rows of a WITH query so far.
#[derive(Clone, Debug, Default)]
struct CteState {
    rows: u32,
    done: bool,
    /// What its slots were bound to, row by row.
    bound: Vec<Slot>,
    memo: Memo,
}

/// How far a statement is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Locks,
    Rows,
    Ctes,
}

/// The state of a statement. A session has one and uses it again and again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activation {
    phase: Phase,
    /// Whether it stops once it has its snapshot.
    pub(crate) pause: bool,
    /// How many table locks it has; after that, how many WITH queries it has run to their ends.
    at: usize,
    params: Vec<Value>,
    pub(crate) snapshot: Snapshot,
    slots: Vec<Slot>,
    values: Vec<Vec<Value>>,
    nodes: Vec<NodeState>,
    /// One a node, then one a WITH query.
    buffers: Vec<Vec<Value>>,
    lists: Vec<Vec<TupleId>>,
    sorts: Vec<sort::Sorted>,
    groups: Vec<aggregate::Groups>,
    ctes: Vec<CteState>,
    memo: Memo,
    /// What each [`crate::plan::Expr::Once`] came to.
    onces: Vec<Option<Value>>,
    /// The foreign keys that have to be checked when its rows are written.
    foreign: foreign_key::Queue,
    /// It is a check under REPEATABLE READ: it reads what is committed now, and fails where it would write what the transaction does not see.
    latest: bool,
    /// Slots whose row had a newer version: what was bound, and what is bound in its place.
    replaced: Vec<(SlotId, Slot, TupleId)>,
    /// The row that it waits for, and who was changing it.
    waited_for: Option<(TableId, TupleId, Option<Xid>)>,
    budget: Budget,
    order: sort::Order,
    affected: u64,
    rows: Vec<Value>,
    count: usize,
}

impl Activation {
    /// Whether it is past its table locks.
    pub(crate) fn has_snapshot(&self) -> bool {
        self.phase != Phase::Locks
    }

    /// Whether the rows' order, as far as a query leaves it open, is PostgreSQL's.
    pub(crate) fn shows_order(&self) -> bool {
        !self.order.doubtful && (self.order.told || !self.order.open)
    }

    /// The parameters, for a statement that is started again.
    pub(crate) fn take_params(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.params)
    }

    /// Prepares for a statement.
    fn begin(&mut self, query: &Query) {
        self.phase = Phase::Locks;
        self.at = 0;
        let slots = usize::from(query.slots) + 2;
        if self.values.len() < slots {
            self.values.resize(slots, Vec::new());
            self.slots.resize(slots, Slot::Unbound);
        }
        if self.nodes.len() < query.nodes.len() {
            self.nodes.resize(query.nodes.len(), NodeState::default());
        }
        self.slots[..slots].fill(Slot::Unbound);
        self.nodes[..query.nodes.len()].fill(NodeState::default());
        let buffers = query.nodes.len() + query.ctes.len();
        if self.buffers.len() < buffers {
            self.buffers.resize(buffers, Vec::new());
            self.lists.resize(buffers, Vec::new());
            self.sorts.resize(buffers, sort::Sorted::default());
        }
        if self.ctes.len() < query.ctes.len() {
            self.ctes.resize(query.ctes.len(), CteState::default());
        }
        for cte in &mut self.ctes[..query.ctes.len()] {
            cte.rows = 0;
            cte.done = false;
            cte.bound.clear();
            if !cte.memo.results.is_empty() {
                cte.memo.results.clear();
            }
        }
        for buffer in &mut self.buffers[query.nodes.len()..buffers] {
            buffer.clear();
        }
        if !self.memo.results.is_empty() {
            self.memo.results.clear();
        }
        (self.memo.next, self.memo.depth) = (0, 0);
        if query.onces > 0 {
            self.onces.clear();
            self.onces.resize(usize::from(query.onces), None);
        }
        self.foreign.clear();
        self.latest = false;
        self.replaced.clear();
        self.waited_for = None;
        self.budget = Budget::default();
        self.order = sort::Order { open: query.order.always, ..sort::Order::default() };
        self.affected = 0;
        if !self.rows.is_empty() {
            self.rows.clear();
        }
        self.count = 0;
    }
}

/// The place of a slot in [`Activation::slots`]: [`EXCLUDED`] and [`crate::plan::OWN_ROW`] are the first two.
#[inline]
fn place(slot: SlotId) -> usize {
    usize::from(slot.wrapping_add(SlotId::MAX - EXCLUDED + 1))
}

/// Execution of a planned statement.
pub(crate) struct Exec<'a> {
    core: &'a mut Core,
    query: &'a Query,
    act: &'a mut Activation,
    me: u16,
}

/// The error of a statement whose `statement_timeout` has passed.
pub(crate) fn timed_out() -> Error {
    Error::new("57014", "canceling statement due to statement timeout")
}

/// Starts a statement.
pub(crate) fn start(core: &mut Core, me: u16, plan: &Plan, params: impl FnOnce(&mut Vec<Value>)) -> Flow {
    let given = &mut core.session_mut(me).activation().params;
    given.clear();
    params(given);
    let (given, wanted) = (given.len(), plan.params.len());
    if given != wanted {
        let message = format!("bind message supplies {given} parameters, but prepared statement requires {wanted}");
        return Flow::Failed(Error::new("08P01", message));
    }
    match &core.session(me).transaction {
        Some(open) if open.failed && !plan.ends_failure() => return Flow::Failed(Error::aborted()),
        Some(_) => {}
        None => {
            let several = core.session(me).message.as_ref().is_some_and(Message::is_of_several);
            let block = if several { Block::Implicit } else { Block::Single };
            core.begin(me, block, crate::plan::TransactionModes::default());
        }
    }
    if let Body::Query(query) = &plan.body {
        core.session_mut(me).activation().begin(query);
    }
    if let Body::Utility(utility) = &plan.body
        && utility.takes_snapshot()
    {
        core.take_snapshot(me, &mut Snapshot::default());
        if core.transaction(me).isolation.keeps_snapshot() {
            core.note(|| Access::KeepSnapshot);
        }
    }
    resume(core, me, plan)
}

/// Whether a statement that waits does so before it has begun to read.
pub(crate) fn waits_for_table(core: &Core, me: u16, plan: &Plan) -> bool {
    matches!(plan.body, Body::Utility(_))
        || core.session(me).activation_ref().is_some_and(|act| act.phase == Phase::Locks)
}

/// How many nodes can be polled one in another on any thread's stack.
const NODES_ON_ANY_STACK: usize = 64;
/// What a node takes at most, without optimisation, in bytes.
const STACK_OF_A_NODE: usize = 16 << 10;

/// Starts or goes on with a statement.
pub(crate) fn resume(core: &mut Core, me: u16, plan: &Plan) -> Flow {
    let query = match &plan.body {
        Body::Query(query) => query,
        Body::Utility(utility) => {
            if core.watches {
                core.touch_utility(utility);
            }
            return match core.run_utility(me, utility) {
                Ok(answer) => Flow::Done(answer),
                Err(Interrupt::Wait) => Flow::Waits,
                Err(Interrupt::Pause) => Flow::Paused,
                Err(Interrupt::Error(error)) => Flow::Failed(*error),
            };
        }
    };
    let mut act = core.session_mut(me).take_activation();
    let mut exec = Exec { core, query, act: &mut act, me };
    let nodes = query.nodes.len();
    // A chain of WITH queries, and a join of many, is polled as deep as it is long.
    let ran = if nodes <= NODES_ON_ANY_STACK {
        exec.run()
    } else {
        stacker::maybe_grow(nodes * STACK_OF_A_NODE, nodes * STACK_OF_A_NODE + (1 << 20), || exec.run())
    };
    let ran = ran.and_then(|()| exec.check_foreign_keys());
    let flow = match ran {
        Ok(()) => {
            let tag = match query.kind {
                QueryKind::Select => CommandTag::Select,
                QueryKind::Insert => CommandTag::Insert,
                QueryKind::Update => CommandTag::Update,
                QueryKind::Delete => CommandTag::Delete,
            };
            let affected = if tag == CommandTag::Select { act.count as u64 } else { act.affected };
            let rows = Rows::new(plan.columns.len(), act.count, std::mem::take(&mut act.rows));
            Flow::Done(Answer { tag, affected, rows })
        }
        Err(Interrupt::Wait) => Flow::Waits,
        Err(Interrupt::Pause) => Flow::Paused,
        Err(Interrupt::Error(error)) => Flow::Failed(*error),
    };
    core.session_mut(me).put_activation(act);
    flow
}

impl Exec<'_> {
    fn run(&mut self) -> Result<(), Interrupt> {
        if self.act.phase == Phase::Locks {
            // A transaction's one snapshot is taken for parse analysis already, before table locks are waited for; READ COMMITTED
            // takes another one to execute with (`exec_simple_query`, `exec_bind_message`).
            if self.isolation().keeps_snapshot() {
                self.core.take_snapshot(self.me, &mut self.act.snapshot);
            }
            while let Some((table, mode)) = self.query.locks.get(self.act.at) {
                self.core.lock_table(self.me, *table, *mode)?;
                self.act.at += 1;
            }
            self.core.take_snapshot(self.me, &mut self.act.snapshot);
            if self.act.latest {
                self.core.xacts.snapshot(self.me, &mut self.act.snapshot);
            }
            if self.core.watches {
                self.core.touch_query(self.me, self.query);
            }
            if self.isolation().keeps_snapshot() {
                self.core.note(|| Access::KeepSnapshot);
            }
            if let Some(error) = &self.query.fails {
                return Err(error.clone().into());
            }
            if let Some(command) = self.query.writes {
                self.core.prevent_if_read_only(self.me, command)?;
            }
            if self.isolation() == Isolation::Serializable {
                self.core.note(|| Access::Everything);
                let (reads, writes) = crate::compile::visit::reads_and_writes(&self.query.nodes);
                self.core.serializable.note(self.me, &reads, &writes)?;
            }
            self.act.phase = Phase::Rows;
            self.act.at = 0;
            if std::mem::take(&mut self.act.pause) {
                return Err(Interrupt::Pause);
            }
        }
        (self.act.memo.next, self.act.memo.depth) = (0, 0);
        if self.act.phase == Phase::Rows {
            while self.poll(self.query.root)? == Polled::Row {
                self.act.count += 1;
                if let Some(output) = self.query.output {
                    self.spend(1 + self.width(self.bound(output)))?;
                    self.emit(output);
                }
            }
            self.act.phase = Phase::Ctes;
        }
        // Those that write and were not read to their ends; the last first, as PostgreSQL's ExecPostprocessPlan has it.
        while let Some(cte) = self.query.ctes.len().checked_sub(self.act.at + 1) {
            let cte = CteId::try_from(cte).expect("a plan's numbers fit");
            while self.query.ctes[usize::from(cte)].modifies && self.pull_cte(cte)? {}
            self.act.at += 1;
        }
        Ok(())
    }

    /// Adds the row in a slot to the answer.
    fn emit(&mut self, output: SlotId) {
        match self.bound(output) {
            Slot::Values(at) => self.act.rows.append(&mut self.act.values[usize::from(at)]),
            slot => {
                let mut rows = std::mem::take(&mut self.act.rows);
                rows.extend_from_slice(self.row(slot));
                self.act.rows = rows;
            }
        }
    }

    /// The next row of a node.
    fn poll(&mut self, node: NodeId) -> Result<Polled, Interrupt> {
        match &self.query.nodes[usize::from(node)] {
            Node::OneRow => Ok(self.once(node)),
            Node::Values { slot, rows } => self.poll_values(node, *slot, rows),
            Node::SeqScan { slot, table, bitmap, filter } => {
                self.poll_seq_scan(node, *slot, (*table, *bitmap), filter.as_ref())
            }
            Node::IndexScan { slot, table, index, keys, filter } => {
                self.poll_index_scan(node, *slot, (*table, *index), keys, filter.as_ref())
            }
            Node::ViewScan { slot, view, filter } => self.poll_view(node, *slot, *view, filter.as_ref()),
            Node::FunctionScan { slot, function, args, ordinality, filter } => {
                self.poll_function(node, *slot, (*function, *ordinality), args, filter.as_ref())
            }
            Node::CteScan { slots, cte, filter } => self.poll_cte_scan(node, slots, *cte, filter.as_ref()),
            Node::NestLoop { outer, inner, kind, on, inner_slots } => {
                self.poll_nest_loop(node, (*outer, *inner), *kind, on.as_ref(), inner_slots)
            }
            Node::Filter { input, condition } => self.poll_filter(node, *input, condition),
            Node::Project { input, slot, exprs } => self.poll_project(node, *input, *slot, exprs),
            Node::Aggregate { input, slot, keys, aggregates } => {
                self.poll_aggregate(node, *input, *slot, keys, aggregates)
            }
            Node::Sort { input, slots, keys } => self.poll_sort(node, *input, slots, keys),
            Node::Window { .. } => self.poll_window(node),
            Node::Distinct { input, slot } => self.poll_distinct(node, *input, *slot),
            Node::Limit { input, limit, offset } => self.poll_limit(node, *input, limit.as_ref(), offset.as_ref()),
            Node::Append { inputs, slot } => self.poll_append(node, inputs, *slot),
            Node::SetOperation { inputs, slot, how } => self.poll_set_operation(node, *inputs, *slot, *how),
            Node::LockRows { input, targets, again } => self.poll_lock_rows(node, *input, targets, again),
            Node::Insert { input, source, table, on_conflict, returning } => {
                let insert = insert::InsertNode { node, input: *input, source: *source, table: *table };
                self.poll_insert(insert, on_conflict.as_ref(), returning.as_ref())
            }
            Node::Update { input, target, table, set, recheck, returning } => {
                let update = update::UpdateNode { node, input: *input, target: *target, table: *table, set, recheck };
                self.poll_update(&update, returning.as_ref())
            }
            Node::Delete { input, target, table, recheck, returning } => {
                let delete = delete::DeleteNode { node, input: *input, target: *target, table: *table, recheck };
                self.poll_delete(&delete, returning.as_ref())
            }
        }
    }

    #[inline]
    fn state(&mut self, node: NodeId) -> &mut NodeState {
        &mut self.act.nodes[usize::from(node)]
    }

    /// What a slot is bound to.
    #[expect(clippy::inline_always, reason = "each expression comes through here")]
    #[inline(always)]
    fn bound(&self, slot: SlotId) -> Slot {
        self.act.slots[place(slot)]
    }

    #[inline]
    fn bind(&mut self, slot: SlotId, to: Slot) {
        self.act.slots[place(slot)] = to;
    }

    /// Binds a slot to values of its own, which are put where this says.
    fn bind_values(&mut self, slot: SlotId) -> usize {
        let place = place(slot);
        self.act.slots[place] = Slot::Values(u16::try_from(place).expect("a plan's numbers fit"));
        place
    }

    fn tuple(&self, slot: SlotId) -> Option<TupleId> {
        match self.bound(slot) {
            Slot::Tuple { tuple, .. } => Some(tuple),
            _ => None,
        }
    }

    fn isolation(&self) -> Isolation {
        self.core.transaction(self.me).isolation
    }

    /// Stands in line for a lock that cannot be had at once. Ok: it was had after all.
    fn wait(&mut self, tag: LockTag, mode: TableLockMode) -> Result<(), Interrupt> {
        self.core.wait(self.me, tag, mode)
    }
}

impl Core {
    /// The snapshot of a statement that begins now.
    pub(crate) fn take_snapshot(&mut self, me: u16, into: &mut Snapshot) {
        let transaction =
            self.sessions[usize::from(me)].transaction.as_mut().expect("a statement runs in a transaction");
        if let Some(kept) = &transaction.snapshot {
            into.clone_from(kept);
        } else {
            self.xacts.snapshot(me, into);
            if transaction.isolation.keeps_snapshot() {
                transaction.snapshot = Some(into.clone());
            }
        }
        transaction.has_snapshot = true;
        into.command = transaction.command;
    }

    /// Locks a table, waiting if need be.
    pub(crate) fn lock_table(&mut self, me: u16, table: TableId, mode: TableLockMode) -> Result<(), Interrupt> {
        self.note(|| Access::Take(Lock::Table(table, mode)));
        if self.locks.lock_table(me, table, mode) { Ok(()) } else { self.wait(me, LockTag::Table(table), mode) }
    }

    /// Stands in line for a lock that cannot be had at once. Ok: it was had after all.
    pub(crate) fn wait(&mut self, me: u16, tag: LockTag, mode: TableLockMode) -> Result<(), Interrupt> {
        let session = self.session(me);
        let settings = &session.settings;
        let lock = settings.lock_timeout().map(|limit| (self.clock + limit, End::TimedOut));
        let statement = session.statement_ends.map(|at| (at, End::StatementTimedOut));
        // Of two that pass at once, `lock_timeout` is told. Source: PostgreSQL, `ProcessInterrupts`.
        let deadline = lock.into_iter().chain(statement).min_by_key(|(at, _)| *at);
        let check = self.locks.timed.then(|| self.clock + settings.deadlock_timeout());
        let waiter = Waiter { session: me, tag, mode, deadline, check, number: 0 };
        match self.locks.wait(waiter, &self.xacts) {
            Request::Granted => Ok(()),
            Request::Waits => Err(Interrupt::Wait),
            Request::Deadlock => Err(Error::new("40P01", "deadlock detected").into()),
        }
    }
}
