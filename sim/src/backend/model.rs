//! The model of PostgreSQL as a [`Database`].
//!
//! Statements are prepared once, by their id. What is committed is read from the tables' rows directly, without SQL.

use std::sync::Arc;

use skiptrace::{Answer, DbError, Rows, SqlState, Statement, Tag, Value};
use skiptrace_model::{self as model, CommandTag, Prepared, Server, SessionId, TableHandle};

use super::postgres::PostgresDatabase;
use super::{
    BackendError, Database, GenerationState, Layout, Observation, ObservedEvent, ObservedSkip, Outcome, Woken,
};

/// The first transaction id after the setup. A server that was just set up has such ones, too.
const FIRST_XID: u64 = 1000;

/// A model server, set up for a protocol.
pub struct ModelDatabase {
    server: Server,
    /// By statement id.
    prepared: Vec<Option<Prepared>>,
    /// By the caller's session number.
    sessions: Vec<Option<SessionId>>,
    /// By the server's session number.
    numbers: Vec<usize>,
    streams: Vec<Box<str>>,
    events: Table<3>,
    applied: Table<3>,
    skips: Option<Table<3>>,
    generations: Table<2>,
    /// How often each of the tables had changed when it was observed.
    observed: Option<[u64; 4]>,
    first_xid: u64,
}

/// A table and where the wanted columns stand in it.
struct Table<const N: usize> {
    handle: TableHandle,
    columns: [usize; N],
}

impl ModelDatabase {
    /// A server with `layout` set up.
    pub fn new(layout: &Layout) -> Result<Self, BackendError> {
        let mut server = Server::new();
        let session = server.connect();
        for sql in &layout.setup {
            if let model::Outcome::Failed(error) = server.query(session, sql) {
                return Err(failed("setup", sql, &error));
            }
        }
        server.disconnect(session);
        server.keep();
        let skips = match &layout.skips {
            Some(skips) => Some(table(&mut server, skips, ["stream_id", "version", "generation"])?),
            None => None,
        };
        Ok(Self {
            events: table(&mut server, &layout.events, ["stream_id", "version", "position"])?,
            applied: table(&mut server, &layout.applied, ["stream_id", "version", "seq"])?,
            skips,
            generations: table(&mut server, &layout.generations, ["generation", "state"])?,
            streams: layout.streams.iter().map(|stream| stream.as_str().into()).collect(),
            server,
            prepared: Vec::new(),
            sessions: Vec::new(),
            numbers: Vec::new(),
            observed: None,
            first_xid: FIRST_XID,
        })
    }

    /// From the next [`Database::reset`] on, a run's first transaction id.
    pub fn set_first_xid(&mut self, xid: u64) {
        self.first_xid = xid;
    }

    /// The next run here and the next run on `server` begin with the same transaction id, so that they can be compared.
    pub fn align_with(&mut self, server: &mut PostgresDatabase<'_>) -> Result<(), BackendError> {
        // A reset of the server takes ids; the one with which the run begins finds nothing to do.
        server.reset()?;
        self.set_first_xid(server.next_xid()?);
        Ok(())
    }

    /// The next run takes these alternatives of what PostgreSQL leaves to chance: [`Server::script_chance`].
    pub fn script_chance(&mut self, script: Vec<usize>) {
        self.server.script_chance(script);
    }

    /// How many alternatives there were since: [`Server::chances`].
    pub fn chances(&self) -> &[usize] {
        self.server.chances()
    }

    #[inline]
    fn prepared(&mut self, statement: &Statement) -> Result<Result<Prepared, model::Error>, BackendError> {
        match self.prepared.get(statement.id() as usize) {
            Some(Some(prepared)) => Ok(Ok(*prepared)),
            _ => self.prepare(statement),
        }
    }

    fn prepare(&mut self, statement: &Statement) -> Result<Result<Prepared, model::Error>, BackendError> {
        let id = statement.id() as usize;
        match self.server.prepare(statement.sql()) {
            Ok(prepared) => {
                if self.prepared.len() <= id {
                    self.prepared.resize(id + 1, None);
                }
                self.prepared[id] = Some(prepared);
                Ok(Ok(prepared))
            }
            Err(error) if error.is_refusal() => Err(refused(statement.name(), &error)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// See [`Database::next_woken`], where there may be one.
    fn wake_next(&mut self) -> Result<Option<Woken>, BackendError> {
        match self.server.next_woken() {
            None => Ok(None),
            Some((_, model::Outcome::Failed(error))) if error.is_refusal() => {
                Err(refused("a statement that had waited", &error))
            }
            // It had to wait for a table: it is not stopped any more.
            Some((session, model::Outcome::Paused)) => match self.server.proceed(session) {
                model::Outcome::Waits => self.wake_next(),
                outcome => Ok(Some((self.numbers[session.0 as usize], answer(outcome)))),
            },
            Some((session, outcome)) => Ok(Some((self.numbers[session.0 as usize], answer(outcome)))),
        }
    }

    /// How often what is observed has changed: events, applies, skip records, generations.
    fn changes(&self) -> [u64; 4] {
        let skips = self.skips.as_ref().map_or(0, |skips| self.server.changes(skips.handle));
        let [events, applied, generations] = [self.events.handle, self.applied.handle, self.generations.handle];
        [self.server.changes(events), self.server.changes(applied), skips, self.server.changes(generations)]
    }

    fn session(&self, session: usize) -> SessionId {
        self.sessions[session].unwrap_or_else(|| panic!("session {session} is not connected"))
    }
}

impl Database for ModelDatabase {
    fn reset(&mut self) -> Result<(), BackendError> {
        self.server.reset();
        self.server.set_next_xid(self.first_xid);
        self.sessions.clear();
        self.observed = None;
        Ok(())
    }

    fn connect(&mut self, session: usize) -> Result<(), BackendError> {
        if self.sessions.len() <= session {
            self.sessions.resize(session + 1, None);
        }
        assert!(self.sessions[session].is_none(), "session {session} is connected already");
        let id = self.server.connect();
        self.sessions[session] = Some(id);
        let number = id.0 as usize;
        if self.numbers.len() <= number {
            self.numbers.resize(number + 1, 0);
        }
        self.numbers[number] = session;
        Ok(())
    }

    fn execute(&mut self, session: usize, statement: &Statement, params: &[Value]) -> Result<Outcome, BackendError> {
        let id = self.session(session);
        let outcome = match self.prepared(statement)? {
            Ok(prepared) => self.server.execute_with(id, prepared, |into| into.extend(params.iter().map(to_model))),
            // Does to the transaction what a statement that cannot be parsed does.
            Err(_) => self.server.query(id, statement.sql()),
        };
        let mut told = told(outcome, statement.name());
        if let Ok(Outcome::Answered(Ok(answer))) = &mut told
            && answer.tag == Tag::Rollback
            && statement.goes_back()
        {
            answer.tag = Tag::Other;
        }
        told
    }

    fn execute_to_snapshot(
        &mut self,
        session: usize,
        statement: &Statement,
        params: &[Value],
    ) -> Result<Outcome, BackendError> {
        let id = self.session(session);
        match self.prepared(statement)? {
            Ok(prepared) => {
                let params: Vec<model::Value> = params.iter().map(to_model).collect();
                told(self.server.execute_to_snapshot(id, prepared, &params), statement.name())
            }
            Err(_) => self.execute(session, statement, params),
        }
    }

    fn proceed(&mut self, session: usize) -> Result<Outcome, BackendError> {
        let id = self.session(session);
        told(self.server.proceed(id), "a statement that had its snapshot")
    }

    #[inline]
    fn next_woken(&mut self) -> Result<Option<Woken>, BackendError> {
        if self.server.has_woken() { self.wake_next() } else { Ok(None) }
    }

    fn blockers(&mut self, session: usize) -> Result<Vec<usize>, BackendError> {
        let blockers = self.server.blockers(self.session(session));
        Ok(blockers.into_iter().map(|blocker| self.numbers[blocker.0 as usize]).collect())
    }

    fn disconnect(&mut self, session: usize) -> Result<(), BackendError> {
        let id = self.session(session);
        self.server.disconnect(id);
        self.sessions[session] = None;
        Ok(())
    }

    fn process_id(&mut self, session: usize) -> Option<i64> {
        let id = (*self.sessions.get(session)?)?;
        Some(self.server.process_id(id))
    }

    fn has_changed(&mut self) -> bool {
        self.observed != Some(self.changes())
    }

    fn observe(&mut self, into: &mut Observation) -> Result<(), BackendError> {
        let now = self.changes();
        let before = self.observed.replace(now);
        let changed = |table: usize| before.is_none_or(|before| before[table] != now[table]);
        if changed(0) {
            self.events.read(&self.server, &self.streams, &mut into.events)?;
        }
        if changed(1) {
            self.applied.read(&self.server, &self.streams, &mut into.applied)?;
        }
        if changed(2) {
            into.skips.clear();
            for (skips, row) in
                self.skips.iter().flat_map(|it| self.server.committed(it.handle).map(move |row| (it, row)))
            {
                let ObservedEvent { stream, version, position: generation } = event(&self.streams, row, skips.columns)?;
                into.skips.push(ObservedSkip { stream, version, generation });
            }
            into.skips.sort_unstable();
        }
        if changed(3) {
            into.generations.clear();
            for row in self.server.committed(self.generations.handle) {
                let [generation, state] = self.generations.columns;
                into.generations.push((int(&row[generation])?, generation_state(&row[state])?));
            }
            into.generations.sort_unstable();
        }
        Ok(())
    }
}

impl Table<3> {
    /// Its committed events, by position.
    fn read(&self, server: &Server, streams: &[Box<str>], into: &mut Vec<ObservedEvent>) -> Result<(), BackendError> {
        into.clear();
        for row in server.committed(self.handle) {
            into.push(event(streams, row, self.columns)?);
        }
        into.sort_unstable_by_key(|event| event.position);
        Ok(())
    }
}

/// Stream, version and position (or generation) of a row.
fn event(streams: &[Box<str>], row: &[model::Value], columns: [usize; 3]) -> Result<ObservedEvent, BackendError> {
    let name = match &row[columns[0]] {
        model::Value::Text(name) => name.as_str(),
        other => return Err(unexpected("a stream's id", other)),
    };
    let stream = streams.iter().position(|stream| **stream == *name);
    let Some(stream) = stream else { return Err(unexpected("a stream of the scenario", &row[columns[0]])) };
    Ok(ObservedEvent {
        stream: u16::try_from(stream).expect("a scenario has fewer than 2^16 streams"),
        version: int(&row[columns[1]])?,
        position: int(&row[columns[2]])?,
    })
}

fn int(value: &model::Value) -> Result<i64, BackendError> {
    match value {
        model::Value::Int(value) => Ok(*value),
        other => Err(unexpected("an integer", other)),
    }
}

fn generation_state(value: &model::Value) -> Result<GenerationState, BackendError> {
    match value {
        model::Value::Text(state) => match &**state {
            "building" => Ok(GenerationState::Building),
            "live" => Ok(GenerationState::Live),
            "retired" => Ok(GenerationState::Retired),
            "abandoned" => Ok(GenerationState::Abandoned),
            _ => Err(unexpected("a generation's state", value)),
        },
        other => Err(unexpected("a generation's state", other)),
    }
}

fn unexpected(expected: &str, found: &model::Value) -> BackendError {
    BackendError::Environment(format!("expected {expected} where the layout says; found {found:?}"))
}

/// Finds a table, and its columns by name.
fn table<const N: usize>(server: &mut Server, name: &str, columns: [&str; N]) -> Result<Table<N>, BackendError> {
    let missing = |what: &str| BackendError::Environment(format!("the layout names {what} of {name}; found none"));
    let handle = server.table(name).ok_or_else(|| missing("the table"))?;
    let sql = format!("SELECT * FROM {name}");
    let all = server.prepare(&sql).map_err(|error| failed("layout", &sql, &error))?;
    let mut found = [0; N];
    for (wanted, at) in columns.iter().zip(&mut found) {
        let position = server.columns(all).position(|(column, _)| column == *wanted);
        *at = position.ok_or_else(|| missing(&format!("the column {wanted}")))?;
    }
    Ok(Table { handle, columns: found })
}

/// What became of a statement.
#[inline]
fn told(outcome: model::Outcome, statement: &str) -> Result<Outcome, BackendError> {
    match outcome {
        model::Outcome::Waits => Ok(Outcome::Waits),
        model::Outcome::Paused => Ok(Outcome::HasSnapshot),
        model::Outcome::Failed(error) if error.is_refusal() => Err(refused(statement, &error)),
        outcome => Ok(Outcome::Answered(answer(outcome))),
    }
}

fn refused(statement: &str, error: &model::Error) -> BackendError {
    BackendError::Refused { statement: statement.to_owned(), construct: error.message.clone() }
}

fn failed(what: &str, sql: &str, error: &model::Error) -> BackendError {
    if error.is_refusal() {
        BackendError::Refused { statement: format!("{what}: {sql}"), construct: error.message.clone() }
    } else {
        BackendError::Environment(format!("{what}: {error}, in: {sql}"))
    }
}

#[inline]
fn answer(outcome: model::Outcome) -> Result<Answer, DbError> {
    match outcome {
        model::Outcome::Done(model::Answer { tag, affected, rows }) => {
            let rows = match rows.len() {
                0 => Rows::default(),
                // The values stay in the memory that they came in.
                count => Rows::new(count, rows.into_values().into_iter().map(from_model).collect()),
            };
            let tag = match tag {
                CommandTag::Begin => Tag::Begin,
                CommandTag::Commit => Tag::Commit,
                CommandTag::Rollback => Tag::Rollback,
                _ => Tag::Other,
            };
            Ok(Answer { tag, affected, rows })
        }
        model::Outcome::Failed(error) => Err(DbError::new(SqlState::from_code(error.sqlstate), error.message)),
        model::Outcome::Waits | model::Outcome::Paused => unreachable!("whoever waits has no answer"),
    }
}

fn to_model(value: &Value) -> model::Value {
    match value {
        Value::Null => model::Value::Null,
        Value::Bool(value) => model::Value::Bool(*value),
        Value::Int(value) => model::Value::Int(*value),
        Value::Text(text) => model::Value::Text(text.clone()),
        Value::Json(json) => model::Value::Json(json.clone()),
        Value::Timestamp(micros) => model::Value::Timestamp(*micros),
        Value::Array(values) => model::Value::Array(match &**values {
            // As `Value::array` does.
            [value] => Arc::new([to_model(value)]),
            values => values.iter().map(to_model).collect(),
        }),
    }
}

fn from_model(value: model::Value) -> Value {
    match value {
        model::Value::Null => Value::Null,
        // As the driver reads it.
        model::Value::Void => Value::from(""),
        model::Value::Bool(value) => Value::Bool(value),
        model::Value::Int(value) => Value::Int(value),
        model::Value::Text(text) => Value::Text(text),
        model::Value::Json(json) => Value::Json(json),
        model::Value::Timestamp(micros) => Value::Timestamp(micros),
        model::Value::Array(values) => Value::array(values.iter().cloned().map(from_model)),
        // Neither crosses the port: the core's SQL casts them to text.
        other @ (model::Value::Numeric(_) | model::Value::Snapshot(_)) => {
            panic!("expected a type that crosses the port, found {other:?}")
        }
    }
}
