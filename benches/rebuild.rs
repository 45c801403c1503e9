//! Events a second of a rebuild, and skip records a second of a drain, on PostgreSQL.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use serde_json::json;
use skiptrace::postgres::PostgresSession;
use skiptrace::{
    ApplyError, Call, Drainer, EventStore, ExpectedVersion, NewEvent, Projection, Rebuilder, RecordedEvent, Session,
    Statement, StreamId, TableName, Value,
};
use skiptrace_sim::backend::testbed::{AcquireOptions, TestBed};
use tokio::runtime::Runtime;

const STREAMS: usize = 1000;
const EVENTS_PER_STREAM: usize = 20;

struct Balances {
    tables: [TableName; 1],
    deposit: Statement,
}

impl Projection for Balances {
    fn name(&self) -> &'static str {
        "balances"
    }

    fn handler_version(&self) -> i64 {
        1
    }

    fn tables(&self) -> &[TableName] {
        &self.tables
    }

    fn apply(&self, event: &RecordedEvent, out: &mut Vec<Call>) -> Result<(), ApplyError> {
        let amount = event.data["amount"].as_i64().ok_or_else(|| ApplyError::new("no amount"))?;
        out.push(Call::new(&self.deposit, [Value::from(event.stream_id.as_str()), amount.into()]));
        Ok(())
    }
}

fn main() {
    let bed = TestBed::acquire(AcquireOptions { fsync: true }).unwrap_or_else(|error| panic!("{error}"));
    let database = bed.create_database("bench").unwrap_or_else(|error| panic!("{error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let balances = Balances {
        tables: [TableName::new("public", "balances")],
        deposit: Statement::new(
            "balances.deposit",
            "INSERT INTO public.balances AS b (account, amount) VALUES ($1, $2)
             ON CONFLICT (account) DO UPDATE SET amount = b.amount + excluded.amount",
        ),
    };
    let store = EventStore::builder().projection(balances).build().expect("names that can be used");
    let mut session = runtime.block_on(set_up(&store, &database.url()));
    let mut criterion =
        Criterion::default().sample_size(10).measurement_time(Duration::from_secs(5)).configure_from_args();
    rebuild(&mut criterion, &runtime, &store, &mut session);
    for per_stream in [1, 10] {
        drain(&mut criterion, &runtime, &store, &mut session, per_stream);
    }
    criterion.final_summary();
}

async fn set_up(store: &EventStore, url: &str) -> PostgresSession {
    let mut session = PostgresSession::connect(url).await.expect("connect");
    send(&mut session, "CREATE TABLE balances (account text PRIMARY KEY, amount bigint NOT NULL)").await;
    store.migrate(&mut session).await.expect("migrate");
    store.register(&mut session).await.expect("register");
    let events = vec![NewEvent::new("Deposited", json!({ "amount": 1 })); EVENTS_PER_STREAM];
    for index in 0..STREAMS {
        let stream = StreamId::new(format!("stream-{index}")).expect("a name");
        store.append(&mut session, &stream, ExpectedVersion::NoStream, &events).await.expect("append");
    }
    Rebuilder::new(store, "balances").expect("it is there").run(&mut session).await.expect("the first rebuild");
    send(&mut session, "VACUUM ANALYZE").await;
    session
}

async fn send(session: &mut PostgresSession, sql: &str) {
    session.execute(&Statement::new("bench", sql), &[]).await.expect("an answer");
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn rebuild(criterion: &mut Criterion, runtime: &Runtime, store: &EventStore, session: &mut PostgresSession) {
    let rebuilder = Rebuilder::new(store, "balances").expect("it is there");
    let mut group = criterion.benchmark_group("rebuild");
    group.throughput(Throughput::Elements((STREAMS * EVENTS_PER_STREAM) as u64));
    group.bench_function("in_place", |bencher| {
        bencher.iter_custom(|count| {
            let begin = Instant::now();
            for _ in 0..count {
                runtime.block_on(rebuilder.run(session)).expect("a rebuild");
            }
            begin.elapsed()
        });
    });
    group.finish();
}

/// Skip records of the last `per_stream` events of each stream, made by hand before the clock starts.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn drain(
    criterion: &mut Criterion,
    runtime: &Runtime,
    store: &EventStore,
    session: &mut PostgresSession,
    per_stream: usize,
) {
    let skip = format!(
        "INSERT INTO skiptrace.skips (stream_id, projection, generation, version, position, reason)
         SELECT e.stream_id, g.projection, g.generation, e.version, e.position, 'rebuilding'
         FROM skiptrace.events e, skiptrace.generations g
         WHERE g.state = 'live' AND e.version > {}",
        EVENTS_PER_STREAM - per_stream
    );
    let drainer = Drainer::new(store);
    let mut group = criterion.benchmark_group("drain");
    group.throughput(Throughput::Elements((STREAMS * per_stream) as u64));
    group.bench_function(format!("{per_stream}_a_stream"), |bencher| {
        bencher.iter_custom(|count| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..count {
                runtime.block_on(async {
                    send(session, "TRUNCATE skiptrace.skips, skiptrace.skip_archive").await;
                    send(session, &skip).await;
                    let begin = Instant::now();
                    let report = drainer.drain_all(session).await.expect("a drain");
                    elapsed += begin.elapsed();
                    assert_eq!(report.drained.projected, (STREAMS * per_stream) as u64);
                });
            }
            elapsed
        });
    });
    group.finish();
}
