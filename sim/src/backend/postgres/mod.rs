//! A real PostgreSQL, stepped through a schedule.
//!
//! The core's own sessions send the statements ([`skiptrace::postgres`]); a stepper (`stepper`) sees who waits. A database of the test
//! bed's own is set up once and put back to what the setup left between runs; connections are kept.
//!
//! *Broken connections are imitated*, but for the first eight: of a session that waits for nobody the transaction is rolled back, the settings and
//! locks are taken away, and the connection is kept. That is what the server does when a connection breaks, and a new one takes as long as 40
//! statements. `tests/suite/agreement.rs` really breaks one at each statement of the core ([`PostgresDatabase::break_really`]).
//!
//! Transaction ids are the server's: they go on from run to run, so a comparison starts the model where
//! [`PostgresDatabase::next_xid`] says that the server stands. On a server that others use, too (a URL server; autovacuum is one of
//! the others), ids are taken by them at any time, and snapshots differ accordingly.

mod control;
mod effects;
mod gate;
mod observe;
mod reset;
mod stepper;

use std::collections::BTreeMap;

use skiptrace::postgres::PostgresSession;
use skiptrace::{Answer, Call, DbError, Session, Statement, Tag, Value};

use super::block_on::block_on;
use super::testbed::{self, TestBed};
use super::{BackendError, Database, Layout, Observation, Outcome, Woken};
use control::Control;
use effects::{ALL, Effects, Knowledge, Tables};
use gate::Gate;
use observe::Part;
use reset::Reset;
use stepper::{GATE, Sent, Stepper, Waits};

/// Of a session for which one other waits, two, or more. The test bed's databases have a longer one. Far enough apart for a busy machine.
const DEADLOCK_TIMEOUTS: [&str; 3] = ["50ms", "5ms", "1ms"];

/// So many connections are really broken; later ones are if their session waits. See the module.
const BREAKS_REAL: u32 = 8;

/// What is known of a session.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    in_transaction: bool,
    /// Tables that the open transaction, or the statement that is under way, may have written.
    writes: Tables,
    /// Tables in which others may have to wait for it.
    locks: Tables,
    /// Something may stay on it when its transaction is over.
    lingers: bool,
}

impl Account {
    fn holds_something(self) -> bool {
        self.in_transaction || self.lingers
    }

    /// Tables in which others may have to wait for this session.
    fn holds_up(self) -> Tables {
        if self.lingers { ALL } else { self.locks }
    }
}

/// A real server as a [`Database`], in a database of its own that is dropped with this.
pub struct PostgresDatabase<'bed> {
    // Before the database: its connections go first.
    stepper: Sessions,
    reset: Reset,
    /// A connection that waits for nobody.
    observer: Control,
    observe: Vec<Look>,
    /// Connections that are kept between runs, with their backends' process ids. Each stays its session's, whose statements it has planned.
    spare: BTreeMap<usize, (PostgresSession, i32)>,
    accounts: BTreeMap<usize, Account>,
    knowledge: Knowledge,
    /// Where a statement that has its snapshot is held up; opened when it is first asked for.
    gate: Option<Gate>,
    /// No session was opened since the last reset.
    untouched: bool,
    /// Tables to look at: something may have been committed there since the last look.
    changed: Tables,
    /// Tables that the run may have written since the last reset.
    touched: Tables,
    /// A statement changed what the setup made: tables that are new, or gone.
    redefined: bool,
    /// How many connections are still to be really broken.
    breaks_real: u32,
    /// Ends what may be open on a connection.
    roll_back: Statement,
    /// Takes its settings and locks.
    clean: [Call; 2],
    /// A statement of no words.
    nothing: Statement,
    /// By [`DEADLOCK_TIMEOUTS`]; for a session that is in no transaction (it holds advisory locks, then), and for one that is.
    look_first: [[Statement; 2]; DEADLOCK_TIMEOUTS.len()],
    layout: Layout,
    database: testbed::Database<'bed>,
    bed: &'bed TestBed,
}

impl<'bed> PostgresDatabase<'bed> {
    /// A database on `bed`'s server with `layout` set up in it.
    pub fn open(bed: &'bed TestBed, layout: &Layout) -> Result<Self, BackendError> {
        let database = bed.create_database("stepper").map_err(|e| BackendError::Environment(e.to_string()))?;
        let lost = |e: String| BackendError::Environment(e);
        let stepper = Stepper::open(&database.url()).map_err(lost)?;
        let Made { reset, observer, knowledge, observe } = set_up(&stepper, &database.url(), layout).map_err(lost)?;
        Ok(Self {
            stepper,
            reset,
            observer,
            observe,
            spare: BTreeMap::new(),
            accounts: BTreeMap::new(),
            knowledge,
            gate: None,
            untouched: false,
            changed: ALL,
            touched: ALL,
            redefined: false,
            breaks_real: BREAKS_REAL,
            roll_back: Statement::new("stepper.roll_back", "ROLLBACK"),
            clean: ["RESET ALL", "SELECT pg_advisory_unlock_all()"]
                .map(|sql| Call::new(&Statement::new("stepper.clean", sql), [])),
            nothing: Statement::new("stepper.nothing", ""),
            look_first: DEADLOCK_TIMEOUTS.map(|timeout| {
                ["SET", "SET LOCAL"]
                    .map(|set| Statement::new("stepper.look_first", &format!("{set} deadlock_timeout = '{timeout}'")))
            }),
            layout: layout.clone(),
            database,
            bed,
        })
    }

    /// From now on no broken connection is imitated.
    pub fn break_really(&mut self) {
        self.breaks_real = u32::MAX;
    }

    /// The transaction id that is assigned next, if nobody else takes it.
    pub fn next_xid(&mut self) -> Result<u64, BackendError> {
        const NEXT: &str = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text";
        let (runtime, control) = self.stepper.control();
        let rows = block_on(runtime, control.query(NEXT));
        let rows = self.alive(rows)?;
        Ok(rows[0].get::<_, &str>(0).parse().expect("an xid8 is a number"))
    }

    /// A failure that is not an answer: the server's, with what can be said about it.
    fn alive<T>(&self, result: Result<T, String>) -> Result<T, BackendError> {
        result.map_err(|e| BackendError::Environment(self.bed.diagnose(&e).to_string()))
    }

    /// A session to be ended without breaking its connection.
    fn imitated_break(&mut self, session: usize) -> Option<(PostgresSession, i32)> {
        if self.breaks_real > 0 {
            self.breaks_real -= 1;
            return None;
        }
        self.stepper.take(session)
    }

    /// What the server does with a session whose connection broke: its transaction is rolled back, its settings and locks are gone.
    fn give_up(&mut self, session: usize, account: Account, ended: (PostgresSession, i32)) -> Result<(), String> {
        self.spare.insert(session, ended);
        if !account.holds_something() {
            return Ok(());
        }
        self.clean(&[(session, account)])?;
        self.stepper.look_again()
    }

    /// Takes from connections that are kept whatever a run may have left on them.
    fn clean(&mut self, ended: &[(usize, Account)]) -> Result<(), String> {
        let (spare, roll_back, clean) = (&mut self.spare, &self.roll_back, &self.clean);
        let cleaned = block_on(self.stepper.runtime(), async {
            for (session, account) in ended {
                if account.holds_something()
                    && let Some((connection, _)) = spare.get_mut(session)
                {
                    // Not in one flight: a transaction that has failed must be over before anything else can be prepared.
                    connection.execute(roll_back, &[]).await?;
                    connection.pipeline(clean.to_vec()).await?;
                }
            }
            Ok(())
        });
        cleaned.map_err(|e: DbError| e.to_string())
    }

    fn effects(&mut self, statement: &Statement) -> Effects {
        if self.redefined { Effects::ANY } else { self.knowledge.effects(statement) }
    }

    /// How likely a statement of `session` is to wait for others.
    fn waits(&self, session: usize, effects: Effects) -> Waits {
        let others = self.accounts.iter().filter(|(other, _)| **other != session);
        let held = others.fold(0, |held, (_, account)| held | account.holds_up());
        match () {
            () if held & (effects.names | effects.locks) == 0 => Waits::Hardly,
            () if held & effects.locks == 0 => Waits::Seldom,
            () => Waits::Maybe,
        }
    }

    /// What to send before a statement that may close a cycle of waits, so that it is the victim, as in the model. Only a superuser
    /// may; elsewhere the victim is the server's choice.
    fn looks_first(&self, session: usize, verb: &str) -> Option<Statement> {
        let ends = is_one_of(verb, &["COMMIT", "ROLLBACK", "END", "ABORT"]);
        let (_, control) = self.stepper.control();
        if ends || !control.is_superuser() {
            return None;
        }
        let waiters = self.stepper.waiters_for(session).min(DEADLOCK_TIMEOUTS.len());
        let in_transaction = self.accounts.get(&session).is_some_and(|account| account.in_transaction);
        waiters.checked_sub(1).map(|index| self.look_first[index][usize::from(in_transaction)].clone())
    }

    /// What became of a statement.
    fn told(
        &mut self,
        session: usize,
        sent: Result<Sent<Result<Answer, DbError>>, String>,
    ) -> Result<Outcome, BackendError> {
        match self.alive(sent)? {
            Sent::Waits => Ok(Outcome::Waits),
            Sent::Answered(answer) => {
                self.settle(session, &answer)?;
                Ok(Outcome::Answered(answer))
            }
        }
    }

    /// Closes the gate for a statement.
    fn close_gate(
        &mut self,
        session: usize,
        statement: &Statement,
        params: &[Value],
    ) -> Result<(Statement, Vec<Value>), String> {
        if self.gate.is_none() {
            let gate = block_on(self.stepper.runtime(), Gate::open(&self.database.url()))?;
            self.stepper.add_gate(gate.pid());
            self.gate = Some(gate);
        }
        let gate = self.gate.as_mut().expect("it was opened");
        gate.close(self.stepper.runtime(), session, statement, params)
    }

    fn let_go(&mut self, session: usize) -> Result<(), BackendError> {
        let gone = match &mut self.gate {
            Some(gate) => gate.let_go(self.stepper.runtime(), session),
            None => Ok(()),
        };
        self.alive(gone)
    }

    /// Follows transactions; errs where the connection was lost, and not by us.
    fn settle(&mut self, session: usize, answer: &Result<Answer, DbError>) -> Result<(), BackendError> {
        let account = self.accounts.entry(session).or_default();
        match answer {
            Ok(Answer { tag: Tag::Begin, .. }) => account.in_transaction = true,
            Ok(Answer { tag: Tag::Rollback, .. }) => {
                *account = Account { lingers: account.lingers, ..Account::default() }
            }
            Ok(answer) => {
                account.in_transaction &= answer.tag != Tag::Commit;
                if !account.in_transaction {
                    self.changed |= std::mem::take(&mut account.writes);
                    account.locks = 0;
                }
            }
            Err(e) if e.sqlstate().is_connection_lost() => return self.alive(Err(format!("session {session}: {e}"))),
            Err(_) if account.in_transaction => {}
            Err(_) => (account.writes, account.locks) = (0, 0),
        }
        Ok(())
    }
}

impl Database for PostgresDatabase<'_> {
    fn reset(&mut self) -> Result<(), BackendError> {
        if self.untouched {
            return Ok(());
        }
        let stopped = self.stepper.stop();
        self.alive(stopped)?;
        if let Some(gate) = &mut self.gate {
            let gone = gate.let_all_go(self.stepper.runtime());
            self.alive(gone)?;
        }
        let idle = self.stepper.take_idle();
        self.spare.extend(idle.into_iter().map(|(session, connection, pid)| (session, (connection, pid))));
        let ended: Vec<(usize, Account)> = std::mem::take(&mut self.accounts).into_iter().collect();
        let cleaned = self.clean(&ended);
        self.alive(cleaned)?;
        let reset = if std::mem::take(&mut self.redefined) {
            set_up_again(&self.stepper, &self.database.url(), &self.layout).map(|made| {
                self.reset = made.reset;
                self.observer = made.observer;
                self.knowledge = made.knowledge;
                self.observe = made.observe;
            })
        } else {
            let (knowledge, touched) = (&self.knowledge, self.touched);
            self.reset.run(self.stepper.control(), |table| knowledge.bit(table) & touched != 0)
        };
        self.changed = ALL;
        self.touched = 0;
        self.alive(reset)?;
        self.untouched = true;
        Ok(())
    }

    fn connect(&mut self, session: usize) -> Result<(), BackendError> {
        let (connection, pid) = if let Some(spare) = self.spare.remove(&session) {
            spare
        } else {
            let opened = block_on(self.stepper.runtime(), open_session(&self.database.url()));
            self.alive(opened.map_err(|e| e.to_string()))?
        };
        self.untouched = false;
        self.stepper.add(session, connection, pid);
        self.accounts.insert(session, Account::default());
        Ok(())
    }

    fn execute(&mut self, session: usize, statement: &Statement, params: &[Value]) -> Result<Outcome, BackendError> {
        let verb = first_word(statement.sql());
        self.redefined |= is_one_of(verb, &["CREATE", "DROP", "ALTER", "DO", "CALL"]);
        let effects = self.effects(statement);
        let looks_first = self.looks_first(session, verb);
        let waits = self.waits(session, effects);
        self.touched |= effects.writes;
        let account = self.accounts.entry(session).or_default();
        account.writes |= effects.writes;
        account.locks |= effects.locks;
        account.lingers |= effects.lingers || looks_first.is_some() && !account.in_transaction;
        let (statement, params, nothing) = (statement.clone(), params.to_vec(), self.nothing.clone());
        let flight = move |mut connection: PostgresSession| -> Flight {
            Box::pin(async move {
                if let Some(looks_first) = looks_first {
                    let _ = connection.execute(&looks_first, &[]).await;
                }
                let answer = connection.execute(&statement, &params).await;
                if answer.is_err() {
                    // The server sends an error before it rolls back and frees the locks. What is sent next is read after that.
                    let _ = connection.execute(&nothing, &[]).await;
                }
                (connection, answer)
            })
        };
        let releases = |answer: &Result<Answer, DbError>| effects.releases || answer.is_err();
        let sent = self.stepper.send(session, flight, waits, effects.releases, releases);
        self.told(session, sent)
    }

    fn execute_to_snapshot(
        &mut self,
        session: usize,
        statement: &Statement,
        params: &[Value],
    ) -> Result<Outcome, BackendError> {
        let closed = self.close_gate(session, statement, params);
        let (gated, params) = self.alive(closed)?;
        let outcome = self.execute(session, &gated, &params)?;
        if outcome == Outcome::Waits && self.stepper.blockers(session) == [GATE] {
            return Ok(Outcome::HasSnapshot);
        }
        self.let_go(session)?;
        Ok(outcome)
    }

    fn proceed(&mut self, session: usize) -> Result<Outcome, BackendError> {
        self.let_go(session)?;
        let sent = self.stepper.go_on(session, |_| true);
        self.told(session, sent)
    }

    fn next_woken(&mut self) -> Result<Option<Woken>, BackendError> {
        let Some((session, answer)) = self.stepper.next_woken() else { return Ok(None) };
        self.settle(session, &answer)?;
        Ok(Some((session, answer)))
    }

    fn blockers(&mut self, session: usize) -> Result<Vec<usize>, BackendError> {
        Ok(self.stepper.blockers(session))
    }

    fn disconnect(&mut self, session: usize) -> Result<(), BackendError> {
        // A statement that is held up waits in the database: its connection is really broken.
        let account = self.accounts.remove(&session).unwrap_or_default();
        let gone = match self.imitated_break(session) {
            Some(ended) => self.give_up(session, account, ended),
            None => self.stepper.disconnect(session),
        };
        self.alive(gone)?;
        self.let_go(session)
    }

    fn has_changed(&mut self) -> bool {
        self.observe.iter().any(|look| look.table & self.changed != 0)
    }

    fn observe(&mut self, into: &mut Observation) -> Result<(), BackendError> {
        let stale: Vec<&Look> = self.observe.iter().filter(|look| look.table & self.changed != 0).collect();
        let queries = stale.iter().map(|look| &look.query);
        let rows = block_on(self.stepper.runtime(), self.observer.flight_unless_locked(queries));
        match self.alive(rows)? {
            Some(rows) => {
                for (look, rows) in stale.iter().zip(&rows) {
                    observe::read(look.part, rows, into).map_err(BackendError::Environment)?;
                }
                self.changed = 0;
                Ok(())
            }
            // Somebody holds a table in ACCESS EXCLUSIVE mode (TRUNCATE), or waits for that: nobody can read it now. What was
            // seen last stands until the lock is free; that it has changed stays true.
            None => Ok(()),
        }
    }
}

impl Drop for PostgresDatabase<'_> {
    fn drop(&mut self) {
        // A connection that waits would be in the way of its database's end; what fails here fails there again.
        let _ = self.stepper.stop();
    }
}

type Sessions = Stepper<PostgresSession, Result<Answer, DbError>>;
type Flight = stepper::Flight<PostgresSession, Result<Answer, DbError>>;
/// What is made of a setup.
struct Made {
    reset: Reset,
    observer: Control,
    knowledge: Knowledge,
    observe: Vec<Look>,
}

/// How a part of what is committed is observed.
struct Look {
    part: Part,
    table: Tables,
    query: tokio_postgres::Statement,
}

/// Runs the setup.
fn set_up(stepper: &Sessions, url: &str, layout: &Layout) -> Result<Made, String> {
    let (runtime, control) = stepper.control();
    for sql in &layout.setup {
        block_on(runtime, control.batch(sql)).map_err(|e| format!("setup: {e}, in: {sql}"))?;
    }
    let reset = Reset::prepare(stepper.control())?;
    let knowledge = Knowledge::new(&layout.setup, reset.tables());
    let (observer, observe) = block_on(runtime, async {
        let observer = Control::open(url).await?;
        observer.limit_waits().await?;
        let mut observe = Vec::new();
        for (part, table, query) in observe::queries(layout) {
            let query = observer.prepare(&query).await?;
            observe.push(Look { part, table: knowledge.bit(table), query });
        }
        Ok::<_, String>((observer, observe))
    })?;
    Ok(Made { reset, observer, knowledge, observe })
}

/// After a run that made or dropped tables: everything anew, in the same database.
fn set_up_again(stepper: &Sessions, url: &str, layout: &Layout) -> Result<Made, String> {
    const SCHEMAS: &str = "SELECT coalesce(string_agg(format('DROP SCHEMA %I CASCADE;', nspname), ' '), '') || ' CREATE SCHEMA public' \
         FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'";
    let (runtime, control) = stepper.control();
    block_on(runtime, async {
        let rows = control.query(SCHEMAS).await?;
        control.batch(rows[0].get(0)).await
    })?;
    set_up(stepper, url, layout)
}

async fn open_session(url: &str) -> Result<(PostgresSession, i32), DbError> {
    let mut session = PostgresSession::connect(url).await?;
    let pid = session.execute(&Statement::new("stepper.pid", "SELECT pg_backend_pid()"), &[]).await?;
    let pid = i32::try_from(pid.rows.row(0).int(0)).expect("a pid is an int4");
    Ok((session, pid))
}

fn first_word(sql: &str) -> &str {
    sql.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("")
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|w| w.eq_ignore_ascii_case(word))
}
