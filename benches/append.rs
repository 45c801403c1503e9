//! Appends on PostgreSQL, idle and during a rebuild, beside the floor: a bare autocommit INSERT on the same server.
//!
//! Each client appends to streams of its own, in turn; in the last group all to one each, so that a rebuild finds rows of its read model that are
//! written thousands of times, and a drain as many records of a stream. Rebuilds follow each other without a pause.
//!
//! A server that is started here syncs to disk, as one in use does. Throughput is criterion's; the table at the end has
//! throughput, latencies and the ratio to the floor over all that was measured. On a machine of few cores the clients, the rebuild and the
//! server share them: where the floor keeps all of them busy, a rebuild's share is missing in the appends' figures.

use std::sync::Arc;
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
use tokio::sync::watch;
use tokio::task::JoinSet;

const CLIENTS: [usize; 3] = [1, 4, 16];

/// Streams that a client appends to in turn.
const STREAMS_PER_CLIENT: u64 = 1000;

/// Appends of each client in what criterion counts as one iteration. With one append an iteration, criterion asks for a few of them at a time: most of 16
/// clients would have nothing to do, and the rest of a sample be the way of a single append.
const ROUNDS: u64 = 25;

/// Appends of each client before the clock starts: PostgreSQL plans a prepared statement anew for each of its first five executions.
const WARM_UP: u64 = 6;

/// What the rebuilds replay, besides what the benchmark itself appends.
const SEEDED_EVENTS: usize = 20_000;

const TABLES: [&str; 2] = [
    "CREATE TABLE balances (account text PRIMARY KEY, amount bigint NOT NULL)",
    "CREATE TABLE floor (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream_id text NOT NULL, data jsonb NOT NULL)",
];

struct Balances {
    tables: [TableName; 1],
    deposit: Statement,
}

impl Balances {
    fn new() -> Self {
        let sql = "INSERT INTO public.balances AS b (account, amount) VALUES ($1, $2)
                   ON CONFLICT (account) DO UPDATE SET amount = b.amount + excluded.amount";
        Self { tables: [TableName::new("public", "balances")], deposit: Statement::new("balances.deposit", sql) }
    }
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

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Floor,
    Idle,
    Rebuilding,
    RebuildingOneStream,
}

impl Mode {
    const ALL: [Self; 4] = [Self::Floor, Self::Idle, Self::Rebuilding, Self::RebuildingOneStream];

    const fn rebuilds(self) -> bool {
        matches!(self, Self::Rebuilding | Self::RebuildingOneStream)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Floor => "bare_insert",
            Self::Idle => "append_idle",
            Self::Rebuilding => "append_during_rebuild",
            Self::RebuildingOneStream => "append_to_one_stream_during_rebuild",
        }
    }
}

#[derive(Clone)]
struct Subject {
    store: EventStore,
    insert: Statement,
    url: String,
}

/// One measured row of the table.
struct Measured {
    mode: Mode,
    clients: usize,
    elapsed: Duration,
    latencies: Vec<Duration>,
}

impl Measured {
    fn per_second(&self) -> f64 {
        f64::from(u32::try_from(self.latencies.len()).expect("fewer appends than that")) / self.elapsed.as_secs_f64()
    }

    fn percentile(&self, percent: usize) -> Duration {
        self.latencies[(self.latencies.len() - 1) * percent / 100]
    }
}

fn main() {
    let bed = TestBed::acquire(AcquireOptions { fsync: true }).unwrap_or_else(|error| panic!("{error}"));
    let database = bed.create_database("bench").unwrap_or_else(|error| panic!("{error}"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let subject = Subject {
        store: EventStore::builder().projection(Balances::new()).build().expect("names that can be used"),
        insert: Statement::new("floor.insert", "INSERT INTO public.floor (stream_id, data) VALUES ($1, $2)"),
        url: database.url(),
    };
    runtime.block_on(set_up(&subject));
    let mut criterion =
        Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3)).configure_from_args();
    let mut table = Vec::new();
    for mode in Mode::ALL {
        let (stop, stopped) = watch::channel(false);
        let rebuilds = mode.rebuilds().then(|| runtime.spawn(keep_rebuilding(subject.clone(), stopped)));
        for clients in CLIENTS {
            table.extend(measure(&mut criterion, &runtime, &subject, mode, clients));
        }
        stop.send_replace(true);
        if let Some(rebuilds) = rebuilds {
            let count = runtime.block_on(rebuilds).expect("no panic");
            println!("{}: {count} rebuilds were done meanwhile", mode.name());
        }
    }
    criterion.final_summary();
    print(&table);
}

async fn set_up(subject: &Subject) {
    let mut session = PostgresSession::connect(&subject.url).await.expect("connect");
    for sql in TABLES {
        session.execute(&Statement::new("setup", sql), &[]).await.expect("setup");
    }
    subject.store.migrate(&mut session).await.expect("migrate");
    subject.store.register(&mut session).await.expect("register");
    let events = vec![NewEvent::new("Deposited", json!({ "amount": 1 })); 100];
    for index in 0..SEEDED_EVENTS / events.len() {
        let stream = StreamId::new(format!("seeded-{index}")).expect("a name");
        subject.store.append(&mut session, &stream, ExpectedVersion::NoStream, &events).await.expect("append");
    }
    rebuild(subject, &mut session).await;
}

async fn rebuild(subject: &Subject, session: &mut PostgresSession) {
    Rebuilder::new(&subject.store, "balances").expect("it is there").run(session).await.expect("a rebuild");
}

async fn keep_rebuilding(subject: Subject, mut stop: watch::Receiver<bool>) -> u32 {
    let mut session = PostgresSession::connect(&subject.url).await.expect("connect");
    let mut count = 0;
    while !*stop.borrow_and_update() {
        rebuild(&subject, &mut session).await;
        Drainer::new(&subject.store).drain_all(&mut session).await.expect("a drain");
        count += 1;
    }
    count
}

/// None: the filter on the command line left it out.
fn measure(
    criterion: &mut Criterion,
    runtime: &Runtime,
    subject: &Subject,
    mode: Mode,
    clients: usize,
) -> Option<Measured> {
    let mut measured = Measured { mode, clients, elapsed: Duration::ZERO, latencies: Vec::new() };
    let mut group = criterion.benchmark_group(mode.name());
    group.throughput(Throughput::Elements(ROUNDS * clients as u64));
    group.bench_function(format!("{clients}_clients"), |bencher| {
        bencher.iter_custom(|count| {
            let (elapsed, latencies) = runtime.block_on(run(subject, mode, clients, count * ROUNDS));
            measured.elapsed += elapsed;
            measured.latencies.extend(latencies);
            elapsed
        });
    });
    group.finish();
    measured.latencies.sort_unstable();
    (!measured.latencies.is_empty()).then_some(measured)
}

/// `count` operations of each of `clients` connections, which are open before the clock starts.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
async fn run(subject: &Subject, mode: Mode, clients: usize, count: u64) -> (Duration, Vec<Duration>) {
    let mut sessions = Vec::new();
    for client in 0..clients {
        let mut session = PostgresSession::connect(&subject.url).await.expect("connect");
        for number in 0..WARM_UP {
            operate(subject, mode, &mut session, client, number).await;
        }
        sessions.push(session);
    }
    let mut tasks = JoinSet::new();
    let begin = Instant::now();
    for (client, mut session) in sessions.into_iter().enumerate() {
        let subject = subject.clone();
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            for number in 0..count {
                let begin = Instant::now();
                operate(&subject, mode, &mut session, client, number).await;
                latencies.push(begin.elapsed());
            }
            latencies
        });
    }
    let latencies = tasks.join_all().await.into_iter().flatten().collect();
    (begin.elapsed(), latencies)
}

/// One event, to a stream of the client's own.
async fn operate(subject: &Subject, mode: Mode, session: &mut PostgresSession, client: usize, number: u64) {
    let stream = if mode == Mode::RebuildingOneStream { 0 } else { number % STREAMS_PER_CLIENT };
    let stream = StreamId::new(format!("client-{client}-{stream}")).expect("a name");
    let data = json!({ "amount": 1 });
    if mode == Mode::Floor {
        let params = [Value::from(stream.as_str()), Value::Json(Arc::new(data))];
        session.execute(&subject.insert, &params).await.expect("an answer");
    } else {
        let event = NewEvent::new("Deposited", data);
        subject.store.append(session, &stream, ExpectedVersion::Any, &[event]).await.expect("append");
    }
}

fn print(table: &[Measured]) {
    println!("{:<35} {:>7} {:>9} {:>9} {:>9} {:>9}", "", "clients", "per s", "p50", "p99", "of floor");
    for row in table {
        let floor = table.iter().find(|it| it.mode == Mode::Floor && it.clients == row.clients);
        let ratio = floor.map_or_else(String::new, |floor| format!("{:.2}", row.per_second() / floor.per_second()));
        println!(
            "{:<35} {:>7} {:>9.0} {:>9.2?} {:>9.2?} {:>9}",
            row.mode.name(),
            row.clients,
            row.per_second(),
            row.percentile(50),
            row.percentile(99),
            ratio
        );
    }
}
