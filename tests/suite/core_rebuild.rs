//! Rebuilding and draining on a real server.

use std::time::Duration;

use skiptrace::postgres::PostgresSession;
use skiptrace::{
    Answer, AppendError, Call, DbError, Drainer, EventStore, ExpectedVersion, GenerationState, Monitor, Outcome, Phase,
    RebuildError, RebuildOptions, Rebuilder, Session, SkipReason, SqlState, Statement, Value,
};
use tokio::sync::watch;

use crate::core_fixture::{Fixture, LEDGER, append, assert_converged, events, number, run, store, stream};

fn rebuilder(store: &EventStore, batch_events: u32) -> Rebuilder {
    let options = RebuildOptions {
        batch_events,
        poll_interval: Duration::from_millis(2),
        fence_wait_max: Duration::from_secs(10),
        ..RebuildOptions::default()
    };
    Rebuilder::new(store, LEDGER).expect("it is there").with_options(options)
}

#[tokio::test]
async fn a_projection_is_born_building_and_goes_live_with_its_first_rebuild() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session().await;
    let status = Monitor::new(&fixture.store).read(&mut session).await.expect("status");
    assert_eq!(status.generations[0].state, GenerationState::Building);
    append(&fixture.store, &mut session, "a", 3).await;

    let report = rebuilder(&fixture.store, 2).run(&mut session).await.expect("a rebuild");
    assert_eq!((report.generation.get(), report.resumed, report.applied), (1, true, 3));
    append(&fixture.store, &mut session, "a", 2).await;
    assert_converged(&mut session).await;

    let again = rebuilder(&fixture.store, 100).run(&mut session).await.expect("another rebuild");
    assert_eq!((again.generation.get(), again.resumed, again.applied), (2, false, 5));
    assert_converged(&mut session).await;
    let status = Monitor::new(&fixture.store).read(&mut session).await.expect("status");
    let generations: Vec<_> = status.generations.iter().map(|it| (it.generation.get(), it.state)).collect();
    assert_eq!(generations, [(1, GenerationState::Retired), (2, GenerationState::Live)]);
    assert_eq!(status.generations[1].progress.expect("its rebuild").phase, Phase::Done);
    assert_eq!((status.archive[0].outcome, status.archive[0].count), (Outcome::AlreadyProjected, 3));
    assert_eq!(status.depth(), 0);
}

/// Appends to three streams, so that the four writers meet; ends at the latest after 300 appends, so that the log stays one
/// that small batches can replay. How many events there are now comes back.
async fn keep_appending(
    store: EventStore,
    mut session: PostgresSession,
    writer: usize,
    mut stop: watch::Receiver<bool>,
) -> usize {
    let mut appended = 0;
    for index in 0..300 {
        let (id, count) = (stream(&format!("s{}", (writer + index) % 3)), 1 + index % 3);
        match store.append(&mut session, &id, ExpectedVersion::Any, &events(count)).await {
            Ok(_) => appended += count,
            Err(AppendError::Db(error)) if error.sqlstate().is_retryable() => {}
            Err(error) => panic!("{error}"),
        }
        if *stop.borrow_and_update() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    appended
}

async fn keep_draining(store: EventStore, mut session: PostgresSession, mut stop: watch::Receiver<bool>) {
    let drainer = Drainer::new(&store);
    while !*stop.borrow_and_update() {
        let report = drainer.drain_all(&mut session).await.expect("a drain");
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rebuilds_lose_nothing_while_others_append_and_drain() {
    let fixture = Fixture::live().await;
    let (stop, stopped) = watch::channel(false);
    let mut appenders = tokio::task::JoinSet::new();
    for writer in 0..4 {
        appenders.spawn(keep_appending(fixture.store.clone(), fixture.session().await, writer, stopped.clone()));
    }
    let drainer = tokio::spawn(keep_draining(fixture.store.clone(), fixture.session().await, stopped));
    let mut session = fixture.session().await;
    for batch_events in [50, 7, 500, 50] {
        rebuilder(&fixture.store, batch_events).run(&mut session).await.expect("a rebuild");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.send(true).expect("they listen");
    let appended: usize = appenders.join_all().await.into_iter().sum();
    drainer.await.expect("no panic");
    Drainer::new(&fixture.store).drain_all(&mut session).await.expect("the last drain");
    assert_converged(&mut session).await;
    let logged = number(&mut session, "SELECT count(*) FROM es.events").await;
    assert_eq!(usize::try_from(logged), Ok(appended), "each append that was answered is in the log");
    let skipped = number(&mut session, "SELECT count(*) FROM es.skip_archive").await;
    assert!(skipped > 0, "no append met a rebuild: nothing was shown");
}

/// A session whose connection breaks at a flight that is given: before it is sent, or before it is answered.
struct Mortal {
    session: PostgresSession,
    flights_left: u32,
    answer_is_lost: bool,
}

impl Mortal {
    fn lost() -> DbError {
        DbError::new(SqlState::CONNECTION_FAILURE, "the test broke the connection")
    }
}

impl Session for Mortal {
    async fn execute(&mut self, statement: &Statement, params: &[Value]) -> Result<Answer, DbError> {
        let mut answers = self.pipeline(vec![Call::new(statement, params)]).await?;
        Ok(answers.remove(0))
    }

    async fn pipeline(&mut self, calls: Vec<Call>) -> Result<Vec<Answer>, DbError> {
        if self.flights_left > 0 {
            self.flights_left -= 1;
            return self.session.pipeline(calls).await;
        }
        if self.answer_is_lost {
            self.session.pipeline(calls).await?;
        }
        Err(Self::lost())
    }

    fn abandon(&mut self) {}

    async fn pause(&mut self, duration: Duration) {
        self.session.pause(duration).await;
    }
}

/// Its connection breaks at each of its flights in turn, before and after the server did what it asked for.
#[tokio::test]
async fn a_rebuild_that_crashed_is_gone_on_with() {
    let fixture = Fixture::live().await;
    let mut session = fixture.session().await;
    for index in 0..4 {
        append(&fixture.store, &mut session, &format!("s{}", index % 3), 2).await;
    }
    // Six events a batch, one more a round: the log grows more slowly than the flights that a rebuild survives.
    let (crashing, successor) = (rebuilder(&fixture.store, 6), rebuilder(&fixture.store, 4));
    let mut resumed = 0;
    for flights_left in 0.. {
        let mut crashes = 0;
        for answer_is_lost in [false, true] {
            let mut mortal = Mortal { session: fixture.session().await, flights_left, answer_is_lost };
            crashes += u32::from(crashing.run(&mut mortal).await.is_err());
            drop(mortal);
            if answer_is_lost {
                append(&fixture.store, &mut session, &format!("s{}", flights_left % 3), 1).await;
            }
            resumed += u32::from(successor.resume(&mut session).await.expect("nothing is in its way").is_some());
            Drainer::new(&fixture.store).drain_all(&mut session).await.expect("a drain");
            assert_converged(&mut session).await;
        }
        if crashes == 0 {
            break;
        }
    }
    // Start and commit of it, fence, truncate, pass, and several batches: before and after each.
    assert!(resumed > 16, "only {resumed} rebuilds were crashed midway");
}

#[tokio::test]
async fn a_zombie_can_write_nothing() {
    let fixture = Fixture::live().await;
    let (mut session, mut zombie, mut blocker) =
        (fixture.session().await, fixture.session().await, fixture.session().await);
    append(&fixture.store, &mut session, "a", 5).await;
    // It stops between its fence and its truncate: a reader of the read model keeps it there.
    run(&mut blocker, "BEGIN").await;
    run(&mut blocker, "LOCK TABLE public.entries IN ACCESS SHARE MODE").await;
    let store = fixture.store.clone();
    let asleep = tokio::spawn(async move { rebuilder(&store, 1).run(&mut zombie).await });
    let truncating = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'";
    while number(&mut session, truncating).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Somebody else takes over as soon as the zombie's lock_timeout lets the progress row go.
    let successor = rebuilder(&fixture.store, 2);
    let going_on = async {
        loop {
            match successor.run(&mut session).await {
                Err(RebuildError::TakenOver) => {}
                ended => return ended,
            }
        }
    };
    let release = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        run(&mut blocker, "ROLLBACK").await;
    };
    let (report, ()) = tokio::join!(going_on, release);
    assert!(report.expect("a rebuild").resumed);
    let zombie = asleep.await.expect("no panic").expect_err("it was taken over");
    assert!(matches!(zombie, RebuildError::TakenOver), "{zombie}");
    assert_converged(&mut fixture.session().await).await;
}

/// Its process stalls in the middle of a transaction.
struct Stalling {
    session: PostgresSession,
    /// Once this statement was answered.
    after: &'static str,
    stalled: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Session for Stalling {
    async fn execute(&mut self, statement: &Statement, params: &[Value]) -> Result<Answer, DbError> {
        let mut answers = self.pipeline(vec![Call::new(statement, params)]).await?;
        Ok(answers.remove(0))
    }

    async fn pipeline(&mut self, calls: Vec<Call>) -> Result<Vec<Answer>, DbError> {
        let stalls = calls.iter().any(|call| call.statement.name() == self.after);
        let answers = self.session.pipeline(calls).await?;
        if stalls && let Some(stalled) = self.stalled.take() {
            stalled.send(()).expect("somebody listens");
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
        Ok(answers)
    }

    fn abandon(&mut self) {
        self.session.abandon();
    }

    async fn pause(&mut self, duration: Duration) {
        self.session.pause(duration).await;
    }
}

#[tokio::test]
async fn who_stalls_in_the_middle_of_a_batch_does_not_hold_up_a_takeover() {
    for after in ["rebuild.enter_replay", "rebuild.begin_pass", "rebuild.guard"] {
        let fixture = Fixture::live().await;
        let mut session = fixture.session().await;
        append(&fixture.store, &mut session, "a", 3).await;
        let (stalled, stalls) = tokio::sync::oneshot::channel();
        let mut stalling = Stalling { session: fixture.session().await, after, stalled: Some(stalled) };
        let idle_max = Duration::from_millis(100);
        let options = RebuildOptions { batch_events: 1, idle_max, ..RebuildOptions::default() };
        let rebuilder = Rebuilder::new(&fixture.store, LEDGER).expect("it is there").with_options(options);
        let takeover = async {
            stalls.await.expect("it stalls");
            tokio::time::timeout(Duration::from_secs(3), rebuilder.run(&mut session)).await
        };
        let (zombie, takeover) = tokio::join!(rebuilder.run(&mut stalling), takeover);
        let report = takeover.unwrap_or_else(|_| panic!("a batch that stalls after {after} is in the way"));
        assert!(report.expect("a rebuild").resumed);
        let zombie = zombie.expect_err("its session was ended");
        assert!(matches!(&zombie, RebuildError::Db(e) if e.sqlstate().is_connection_lost()), "{zombie}");
        assert_converged(&mut session).await;
    }
}

#[tokio::test]
async fn a_drain_that_stalls_does_not_keep_its_stream() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session().await;
    append(&fixture.store, &mut session, "a", 3).await;
    run(&mut session, "UPDATE es.generations SET state = 'live'").await;
    let (stalled, stalls) = tokio::sync::oneshot::channel();
    let mut stalling = Stalling { session: fixture.session().await, after: "drain.claim", stalled: Some(stalled) };
    let drainer = Drainer::new(&fixture.store).with_idle_max(Duration::from_millis(100));
    let after_it = async {
        stalls.await.expect("it stalls");
        let append = append(&fixture.store, &mut session, "a", 1);
        tokio::time::timeout(Duration::from_secs(3), append).await.expect("the stream is free");
        assert_eq!(number(&mut session, "SELECT count(*) FROM es.skips").await, 4, "nothing was drained");
    };
    let (ended, ()) = tokio::join!(drainer.drain_all(&mut stalling), after_it);
    assert!(ended.expect_err("its session was ended").sqlstate().is_connection_lost());
}

/// A reader who does not let the read model go delays a rebuild, and cannot stop it.
#[tokio::test]
async fn a_read_model_that_cannot_be_truncated_is_emptied_all_the_same() {
    let fixture = Fixture::live().await;
    let (mut session, mut reader) = (fixture.session().await, fixture.session().await);
    append(&fixture.store, &mut session, "a", 3).await;
    run(&mut reader, "BEGIN").await;
    run(&mut reader, "SELECT * FROM public.entries").await;
    let options = RebuildOptions { truncate_attempts_max: 1, ..RebuildOptions::default() };
    let rebuilder = Rebuilder::new(&fixture.store, LEDGER).expect("it is there").with_options(options);
    assert_eq!(rebuilder.run(&mut session).await.expect("a rebuild").applied, 3);
    assert_converged(&mut session).await;
    run(&mut reader, "ROLLBACK").await;
}

#[tokio::test]
async fn the_fence_waits_for_who_may_have_read_the_old_state_and_names_them() {
    let fixture = Fixture::live().await;
    let (mut session, mut append_by_hand, mut bystander) =
        (fixture.session().await, fixture.session().await, fixture.session().await);
    append(&fixture.store, &mut session, "a", 1).await;
    // Who has written, but to no stream, is not waited for; nor is who reads streams.
    run(&mut bystander, "BEGIN").await;
    run(&mut bystander, "CREATE TABLE public.other ()").await;
    run(&mut bystander, "SELECT 1 FROM es.streams").await;
    rebuilder(&fixture.store, 10).run(&mut session).await.expect("nobody is in its way");

    run(&mut append_by_hand, "BEGIN").await;
    run(&mut append_by_hand, "UPDATE es.streams SET version = version + 1").await;
    let pid = number(&mut append_by_hand, "SELECT pg_backend_pid()::bigint").await;
    let impatient = RebuildOptions {
        fence_wait_max: Duration::from_millis(50),
        poll_interval: Duration::from_millis(10),
        ..RebuildOptions::default()
    };
    let impatient = Rebuilder::new(&fixture.store, LEDGER).expect("it is there").with_options(impatient);
    let error = impatient.run(&mut session).await.expect_err("it gives up");
    let RebuildError::FenceTimeout { started: false, blockers } = &error else {
        panic!("expected a timeout, found {error}")
    };
    assert_eq!(blockers.iter().map(|it| it.pid).collect::<Vec<_>>(), [Some(pid)]);
    let building = "SELECT count(*) FROM es.generations WHERE state = 'building'";
    assert_eq!(number(&mut session, building).await, 0, "it gave up before it began");

    // The same, begun: `resume` does not look before it starts.
    run(&mut session, "UPDATE es.generations SET state = 'building' WHERE state = 'live'").await;
    let unfenced =
        "UPDATE es.rebuild_progress SET phase = 'fencing', fenced = false, checkpoint = '1:1:' WHERE generation = 2";
    run(&mut session, unfenced).await;
    let error = impatient.run(&mut session).await.expect_err("it gives up");
    assert!(matches!(error, RebuildError::FenceTimeout { started: true, .. }), "{error}");
    run(&mut append_by_hand, "ROLLBACK").await;
    run(&mut bystander, "ROLLBACK").await;
    assert!(impatient.run(&mut session).await.expect("nobody is in its way any more").resumed);
    assert_converged(&mut session).await;
}

/// A transaction in the middle of an INSERT .. ON CONFLICT has a second lock that tells its xid, the token of its insertion. (Before PostgreSQL
/// 16, `pg_locks` leaves that column of it NULL.)
#[tokio::test]
async fn a_fence_names_who_is_inserting_once() {
    let fixture = Fixture::live().await;
    let (mut session, mut inserter, mut gate) =
        (fixture.session().await, fixture.session().await, fixture.session().await);
    append(&fixture.store, &mut session, "a", 1).await;
    // The index is asked twice: whether the row would be in conflict, and, under the token, to take it in.
    for sql in [
        "CREATE FUNCTION public.slow(n bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
             IF current_setting('test.asked', true) = 'once' THEN PERFORM pg_advisory_xact_lock(1);
             ELSE PERFORM set_config('test.asked', 'once', true); END IF;
             RETURN n;
         END $$",
        "CREATE TABLE public.slowly (n bigint)",
        "CREATE UNIQUE INDEX ON public.slowly (public.slow(n))",
    ] {
        run(&mut session, sql).await;
    }
    run(&mut gate, "SELECT pg_advisory_lock(1)").await;
    run(&mut inserter, "BEGIN").await;
    run(&mut inserter, "UPDATE es.streams SET version = version").await;
    let pid = number(&mut inserter, "SELECT pg_backend_pid()::bigint").await;
    let fence = async {
        let token = format!("SELECT count(*) FROM pg_locks WHERE locktype = 'spectoken' AND granted AND pid = {pid}");
        while number(&mut session, &token).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The list, and a list that was asked again.
        for fence_wait_max in [Duration::ZERO, Duration::from_millis(10)] {
            let poll_interval = Duration::from_millis(10);
            let options = RebuildOptions { fence_wait_max, poll_interval, ..RebuildOptions::default() };
            let rebuilder = Rebuilder::new(&fixture.store, LEDGER).expect("it is there").with_options(options);
            let error = rebuilder.run(&mut session).await.expect_err("it gives up");
            let RebuildError::FenceTimeout { blockers, .. } = &error else {
                panic!("expected a timeout, found {error}")
            };
            assert_eq!(blockers.iter().map(|it| it.pid).collect::<Vec<_>>(), [Some(pid)], "{error}");
        }
        run(&mut gate, "SELECT pg_advisory_unlock(1)").await;
    };
    let insert = run(&mut inserter, "INSERT INTO public.slowly VALUES (1) ON CONFLICT DO NOTHING");
    tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(insert, fence) }).await.expect("a token");
}

#[tokio::test]
async fn another_handler_version_starts_anew() {
    let fixture = Fixture::live().await;
    let mut session = fixture.session().await;
    append(&fixture.store, &mut session, "a", 2).await;
    let newer = store(2);
    newer.register(&mut session).await.expect("it is known");
    append(&newer, &mut session, "a", 1).await;
    // An open rebuild of the old version, which the new one abandons.
    let mut crashing = fixture.session().await;
    run(&mut session, "BEGIN").await;
    run(&mut session, "LOCK TABLE public.entries IN ACCESS SHARE MODE").await;
    let old = rebuilder(&fixture.store, 1);
    tokio::time::timeout(Duration::from_millis(300), old.run(&mut crashing)).await.expect_err("it waits");
    drop(crashing);
    run(&mut session, "ROLLBACK").await;
    append(&fixture.store, &mut session, "a", 1).await;

    assert!(rebuilder(&newer, 2).resume(&mut session).await.expect("nothing to resume").is_none());
    let report = rebuilder(&newer, 2).run(&mut session).await.expect("a rebuild");
    assert_eq!((report.generation.get(), report.resumed, report.applied), (3, false, 4));
    let drained = Drainer::new(&newer).drain_all(&mut session).await.expect("a drain").drained;
    assert_eq!((drained.projected, drained.superseded), (0, 2), "one of the first generation, one of the abandoned");
    append(&newer, &mut session, "a", 1).await;
    assert_converged(&mut session).await;
    let states = run(&mut session, "SELECT state FROM es.generations ORDER BY generation").await;
    assert_eq!(states.iter().map(|row| &**row.text(0)).collect::<Vec<_>>(), ["retired", "abandoned", "live"]);
}

/// The rule, from the table and not from memory: an event behind a record of a lower version is held back.
#[tokio::test]
async fn a_batch_holds_back_what_is_behind_a_skip_record() {
    let fixture = Fixture::live().await;
    let mut session = fixture.session().await;
    append(&fixture.store, &mut session, "a", 1).await;
    append(&fixture.store, &mut session, "b", 1).await;
    append(&fixture.store, &mut session, "a", 2).await;
    // By hand: a rebuild that has replayed the first event and failed to apply it.
    run(&mut session, "UPDATE es.generations SET state = 'building'").await;
    run(&mut session, "TRUNCATE public.entries, public.balances").await;
    let reopen = "UPDATE es.rebuild_progress SET phase = 'replaying', pass = 2, pass_snapshot = pg_current_snapshot(),
                  checkpoint = '1:1:', cursor = 1, pass_end = 100";
    run(&mut session, reopen).await;
    run(&mut session, "INSERT INTO es.skips VALUES ('a', 'ledger', 1, 1, 1, 'failed', 1, 'no')").await;

    let report = rebuilder(&fixture.store, 100).run(&mut session).await.expect("a rebuild");
    assert_eq!((report.applied, report.held), (1, 2));
    append(&fixture.store, &mut session, "a", 1).await;
    let status = Monitor::new(&fixture.store).read(&mut session).await.expect("status");
    let reasons: Vec<_> = status.backlog.iter().map(|it| (it.reason, it.count)).collect();
    assert_eq!(reasons, [(SkipReason::Behind, 1), (SkipReason::Failed, 1), (SkipReason::Held, 2)]);
    Drainer::new(&fixture.store).drain_all(&mut session).await.expect("a drain");
    assert_converged(&mut session).await;
}

/// The batch's applies fail: the rebuild stops with the reason, and goes on when the cause is gone.
#[tokio::test]
async fn a_rebuild_stops_at_an_event_that_cannot_be_applied() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session().await;
    append(&fixture.store, &mut session, "a", 1).await;
    let poison = [skiptrace::NewEvent::new("Deposited", serde_json::json!({ "amount": 1000 }))];
    let poisoned = fixture.store.append(&mut session, &stream("a"), ExpectedVersion::Any, &poison).await;
    poisoned.expect("nothing is applied yet");
    let error = rebuilder(&fixture.store, 1).run(&mut session).await.expect_err("CHECK");
    assert!(matches!(&error, RebuildError::Db(error) if error.sqlstate() == SqlState::CHECK_VIOLATION), "{error}");
    run(&mut session, "ALTER TABLE public.entries DROP CONSTRAINT entries_amount_check").await;
    assert_eq!(rebuilder(&fixture.store, 1).run(&mut session).await.expect("a rebuild").applied, 1);
    assert_converged(&mut session).await;
}
