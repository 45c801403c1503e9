//! Runs that are stuck, by a protocol that can be stuck in each way. (Violations: `explore/tests.rs`.)

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use skiptrace::{DbError, Session as _, SqlState, Statement, Value};

use super::*;
use crate::backend::Layout;
use crate::backend::model::ModelDatabase;
use crate::exec::ActorContext;
use crate::exec::executor::Body;
use crate::explore::schedule_file::{SavedSchedule, SavedVerdict, choice_text, write};
use crate::protocol::{Bound, streams};
use crate::scenario::{AppendSpec, Expected, FaultBudget, Granularity};

/// An appender counts its stream's events and appends the next: two at once meet the same key. With the stream `locked` it takes a lock of its
/// session that it never gives back. A rebuilder waits for what nobody does.
struct Careless;

struct Statements {
    lock: Statement,
    count: Statement,
    append: Statement,
    look: Statement,
}

impl Protocol for Careless {
    fn name(&self) -> &'static str {
        "careless"
    }

    fn summary(&self) -> &'static str {
        "stuck in each way"
    }

    fn layout(&self, scenario: &Scenario) -> Layout {
        let setup = [
            "CREATE TABLE events (position bigint GENERATED ALWAYS AS IDENTITY, stream_id text, version bigint, \
             PRIMARY KEY (stream_id, version))",
            "CREATE TABLE applied (seq bigint, stream_id text, version bigint)",
            "CREATE TABLE generations (generation bigint, state text)",
            "INSERT INTO generations VALUES (1, 'building')",
        ];
        Layout {
            setup: setup.map(str::to_owned).to_vec(),
            streams: streams(scenario),
            events: "events".to_owned(),
            applied: "applied".to_owned(),
            skips: None,
            generations: "generations".to_owned(),
        }
    }

    fn bind(&self, _: &Scenario) -> Rc<dyn Bound> {
        Rc::new(Statements {
            lock: Statement::new("append.lock", "SELECT pg_advisory_lock(1)"),
            count: Statement::new("append.count", "SELECT count(*) FROM events WHERE stream_id = $1"),
            append: Statement::new("append.insert", "INSERT INTO events (stream_id, version) VALUES ($1, $2)"),
            look: Statement::new("rebuild.look", "SELECT state FROM generations"),
        })
    }
}

impl Bound for Statements {
    fn start(self: Rc<Self>, role: Rc<Role>, context: ActorContext) -> Body {
        Box::pin(async move {
            match &*role {
                Role::Appender { appends } => self.append(appends, &context).await,
                Role::Rebuilder { rebuilds: 0, .. } | Role::Drainer { .. } => Ok(()),
                Role::Rebuilder { .. } => self.wait(&context).await,
            }
        })
    }
}

impl Statements {
    async fn append(&self, appends: &[AppendSpec], context: &ActorContext) -> Result<(), DbError> {
        let mut session = context.connect();
        for append in appends {
            if append.stream == "locked" {
                session.execute(&self.lock, &[]).await?;
            }
            let stream = Value::from(append.stream.as_str());
            let count = session.execute(&self.count, std::slice::from_ref(&stream)).await?.rows.row(0).int(0);
            session.execute(&self.append, &[stream, (count + 1).into()]).await?;
        }
        Ok(())
    }

    async fn wait(&self, context: &ActorContext) -> Result<(), DbError> {
        let mut session = context.connect();
        while &**session.execute(&self.look, &[]).await?.rows.row(0).text(0) == "building" {
            session.pause(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

/// Three appenders of these streams, and a rebuilder.
fn scenario(appends: [&[&str]; 3], rebuilds: u32) -> Scenario {
    let append = |stream: &&str| AppendSpec { stream: (*stream).to_owned(), events: 1 };
    let role = |streams: &[&str]| Role::Appender { appends: streams.iter().map(append).collect() };
    let roles = appends.into_iter().map(role).chain([Role::Rebuilder { rebuilds, batch: 1 }]);
    let actors = (1..).zip(roles).map(|(number, role): (u32, Role)| ActorSpec { name: format!("a{number}"), role });
    Scenario {
        name: "careless".to_owned(),
        path: PathBuf::from("careless.toml"),
        title: "Careless".to_owned(),
        protocol: "careless".to_owned(),
        expected: Expected::Holds,
        actors: actors.collect(),
        milestones: Vec::new(),
        faults: FaultBudget::default(),
        steps_max: 50,
        granularity: Granularity::Statement,
    }
}

/// The first stuck run of the random walks, shrunk, which replays: its end, its choices and how much work is left for each actor.
#[track_caller]
fn small(scenario: &Scenario, kind: StuckKind) -> (String, Vec<usize>) {
    let database = || ModelDatabase::new(&Careless.layout(scenario)).unwrap();
    let mut runner = Runner::new(scenario, &Careless, database()).unwrap();
    let mut runs = (0..1_000).map(|seed| runner.run(seed, &mut RandomWalk::new(), None));
    let found = runs.find(|result| matches!(result.end, RunEnd::Stuck(_))).expect("a stuck run");
    let (small, _) = shrink(scenario, &Careless, database(), &found, Effort::default()).unwrap();
    let RunEnd::Stuck(stuck) = &small.result.end else { panic!("expected a stuck run, found {:?}", small.result.end) };
    assert_eq!(stuck.kind, kind, "{}", stuck.message);
    assert!(measure(&small.schedule.choices) <= measure(&found.schedule), "no larger than what was found");

    let reduced = small.schedule.scenario(scenario);
    let mut runner = Runner::for_workload(scenario, &reduced, &Careless, database()).unwrap();
    let again = runner.run(0, &mut Replay::new(small.schedule.choices.clone()), None);
    assert_eq!((again.hash, &again.end), (small.result.hash, &small.result.end), "it replays");
    let file = SavedSchedule {
        scenario: scenario.clone(),
        called: scenario.name.clone(),
        schedule: small.schedule.clone(),
        verdict: SavedVerdict::Stuck,
        seed: None,
        hash: Some(again.hash),
    };
    assert!(write(&file).contains("\nverdict = \"stuck\"\n"));

    let work = reduced.actors.iter().map(|actor| match &actor.role {
        Role::Appender { appends } => appends.len(),
        Role::Rebuilder { rebuilds, .. } => *rebuilds as usize,
        Role::Drainer { passes } => *passes as usize,
    });
    let choices: Vec<String> = small.schedule.choices.iter().map(|it| choice_text(*it, &scenario.actors)).collect();
    (choices.join(" "), work.collect())
}

#[test]
fn who_waits_for_good_is_left_with_whom_it_waits_for() {
    let scenario = scenario([&["x", "locked", "y"], &["locked", "x"], &["y", "z"]], 0);
    let (choices, work) = small(&scenario, StuckKind::Blocked);
    assert_eq!(work, [1, 1, 0, 0], "two that take the lock");
    let mut words: Vec<&str> = choices.split(' ').collect();
    words.dedup();
    assert_eq!(words.len(), 2, "one after the other: {choices}");
}

#[test]
fn an_error_that_nobody_copes_with_is_left_with_what_it_takes() {
    let scenario = scenario([&["x", "y"], &["z", "y", "x"], &["y", "z"]], 0);
    let (choices, work) = small(&scenario, StuckKind::GaveUp(SqlState::UNIQUE_VIOLATION));
    assert_eq!(work.iter().sum::<usize>(), 2, "two appends to one stream: {work:?}");
    assert_eq!(choices.split(' ').count(), 4, "both count, both append: {choices}");
}

#[test]
fn a_run_without_an_end_is_left_with_whoever_goes_on() {
    let scenario = scenario([&["x"], &["y", "z"], &["u"]], 1);
    let (choices, work) = small(&scenario, StuckKind::Endless);
    assert_eq!(work, [0, 0, 0, 1]);
    assert_eq!(choices.split(' ').count(), 50, "all steps that there may be");
}
