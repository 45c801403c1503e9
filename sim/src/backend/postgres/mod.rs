//! A real PostgreSQL, stepped through a schedule.
//!
//! The core's own sessions send the statements ([`skiptrace::postgres`]); a stepper (`stepper`) sees who waits. A database of the test
//! bed's own is set up once and put back to what the setup left between runs; connections are kept.
//!
//! Transaction ids are the server's: they go on from run to run, so a comparison starts the model where
//! [`PostgresDatabase::next_xid`] says that the server stands. On a server that others use, too (a URL server; autovacuum is one of
//! the others), ids are taken by them at any time, and snapshots differ accordingly.

mod control;
mod observe;
mod reset;
mod stepper;

use std::collections::BTreeMap;

use skiptrace::postgres::PostgresSession;
use skiptrace::{Answer, Call, DbError, Session, Statement, Tag, Value};

use super::testbed::{self, TestBed};
use super::{BackendError, Database, Layout, Observation, Outcome, Woken};
use control::Control;
use reset::Reset;
use stepper::{Sent, Stepper};

/// Of a session for which one other waits, two, or more. The test bed's databases have a longer one. Far enough apart for a busy machine.
const DEADLOCK_TIMEOUTS: [&str; 3] = ["50ms", "5ms", "1ms"];

/// So many connections are really broken; later ones are if their session waits. Of the others the session is ended as the server ends it, and
/// the connection kept: a new one has everything to plan anew, and takes as long as 40 statements.
const BREAKS_REAL: u32 = 8;

/// A real server as a [`Database`], in a database of its own that is dropped with this.
pub struct PostgresDatabase<'bed> {
    // Before the database: its connections go first.
    stepper: Stepper<PostgresSession, Result<Answer, DbError>>,
    reset: Reset,
    /// A connection that waits for nobody.
    observer: Control,
    observe: tokio_postgres::Statement,
    /// Connections that are kept between runs, with their backends' process ids.
    spare: Vec<(PostgresSession, i32)>,
    in_transaction: BTreeMap<usize, bool>,
    /// Something may have been committed since the last look.
    changed: bool,
    /// A statement changed what the setup made: tables that are new, or gone.
    redefined: bool,
    /// How many connections were broken.
    breaks: u32,
    /// Ends what may be open on a connection, and its settings and locks.
    clean: [Call; 3],
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
        let (reset, observer, observe) = set_up(&stepper, &database.url(), layout).map_err(lost)?;
        Ok(Self {
            stepper,
            reset,
            observer,
            observe,
            spare: Vec::new(),
            in_transaction: BTreeMap::new(),
            changed: true,
            redefined: false,
            breaks: 0,
            clean: ["ROLLBACK", "RESET ALL", "SELECT pg_advisory_unlock_all()"]
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

    /// The transaction id that is assigned next, if nobody else takes it.
    pub fn next_xid(&mut self) -> Result<u64, BackendError> {
        const NEXT: &str = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text";
        let (runtime, control) = self.stepper.control();
        let rows = runtime.block_on(control.query(NEXT));
        let rows = self.alive(rows)?;
        Ok(rows[0].get::<_, &str>(0).parse().expect("an xid8 is a number"))
    }

    /// A failure that is not an answer: the server's, with what can be said about it.
    fn alive<T>(&self, result: Result<T, String>) -> Result<T, BackendError> {
        result.map_err(|e| BackendError::Environment(self.bed.diagnose(&e).to_string()))
    }

    /// A session to be ended without breaking its connection.
    fn imitated_break(&mut self, session: usize) -> Option<(PostgresSession, i32)> {
        if self.breaks < BREAKS_REAL {
            self.breaks += 1;
            return None;
        }
        self.stepper.take(session)
    }

    /// What the server does with a session whose connection broke: its transaction is rolled back, its settings and locks are gone.
    fn give_up(&mut self, connection: PostgresSession, pid: i32) -> Result<(), String> {
        let mut ended = [(connection, pid)];
        self.clean(&mut ended)?;
        self.spare.extend(ended);
        self.stepper.look_again()
    }

    /// Takes from connections that are kept whatever a run may have left on them.
    fn clean(&self, connections: &mut [(PostgresSession, i32)]) -> Result<(), String> {
        self.stepper.runtime().block_on(async {
            for (connection, _) in connections {
                connection.pipeline(&self.clean).await.map_err(|e| e.to_string())?;
            }
            Ok(())
        })
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
        let in_transaction = self.in_transaction.get(&session).copied().unwrap_or_default();
        waiters.checked_sub(1).map(|index| self.look_first[index][usize::from(in_transaction)].clone())
    }

    /// Follows transactions; errs where the connection was lost, and not by us.
    fn settle(&mut self, session: usize, answer: &Result<Answer, DbError>) -> Result<(), BackendError> {
        let in_transaction = self.in_transaction.entry(session).or_default();
        match answer {
            Ok(Answer { tag: Tag::Begin, .. }) => *in_transaction = true,
            Ok(Answer { tag: Tag::Commit, .. }) => {
                *in_transaction = false;
                self.changed = true;
            }
            Ok(Answer { tag: Tag::Rollback, .. }) => *in_transaction = false,
            Ok(_) => self.changed |= !*in_transaction,
            Err(e) if e.sqlstate().is_connection_lost() => return self.alive(Err(format!("session {session}: {e}"))),
            Err(_) => {}
        }
        Ok(())
    }
}

impl Database for PostgresDatabase<'_> {
    fn reset(&mut self) -> Result<(), BackendError> {
        let stopped = self.stepper.stop();
        self.alive(stopped)?;
        self.spare.extend(self.stepper.take_idle());
        self.in_transaction.clear();
        let mut spare = std::mem::take(&mut self.spare);
        let cleaned = self.clean(&mut spare);
        self.spare = spare;
        self.alive(cleaned)?;
        let reset = if std::mem::take(&mut self.redefined) {
            set_up_again(&self.stepper, &self.database.url(), &self.layout).map(|(reset, observer, observe)| {
                self.reset = reset;
                self.observer = observer;
                self.observe = observe;
            })
        } else {
            self.reset.run(self.stepper.control())
        };
        self.changed = true;
        self.alive(reset)
    }

    fn connect(&mut self, session: usize) -> Result<(), BackendError> {
        let (connection, pid) = if let Some(spare) = self.spare.pop() {
            spare
        } else {
            let opened = self.stepper.runtime().block_on(open_session(&self.database.url()));
            self.alive(opened.map_err(|e| e.to_string()))?
        };
        self.stepper.add(session, connection, pid);
        self.in_transaction.insert(session, false);
        Ok(())
    }

    fn execute(&mut self, session: usize, statement: &Statement, params: &[Value]) -> Result<Outcome, BackendError> {
        let verb = first_word(statement.sql());
        self.redefined |= is_one_of(verb, &["CREATE", "DROP", "ALTER"]);
        let looks_first = self.looks_first(session, verb);
        let (statement, params, nothing) = (statement.clone(), params.to_vec(), self.nothing.clone());
        let sent = self.stepper.send(session, move |mut connection| {
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
        });
        match self.alive(sent)? {
            Sent::Waits => Ok(Outcome::Waits),
            Sent::Answered(answer) => {
                self.settle(session, &answer)?;
                Ok(Outcome::Answered(answer))
            }
        }
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
        self.in_transaction.remove(&session);
        let gone = match self.imitated_break(session) {
            Some((connection, pid)) => self.give_up(connection, pid),
            None => self.stepper.disconnect(session),
        };
        self.alive(gone)
    }

    fn has_changed(&mut self) -> bool {
        self.changed
    }

    fn observe(&mut self, into: &mut Observation) -> Result<(), BackendError> {
        let rows = self.stepper.runtime().block_on(self.observer.query_unless_locked(&self.observe));
        match self.alive(rows)? {
            Some(rows) => {
                self.changed = false;
                observe::read(&rows, into).map_err(BackendError::Environment)
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

/// Runs the setup; how it is put back, and a connection with the query that observes.
fn set_up(
    stepper: &Sessions,
    url: &str,
    layout: &Layout,
) -> Result<(Reset, Control, tokio_postgres::Statement), String> {
    let (runtime, control) = stepper.control();
    for sql in &layout.setup {
        runtime.block_on(control.batch(sql)).map_err(|e| format!("setup: {e}, in: {sql}"))?;
    }
    let (observer, observe) = runtime.block_on(async {
        let observer = Control::open(url).await?;
        observer.limit_waits().await?;
        let observe = observer.prepare(&observe::query(layout)).await?;
        Ok::<_, String>((observer, observe))
    })?;
    Ok((Reset::prepare(stepper.control())?, observer, observe))
}

/// After a run that made or dropped tables: everything anew, in the same database.
fn set_up_again(
    stepper: &Sessions,
    url: &str,
    layout: &Layout,
) -> Result<(Reset, Control, tokio_postgres::Statement), String> {
    const SCHEMAS: &str = "SELECT coalesce(string_agg(format('DROP SCHEMA %I CASCADE;', nspname), ' '), '') || ' CREATE SCHEMA public' \
         FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'";
    let (runtime, control) = stepper.control();
    runtime.block_on(async {
        let rows = control.query(SCHEMAS).await?;
        control.batch(rows[0].get(0)).await
    })?;
    set_up(stepper, url, layout)
}

async fn open_session(url: &str) -> Result<(PostgresSession, i32), DbError> {
    let mut session = PostgresSession::connect(url).await?;
    let pid = session.execute(&Statement::new("stepper.pid", "SELECT pg_backend_pid()"), &[]).await?;
    let pid = i32::try_from(pid.rows[0].int(0)).expect("a pid is an int4");
    Ok((session, pid))
}

fn first_word(sql: &str) -> &str {
    sql.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("")
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|w| w.eq_ignore_ascii_case(word))
}
