//! The core's protocol: a skip record in the transaction of the append that skips, drained after the rebuild.
//!
//! The core runs as it is, with a projection of the harness's own: an append-only log of what it was told, so that an event that is
//! applied twice, late or not at all is seen as such.

use std::rc::Rc;

use serde_json::Value as Json;
use skiptrace::{
    AppendError, ApplyError, Call, DbError, DrainError, Drainer, EventStore, ExpectedVersion, NewEvent, Projection,
    RebuildError, RebuildOptions, Rebuilder, RecordedEvent, Session as _, SqlState, Statement, StreamId, TableName,
    Value,
};

use super::client::{Store, append_all, cope, until_done};
use super::{Bound, Protocol, streams};
use crate::backend::Layout;
use crate::exec::executor::Body;
use crate::exec::{ActorContext, SimSession};
use crate::scenario::{Role, Scenario};

const PROJECTION: &str = "log";
const HANDLER_VERSION: i64 = 1;
/// More events than any scenario appends to a stream.
const EVENTS_MAX: u32 = 100_000;

/// A stream of so few records is a long one for a drain: so that its way with these is explored, too.
const RECORDS_MAX: u32 = 2;

/// See the module.
pub(super) struct SkipRecord;

impl Protocol for SkipRecord {
    fn name(&self) -> &'static str {
        "skip_record"
    }

    fn summary(&self) -> &'static str {
        "the core: an append that skips leaves a skip record in its own transaction, and a drain applies it"
    }

    fn layout(&self, scenario: &Scenario) -> Layout {
        let mut setup = store().creation();
        let schema = "skiptrace";
        setup.extend([
            "CREATE SCHEMA verify".to_owned(),
            "CREATE TABLE verify.applied (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream_id text NOT NULL, \
             version bigint NOT NULL)"
                .to_owned(),
            // What the first rebuild of an empty log leaves.
            format!(
                "INSERT INTO {schema}.generations (projection, generation, state, handler_version) \
                 VALUES ('{PROJECTION}', 1, 'live', {HANDLER_VERSION})"
            ),
            format!(
                "INSERT INTO {schema}.rebuild_progress (projection, generation, phase, fenced) \
                 VALUES ('{PROJECTION}', 1, 'done', true)"
            ),
        ]);
        Layout {
            setup,
            streams: streams(scenario),
            events: format!("{schema}.events"),
            applied: "verify.applied".to_owned(),
            skips: Some(format!("{schema}.skips")),
            generations: format!("{schema}.generations"),
        }
    }

    fn bind(&self, scenario: &Scenario) -> Rc<dyn Bound> {
        let store = store();
        let appends = (0..).zip(&scenario.actors).map(|(actor, spec)| appends_of(actor, &spec.role)).collect();
        let rebuilders = scenario.actors.iter().map(|spec| rebuilder_of(&store, &spec.role)).collect();
        let drainer = Drainer::new(&store).with_records_max(RECORDS_MAX);
        Rc::new(BoundCore { store, drainer, appends, rebuilders })
    }
}

fn store() -> EventStore {
    EventStore::builder().projection(Log::new()).build().expect("the names are the harness's own")
}

/// The harness's projection.
struct Log {
    tables: [TableName; 1],
    apply: Statement,
    apply_all: Statement,
}

impl Log {
    fn new() -> Self {
        let one = "INSERT INTO verify.applied (stream_id, version) VALUES ($1, $2)";
        let all = "INSERT INTO verify.applied (stream_id, version) SELECT * FROM unnest($1::text[], $2::bigint[])";
        Self {
            tables: [TableName::new("verify", "applied")],
            apply: Statement::new("projection.apply", one),
            apply_all: Statement::new("projection.apply_all", all),
        }
    }
}

impl Projection for Log {
    fn name(&self) -> &str {
        PROJECTION
    }

    fn handler_version(&self) -> i64 {
        HANDLER_VERSION
    }

    fn tables(&self) -> &[TableName] {
        &self.tables
    }

    fn apply(&self, event: &RecordedEvent, out: &mut Vec<Call>) -> Result<(), ApplyError> {
        let params = [Value::from(event.stream_id.as_str()), Value::Int(event.version.get())];
        out.push(Call::new(&self.apply, params));
        Ok(())
    }

    fn apply_all(&self, events: &[RecordedEvent], out: &mut Vec<Call>) -> Result<(), (usize, ApplyError)> {
        match events {
            [] => Ok(()),
            [event] => self.apply(event, out).map_err(|error| (0, error)),
            events => {
                let streams = Value::array(events.iter().map(|event| Value::from(event.stream_id.as_str())));
                let versions = Value::array(events.iter().map(|event| Value::Int(event.version.get())));
                out.push(Call::new(&self.apply_all, [streams, versions]));
                Ok(())
            }
        }
    }
}

struct BoundCore {
    store: EventStore,
    drainer: Drainer,
    /// By actor, in order.
    appends: Vec<Vec<Append>>,
    /// By actor.
    rebuilders: Vec<Option<Rebuilder>>,
}

struct Append {
    stream: StreamId,
    events: Vec<NewEvent>,
}

/// The append's id is its events' type: a client finds its events again by it.
fn appends_of(actor: u8, role: &Role) -> Vec<Append> {
    let Role::Appender { appends } = role else { return Vec::new() };
    (0..)
        .zip(appends)
        .map(|(number, append): (u32, _)| Append {
            stream: StreamId::new(append.stream.as_str()).expect("the scenario's names are checked"),
            events: vec![NewEvent::new(format!("a{actor}.{number}"), Json::Null); append.events as usize],
        })
        .collect()
}

fn rebuilder_of(store: &EventStore, role: &Role) -> Option<Rebuilder> {
    let Role::Rebuilder { batch, .. } = *role else { return None };
    let options = RebuildOptions { batch_events: batch, ..RebuildOptions::default() };
    Some(Rebuilder::new(store, PROJECTION).expect("registered above").with_options(options))
}

impl Bound for BoundCore {
    fn start(self: Rc<Self>, role: Rc<Role>, context: ActorContext) -> Body {
        match *role {
            Role::Appender { ref appends } => {
                let appends = appends.len();
                Box::pin(async move { append_all(&*self, appends, &context).await })
            }
            Role::Rebuilder { rebuilds, .. } => Box::pin(async move { self.rebuild(rebuilds, &context).await }),
            Role::Drainer { passes } => Box::pin(async move { self.drain(passes, &context).await }),
        }
    }
}

impl BoundCore {
    async fn rebuild(&self, rebuilds: u32, context: &ActorContext) -> Result<(), DbError> {
        let rebuilder = self.rebuilders[usize::from(context.actor())].as_ref().expect("the actor is a rebuilder");
        for _ in context.acknowledged()..rebuilds {
            until_done(context, async |session| match rebuilder.run(session).await {
                // Two rebuilders that took it over from each other in turn would never end: the later one finishes it.
                Ok(_) | Err(RebuildError::TakenOver) => Ok(()),
                Err(RebuildError::Db(error)) => Err(error),
                Err(error) => Err(unexpected(&error)),
            })
            .await?;
            context.acknowledge();
        }
        Ok(())
    }

    async fn drain(&self, passes: u32, context: &ActorContext) -> Result<(), DbError> {
        let mut session = context.connect();
        for _ in 0..passes {
            session.pause(super::POLL).await;
            if context.others_are_done() {
                break;
            }
            self.drain_once(&mut session, context).await?;
        }
        context.others_done().await;
        while !self.drain_once(&mut session, context).await? {}
        Ok(())
    }

    /// Whether everything that was found was drained.
    async fn drain_once(&self, session: &mut SimSession, context: &ActorContext) -> Result<bool, DbError> {
        match self.drainer.drain_all(session).await {
            Ok(report) => {
                for (_, error) in &report.failed {
                    match error {
                        DrainError::Db(error) if error.sqlstate().is_retryable() => {}
                        error => return Err(unexpected(error)),
                    }
                }
                Ok(report.failed.is_empty())
            }
            Err(error) => cope(error, session, context).map(|()| false),
        }
    }
}

impl Store for BoundCore {
    async fn append(&self, session: &mut SimSession, actor: u8, number: usize) -> Result<(), DbError> {
        let append = &self.appends[usize::from(actor)][number];
        match self.store.append(session, &append.stream, ExpectedVersion::Any, &append.events).await {
            Ok(_) => Ok(()),
            Err(AppendError::Db(error) | AppendError::OutcomeUnknown(error)) => Err(error),
            Err(error) => Err(unexpected(&error)),
        }
    }

    async fn is_appended(&self, session: &mut SimSession, actor: u8, number: usize) -> Result<bool, DbError> {
        let append = &self.appends[usize::from(actor)][number];
        let events = self.store.read_stream(session, &append.stream, 0, EVENTS_MAX).await?;
        Ok(events.iter().any(|event| event.event_type == append.events[0].event_type))
    }
}

/// An error that no schedule may lead to: the actor gives up with it.
fn unexpected(error: &dyn std::error::Error) -> DbError {
    DbError::new(SqlState::INTERNAL_ERROR, error.to_string())
}
