//! PostgreSQL's concurrency, in memory: SQL text in; rows, waits and errors out.
//!
//! A [`Server`] is a database with sessions, transactions, row versions, snapshots and locks, as PostgreSQL 15 has them, without files,
//! processes, threads or clocks. It is plain data: it can be copied in the middle of a transaction, and put back to a kept state in
//! less than a microsecond. It is made for trying out how concurrent transactions interleave, millions of times.
//!
//! ```
//! use skiptrace_model::{Outcome, Server, Value};
//!
//! let mut server = Server::new();
//! let (a, b) = (server.connect(), server.connect());
//! server.query(a, "CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL)");
//! server.query(a, "INSERT INTO account VALUES (1, 100)");
//!
//! // Both sessions take 80 from the account, if it is there. The first one has not yet committed:
//! let withdraw = "UPDATE account SET balance = balance - 80 WHERE id = 1 AND balance >= 80";
//! server.query(a, "BEGIN");
//! server.query(a, withdraw);
//! // so the second one waits for it.
//! assert_eq!(server.query(b, withdraw), Outcome::Waits);
//! assert_eq!(server.blockers(b), [a]);
//!
//! // When the first one commits, the second one goes on with the row's new version, which does not qualify any more.
//! server.query(a, "COMMIT");
//! let Some((session, Outcome::Done(answer))) = server.next_woken() else { panic!("b is woken") };
//! assert_eq!((session, answer.affected), (b, 0));
//! ```
//!
//! # What is modelled
//!
//! **Versions and snapshots.** A row is a chain of versions, each with the transaction that wrote it and the one that ended it. READ COMMITTED
//! takes a snapshot a statement, after its table locks were granted, and keeps it while the statement waits; REPEATABLE READ takes one
//! for all, before its first statement waits for a table, and fails with 40001. A snapshot's upper end is the latest *completed* transaction id plus one, as in PostgreSQL. Ids are assigned when
//! PostgreSQL assigns them: with the first row that is written or locked, not by BEGIN, and not by an ON CONFLICT that waits.
//! Commands have numbers, so that a statement does not see its own writes.
//!
//! **Row locks** of four strengths stand in the rows. Who must wait queues for the row (the tuple lock), and waits for the holder's
//! end. A row that has a newer version by then is checked again in READ COMMITTED: the newest version is bound in its place and the condition is
//! evaluated once more, everything else, other tables and subqueries, under the statement's snapshot. NOWAIT and SKIP LOCKED are there.
//!
//! **Unique indexes** wait for the transaction that inserted or deleted a twin, then err with 23505. ON CONFLICT waits and tries again.
//!
//! **Foreign keys** are checked at the end of a statement, by queries with snapshots of their own: a reference locks the row that it refers to FOR KEY
//! SHARE, and what is gone takes its references with it, empties them, or errs with 23503.
//!
//! **Table locks** in eight modes, with fair queues; TRUNCATE, which old snapshots see as an empty table; LOCK TABLE; **advisory locks**, also where
//! they wait in the middle of a scan; LISTEN and NOTIFY; **sequences**, which do not roll back; **savepoints**; DDL in transactions, which others see when it is committed; **deadlocks**; `lock_timeout`, `statement_timeout`
//! and `pg_sleep`, in virtual time (see [`Server::advance_clock`]).
//!
//! # How a statement waits
//!
//! SQL is parsed and compiled once into a plan ([`Server::prepare`]). Executing a plan is polling its nodes for rows. All that an execution knows is
//! in one structure: where each scan is, which row each name is bound to, what was written, the snapshot. A request for a lock that
//! cannot be had goes into the lock's queue, and the poll returns [`Outcome::Waits`]. When somebody releases the lock, the lock manager
//! grants it to the first in the queue; [`Server::next_woken`] polls that statement again, and it goes on where it was. There
//! is no future and no thread. Nothing goes on by itself: call [`Server::next_woken`] until it returns none, after each call that
//! can release something, if statements that can go on should do so at once, as on a server.
//!
//! # Messages
//!
//! [`Server::send`] takes what a client sends without preparing anything: text of any number of statements, which are one transaction unless they
//! say otherwise; PREPARE and EXECUTE among them. Notices, warnings and notifications are kept for whoever asks. After [`Server::poison`] a setup may
//! define what the model does not support, and its use is refused instead.
//!
//! # What a step has touched
//!
//! [`Server::take_footprint`] tells, after each step, what it read, published, locked and gave back ([`Footprint`]): two neighbours
//! that do not meet can change places. Exploring all schedules is built on it.
//!
//! # Limits
//!
//! What the model does not know it refuses with SQLSTATE 0A000 and the construct's name ([`Error::is_refusal`]); it never guesses. Known deviations:
//!
//! - A statement is one step, or two: its snapshot, and the rest ([`Server::execute_to_snapshot`]). From there it runs until it is done or waits. On a
//!   server two statements can also interleave from row to row.
//! - A deadlock is found when the wait that closes the cycle begins, and that waiter is the victim. A server looks after `deadlock_timeout`, and
//!   the victim is whoever's time is up first: so does the model after [`Server::heed_deadlock_timeout`].
//! - DDL while another transaction with DDL is open is refused.
//! - `pg_locks` lists tables, tuples, transaction ids, virtual transaction ids and advisory locks, not the locks on indexes and on itself.
//! - Rows of a scan come in the order in which they were written; a server reuses the space of dead rows. Only
//!   ORDER BY promises an order, here and there. What is sent as text is shown in its order: so [`Server::send`] refuses an answer of several rows
//!   whose order a planner chooses that is not modelled, of a join, of groups, of a range of an index whose rows were updated meanwhile.
//! - [`Server::keep`] forgets dead row versions; until then they are kept. Transaction ids have 32 bits between two [`Server::keep`].
//! - `pg_sleep` is refused where another session's timeout passes meanwhile, and beyond a minute.
//! - `idle_in_transaction_session_timeout` can be set and has no effect: time passes only while a statement waits, for no session that stands still.
//! - A row that was waited for is checked again as PostgreSQL does, also where its condition has a subquery that PostgreSQL makes a join of. It is
//!   refused where it would matter which of several rows of the subquery had been found for the old version.
//! - A statement that cannot be compiled and names a table for which it would have to wait is refused: a server waits first, and then looks at the table
//!   as it is by then. So is a name of more than 63 bytes in a message, which a server cuts off with a notice.
//! - Foreign keys are those of CREATE TABLE. DEFERRABLE, MATCH FULL and PARTIAL, columns of different types (but for integers without ON UPDATE CASCADE)
//!   and foreign keys in ALTER TABLE are refused.
//! - A statement has a budget of 4 million rows that it reads and values that it keeps; comparisons, long texts and large arrays and documents
//!   count, too (grouping, and DISTINCT, compare each row with each group). A text has 16 MiB at most, a `jsonb` 128 levels. Beyond that a statement is
//!   refused with 54000; so is a message whose statements need more than one budget together. So is a statement whose text has more than 1 MiB, 16 levels of parentheses or 1000 words without a comma, or whose plan
//!   has more than 4096 nodes. PostgreSQL has no such limits, but for its stack: all these are refusals too ([`Error::is_refusal`]).
//! - Views are read, not written to, nor locked by FOR UPDATE. Window functions have no frame, and a query one window. `character(n)` is shown
//!   where it is a table's column. Of a sequence that is read as a table `log_cnt` is not known.
//! - Prepared transactions are there without a setting, 1000 at a time. PREPARE TRANSACTION after DDL, LISTEN or NOTIFY and under SERIALIZABLE
//!   is refused.
//! - SERIALIZABLE is refused where transactions that run at the same time read what others of them write, both ways: PostgreSQL might end
//!   one of them. Whatever is surely serializable runs.

mod catalog;
mod checkpoint;
mod clock;
mod compile;
mod error;
mod exec;
#[cfg(test)]
mod explain;
mod footprint;
mod function;
mod lock;
mod message;
mod mvcc;
mod notify;
mod parse;
mod perspective;
mod plan;
mod prepared;
mod rows;
mod sequence;
mod server;
mod session;
mod settings;
mod types;

pub use checkpoint::Checkpoint;
pub use error::{Error, FEATURE_NOT_SUPPORTED};
pub use footprint::Footprint;
pub use message::{Notice, Reply, Returned, Severity, Touch};
pub use notify::Notification;
pub use rows::Rows;
pub use server::{Answer, CommandTag, Outcome, Prepared, Server, SessionId, TableHandle};
pub use types::{Numeric, PgSnapshot, Scalar, Type, Value};
