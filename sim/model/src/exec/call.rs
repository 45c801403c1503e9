//! Functions that read or change the server, and functions in FROM.

use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::catalog::{Catalog, SequenceId};
use crate::error::Error;
use crate::exec::{Exec, Interrupt};
use crate::footprint::{Access, Lock, Series};
use crate::function::{ServerFunction, TableFunction};
use crate::lock::{AdvisoryKey, AdvisoryScope, LockTag};
use crate::mvcc::NO_XID;
use crate::plan::TableLockMode;
use crate::sequence::Sequence;
use crate::types::{Numeric, Value};

/// What `pg_sleep` takes at most, in microseconds.
const SLEEP_MAX: i128 = 60_000_000;

/// The process id that a session's server process would have: sessions are numbered from 0, pids are not.
const FIRST_PID: i64 = 1001;

pub(crate) fn process_id(session: u16) -> i64 {
    FIRST_PID + i64::from(session)
}

fn external(xid: u64) -> Value {
    Value::Int(i64::try_from(xid).expect("transaction ids stay below 2^63"))
}

fn advisory_key(args: &[Value]) -> Option<AdvisoryKey> {
    match args {
        [Value::Int(key)] => Some(AdvisoryKey { key: *key, two: false }),
        [Value::Int(high), Value::Int(low)] => Some(AdvisoryKey { key: (high << 32) | (low & 0xffff_ffff), two: true }),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&SmolStr> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

impl Exec<'_> {
    pub(super) fn server_call(&mut self, function: ServerFunction, args: &[Value]) -> Result<Value, Interrupt> {
        match function {
            ServerFunction::CurrentXactId => {
                let top = self.core.transaction(self.me).xid;
                let xid = if top == NO_XID { self.core.assign_top_xid(self.me) } else { top };
                Ok(external(self.core.xacts.external(xid)))
            }
            ServerFunction::CurrentXactIdIfAssigned => {
                let xid = self.core.transaction(self.me).xid;
                Ok(if xid == NO_XID { Value::Null } else { external(self.core.xacts.external(xid)) })
            }
            ServerFunction::CurrentSnapshot => {
                self.core.note(|| Access::AskRunning);
                Ok(Value::Snapshot(self.act.snapshot.external(&self.core.xacts).into()))
            }
            ServerFunction::AdvisoryLock { shared, transaction, wait } => {
                let Some(key) = advisory_key(args) else { return Ok(Value::Null) };
                let scope = if transaction { AdvisoryScope::Transaction } else { AdvisoryScope::Session };
                self.remembered(|exec| exec.lock_advisory(key, shared, scope, wait))
            }
            ServerFunction::AdvisoryUnlock { shared } => {
                let Some(key) = advisory_key(args) else { return Ok(Value::Null) };
                let mode = if shared { TableLockMode::Share } else { TableLockMode::Exclusive };
                self.core.note(|| Access::Give(Lock::Advisory(key, mode)));
                self.remembered(|exec| {
                    let held = exec.core.locks.unlock_advisory(exec.me, key, shared);
                    if !held {
                        let mode = if shared { "ShareLock" } else { "ExclusiveLock" };
                        exec.core.warn_among_rows(exec.me, &format!("you don't own a lock of type {mode}"));
                    }
                    Ok(Value::Bool(held))
                })
            }
            ServerFunction::AdvisoryUnlockAll => self.remembered(|exec| {
                exec.core.note(|| Access::Everything);
                exec.core.locks.release_advisory_scope(exec.me, AdvisoryScope::Session);
                Ok(Value::Void)
            }),
            ServerFunction::Notify => self.remembered(|exec| {
                let empty = SmolStr::default();
                let (channel, payload) = (text(&args[0]).unwrap_or(&empty), text(&args[1]).unwrap_or(&empty));
                exec.core.notify(exec.me, channel, payload)?;
                Ok(Value::Void)
            }),
            ServerFunction::Now => Ok(Value::Timestamp(self.core.transaction(self.me).started)),
            ServerFunction::ClockTimestamp => Ok(Value::Timestamp(self.core.clock)),
            ServerFunction::SetConfig => self.remembered(|exec| exec.set_config(args)),
            ServerFunction::CurrentSetting => self.current_setting(args),
            ServerFunction::BackendPid => Ok(Value::Int(process_id(self.me))),
            ServerFunction::CurrVal => self.current_value(args),
            ServerFunction::NextValByName => {
                let Some(sequence) = self.sequence_by_value(&args[0])? else { return Ok(Value::Null) };
                self.remembered(|exec| exec.next_value(sequence))
            }
            ServerFunction::SetVal => self.remembered(|exec| exec.set_value(args)),
            ServerFunction::LastVal => self.last_value(),
            ServerFunction::RelationName => Ok(self.relation_name(&args[0])),
            ServerFunction::Sleep => match &args[0] {
                Value::Numeric(seconds) => self.remembered(|exec| exec.sleep(**seconds)),
                _ => Ok(Value::Null),
            },
            ServerFunction::IsInRecovery => Ok(Value::Bool(false)),
            ServerFunction::CurrentDatabase => Ok(Value::Text(self.core.names.database.clone())),
        }
    }

    /// Lets time pass. Nobody else can do anything meanwhile: whose wait would end by a timeout is not modelled.
    fn sleep(&mut self, seconds: Numeric) -> Result<Value, Interrupt> {
        self.core.note(|| Access::Everything);
        let scale = 10_i128.pow(seconds.scale.into());
        let micros = seconds.digits.saturating_mul(1_000_000) / scale;
        if micros > SLEEP_MAX {
            return Err(Error::refused(format_args!("pg_sleep of more than {} seconds", SLEEP_MAX / 1_000_000)).into());
        }
        let wakes = self.core.clock + i64::try_from(micros.max(0)).expect("less than SLEEP_MAX");
        let ends = self.core.session(self.me).statement_ends.filter(|ends| *ends < wakes);
        self.core.clock = ends.unwrap_or(wakes);
        let going_on = self.core.locks.granted.len();
        self.core.locks.expire(self.core.clock, &self.core.xacts);
        if self.core.locks.granted.len() > going_on {
            return Err(Error::refused("pg_sleep while another session's timeout passes").into());
        }
        match ends {
            Some(_) => Err(super::timed_out().into()),
            None => Ok(Value::Void),
        }
    }

    fn lock_advisory(
        &mut self,
        key: AdvisoryKey,
        shared: bool,
        scope: AdvisoryScope,
        wait: bool,
    ) -> Result<Value, Interrupt> {
        let mode = if shared { TableLockMode::Share } else { TableLockMode::Exclusive };
        self.core.note(|| Access::Take(Lock::Advisory(key, mode)));
        while !self.core.locks.lock_advisory(self.me, key, shared, scope) {
            if !wait {
                return Ok(Value::Bool(false));
            }
            self.wait(LockTag::Advisory(key), mode)?;
        }
        if scope == AdvisoryScope::Transaction {
            self.core.transaction_mut(self.me).advisory.push((key, mode));
        }
        Ok(if wait { Value::Void } else { Value::Bool(true) })
    }

    fn set_config(&mut self, args: &[Value]) -> Result<Value, Interrupt> {
        let [name, value, local] = args else { unreachable!("set_config has three arguments") };
        let name = text(name).ok_or_else(|| Error::new("22004", "SET requires parameter name"))?;
        let value = text(value).cloned();
        let local = matches!(local, Value::Bool(true));
        let settings = &mut self.core.session_mut(self.me).settings;
        settings.set(name, value, local)?;
        Ok(settings.get(name).map_or(Value::Null, |value| Value::Text(value.into())))
    }

    /// `regclass::text`: a number where there is no such relation.
    fn relation_name(&self, value: &Value) -> Value {
        let Value::Int(oid) = value else { return Value::Null };
        Value::Text(self.core.catalog.relation_text(*oid).into())
    }

    fn current_setting(&self, args: &[Value]) -> Result<Value, Interrupt> {
        let Some(name) = text(&args[0]) else { return Ok(Value::Null) };
        let missing_ok = args.get(1) == Some(&Value::Bool(true));
        match self.core.setting(self.me, name) {
            Some(value) => Ok(Value::Text(value)),
            None if missing_ok => Ok(Value::Null),
            None => Err(crate::settings::unknown(name).into()),
        }
    }

    /// A sequence as `nextval` and `currval` name it: by its name, or by its number as `regclass`.
    fn sequence_by_value(&self, value: &Value) -> Result<Option<SequenceId>, Error> {
        use crate::catalog::Relation;
        match value {
            Value::Text(name) => {
                let plain = name.replace('"', "");
                let (schema, bare) = plain.split_once('.').unwrap_or(("public", &plain));
                match self.core.catalog.lookup(schema, bare) {
                    Some(Relation::Sequence(id)) => Ok(Some(id)),
                    Some(_) => Err(Error::new("42809", format!("\"{bare}\" is not a sequence"))),
                    None => Err(Error::new("42P01", format!("relation \"{name}\" does not exist"))),
                }
            }
            Value::Int(oid) => {
                let id = SequenceId::try_from(oid - Catalog::oid(0)).ok();
                if let Some(table) = id.and_then(|id| self.core.catalog.find_table(id)) {
                    return Err(Error::new("42809", format!("\"{}\" is not a sequence", table.name)));
                }
                match id {
                    Some(id) if self.core.catalog.find_sequence(id).is_some() => Ok(Some(id)),
                    Some(id) if (id as usize) < self.core.tables.len() => Err(dropped_meanwhile()),
                    _ => Err(Error::new("42P01", format!("could not open relation with OID {oid}"))),
                }
            }
            _ => Ok(None),
        }
    }

    /// Whoever as much as asks for `currval` locks the sequence until the end of the transaction. Source: PostgreSQL, sequence.c, `init_sequence`.
    fn lock_sequence(&mut self, sequence: SequenceId) -> Result<(), Interrupt> {
        self.core.lock_table(self.me, sequence, TableLockMode::RowExclusive)?;
        match self.core.catalog.find_sequence(sequence) {
            Some(_) => Ok(()),
            None => Err(dropped_meanwhile().into()),
        }
    }

    /// nextval. No rollback takes it back. The sequence is locked until the end of the transaction, against ALTER SEQUENCE.
    pub(super) fn next_value(&mut self, sequence: SequenceId) -> Result<Value, Interrupt> {
        self.lock_sequence(sequence)?;
        self.core.prevent_if_read_only(self.me, "nextval()")?;
        self.core.note(|| Access::Next(Series::Sequence(sequence)));
        let def = self.core.catalog.sequence(sequence);
        let value = self.core.sequences[sequence as usize].next(def)?;
        let known = &mut self.core.sessions[usize::from(self.me)].sequences;
        match known.iter_mut().find(|(id, _)| *id == sequence) {
            Some((_, last)) => *last = value,
            None => known.push((sequence, value)),
        }
        self.core.sessions[usize::from(self.me)].last_sequence = sequence;
        Ok(Value::Int(value))
    }

    /// setval. It writes the log, and for that has an id.
    fn set_value(&mut self, args: &[Value]) -> Result<Value, Interrupt> {
        let called = args.get(2).unwrap_or(&Value::Bool(true));
        let (Value::Int(value), Value::Bool(called)) = (&args[1], called) else { return Ok(Value::Null) };
        let (value, called) = (*value, *called);
        let Some(sequence) = self.sequence_by_value(&args[0])? else { return Ok(Value::Null) };
        self.lock_sequence(sequence)?;
        self.core.prevent_if_read_only(self.me, "setval()")?;
        self.core.note(|| Access::Next(Series::Sequence(sequence)));
        let new = Sequence::set(self.core.catalog.sequence(sequence), value, called)?;
        self.core.sequences[sequence as usize] = new;
        self.core.assign_top_xid(self.me);
        let known = &mut self.core.session_mut(self.me).sequences;
        match known.iter_mut().find(|(id, _)| *id == sequence).filter(|_| called) {
            Some((_, last)) => *last = value,
            None if called => known.push((sequence, value)),
            None => {}
        }
        Ok(Value::Int(value))
    }

    fn last_value(&mut self) -> Result<Value, Interrupt> {
        let session = self.core.session(self.me);
        let known = session.sequences.iter().find(|(id, _)| *id == session.last_sequence);
        let known = known.filter(|(id, _)| self.core.catalog.find_sequence(*id).is_some());
        let missing = || Error::new("55000", "lastval is not yet defined in this session");
        let (sequence, value) = *known.ok_or_else(missing)?;
        self.lock_sequence(sequence)?;
        Ok(Value::Int(value))
    }

    fn current_value(&mut self, args: &[Value]) -> Result<Value, Interrupt> {
        let Some(sequence) = self.sequence_by_value(&args[0])? else { return Ok(Value::Null) };
        self.lock_sequence(sequence)?;
        let known = self.core.session(self.me).sequences.iter().find(|(id, _)| *id == sequence);
        let Some((_, value)) = known else {
            let name = &self.core.catalog.sequence(sequence).name;
            let message = format!("currval of sequence \"{name}\" is not yet defined in this session");
            return Err(Error::new("55000", message).into());
        };
        Ok(Value::Int(*value))
    }
}

/// PostgreSQL's message has its number.
fn dropped_meanwhile() -> Error {
    Error::refused("a sequence that is dropped while a function waits for it")
}

fn items(value: &Value) -> &[Value] {
    if let Value::Array(items) = value { items } else { &[] }
}

/// How many rows a function in FROM gives.
pub(super) fn table_function_rows(function: TableFunction, args: &[Value]) -> usize {
    match (function, args) {
        (TableFunction::GenerateSeries, [Value::Int(from), Value::Int(to), step @ ..]) => {
            let step = if let [Value::Int(step)] = step { *step } else { 1 };
            let steps = (i128::from(*to) - i128::from(*from)).checked_div(i128::from(step)).unwrap_or(0);
            usize::try_from(steps.max(-1) + 1).unwrap_or(usize::MAX)
        }
        (TableFunction::Unnest, _) => args.iter().map(|array| items(array).len()).max().unwrap_or(0),
        _ => 0,
    }
}

/// The rows of a function in FROM.
pub(super) fn table_function(
    function: TableFunction,
    args: &[Value],
    ordinality: bool,
    into: &mut Vec<Value>,
) -> Result<(), Error> {
    let mut count = 0;
    let mut number = |into: &mut Vec<Value>| {
        if ordinality {
            count += 1;
            into.push(Value::Int(count));
        }
    };
    match function {
        TableFunction::Unnest => {
            let arrays: SmallVec<[&[Value]; 8]> = args.iter().map(items).collect();
            for row in 0..arrays.iter().map(|items| items.len()).max().unwrap_or(0) {
                into.extend(arrays.iter().map(|items| items.get(row).cloned().unwrap_or(Value::Null)));
                number(into);
            }
        }
        TableFunction::GenerateSeries => {
            let int = |at: usize, default| match args.get(at) {
                Some(Value::Int(value)) => Some(*value),
                Some(_) => None,
                None => default,
            };
            let (Some(from), Some(to), Some(step)) = (int(0, None), int(1, None), int(2, Some(1))) else {
                return Ok(());
            };
            if step == 0 {
                return Err(Error::new("22023", "step size cannot equal zero"));
            }
            let mut next = Some(from);
            while let Some(value) = next.filter(|value| if step > 0 { *value <= to } else { *value >= to }) {
                into.push(Value::Int(value));
                number(into);
                next = value.checked_add(step);
            }
        }
        TableFunction::SnapshotXip => {
            if let Some(Value::Snapshot(snapshot)) = args.first() {
                for xid in &snapshot.xip {
                    into.push(external(*xid));
                    number(into);
                }
            }
        }
    }
    Ok(())
}
