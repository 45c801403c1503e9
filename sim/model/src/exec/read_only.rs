//! READ ONLY transactions: what they refuse, and by what name.
//!
//! Source: PostgreSQL, src/backend/tcop/utility.c (`ClassifyUtilityCommandAsReadOnly`, `PreventCommandIfReadOnly`, `CreateCommandTag`);
//! src/backend/executor/execMain.c (`ExecCheckXactReadOnly`); src/backend/commands/variable.c (`check_XactReadOnly`).

use crate::error::Error;
use crate::plan::{Node, QueryKind, RowLockStrength, Utility};
use crate::server::Core;
use crate::session::Transaction;

/// By what name a query is refused; none: it neither writes nor locks rows.
pub(crate) fn name_of_query(kind: QueryKind, nodes: &[Node]) -> Option<&'static str> {
    match kind {
        QueryKind::Insert => return Some("INSERT"),
        QueryKind::Update => return Some("UPDATE"),
        QueryKind::Delete => return Some("DELETE"),
        QueryKind::Select => {}
    }
    let mut strengths = nodes.iter().filter_map(|node| match node {
        Node::LockRows { targets, .. } => targets.first().map(|target| target.strength),
        _ => None,
    });
    let writes = |node: &Node| matches!(node, Node::Insert { .. } | Node::Update { .. } | Node::Delete { .. });
    match strengths.next() {
        Some(RowLockStrength::KeyShare) => Some("SELECT FOR KEY SHARE"),
        Some(RowLockStrength::Share) => Some("SELECT FOR SHARE"),
        Some(RowLockStrength::NoKeyUpdate) => Some("SELECT FOR NO KEY UPDATE"),
        Some(RowLockStrength::Update) => Some("SELECT FOR UPDATE"),
        None => nodes.iter().any(writes).then_some("SELECT"),
    }
}

/// By what name a utility statement is refused; none: it is not.
fn name_of_utility(utility: &Utility) -> Option<&'static str> {
    match utility {
        Utility::Begin(_)
        | Utility::Commit { .. }
        | Utility::Rollback { .. }
        | Utility::Savepoint(_)
        | Utility::RollbackTo(_)
        | Utility::Release(_)
        | Utility::Prepare(_)
        | Utility::FinishPrepared { .. }
        | Utility::SetTransaction(_)
        | Utility::Set { .. }
        | Utility::Show(_)
        | Utility::LockTable { .. }
        | Utility::Listen(_)
        | Utility::Notify { .. } => None,
        Utility::Truncate { .. } => Some("TRUNCATE TABLE"),
        Utility::CreateSchema { .. } => Some("CREATE SCHEMA"),
        Utility::CreateTable { .. } => Some("CREATE TABLE"),
        Utility::CreateIndex { .. } => Some("CREATE INDEX"),
        Utility::CreateSequence { .. } => Some("CREATE SEQUENCE"),
        Utility::CreateView { .. } => Some("CREATE VIEW"),
        Utility::DropIndex { .. } => Some("DROP INDEX"),
        Utility::DropView { .. } => Some("DROP VIEW"),
        Utility::AlterTable { .. } => Some("ALTER TABLE"),
        Utility::AlterSequence { .. } => Some("ALTER SEQUENCE"),
        Utility::DropSequence { .. } => Some("DROP SEQUENCE"),
        Utility::Comment { .. } => Some("COMMENT"),
        Utility::DropTable { .. } => Some("DROP TABLE"),
        Utility::DropSchema { .. } => Some("DROP SCHEMA"),
        Utility::Poison(_) => Some("a definition that the model does not support"),
    }
}

impl Core {
    /// Errs in a read-only transaction.
    pub(crate) fn prevent_if_read_only(&self, me: u16, command: &str) -> Result<(), Error> {
        if self.session(me).transaction.as_ref().is_some_and(|open| open.read_only) {
            let message = format!("cannot execute {command} in a read-only transaction");
            return Err(Error::new("25006", message));
        }
        Ok(())
    }

    pub(super) fn prevent_utility_if_read_only(&self, me: u16, utility: &Utility) -> Result<(), Error> {
        let Some(name) = name_of_utility(utility) else { return Ok(()) };
        let prevented = self.prevent_if_read_only(me, name);
        match (&prevented, utility) {
            (Err(_), Utility::Poison(_)) => Err(Error::refused(format_args!("{name} in a read-only transaction"))),
            _ => prevented,
        }
    }
}

impl Transaction {
    /// SET TRANSACTION READ ONLY, and READ WRITE.
    pub(super) fn set_read_only(&mut self, read_only: bool) -> Result<(), Error> {
        if self.read_only && !read_only {
            if self.is_in_savepoint() {
                let message = "cannot set transaction read-write mode inside a read-only transaction";
                return Err(Error::new("25001", message));
            }
            if self.has_snapshot {
                return Err(Error::new("25001", "transaction read-write mode must be set before any query"));
            }
        }
        self.read_only = read_only;
        Ok(())
    }
}
