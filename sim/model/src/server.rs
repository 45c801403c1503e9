//! The server: what a client calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::catalog::{Catalog, Relation, TableId};
use crate::compile::compile;
use crate::error::Error;
use crate::exec::{self, Activation, Flow};
use crate::footprint::{Access, Trail};
use crate::lock::End;
use crate::lock::Locks;
use crate::message::{Piece, Poisoned, Touch};
use crate::mvcc::{Serializable, Table, Xacts};
use crate::parse::Parsed;
use crate::plan::Plan;
use crate::rows::Rows;
use crate::sequence::Sequence;
use crate::session::{Block, Session, Waiting};
use crate::types::{Type, Value};

/// A session's number, from 0; a closed session's number is given out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

impl SessionId {
    pub(crate) fn number(self) -> u16 {
        u16::try_from(self.0).expect("a session of this server")
    }
}

/// A prepared statement. It is the server's, for all sessions, and outlives [`Server::reset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared(u32);

/// What became of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was executed.
    Done(Answer),
    /// It waits for a lock; its outcome comes from [`Server::next_woken`].
    Waits,
    /// It has taken its snapshot and has not begun to read: [`Server::proceed`] goes on with it.
    Paused,
    /// It failed, and rolled back what PostgreSQL rolls back.
    Failed(Error),
}

/// What a statement answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What was done. A COMMIT of a failed transaction answers `Rollback`.
    pub tag: CommandTag,
    /// How many rows it wrote, or returned if it only reads.
    pub affected: u64,
    /// The rows that it returns.
    pub rows: Rows,
}

/// What kind of statement was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are PostgreSQL's")]
pub enum CommandTag {
    Begin,
    Commit,
    Rollback,
    Select,
    Insert,
    Update,
    Delete,
    /// Any other, by PostgreSQL's name for it.
    Other(&'static str),
}

/// A table, found once by name and then read often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableHandle(TableId);

/// Everything but the plans.
#[derive(Clone, Debug)]
pub(crate) struct Core {
    pub(crate) catalog: Catalog,
    /// By the catalog's numbers, as are the sequences; where the number is something else's, an empty one.
    pub(crate) tables: Vec<Table>,
    pub(crate) sequences: Vec<Sequence>,
    pub(crate) xacts: Xacts,
    pub(crate) locks: Locks,
    pub(crate) serializable: Serializable,
    /// Whose open transaction has done DDL: [`Core::catalog`] is its own.
    pub(crate) ddl_owner: Option<u16>,
    /// Whether another session's catalog is in use instead.
    pub(crate) exchanged: bool,
    /// Whether [`Core::touch`] is kept.
    pub(crate) watches: bool,
    pub(crate) touch: Touch,
    pub(crate) sessions: Vec<Session>,
    /// Microseconds since the Unix epoch, virtual.
    pub(crate) clock: i64,
    /// What messages have cost, as statements' budgets count it.
    pub(crate) spent: u64,
    pub(crate) commits: u64,
    /// By table: commits of transactions that may have written to it.
    pub(crate) changes: Vec<u64>,
    /// The storage of tables that were truncated since [`Server::keep`], for [`Server::reset`].
    pub(crate) put_aside: Vec<(TableId, Table)>,
    /// Footprints, where they are wanted.
    pub(crate) trail: Option<Box<Trail>>,
    /// The queries that foreign keys are checked with.
    pub(crate) checks: exec::Checks,
    /// Texts that views and functions give.
    pub(crate) names: exec::Names,
}

/// What [`Server::reset`] puts back that does not stand in the tables themselves.
#[derive(Clone, Debug)]
struct Kept {
    catalog: Catalog,
    sequences: Vec<Sequence>,
    sessions: usize,
    clock: i64,
    commits: u64,
}

#[derive(Clone, Debug)]
struct Statement {
    sql: SmolStr,
    /// None: it stands for no text, and is never compiled anew.
    parsed: Option<Arc<Parsed>>,
    plan: Arc<Plan>,
    /// Of the catalog that it was compiled under.
    version: u64,
}

/// A database server in memory, with one database. See the [crate's documentation](crate).
#[derive(Clone, Debug)]
pub struct Server {
    pub(crate) core: Core,
    statements: Vec<Statement>,
    by_text: BTreeMap<SmolStr, Prepared>,
    /// The statements of each message that was sent.
    pub(crate) messages: BTreeMap<SmolStr, Arc<[Piece]>>,
    /// What is done instead of a definition that is refused.
    pub(crate) poisons: BTreeMap<SmolStr, Poisoned>,
    kept: Kept,
}

/// 2020-01-01 00:00:00 UTC.
const FIRST_CLOCK: i64 = 1_577_836_800_000_000;

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// An empty database.
    pub fn new() -> Self {
        let core = Core {
            catalog: Catalog::new(),
            tables: Vec::new(),
            sequences: Vec::new(),
            xacts: Xacts::new(),
            locks: Locks::default(),
            serializable: Serializable::default(),
            ddl_owner: None,
            exchanged: false,
            watches: false,
            touch: Touch::default(),
            sessions: Vec::new(),
            clock: FIRST_CLOCK,
            commits: 0,
            spent: 0,
            changes: Vec::new(),
            put_aside: Vec::new(),
            trail: None,
            checks: exec::Checks::default(),
            names: exec::Names::new(),
        };
        let kept =
            Kept { catalog: core.catalog.clone(), sequences: Vec::new(), sessions: 0, clock: FIRST_CLOCK, commits: 0 };
        Self {
            core,
            statements: Vec::new(),
            by_text: BTreeMap::new(),
            messages: BTreeMap::new(),
            poisons: BTreeMap::new(),
            kept,
        }
    }

    /// Opens a session.
    pub fn connect(&mut self) -> SessionId {
        let number = self.core.free_session();
        self.core.session_mut(number).connected = true;
        SessionId(number.into())
    }

    /// What a session's `application_name` is when its program connects, and what the program sets then.
    pub fn introduce(&mut self, session: SessionId, program: &str, application_name: &str) {
        self.core.session_mut(session.number()).settings.introduce(program, application_name);
    }

    /// Closes a session: what it waits for is forgotten, its transaction is rolled back, its locks are released.
    pub fn disconnect(&mut self, session: SessionId) {
        self.core.disconnect(session.number());
    }

    /// Parses and compiles one statement. The same text gives the same statement.
    pub fn prepare(&mut self, sql: &str) -> Result<Prepared, Error> {
        self.prepare_with(sql, || crate::parse::parse_one(sql).map(Arc::new))
    }

    /// The same, of a text that is parsed already.
    pub(crate) fn prepare_parsed(&mut self, sql: &str, parsed: &Arc<Parsed>) -> Result<Prepared, Error> {
        self.prepare_with(sql, || Ok(parsed.clone()))
    }

    fn prepare_with(
        &mut self,
        sql: &str,
        parsed: impl FnOnce() -> Result<Arc<Parsed>, Error>,
    ) -> Result<Prepared, Error> {
        if let Some(known) = self.by_text.get(sql).copied() {
            self.refresh(known)?;
            return Ok(known);
        }
        let parsed = parsed()?;
        let plan = Arc::new(compile(&parsed, &self.core.catalog)?);
        let (sql, version) = (SmolStr::from(sql), self.core.catalog.version());
        let prepared = self.add(Statement { sql: sql.clone(), parsed: Some(parsed), plan, version });
        self.by_text.insert(sql, prepared);
        Ok(prepared)
    }

    /// A plan that stands for no text.
    pub(crate) fn adopt(&mut self, plan: Plan) -> Prepared {
        self.add(Statement { sql: "".into(), parsed: None, plan: Arc::new(plan), version: 0 })
    }

    fn add(&mut self, statement: Statement) -> Prepared {
        self.statements.push(statement);
        Prepared(u32::try_from(self.statements.len() - 1).expect("fewer than 2^32 statements"))
    }

    /// Compiles a statement anew if the catalog has changed.
    fn refresh(&mut self, prepared: Prepared) -> Result<(), Error> {
        let statement = &mut self.statements[prepared.0 as usize];
        if statement.version != self.core.catalog.version()
            && let Some(parsed) = &statement.parsed
        {
            statement.plan = Arc::new(compile(parsed, &self.core.catalog)?);
            statement.version = self.core.catalog.version();
        }
        Ok(())
    }

    /// Names and types of the columns that a statement answers with.
    pub fn columns(&self, prepared: Prepared) -> impl ExactSizeIterator<Item = (&str, Type)> {
        self.statements[prepared.0 as usize].plan.columns.iter().map(|(name, ty)| (&**name, *ty))
    }

    /// What leaves the order of a statement's rows open, and whether it hangs on that which rows there are.
    pub(crate) fn order_left_open_by(&self, prepared: Prepared) -> Option<(&'static str, bool)> {
        match &self.statements[prepared.0 as usize].plan.body {
            crate::plan::Body::Query(query) => Some((query.order.left_open_by?, query.order.limited)),
            crate::plan::Body::Utility(_) => None,
        }
    }

    /// The types of a statement's parameters.
    pub fn params(&self, prepared: Prepared) -> &[Type] {
        &self.statements[prepared.0 as usize].plan.params
    }

    /// Executes a statement on a session that waits for nothing. Outside a transaction block it is a transaction of its own.
    pub fn execute(&mut self, session: SessionId, prepared: Prepared, params: &[Value]) -> Outcome {
        self.execute_with(session, prepared, |into| into.extend_from_slice(params))
    }

    /// [`Server::execute`] with parameters that are made where they are needed: `params` is given an empty list to put them into.
    pub fn execute_with(
        &mut self,
        session: SessionId,
        prepared: Prepared,
        params: impl FnOnce(&mut Vec<Value>),
    ) -> Outcome {
        self.start(session, prepared, false, params)
    }

    /// The first half of [`Server::execute`]: takes the statement's table locks and its snapshot, and stops. What others commit between the two
    /// halves it does not see, but its locks and volatile functions meet. A statement that takes no snapshot, BEGIN or LOCK TABLE, does not stop.
    ///
    /// Between the snapshot and the first row, a server's statement can be held up for as long as anything: a process is not scheduled, a
    /// page is read. What is right only if nothing comes between is wrong.
    pub fn execute_to_snapshot(&mut self, session: SessionId, prepared: Prepared, params: &[Value]) -> Outcome {
        self.start(session, prepared, true, |into| into.extend_from_slice(params))
    }

    /// The second half of a statement that stopped ([`Outcome::Paused`]).
    pub fn proceed(&mut self, session: SessionId) -> Outcome {
        let me = session.number();
        let paused = self.core.session_mut(me).waiting.take_if(|waiting| waiting.paused);
        let Waiting { prepared, plan, .. } = paused.unwrap_or_else(|| panic!("session {me} is not paused"));
        let entered = self.core.enter(me);
        let flow = exec::resume(&mut self.core, me, &plan);
        let outcome = self.core.finish(me, prepared, &plan, flow);
        if entered {
            self.core.leave();
        }
        outcome
    }

    fn start(
        &mut self,
        session: SessionId,
        prepared: Prepared,
        pause: bool,
        params: impl FnOnce(&mut Vec<Value>),
    ) -> Outcome {
        let me = session.number();
        assert!(self.core.session(me).connected, "session {me} is not connected");
        assert!(self.core.session(me).waiting.is_none(), "session {me} is at work: its statement is not done");
        let entered = self.core.enter(me);
        let outcome = if let Err(error) = self.refresh(prepared) {
            let error = self.core.judged(me, &self.statements[prepared.0 as usize].sql, error);
            Outcome::Failed(self.core.fail_to_compile(me, error))
        } else {
            let plan = &self.statements[prepared.0 as usize].plan;
            let clock = self.core.clock;
            let session = self.core.session_mut(me);
            session.statement_ends = session.settings.statement_timeout().map(|limit| clock + limit);
            session.activation().pause = pause;
            let flow = exec::start(&mut self.core, me, plan, params);
            self.core.finish(me, prepared, plan, flow)
        };
        if entered {
            self.core.leave();
        }
        outcome
    }

    /// Prepares and executes one statement without parameters.
    pub fn query(&mut self, session: SessionId, sql: &str) -> Outcome {
        let entered = self.core.enter(session.number());
        let outcome = match self.prepare(sql) {
            Ok(prepared) => self.execute(session, prepared, &[]),
            Err(error) => {
                let error = self.core.judged(session.number(), sql, error);
                Outcome::Failed(self.core.fail_to_compile(session.number(), error))
            }
        };
        if entered {
            self.core.leave();
        }
        outcome
    }

    /// Whether a wait is over, so that [`Server::next_woken`] is worth asking.
    pub fn has_woken(&self) -> bool {
        !self.core.locks.granted.is_empty()
    }

    /// Goes on with the next statement whose wait is over, in the order in which the locks were granted, until one has an
    /// outcome. One that waits again is not reported.
    pub fn next_woken(&mut self) -> Option<(SessionId, Outcome)> {
        self.go_on_with_next().map(|(me, _, outcome)| (SessionId(u32::from(me)), outcome))
    }

    /// The same, with the statement.
    pub(crate) fn go_on_with_next(&mut self) -> Option<(u16, Prepared, Outcome)> {
        while let Some((me, end)) = self.core.locks.next_granted() {
            let Some(waiting) = self.core.session_mut(me).waiting.take() else { continue };
            let prepared = waiting.prepared;
            let entered = self.core.enter(me);
            let outcome = self.go_on(me, waiting, end);
            if entered {
                self.core.leave();
            }
            if outcome != Outcome::Waits {
                return Some((me, prepared, outcome));
            }
        }
        None
    }

    fn go_on(&mut self, me: u16, waiting: Waiting, end: End) -> Outcome {
        let Waiting { prepared, mut plan, version, paused: _ } = waiting;
        let flow = if end == End::TimedOut {
            Flow::Failed(Error::new("55P03", "canceling statement due to lock timeout"))
        } else if end == End::StatementTimedOut {
            Flow::Failed(exec::timed_out())
        } else if end == End::Deadlock {
            Flow::Failed(Error::new("40P01", "deadlock detected"))
        } else if version != self.core.catalog.version() && exec::waits_for_table(&self.core, me, &plan) {
            // PostgreSQL waits for a table in parse analysis, and looks the names up again afterwards.
            let params = self.core.session_mut(me).activation().take_params();
            match self.refresh(prepared).and_then(|()| self.check_result_type(me, prepared)) {
                Ok(()) => {
                    plan = self.statements[prepared.0 as usize].plan.clone();
                    exec::start(&mut self.core, me, &plan, |into| *into = params)
                }
                Err(error) => Flow::Failed(error),
            }
        } else {
            exec::resume(&mut self.core, me, &plan)
        };
        self.core.finish(me, prepared, &plan, flow)
    }

    /// Whether a session's statement waits.
    pub fn is_waiting(&self, session: SessionId) -> bool {
        self.core.session(session.number()).waiting.as_ref().is_some_and(|waiting| !waiting.paused)
    }

    /// The sessions that a waiting session waits for, as `pg_blocking_pids` lists them, but for prepared transactions, which have no session.
    pub fn blockers(&self, session: SessionId) -> Vec<SessionId> {
        let mut blockers = self.core.locks.blockers(session.number(), &self.core.xacts);
        blockers.retain(|blocker| self.core.session(*blocker).connected);
        blockers.into_iter().map(|blocker| SessionId(u32::from(blocker))).collect()
    }

    /// What `pg_backend_pid()` gives on a session.
    pub fn process_id(&self, session: SessionId) -> i64 {
        exec::process_id(session.number())
    }

    /// Whether a session is in a transaction block, failed or not.
    pub fn in_transaction(&self, session: SessionId) -> bool {
        self.core.session(session.number()).transaction.as_ref().is_some_and(|open| open.block == Block::Explicit)
    }

    /// Makes the present the state that [`Server::reset`] goes back to. No transaction may be open.
    pub fn keep(&mut self) {
        let core = &mut self.core;
        assert!(core.sessions.iter().all(|session| session.transaction.is_none()), "a transaction is open");
        for (id, table) in core.tables.iter_mut().enumerate() {
            let id = TableId::try_from(id).expect("numbers of tables fit");
            if core.catalog.find_table(id).is_some() {
                table.keep(&core.xacts);
            } else {
                *table = Table::default();
            }
        }
        core.put_aside.clear();
        core.xacts.keep();
        self.kept = Kept {
            catalog: core.catalog.clone(),
            sequences: core.sequences.clone(),
            sessions: core.sessions.iter().filter(|session| session.connected).count(),
            clock: core.clock,
            commits: core.commits,
        };
    }

    /// Puts everything back to what it was at [`Server::keep`]. Sessions that were opened since are closed.
    pub fn reset(&mut self) {
        let (core, kept) = (&mut self.core, &self.kept);
        core.locks.clear();
        core.serializable.clear();
        core.ddl_owner = None;
        if let Some(trail) = &mut core.trail {
            trail.clear();
        }
        for session in &mut core.sessions {
            if let Some(transaction) = &mut session.transaction {
                transaction.restore_storage(&mut core.tables);
            }
            session.close();
        }
        for session in core.sessions.iter_mut().take(kept.sessions) {
            session.connected = true;
        }
        for (table, storage) in core.put_aside.drain(..) {
            core.tables[table as usize] = storage;
        }
        for table in &mut core.tables {
            table.reset();
        }
        if core.catalog.version() != kept.catalog.version() {
            core.catalog.restore(kept.catalog.clone());
            core.drop_indexes();
        }
        core.sequences.clone_from(&kept.sequences);
        core.sequences.resize(core.tables.len(), Sequence::default());
        core.xacts.reset();
        core.clock = kept.clock;
        core.commits = kept.commits;
    }

    /// The next transaction id to be assigned.
    pub fn set_next_xid(&mut self, xid: u64) {
        self.core.xacts.set_next(xid);
    }

    /// How many transactions that had an id have committed: as long as it stands still, so does the committed state.
    pub fn commits(&self) -> u64 {
        self.core.commits
    }

    /// How many transactions that may have written to a table have committed: as long as it stands still, and no [`Server::reset`]
    /// comes between, so does what is committed in the table.
    pub fn changes(&self, table: TableHandle) -> u64 {
        self.core.changes[table.0 as usize]
    }

    /// A table by name, `schema.table` or in `public`.
    pub fn table(&self, name: &str) -> Option<TableHandle> {
        let (schema, name) = name.split_once('.').unwrap_or(("public", name));
        match self.core.catalog.lookup(schema, name)? {
            Relation::Table(id) => Some(TableHandle(id)),
            Relation::Index(_) | Relation::Sequence(_) | Relation::View(_) => None,
        }
    }

    /// The rows of a table that a new snapshot would see, in the order in which they were written.
    pub fn committed(&self, table: TableHandle) -> impl Iterator<Item = &[Value]> {
        let (storage, width) = (self.core.storage_for_others(table.0), self.core.catalog.table(table.0).columns.len());
        let committed = (0..storage.len()).filter(|tuple| storage.is_committed(*tuple, &self.core.xacts));
        committed.map(|tuple| storage.row(tuple)).map(move |row| &row[..width.min(row.len())])
    }
}

impl Core {
    /// The number of a session that is neither connected nor the place of a prepared transaction.
    pub(crate) fn free_session(&mut self) -> u16 {
        let free = self.sessions.iter().position(|session| !session.connected && session.transaction.is_none());
        let number = free.unwrap_or(self.sessions.len());
        if free.is_none() {
            self.sessions.push(Session::default());
            self.locks.set_sessions(self.sessions.len());
            self.names.set_sessions(self.sessions.len());
        }
        u16::try_from(number).expect("fewer than 2^16 sessions")
    }

    /// A statement that cannot be compiled fails as one that cannot be executed.
    pub(crate) fn fail_to_compile(&mut self, me: u16, error: Error) -> Error {
        let failed = self.session(me).transaction.as_ref().is_some_and(|open| open.failed);
        self.fail(me);
        if failed && !error.is_of_grammar() { Error::aborted() } else { error }
    }

    fn disconnect(&mut self, me: u16) {
        self.note_end(me, false);
        self.locks.cancel_wait(me);
        self.locks.granted.retain(|(session, _)| *session != me);
        self.roll_back(me);
        self.locks.release_advisory_scope(me, crate::lock::AdvisoryScope::Session);
        self.session_mut(me).close();
    }

    /// Turns how a statement went into its outcome: keeps what waits, ends what is done.
    fn finish(&mut self, me: u16, prepared: Prepared, plan: &Arc<Plan>, flow: Flow) -> Outcome {
        match flow {
            Flow::Done(answer) => {
                let open = self.session_mut(me).transaction.as_mut();
                if let Some(transaction) = open {
                    if transaction.block == Block::Single {
                        self.commit(me);
                    } else {
                        transaction.command += 1;
                    }
                }
                Outcome::Done(answer)
            }
            Flow::Waits => {
                self.note(|| Access::Wait);
                if self.session(me).activation_ref().is_some_and(Activation::has_snapshot) {
                    self.note(|| Access::KeepSnapshot);
                }
                let version = self.catalog.version();
                self.session_mut(me).waiting = Some(Waiting { prepared, plan: plan.clone(), version, paused: false });
                Outcome::Waits
            }
            Flow::Paused => {
                self.note(|| Access::KeepSnapshot);
                let version = self.catalog.version();
                self.session_mut(me).waiting = Some(Waiting { prepared, plan: plan.clone(), version, paused: true });
                Outcome::Paused
            }
            Flow::Failed(error) => {
                self.fail(me);
                Outcome::Failed(error)
            }
        }
    }

    /// Makes room for what the catalog names.
    pub(crate) fn set_tables(&mut self, numbers: usize) {
        self.tables.resize_with(numbers.max(self.tables.len()), Table::default);
        self.sequences.resize(self.tables.len(), Sequence::default());
        self.changes.resize(self.tables.len(), 0);
        self.locks.set_tables(self.tables.len());
    }
}
