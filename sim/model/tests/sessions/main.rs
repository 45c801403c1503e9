//! Sessions side by side: who waits for whom, who goes on, and with what. What is expected here was seen on PostgreSQL 15.
//!
//! A script has a line a statement, `session: SQL`; the sessions' names are free. Lines of `setup` run first, and then the next
//! transaction id is made 800. Below a statement stand those that it woke. After `snapshot SELECT ..` the statement has its snapshot and
//! no more; `proceed` goes on with it.

mod expressions;
mod row_locks;
mod snapshots;
mod tables;
mod unique;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::Expect;
use skiptrace_model::{Outcome, Server, SessionId, Value};

fn text(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Bool(truth) => if *truth { "t" } else { "f" }.into(),
        Value::Int(int) => int.to_string(),
        Value::Text(text) => text.to_string(),
        Value::Void => "void".into(),
        Value::Snapshot(snapshot) => {
            let running: Vec<String> = snapshot.xip.iter().map(u64::to_string).collect();
            format!("{}:{}:{}", snapshot.xmin, snapshot.xmax, running.join(","))
        }
        other => format!("{other:?}"),
    }
}

fn line(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Waits => "waits".into(),
        Outcome::Paused => "has its snapshot".into(),
        Outcome::Failed(error) => error.to_string(),
        Outcome::Done(answer) if answer.rows.is_empty() => format!("{:?} {}", answer.tag, answer.affected),
        Outcome::Done(answer) => {
            let row = |row: &[Value]| row.iter().map(text).collect::<Vec<_>>().join("|");
            answer.rows.iter().map(row).collect::<Vec<_>>().join("; ")
        }
    }
}

/// Runs a script and compares what each statement came to.
#[track_caller]
fn check(script: &str, want: &Expect) {
    let mut server = Server::new();
    let mut sessions: BTreeMap<&str, SessionId> = BTreeMap::new();
    let mut got = String::new();
    let mut kept = false;
    for step in script.lines().map(str::trim).filter(|step| !step.is_empty()) {
        let (name, sql) = step.split_once(": ").expect("session: SQL");
        if name != "setup" && !kept {
            server.keep();
            server.set_next_xid(800);
            kept = true;
        }
        let session = *sessions.entry(name).or_insert_with(|| server.connect());
        let outcome = if let Some(sql) = sql.strip_prefix("snapshot ") {
            let prepared = server.prepare(sql).expect("a statement of the script");
            server.execute_to_snapshot(session, prepared, &[])
        } else if sql == "proceed" {
            server.proceed(session)
        } else {
            server.query(session, sql)
        };
        if name == "setup" {
            assert!(matches!(outcome, Outcome::Done(_)), "{step}: {outcome:?}");
            continue;
        }
        writeln!(got, "{step}\n  {}", line(&outcome)).expect("a string can be written to");
        while let Some((woken, outcome)) = server.next_woken() {
            let (name, _) = sessions.iter().find(|(_, session)| **session == woken).expect("a session of the script");
            writeln!(got, "    {name}: {}", line(&outcome)).expect("a string can be written to");
        }
    }
    want.assert_eq(&got);
}
