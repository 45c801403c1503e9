//! A gate: what holds a statement up once it has its snapshot.
//!
//! A server gives a statement its snapshot, and then nothing keeps it from being slow. To be slow at will, a SELECT is sent inside another one, which
//! takes an advisory lock before it reads the first row: a condition without columns is asked before anything below it is executed (in
//! EXPLAIN, a `One-Time Filter`; src/backend/executor/nodeResult.c). A connection of its own holds that lock until the statement is to go on.

use std::collections::BTreeMap;

use skiptrace::{Statement, Value};
use tokio::runtime::Runtime;

use super::control::Control;
use crate::backend::block_on::block_on;

/// The gates' advisory locks: 'skip', and then a number.
const KEYS: i64 = 0x736b_6970 << 32;

pub(super) struct Gate {
    control: Control,
    pid: i32,
    /// The lock that holds up a session's statement.
    closed: BTreeMap<usize, i64>,
    last: i64,
    /// By the id of the statement that is sent inside.
    statements: BTreeMap<u32, Statement>,
}

impl Gate {
    pub(super) async fn open(url: &str) -> Result<Self, String> {
        let control = Control::open(url).await?;
        let pid = control.query("SELECT pg_backend_pid()").await?[0].get(0);
        Ok(Self { control, pid, closed: BTreeMap::new(), last: KEYS, statements: BTreeMap::new() })
    }

    /// The server's process that is waited for at the gate.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Closes the gate for a session's next statement; gives what is to be sent in that one's place.
    pub(super) fn close(
        &mut self,
        runtime: &Runtime,
        session: usize,
        statement: &Statement,
        params: &[Value],
    ) -> Result<(Statement, Vec<Value>), String> {
        // Each time another lock: a transaction keeps those that it has passed.
        self.last += 1;
        block_on(runtime, self.control.query(&format!("SELECT pg_advisory_lock({})", self.last)))?;
        self.closed.insert(session, self.last);
        let gated = self.statements.entry(statement.id()).or_insert_with(|| {
            let sql = format!(
                "WITH statement AS MATERIALIZED ({}) SELECT statement.* FROM statement \
                 WHERE (SELECT pg_advisory_xact_lock_shared(${})::text) IS NOT NULL",
                statement.sql(),
                params.len() + 1
            );
            Statement::new(statement.name(), &sql)
        });
        let mut params = params.to_vec();
        params.push(Value::Int(self.last));
        Ok((gated.clone(), params))
    }

    /// Lets a session's statement go on.
    pub(super) fn let_go(&mut self, runtime: &Runtime, session: usize) -> Result<(), String> {
        let Some(key) = self.closed.remove(&session) else { return Ok(()) };
        block_on(runtime, self.control.query(&format!("SELECT pg_advisory_unlock({key})"))).map(drop)
    }

    /// Opens it for all.
    pub(super) fn let_all_go(&mut self, runtime: &Runtime) -> Result<(), String> {
        while let Some(session) = self.closed.keys().next().copied() {
            self.let_go(runtime, session)?;
        }
        Ok(())
    }
}
