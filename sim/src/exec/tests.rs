//! The executor on a database of one lock, so that each rule is seen alone.

use std::collections::VecDeque;
use std::time::Duration;

use skiptrace::{Answer, Call, DbError, Rows, Session as _, SqlState, Statement, Tag, Value};

use super::executor::{Body, Cast, Executor};
use super::{ActorContext, SimSession};
use crate::backend::model::ModelDatabase;
use crate::backend::{BackendError, Database, Layout, Observation, Outcome};
use crate::explore::history::{Effect, History};
use crate::explore::schedule::{Act, Choice};
use crate::explore::trace::Trace;
use crate::scenario::{FaultBudget, Granularity};

/// `lock` waits for whoever has the lock, until that session's transaction ends. `fail` errs. Anything else is answered.
#[derive(Default)]
struct OneLock {
    holder: Option<usize>,
    waiting: VecDeque<usize>,
    woken: VecDeque<usize>,
    log: Vec<String>,
}

impl OneLock {
    fn release(&mut self, session: usize) {
        self.waiting.retain(|waiting| *waiting != session);
        if self.holder == Some(session) {
            self.holder = self.waiting.pop_front();
            self.woken.extend(self.holder);
        }
    }
}

fn answered(tag: Tag) -> Outcome {
    Outcome::Answered(Ok(Answer { tag, affected: 0, rows: Rows::default() }))
}

impl Database for OneLock {
    fn reset(&mut self) -> Result<(), BackendError> {
        *self = Self::default();
        Ok(())
    }

    fn connect(&mut self, session: usize) -> Result<(), BackendError> {
        self.log.push(format!("{session} connects"));
        Ok(())
    }

    fn execute(&mut self, session: usize, statement: &Statement, _: &[Value]) -> Result<Outcome, BackendError> {
        self.log.push(format!("{session} {}", statement.sql()));
        match statement.sql() {
            "lock" => {
                if self.holder.is_some_and(|holder| holder != session) {
                    self.waiting.push_back(session);
                    return Ok(Outcome::Waits);
                }
                self.holder = Some(session);
            }
            "fail" => {
                return Ok(Outcome::Answered(Err(DbError::new(SqlState::UNIQUE_VIOLATION, "failed as asked"))));
            }
            "BEGIN" => return Ok(answered(Tag::Begin)),
            "COMMIT" => {
                self.release(session);
                return Ok(answered(Tag::Commit));
            }
            "ROLLBACK" => {
                self.release(session);
                return Ok(answered(Tag::Rollback));
            }
            _ => {}
        }
        Ok(answered(Tag::Other))
    }

    fn execute_to_snapshot(
        &mut self,
        session: usize,
        statement: &Statement,
        _: &[Value],
    ) -> Result<Outcome, BackendError> {
        self.log.push(format!("{session} {}: snapshot", statement.sql()));
        Ok(Outcome::HasSnapshot)
    }

    fn proceed(&mut self, session: usize) -> Result<Outcome, BackendError> {
        self.log.push(format!("{session} goes on"));
        Ok(answered(Tag::Other))
    }

    fn next_woken(&mut self) -> Result<Option<(usize, Result<Answer, DbError>)>, BackendError> {
        let answer = Answer { tag: Tag::Other, affected: 0, rows: Rows::default() };
        Ok(self.woken.pop_front().map(|session| (session, Ok(answer))))
    }

    fn blockers(&mut self, _: usize) -> Result<Vec<usize>, BackendError> {
        Ok(self.holder.into_iter().collect())
    }

    fn disconnect(&mut self, session: usize) -> Result<(), BackendError> {
        self.log.push(format!("{session} is cut off"));
        self.release(session);
        Ok(())
    }

    fn observe(&mut self, _: &mut Observation) -> Result<(), BackendError> {
        Ok(())
    }
}

/// Sends statements and makes pauses, as told.
#[derive(Clone)]
enum Do {
    Send(&'static str),
    Pipeline(&'static [&'static str]),
    Pause,
    Abandon,
    AwaitOthers,
}
use Do::{Abandon, AwaitOthers, Pause, Pipeline, Send};

struct Scripted {
    scripts: Vec<Vec<Do>>,
    drainers: Vec<usize>,
}

impl Cast for Scripted {
    fn len(&self) -> usize {
        self.scripts.len()
    }

    fn works(&self, actor: usize) -> bool {
        !self.drainers.contains(&actor)
    }

    fn start(&self, actor: usize, context: ActorContext) -> Body {
        Box::pin(play(self.scripts[actor].clone(), context))
    }
}

async fn play(script: Vec<Do>, context: ActorContext) -> Result<(), DbError> {
    let mut session = context.connect();
    for step in script {
        match step {
            Send(sql) => match session.execute(&Statement::new(sql, sql), &[]).await {
                Err(error) if error.sqlstate().is_connection_lost() => session = context.connect(),
                result => drop(result?),
            },
            Pipeline(sqls) => {
                let calls: Vec<Call> = sqls.iter().map(|sql| Call::new(&Statement::new(sql, sql), [])).collect();
                if let Err(error) = session.pipeline(calls).await {
                    assert_eq!(error.sqlstate(), SqlState::UNIQUE_VIOLATION, "the first error comes back");
                }
            }
            Pause => session.pause(Duration::from_secs(1)).await,
            Abandon => session.abandon(),
            AwaitOthers => context.others_done().await,
        }
    }
    Ok(())
}

struct Stage {
    executor: Executor<OneLock>,
    trace: Trace,
}

impl Stage {
    fn new(scripts: Vec<Vec<Do>>, faults: FaultBudget) -> Self {
        Self::with_drainers(scripts, Vec::new(), faults)
    }

    fn with_drainers(scripts: Vec<Vec<Do>>, drainers: Vec<usize>, faults: FaultBudget) -> Self {
        let mut executor =
            Executor::new(OneLock::default(), Box::new(Scripted { scripts, drainers }), Granularity::Statement);
        executor.begin(faults).unwrap();
        let mut trace = Trace::new();
        trace.begin(true);
        Self { executor, trace }
    }

    fn ready(&self) -> Vec<(u8, Act)> {
        let ready = self.executor.ready();
        assert!(ready.choices().is_sorted(), "strategies rely on it");
        ready.choices().map(|choice| (choice.actor, choice.act)).collect()
    }

    #[track_caller]
    fn act(&mut self, actor: u8, act: Act) {
        let ready = self.ready();
        assert!(ready.contains(&(actor, act)), "expected {actor} {act:?} to be ready, found {ready:?}");
        self.executor.step(Choice { actor, act }, &mut self.trace).unwrap();
    }

    #[track_caller]
    fn step(&mut self, actor: u8) {
        self.act(actor, Act::Step);
    }

    #[track_caller]
    fn steps(&mut self, actors: &[u8]) {
        for actor in actors {
            self.step(*actor);
        }
    }

    fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.executor.database().log)
    }

    fn history(mut self) -> History {
        self.trace.take_history().unwrap()
    }
}

const NONE: FaultBudget = FaultBudget { crashes: 0, lost_answers: 0 };

#[test]
fn a_wait_ends_with_the_step_that_ends_the_other_transaction() {
    let script = vec![Send("BEGIN"), Send("lock"), Send("COMMIT")];
    let mut stage = Stage::new(vec![script.clone(), script], NONE);
    stage.steps(&[0, 0, 1, 1]);
    assert_eq!(stage.ready(), [(0, Act::Step)], "actor 1 waits");
    stage.step(0);
    assert_eq!(stage.ready(), [(1, Act::Step)], "actor 0 is done, actor 1 was answered");
    stage.step(1);
    assert!(stage.executor.all_done());
    let history = stage.history();
    assert_eq!(history.steps[3].effect, Effect::Waits(vec![0]));
    let woken: Vec<u8> = history.steps[4].woken.iter().map(|(actor, _)| *actor).collect();
    assert_eq!(woken, [1]);
}

#[test]
fn a_pause_lasts_until_another_transaction_ends() {
    let waits = vec![Send("BEGIN"), Pause, Send("COMMIT")];
    let works = vec![Send("BEGIN"), Send("a"), Send("COMMIT"), Send("b")];
    let mut stage = Stage::new(vec![waits, works], NONE);
    stage.steps(&[0, 1, 1]);
    assert_eq!(stage.ready(), [(1, Act::Step)], "BEGIN and a statement in a transaction end no pause");
    stage.step(1);
    assert_eq!(stage.ready(), [(0, Act::Step), (1, Act::Step)]);
    stage.step(0);
    assert_eq!(stage.log().last().unwrap(), "1 COMMIT", "the end of a pause is a step of its own and sends nothing");
}

#[test]
fn a_statement_outside_a_transaction_ends_a_pause() {
    let mut stage = Stage::new(vec![vec![Pause], vec![Send("a"), Send("b")]], NONE);
    assert_eq!(stage.ready(), [(1, Act::Step)]);
    stage.step(1);
    assert_eq!(stage.ready(), [(0, Act::Step), (1, Act::Step)]);
}

#[test]
fn pauses_end_when_nobody_else_can_go_on() {
    let stage = Stage::new(vec![vec![Pause], vec![Pause]], NONE);
    assert_eq!(stage.ready(), [(0, Act::Step), (1, Act::Step)]);
}

#[test]
fn a_pipeline_sends_everything_even_behind_an_error() {
    let mut stage = Stage::new(vec![vec![Pipeline(&["BEGIN", "fail", "a", "ROLLBACK"])]], NONE);
    while !stage.ready().is_empty() {
        stage.step(0);
    }
    assert_eq!(stage.log(), ["0 connects", "0 BEGIN", "0 fail", "0 a", "0 ROLLBACK"]);
    assert!(stage.executor.all_done());
}

#[test]
fn an_abandoned_transaction_is_rolled_back_before_the_next_statement() {
    let script = vec![Abandon, Send("BEGIN"), Send("a"), Abandon, Send("b"), Send("c")];
    let mut stage = Stage::new(vec![script], NONE);
    while !stage.ready().is_empty() {
        stage.step(0);
    }
    let expected = ["0 connects", "0 BEGIN", "0 a", "0 ROLLBACK", "0 b", "0 c"];
    assert_eq!(stage.log(), expected, "and only where one is open");
}

#[test]
fn whoever_crashes_is_cut_off_and_starts_again_from_its_beginning() {
    let script = vec![Send("BEGIN"), Send("lock"), Send("COMMIT")];
    let mut stage = Stage::new(vec![script.clone(), script], FaultBudget { crashes: 1, lost_answers: 0 });
    stage.steps(&[0, 0, 1, 1]);
    stage.act(0, Act::Crash);
    assert_eq!(stage.ready(), [(0, Act::Step), (1, Act::Step)], "one crash was allowed; the lock is actor 1's now");
    stage.step(0);
    stage.step(0);
    let log = stage.log();
    assert_eq!(log[log.len() - 3..], ["0 is cut off", "0 connects", "0 BEGIN"]);
    let history = stage.history();
    assert_eq!(history.steps[4].effect, Effect::Crashed);
    assert_eq!(history.steps[5].effect, Effect::Restarted);
}

#[test]
fn a_lost_answer_is_lost_after_the_commit_was_done() {
    let script = vec![Send("BEGIN"), Send("a"), Send("COMMIT"), Send("b")];
    let mut stage = Stage::new(vec![script], FaultBudget { crashes: 0, lost_answers: 1 });
    stage.step(0);
    stage.step(0);
    assert_eq!(stage.ready(), [(0, Act::Step), (0, Act::LoseAnswer)], "offered for a COMMIT only");
    stage.act(0, Act::LoseAnswer);
    stage.step(0);
    assert_eq!(stage.log(), ["0 connects", "0 BEGIN", "0 a", "0 COMMIT", "0 is cut off", "0 connects", "0 b"]);
    assert_eq!(stage.history().steps[2].effect, Effect::AnswerLost);
}

#[test]
fn a_session_whose_connection_was_lost_stays_lost() {
    async fn body(context: ActorContext) -> Result<(), DbError> {
        let mut session: SimSession = context.connect();
        let (commit, next) = (Statement::new("c", "COMMIT"), Statement::new("n", "n"));
        let lost = session.execute(&commit, &[]).await.unwrap_err();
        assert_eq!(lost.sqlstate(), SqlState::CONNECTION_FAILURE);
        session.execute(&next, &[]).await.map(drop)
    }
    struct One;
    impl Cast for One {
        fn len(&self) -> usize {
            1
        }
        fn works(&self, _: usize) -> bool {
            true
        }
        fn start(&self, _: usize, context: ActorContext) -> Body {
            Box::pin(body(context))
        }
    }
    let mut executor = Executor::new(OneLock::default(), Box::new(One), Granularity::Statement);
    executor.begin(FaultBudget { crashes: 0, lost_answers: 1 }).unwrap();
    let mut trace = Trace::new();
    executor.step(Choice { actor: 0, act: Act::LoseAnswer }, &mut trace).unwrap();
    let (actor, error) = executor.gave_up().expect("the second statement errs at once, without a step");
    assert_eq!((*actor, error.sqlstate()), (0, SqlState::CONNECTION_FAILURE));
}

#[test]
fn drainers_wait_for_the_work_and_have_no_faults_after_it() {
    let faults = FaultBudget { crashes: 3, lost_answers: 3 };
    let mut stage =
        Stage::with_drainers(vec![vec![Send("COMMIT")], vec![AwaitOthers, Send("COMMIT")]], vec![1], faults);
    let acts = [(0, Act::Step), (0, Act::LoseAnswer), (0, Act::Crash)];
    assert_eq!(stage.ready(), acts, "the drainer waits for the others' work");
    stage.step(0);
    assert!(stage.executor.work_is_done());
    assert_eq!(stage.ready(), [(1, Act::Step)]);
    stage.step(1);
    assert_eq!(stage.ready(), [(1, Act::Step)], "a COMMIT in the liveness phase, and nothing may befall it");
}

#[test]
fn the_same_choices_leave_the_same_trace() {
    let run = |choices: &[u8]| {
        let script = vec![Send("BEGIN"), Send("lock"), Send("COMMIT")];
        let mut stage = Stage::new(vec![script.clone(), script], NONE);
        stage.steps(choices);
        (stage.trace.hash(), stage.history())
    };
    let first = run(&[0, 0, 1, 1, 0, 1]);
    assert_eq!(first, run(&[0, 0, 1, 1, 0, 1]), "statements are new ones in each run: their ids must not matter");
    assert_ne!(first.0, run(&[0, 1, 0, 1, 0, 1]).0, "their order must");
}

/// By the model's own command tags, which are PostgreSQL's: both ROLLBACKs have the same.
#[test]
fn a_transaction_that_went_back_to_a_savepoint_is_open_until_it_ends() {
    const INSERT: &str = "INSERT INTO events VALUES ('s', 1, 1)";
    let layout = Layout {
        setup: [
            "CREATE TABLE events (stream_id text, version bigint, position bigint)",
            "CREATE TABLE applied (stream_id text, version bigint, seq bigint)",
            "CREATE TABLE generations (generation bigint, state text)",
        ]
        .map(str::to_owned)
        .to_vec(),
        streams: vec!["s".to_owned()],
        events: "events".to_owned(),
        applied: "applied".to_owned(),
        skips: None,
        generations: "generations".to_owned(),
    };
    let left_open = ["BEGIN", "SAVEPOINT a", INSERT, "ROLLBACK WORK TO SAVEPOINT a", INSERT];
    let committed = ["BEGIN", "SAVEPOINT a", INSERT, "rollback to a", INSERT, "COMMIT"];
    let scripts = vec![left_open.map(Send).to_vec(), committed.map(Send).to_vec()];
    let cast = Scripted { scripts, drainers: Vec::new() };
    let mut executor = Executor::new(ModelDatabase::new(&layout).unwrap(), Box::new(cast), Granularity::Statement);
    executor.begin(FaultBudget::default()).unwrap();
    let mut trace = Trace::new();
    for (actor, statements, commits) in [(0, 5, 0), (1, 6, 0b10)] {
        let mut all = 0;
        for statement in 1..=statements {
            let stepped = executor.step(Choice { actor, act: Act::Step }, &mut trace).unwrap();
            assert!(stepped.committed == 0 || statement == 6, "actor {actor}, statement {statement}");
            all |= stepped.committed;
        }
        assert_eq!(all, commits);
    }
    assert!(executor.all_done());
    assert!(!executor.lane(0).connected.get(), "who ends in a transaction is cut off, and it is rolled back");
    let mut seen = Observation::default();
    executor.database().observe(&mut seen).unwrap();
    assert_eq!(seen.events.len(), 1);
}
