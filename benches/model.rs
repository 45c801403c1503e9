//! Statements a second of the model: prepared, on one core.
//!
//! `cargo bench --bench model`. A group's element is one statement; every twentieth the server is put back to what it was kept as, as
//! a run of a schedule does.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use skiptrace_model::{Outcome, Prepared, Server, SessionId, Value};

const STATEMENTS: u32 = 20;

fn server() -> (Server, SessionId) {
    let mut server = Server::new();
    let session = server.connect();
    let mut run = |sql: &str| match server.query(session, sql) {
        Outcome::Done(_) => {}
        other => panic!("{sql}: {other:?}"),
    };
    for table in 0..8 {
        run(&format!("CREATE TABLE t{table} (id bigint PRIMARY KEY, stream text NOT NULL, n bigint NOT NULL)"));
        for id in 0..4 {
            run(&format!("INSERT INTO t{table} VALUES ({id}, 'stream-{id}', 0)"));
        }
    }
    server.keep();
    (server, session)
}

fn execute(server: &mut Server, session: SessionId, prepared: Prepared, params: &[Value]) {
    match server.execute(session, prepared, params) {
        Outcome::Done(_) => {}
        other => panic!("{other:?}"),
    }
}

fn statements(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("model");
    let (mut server, session) = server();
    let prepared = |server: &mut Server, sql: &str| server.prepare(sql).expect("the model knows this SQL");
    group.bench_function("reset", |bencher| bencher.iter(|| server.reset()));
    group.throughput(Throughput::Elements(u64::from(STATEMENTS)));
    let select = prepared(&mut server, "SELECT n FROM t0 WHERE id = $1");
    let update = prepared(&mut server, "UPDATE t0 SET n = n + 1 WHERE id = $1");
    let insert = prepared(&mut server, "INSERT INTO t0 (id, stream, n) VALUES ($1, 'stream', 1)");
    for (name, statement, first) in [("select", select, 0), ("update", update, 0), ("insert", insert, 1000)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for number in 0..i64::from(STATEMENTS) {
                    let id = if first == 0 { number % 4 } else { first + number };
                    execute(&mut server, session, statement, &[Value::Int(id)]);
                }
                server.reset();
            });
        });
    }
    let (begin, commit) = (prepared(&mut server, "BEGIN"), prepared(&mut server, "COMMIT"));
    group.bench_function("block of begin, 2 updates, insert, commit", |bencher| {
        bencher.iter(|| {
            for number in 0..i64::from(STATEMENTS / 5) {
                execute(&mut server, session, begin, &[]);
                execute(&mut server, session, update, &[Value::Int(number % 4)]);
                execute(&mut server, session, update, &[Value::Int((number + 1) % 4)]);
                execute(&mut server, session, insert, &[Value::Int(1000 + number)]);
                execute(&mut server, session, commit, &[]);
            }
            server.reset();
        });
    });
    group.finish();
}

criterion_group!(benches, statements);
criterion_main!(benches);
