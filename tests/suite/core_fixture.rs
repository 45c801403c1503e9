//! What the tests of the core share: a database, a store, and a projection whose read model tells everything it was told.

use serde_json::json;
use skiptrace::postgres::PostgresSession;
use skiptrace::{
    ApplyError, Call, EventStore, ExpectedVersion, NewEvent, Projection, RecordedEvent, Rows, Session, Statement,
    StreamId, TableName, Value,
};
use skiptrace_sim::backend::testbed::{Database, TestBed};

/// The schema of the tests: its name needs every quote that there is.
pub(crate) const SCHEMA: &str = r#"it's "the" store"#;

/// The name of the projection of the tests.
pub(crate) const LEDGER: &str = "ledger";

/// A database with the store's schema and the ledger's read model.
pub(crate) struct Fixture {
    pub(crate) database: Database<'static>,
    pub(crate) store: EventStore,
}

impl Fixture {
    /// Migrated, registered, not rebuilt: the ledger is building.
    pub(crate) async fn new() -> Self {
        let bed = TestBed::shared().unwrap_or_else(|error| panic!("{error:?}"));
        let database = bed.create_database("core").unwrap_or_else(|error| panic!("{error:?}"));
        let fixture = Self { database, store: store(1) };
        let mut session = fixture.session().await;
        fixture.store.migrate(&mut session).await.expect("migrate");
        for sql in LEDGER_TABLES {
            run(&mut session, sql).await;
        }
        fixture.store.register(&mut session).await.expect("register");
        fixture
    }

    /// The same with a live ledger.
    pub(crate) async fn live() -> Self {
        let fixture = Self::new().await;
        let rebuilder = skiptrace::Rebuilder::new(&fixture.store, LEDGER).expect("it is there");
        rebuilder.run(&mut fixture.session().await).await.expect("the first rebuild");
        fixture
    }

    pub(crate) async fn session(&self) -> PostgresSession {
        PostgresSession::connect(&self.database.url()).await.expect("connect")
    }
}

/// A store whose ledger is of `handler_version`.
pub(crate) fn store(handler_version: i64) -> EventStore {
    let builder = EventStore::builder().schema(SCHEMA).projection(Ledger::new(handler_version));
    builder.build().expect("a schema that can be used")
}

pub(crate) fn stream(name: &str) -> StreamId {
    StreamId::new(name).expect("a name")
}

/// `count` events of 1 each.
pub(crate) fn events(count: usize) -> Vec<NewEvent> {
    (0..count).map(|_| NewEvent::new("Deposited", json!({ "amount": 1 }))).collect()
}

/// Appends `count` events, whatever is there.
pub(crate) async fn append(store: &EventStore, session: &mut PostgresSession, name: &str, count: usize) {
    let appended = store.append(session, &stream(name), ExpectedVersion::Any, &events(count)).await;
    appended.unwrap_or_else(|error| panic!("{error}"));
}

/// Sends one statement of the test's own. `es` in it is the store's schema.
pub(crate) async fn run(session: &mut PostgresSession, sql: &str) -> Rows {
    let quoted = format!("\"{}\"", SCHEMA.replace('"', "\"\""));
    let statement = Statement::new("test", &sql.replace("es.", &format!("{quoted}.")));
    let answer = session.execute(&statement, &[]).await;
    answer.unwrap_or_else(|error| panic!("{sql}: {error}")).rows
}

/// The only number of the only row.
pub(crate) async fn number(session: &mut PostgresSession, sql: &str) -> i64 {
    run(session, sql).await.row(0).int(0)
}

/// The read model equals the log: each event once, each stream in its order, and the sums; and nothing is pending.
pub(crate) async fn assert_converged(session: &mut PostgresSession) {
    let log =
        run(session, "SELECT stream_id, version, data ->> 'amount' FROM es.events ORDER BY stream_id, version").await;
    let entries =
        run(session, "SELECT stream_id, version, amount::text FROM public.entries ORDER BY stream_id, seq").await;
    assert_eq!(entries.len(), log.len(), "entries of the read model and events of the log");
    for (entry, event) in entries.iter().zip(log.iter()) {
        assert_eq!(entry, event, "each stream's entries, in the order in which they were written");
    }
    let sums = run(session, "SELECT stream_id, amount FROM public.balances ORDER BY stream_id").await;
    let folded = "SELECT stream_id, sum((data ->> 'amount')::bigint)::bigint FROM es.events GROUP BY 1 ORDER BY 1";
    assert_eq!(sums, run(session, folded).await, "balances");
    assert_eq!(number(session, "SELECT count(*) FROM es.skips").await, 0, "skip records");
    let twice = "SELECT count(*) FROM es.skip_archive a WHERE NOT EXISTS (
                     SELECT 1 FROM es.events e WHERE e.stream_id = a.stream_id AND e.version = a.version)";
    assert_eq!(number(session, twice).await, 0, "archived records without an event");
}

const LEDGER_TABLES: [&str; 2] = [
    "CREATE TABLE public.entries (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream_id text NOT NULL,
     version bigint NOT NULL, amount bigint NOT NULL CHECK (amount < 1000))",
    "CREATE TABLE public.balances (stream_id text PRIMARY KEY, amount bigint NOT NULL)",
];

/// Writes an entry for each event, and a balance a stream. The handler refuses an event without an amount; the *table* refuses
/// an amount of 1000 or more.
pub(crate) struct Ledger {
    handler_version: i64,
    tables: [TableName; 2],
    insert: Statement,
    add: Statement,
}

impl Ledger {
    pub(crate) fn new(handler_version: i64) -> Self {
        Self {
            handler_version,
            tables: [TableName::new("public", "entries"), TableName::new("public", "balances")],
            insert: Statement::new(
                "ledger.insert",
                "INSERT INTO public.entries (stream_id, version, amount) VALUES ($1, $2, $3)",
            ),
            add: Statement::new(
                "ledger.add",
                "INSERT INTO public.balances AS b (stream_id, amount) VALUES ($1, $2)
                 ON CONFLICT (stream_id) DO UPDATE SET amount = b.amount + excluded.amount",
            ),
        }
    }
}

impl Projection for Ledger {
    fn name(&self) -> &str {
        LEDGER
    }

    fn handler_version(&self) -> i64 {
        self.handler_version
    }

    fn tables(&self) -> &[TableName] {
        &self.tables
    }

    fn apply(&self, event: &RecordedEvent, out: &mut Vec<Call>) -> Result<(), ApplyError> {
        let amount = event.data["amount"].as_i64().ok_or_else(|| ApplyError::new("no amount"))?;
        let id = event.stream_id.as_str();
        out.push(Call::new(&self.insert, [Value::from(id), event.version.get().into(), amount.into()]));
        out.push(Call::new(&self.add, [Value::from(id), amount.into()]));
        Ok(())
    }
}
