//! Statements that are not planned: transactions, settings, LOCK TABLE, TRUNCATE and DDL.

use smol_str::SmolStr;

use crate::catalog::{TableDef, TableId};
use crate::error::Error;
use crate::exec::Interrupt;
use crate::footprint::Access;
use crate::plan::{ColumnId, Expr, Isolation, OWN_ROW, TableLockMode, TransactionModes, Utility};
use crate::rows::Rows;
use crate::sequence::Sequence;
use crate::server::{Answer, CommandTag, Core};
use crate::session::Block;
use crate::types::Value;

fn done(tag: CommandTag) -> Answer {
    Answer { tag, affected: 0, rows: Rows::default() }
}

/// Calls `each` with the columns of [`OWN_ROW`] that an expression reads.
pub(crate) fn columns_of(expr: &Expr, each: &mut dyn FnMut(ColumnId)) {
    match expr {
        Expr::Column { slot: OWN_ROW, column } => each(*column),
        Expr::Const(_)
        | Expr::Param(_)
        | Expr::Column { .. }
        | Expr::NextVal(_)
        | Expr::Subquery { .. }
        | Expr::Rechecked { .. } => {}
        Expr::And(parts) | Expr::Or(parts) | Expr::Coalesce(parts) | Expr::Array(parts) => {
            for part in parts {
                columns_of(part, each);
            }
        }
        Expr::Not(inner)
        | Expr::IsNull { expr: inner, .. }
        | Expr::IsBool { expr: inner, .. }
        | Expr::Once { expr: inner, .. } => {
            columns_of(inner, each);
        }
        Expr::IsDistinct { left, right, .. } | Expr::Compare { left, right, .. } => {
            columns_of(left, each);
            columns_of(right, each);
        }
        Expr::AnyAll { left, array, .. } => {
            columns_of(left, each);
            columns_of(array, each);
        }
        Expr::Case { arms, otherwise } => {
            for (condition, result) in arms {
                columns_of(condition, each);
                columns_of(result, each);
            }
            if let Some(result) = otherwise {
                columns_of(result, each);
            }
        }
        Expr::Call { args, .. } | Expr::ServerCall { args, .. } => {
            for arg in args {
                columns_of(arg, each);
            }
        }
    }
}

/// Whether what a statement touches is noted where it does it.
fn leaves_a_trail(utility: &Utility) -> bool {
    matches!(
        utility,
        Utility::Begin(_)
            | Utility::Commit { .. }
            | Utility::Rollback { .. }
            | Utility::Savepoint(_)
            | Utility::RollbackTo(_)
            | Utility::Release(_)
            | Utility::SetTransaction(_)
            | Utility::Set { .. }
            | Utility::Show(_)
            | Utility::LockTable { .. }
    )
}

impl Core {
    /// Runs a utility statement; after a wait it is run again.
    pub(super) fn run_utility(&mut self, me: u16, utility: &Utility) -> Result<Answer, Interrupt> {
        if !leaves_a_trail(utility) {
            self.note(|| Access::Everything);
        }
        self.prevent_utility_if_read_only(me, utility)?;
        match utility {
            Utility::Begin(modes) => {
                match self.transaction(me).block {
                    Block::Single => self.transaction_mut(me).become_block(*modes),
                    Block::Implicit => {
                        self.set_transaction(me, *modes)?;
                        self.transaction_mut(me).block = Block::Explicit;
                    }
                    Block::Explicit => {
                        self.warn(me, "there is already a transaction in progress");
                        self.set_transaction(me, *modes)?;
                    }
                }
                Ok(done(CommandTag::Begin))
            }
            Utility::Commit { chain } => self.end_block(me, true, *chain),
            Utility::Rollback { chain } => self.end_block(me, false, *chain),
            Utility::Savepoint(name) => {
                self.in_block(me, "SAVEPOINT")?;
                self.savepoint(me, name);
                Ok(done(CommandTag::Other("SAVEPOINT")))
            }
            Utility::RollbackTo(name) => {
                self.in_block(me, "ROLLBACK TO SAVEPOINT")?;
                self.roll_back_to(me, name)?;
                Ok(done(CommandTag::Rollback))
            }
            Utility::Release(name) => {
                self.in_block(me, "RELEASE SAVEPOINT")?;
                self.release(me, name)?;
                Ok(done(CommandTag::Other("RELEASE")))
            }
            Utility::Prepare(_) | Utility::FinishPrepared { .. } => self.run_two_phase(me, utility),
            Utility::SetTransaction(modes) => {
                self.warn_outside_block(me, "SET TRANSACTION");
                self.set_transaction(me, *modes)?;
                Ok(done(CommandTag::Other("SET")))
            }
            Utility::Set { name, value, local } => {
                if *local {
                    self.warn_outside_block(me, "SET LOCAL");
                }
                self.session_mut(me).settings.set(name, value.clone(), *local)?;
                Ok(done(CommandTag::Other("SET")))
            }
            Utility::Listen(listening) => {
                self.listen(me, listening.clone());
                let listens = matches!(listening, crate::notify::Listening::Listen(_));
                Ok(done(CommandTag::Other(if listens { "LISTEN" } else { "UNLISTEN" })))
            }
            Utility::Notify { channel, payload } => {
                self.notify(me, channel, payload)?;
                Ok(done(CommandTag::Other("NOTIFY")))
            }
            Utility::Show(name) => self.show(me, name),
            _ => self.run_ddl(me, utility),
        }
    }

    fn warn_outside_block(&mut self, me: u16, what: &str) {
        if self.transaction(me).block == Block::Single {
            self.warn(me, &format!("{what} can only be used in transaction blocks"));
        }
    }

    fn in_block(&self, me: u16, what: &str) -> Result<(), Error> {
        let block = self.transaction(me).block;
        // A savepoint inside a message would have to outlive it; a lock lasts to its end.
        if block == Block::Explicit || (block == Block::Implicit && what == "LOCK TABLE") {
            return Ok(());
        }
        Err(Error::new("25P01", format!("{what} can only be used in transaction blocks")))
    }

    /// COMMIT and ROLLBACK; a transaction that has failed is rolled back by both.
    fn end_block(&mut self, me: u16, commit: bool, chain: bool) -> Result<Answer, Interrupt> {
        if chain {
            self.in_block(me, if commit { "COMMIT AND CHAIN" } else { "ROLLBACK AND CHAIN" })?;
        }
        if self.transaction(me).block != Block::Explicit {
            self.warn(me, "there is no transaction in progress");
        }
        let transaction = self.transaction(me);
        // An error has put both back to what they are by default already. Source: xact.c, `AbortTransaction`.
        let modes = if transaction.failed {
            TransactionModes::default()
        } else {
            TransactionModes {
                isolation: Some(transaction.isolation),
                read_only: Some(transaction.read_only),
                other_name: transaction.other_name,
            }
        };
        let commits = commit && !transaction.failed;
        if commits {
            self.commit(me);
        } else {
            self.roll_back(me);
        }
        if chain {
            self.begin(me, Block::Explicit, modes);
        }
        Ok(done(if commits { CommandTag::Commit } else { CommandTag::Rollback }))
    }

    fn run_two_phase(&mut self, me: u16, utility: &Utility) -> Result<Answer, Interrupt> {
        match utility {
            Utility::Prepare(gid) => {
                match self.transaction(me).block {
                    Block::Single => return self.end_block(me, false, false),
                    Block::Implicit => self.warn(me, "there is no transaction in progress"),
                    Block::Explicit if self.transaction(me).failed => return self.end_block(me, false, false),
                    Block::Explicit => {}
                }
                self.prepare_transaction(me, gid)?;
                Ok(done(CommandTag::Other("PREPARE TRANSACTION")))
            }
            Utility::FinishPrepared { gid, commit } => {
                let tag = if *commit { "COMMIT PREPARED" } else { "ROLLBACK PREPARED" };
                if self.transaction(me).block != Block::Single {
                    return Err(Error::new("25001", format!("{tag} cannot run inside a transaction block")).into());
                }
                self.finish_prepared(gid, *commit)?;
                Ok(done(CommandTag::Other(tag)))
            }
            _ => unreachable!("all other utility statements are handled elsewhere"),
        }
    }

    fn set_transaction(&mut self, me: u16, modes: TransactionModes) -> Result<(), Error> {
        let transaction = self.transaction_mut(me);
        if let Some(isolation) = modes.isolation
            && (isolation, modes.other_name) != (transaction.isolation, transaction.other_name)
        {
            if transaction.has_snapshot {
                let message = "SET TRANSACTION ISOLATION LEVEL must be called before any query";
                return Err(Error::new("25001", message));
            }
            if transaction.is_in_savepoint() {
                let message = "SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction";
                return Err(Error::new("25001", message));
            }
            transaction.isolation = isolation;
            transaction.other_name = modes.other_name;
        }
        modes.read_only.map_or(Ok(()), |read_only| transaction.set_read_only(read_only))
    }

    fn show(&self, me: u16, name: &str) -> Result<Answer, Interrupt> {
        let value = self.setting(me, name).ok_or_else(|| crate::settings::unknown(name))?;
        let rows = Rows::new(1, 1, vec![Value::Text(value)]);
        Ok(Answer { tag: CommandTag::Other("SHOW"), affected: 0, rows })
    }

    /// The value of a setting; none: there is no such setting.
    pub(super) fn setting(&self, me: u16, name: &str) -> Option<SmolStr> {
        let transaction = self.transaction(me);
        Some(match name {
            "transaction_isolation" => match transaction.isolation {
                Isolation::ReadCommitted => transaction.other_name.unwrap_or("read committed").into(),
                Isolation::RepeatableRead => "repeatable read".into(),
                Isolation::Serializable => "serializable".into(),
            },
            "transaction_read_only" => if transaction.read_only { "on" } else { "off" }.into(),
            _ => self
                .session(me)
                .settings
                .get(name)
                .or_else(|| {
                    // Capitals make no difference.
                    let small = name.to_ascii_lowercase();
                    if small == *name { None } else { self.session(me).settings.get(&small) }
                })?
                .into(),
        })
    }

    fn run_ddl(&mut self, me: u16, utility: &Utility) -> Result<Answer, Interrupt> {
        if self.transaction(me).isolation == Isolation::Serializable && !matches!(utility, Utility::LockTable { .. }) {
            return Err(Error::refused("DDL under SERIALIZABLE").into());
        }
        let tag = match utility {
            Utility::LockTable { tables, mode, nowait } => {
                self.in_block(me, "LOCK TABLE")?;
                self.lock_tables(me, tables, *mode, *nowait)?;
                "LOCK TABLE"
            }
            Utility::Truncate { tables, named, restart_identity } => {
                self.lock_tables(me, tables, TableLockMode::AccessExclusive, false)?;
                self.refuse_to_truncate(tables)?;
                for table in &tables[*named..] {
                    let name = self.catalog.table(*table).name.clone();
                    self.notice(me, format!("truncate cascades to table \"{name}\""));
                }
                self.assign_xid(me);
                for table in tables {
                    self.truncate(me, *table);
                    if *restart_identity {
                        self.restart_sequences(me, *table);
                    }
                }
                "TRUNCATE TABLE"
            }
            Utility::DropSchema { name, cascade, if_exists } => {
                self.drop_schema(me, name, *cascade, *if_exists)?;
                "DROP SCHEMA"
            }
            Utility::CreateView { view, replaced, locked } => {
                self.create_view(me, view, *replaced, locked)?;
                "CREATE VIEW"
            }
            Utility::CreateIndex { table, index, if_not_exists } => {
                self.lock_tables(me, &[*table], TableLockMode::Share, false)?;
                self.before_ddl(me)?;
                if self.catalog.create_index(*table, index, *if_not_exists)?.is_some() {
                    self.build_index(me, *table, index)?;
                } else {
                    self.notice(me, format!("relation \"{}\" already exists, skipping", index.name));
                }
                "CREATE INDEX"
            }
            Utility::DropTable { .. }
            | Utility::DropSequence { .. }
            | Utility::DropView { .. }
            | Utility::DropIndex { .. }
            | Utility::Comment { .. }
            | Utility::AlterTable { .. }
            | Utility::AlterSequence { .. } => self.alter_or_drop(me, utility)?,
            _ => self.create(me, utility)?,
        };
        Ok(done(CommandTag::Other(tag)))
    }

    fn alter_or_drop(&mut self, me: u16, utility: &Utility) -> Result<&'static str, Interrupt> {
        Ok(match utility {
            Utility::DropTable { tables, names, missing, cascade } => {
                self.lock_to_drop(me, tables, missing)?;
                let cascades = self.lock_for_drop(me, tables, *cascade)?;
                self.before_ddl(me)?;
                self.notices(me, missing);
                for view in self.catalog.views_over(tables) {
                    self.catalog.drop_view(view);
                }
                for table in tables {
                    self.catalog.drop_table(*table);
                }
                self.catalog.forget_poison(names);
                for notice in cascades {
                    self.notice(me, notice);
                }
                "DROP TABLE"
            }
            Utility::DropIndex { indexes, missing } => {
                let tables: Vec<TableId> = indexes.iter().map(|(table, _)| *table).collect();
                self.lock_to_drop(me, &tables, missing)?;
                self.before_ddl(me)?;
                self.drop_each_index(me, indexes);
                for name in missing {
                    self.notice(me, format!("index \"{name}\" does not exist, skipping"));
                }
                "DROP INDEX"
            }
            Utility::DropView { views, missing, cascade } => {
                self.drop_views(me, views, *cascade)?;
                for name in missing {
                    self.notice(me, format!("view \"{name}\" does not exist, skipping"));
                }
                "DROP VIEW"
            }
            Utility::DropSequence { sequences, names, missing } => {
                let read = !self.catalog.views_over(sequences).is_empty();
                if read {
                    return Err(Error::refused("DROP SEQUENCE of one that a view reads").into());
                }
                self.lock_to_drop(me, sequences, missing)?;
                self.before_ddl(me)?;
                self.notices(me, missing);
                for sequence in sequences {
                    self.catalog.drop_sequence(*sequence);
                }
                self.catalog.forget_poison(names);
                "DROP SEQUENCE"
            }
            Utility::AlterTable { table, def, fill } => {
                self.lock_tables(me, &[*table], TableLockMode::AccessExclusive, false)?;
                self.before_ddl(me)?;
                self.alter_table(me, *table, def, fill)?;
                "ALTER TABLE"
            }
            Utility::Comment { table } => self.comment(me, *table)?,
            Utility::AlterSequence { sequence, def, restart } => {
                self.lock_tables(me, &[*sequence], TableLockMode::ShareRowExclusive, false)?;
                self.before_ddl(me)?;
                let old = self.sequences[*sequence as usize];
                self.sequences[*sequence as usize] = old.altered(def, *restart)?;
                self.transaction_mut(me).restarted.push((*sequence, old));
                self.catalog.redefine_sequence(*sequence, (**def).clone());
                "ALTER SEQUENCE"
            }
            _ => unreachable!("all other utility statements are handled elsewhere"),
        })
    }

    fn create(&mut self, me: u16, utility: &Utility) -> Result<&'static str, Interrupt> {
        if let Utility::CreateTable { table, .. } = utility {
            self.lock_referenced(me, table)?;
        }
        self.before_ddl(me)?;
        match utility {
            Utility::Poison(poison) => {
                self.catalog.poison(poison);
                Ok("CREATE")
            }
            Utility::CreateSchema { name, if_not_exists } => {
                if !self.catalog.create_schema(name, *if_not_exists)? {
                    self.notice(me, format!("schema \"{name}\" already exists, skipping"));
                }
                Ok("CREATE SCHEMA")
            }
            Utility::CreateTable { table, sequences, if_not_exists } => {
                if let Some(id) = self.catalog.create_table(table, sequences, *if_not_exists)? {
                    self.create_storage(id);
                    for sequence in self.catalog.table(id).sequences.clone() {
                        self.sequences[sequence as usize] = Sequence::new(self.catalog.sequence(sequence));
                    }
                    self.lock_table(me, id, TableLockMode::AccessExclusive)?;
                } else {
                    self.notice(me, format!("relation \"{}\" already exists, skipping", table.name));
                }
                Ok("CREATE TABLE")
            }
            Utility::CreateSequence { sequence, if_not_exists } => {
                if let Some(id) = self.catalog.create_sequence(sequence, *if_not_exists)? {
                    self.set_tables(id as usize + 1);
                    self.sequences[id as usize] = Sequence::new(sequence);
                } else {
                    self.notice(me, format!("relation \"{}\" already exists, skipping", sequence.name));
                }
                Ok("CREATE SEQUENCE")
            }
            _ => unreachable!("all other utility statements are handled elsewhere"),
        }
    }

    /// Gives a table more columns. Whoever comes later sees them, with an older snapshot, too: as in PostgreSQL they are no new versions.
    fn alter_table(&mut self, me: u16, table: TableId, def: &TableDef, fill: &[Value]) -> Result<(), Interrupt> {
        let old = self.catalog.table(table).columns.len();
        let storage = &self.tables[table as usize];
        let rows = (0..storage.len()).any(|tuple| storage.is_committed(tuple, &self.xacts));
        for (column, value) in def.columns[old..].iter().zip(fill) {
            if rows && column.not_null && *value == Value::Null {
                let (column, table) = (&column.name, &def.name);
                let message = format!("column \"{column}\" of relation \"{table}\" contains null values");
                return Err(Error::new("23502", message).into());
            }
        }
        let wider = storage.widened(fill);
        let old = std::mem::replace(&mut self.tables[table as usize], wider);
        self.put_storage_aside(me, table, old);
        self.catalog.redefine_table(table, def.clone());
        Ok(())
    }

    /// DDL writes catalogs: it has an id, and can be rolled back.
    pub(super) fn before_ddl(&mut self, me: u16) -> Result<(), Error> {
        self.assign_xid(me);
        self.own_ddl(me)
    }

    /// COMMENT ON TABLE: a lock, and a write that nobody sees.
    fn comment(&mut self, me: u16, table: TableId) -> Result<&'static str, Interrupt> {
        self.lock_tables(me, &[table], TableLockMode::ShareUpdateExclusive, false)?;
        self.before_ddl(me)?;
        Ok("COMMENT")
    }

    fn notices(&mut self, me: u16, texts: &[SmolStr]) {
        for text in texts {
            self.notice(me, text.to_string());
        }
    }

    /// Locks what is dropped. Of what is missing PostgreSQL tells before it waits for what is named behind it.
    fn lock_to_drop(&mut self, me: u16, tables: &[TableId], missing: &[SmolStr]) -> Result<(), Interrupt> {
        match self.lock_tables(me, tables, TableLockMode::AccessExclusive, !missing.is_empty()) {
            Err(Interrupt::Error(error)) if error.sqlstate == "55P03" => {
                Err(Error::refused("DROP .. IF EXISTS of what is missing beside what is locked").into())
            }
            other => other,
        }
    }

    /// Locks tables one after the other.
    pub(super) fn lock_tables(
        &mut self,
        me: u16,
        tables: &[TableId],
        mode: TableLockMode,
        nowait: bool,
    ) -> Result<(), Interrupt> {
        // The strongest lock is written to the log, and for that it needs an id before it waits (LockAcquireExtended).
        if mode == TableLockMode::AccessExclusive {
            self.assign_xid(me);
        }
        for table in tables {
            if nowait && !self.locks.lock_table(me, *table, mode) {
                let name = &self.catalog.table(*table).name;
                return Err(Error::new("55P03", format!("could not obtain lock on relation \"{name}\"")).into());
            }
            self.lock_table(me, *table, mode)?;
        }
        Ok(())
    }

    fn restart_sequences(&mut self, me: u16, table: TableId) {
        for sequence in self.catalog.table(table).sequences.clone() {
            let new = Sequence::new(self.catalog.sequence(sequence));
            let old = std::mem::replace(&mut self.sequences[sequence as usize], new);
            self.transaction_mut(me).restarted.push((sequence, old));
        }
    }

    fn drop_schema(&mut self, me: u16, name: &str, cascade: bool, if_exists: bool) -> Result<(), Interrupt> {
        if !self.catalog.has_schema(name) {
            let missing = Error::new("3F000", format!("schema \"{name}\" does not exist"));
            if !if_exists {
                return Err(missing.into());
            }
            self.notice(me, format!("schema \"{name}\" does not exist, skipping"));
            return Ok(());
        }
        if !cascade && !self.catalog.is_empty_schema(name) {
            let message = format!("cannot drop schema {name} because other objects depend on it");
            return Err(Error::new("2BP01", message).into());
        }
        let tables = self.catalog.tables_in(name);
        let views = self.catalog.views_over(&tables);
        if !views.is_empty() || self.catalog.has_views(name) {
            return Err(Error::refused("DROP SCHEMA with views").into());
        }
        self.lock_tables(me, &tables, TableLockMode::AccessExclusive, false)?;
        self.refuse_to_drop_schema(&tables)?;
        self.before_ddl(me)?;
        for table in tables {
            self.catalog.drop_table(table);
        }
        for sequence in self.catalog.sequences_in(name) {
            self.catalog.drop_sequence(sequence);
        }
        self.catalog.drop_schema(name);
        Ok(())
    }
}
