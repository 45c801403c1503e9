//! Runs of the scenarios on the model: what is found, that it replays, that it shrinks.

use std::collections::BTreeMap;
use std::path::Path;

use super::history::{Effect, History};
use super::schedule::{Act, Choice};
use super::shrink::{Effort, shrink};
use super::{RunEnd, RunResult, Runner};
use crate::backend::model::ModelDatabase;
use crate::protocol;
use crate::scenario::library::Library;
use crate::scenario::{Role, Scenario};
use crate::strategy::{RandomWalk, Replay};

fn scenario(name: &str) -> Scenario {
    Library::find(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap().load(name).unwrap()
}

fn database(scenario: &Scenario) -> ModelDatabase {
    let protocol = protocol::find(&scenario.protocol).unwrap();
    ModelDatabase::new(&protocol.layout(scenario)).unwrap()
}

fn runner(scenario: &Scenario) -> Runner<'_, ModelDatabase> {
    Runner::new(scenario, protocol::find(&scenario.protocol).unwrap(), database(scenario)).unwrap()
}

/// How the runs of the first seeds end: the kind, and the first run of that kind.
fn explore(scenario: &Scenario, seeds: u64) -> BTreeMap<String, (u64, RunResult)> {
    let (mut runner, mut walk) = (runner(scenario), RandomWalk::new());
    let mut ends = BTreeMap::new();
    for seed in 0..seeds {
        let result = runner.run(seed, &mut walk, None);
        let kind = match &result.end {
            RunEnd::Completed => "completed".to_owned(),
            RunEnd::Violated(violation) => violation.invariant.to_owned(),
            end => format!("{end:?}"),
        };
        ends.entry(kind).or_insert((seed, result));
    }
    ends
}

#[track_caller]
fn ends_in(name: &str, expected: &[&str]) {
    let ends = explore(&scenario(name), 600);
    let found: Vec<&str> = ends.keys().map(String::as_str).collect();
    assert_eq!(found, expected, "{name}");
}

#[test]
fn the_naive_end_loses_events_and_does_nothing_else_wrong() {
    ends_in("end-race-naive", &["completed", "no_loss"]);
}

#[test]
fn each_repair_only_moves_the_hole() {
    for name in ["wait-for-running", "xid-boundary", "lock-the-flip"] {
        ends_in(name, &["completed", "no_loss"]);
    }
}

#[test]
fn a_start_without_a_fence_applies_twice_and_a_fence_cures_it() {
    ends_in("start-race-naive", &["completed", "exactly_once"]);
    ends_in("start-race-fenced", &["completed"]);
}

#[test]
fn a_fence_at_the_xmax_of_a_snapshot_is_none() {
    ends_in("xmax-fence", &["completed", "exactly_once"]);
}

#[test]
fn the_core_holds() {
    ends_in("end-race-skip-records", &["completed"]);
    ends_in("standard", &["completed"]);
}

#[test]
fn a_seed_is_a_history_whoever_runs_it_and_whatever_ran_before() {
    let scenario = scenario("standard");
    let (mut one, mut other) = (runner(&scenario), runner(&scenario));
    let mut walk = RandomWalk::new();
    one.run(1, &mut walk, None);
    for seed in [5, 6, 7] {
        let (mut first, mut second) = (History::default(), History::default());
        let a = one.run(seed, &mut walk, Some(&mut first));
        let b = other.run(seed, &mut RandomWalk::new(), Some(&mut second));
        assert_eq!((a.hash, &a.schedule, first), (b.hash, &b.schedule, second));
        assert_eq!(a.hash, one.run(seed, &mut walk, None).hash, "keeping the history changes nothing");
        assert_ne!(a.hash, one.run(seed + 10, &mut walk, None).hash);
    }
}

#[test]
fn a_recorded_schedule_replays_to_the_same_hash() {
    let scenario = scenario("standard");
    let mut runner = runner(&scenario);
    for seed in 0..40 {
        let recorded = runner.run(seed, &mut RandomWalk::new(), None);
        let replayed = runner.run(99, &mut Replay::new(recorded.schedule.clone()), None);
        assert_eq!((replayed.hash, replayed.end), (recorded.hash, recorded.end), "seed {seed}");
    }
}

#[test]
fn a_schedule_that_does_not_fit_says_where() {
    let scenario = scenario("end-race-naive");
    let mut runner = runner(&scenario);
    let step = |actor| Choice { actor, act: Act::Step };
    let result = runner.run(0, &mut Replay::new(vec![step(0), Choice { actor: 1, act: Act::Crash }]), None);
    let RunEnd::Misfit { step: at, message } = result.end else { panic!("{:?}", result.end) };
    assert_eq!(at, 1);
    assert!(message.contains("crash") && message.contains("found ready"), "{message}");
    let result = runner.run(0, &mut Replay::new(vec![step(0)]), None);
    assert!(matches!(&result.end, RunEnd::Misfit { step: 1, message } if message.contains("the schedule ends")));
}

#[test]
fn a_run_that_does_not_end_is_stuck() {
    let scenario = Scenario { steps_max: 5, ..scenario("end-race-naive") };
    let result = runner(&scenario).run(0, &mut RandomWalk::new(), None);
    assert!(
        matches!(&result.end, RunEnd::Stuck(stuck) if stuck.message.contains("within 5 steps")),
        "{:?}",
        result.end
    );
}

#[test]
fn faults_happen_and_are_coped_with() {
    let scenario = scenario("standard");
    let mut runner = runner(&scenario);
    let (mut crashed, mut lost) = (0, 0);
    for seed in 0..200 {
        let mut history = History::default();
        let result = runner.run(seed, &mut RandomWalk::new(), Some(&mut history));
        assert_eq!(result.end, RunEnd::Completed, "seed {seed}");
        let count = |effect: &Effect| history.steps.iter().filter(|step| step.effect == *effect).count();
        assert_eq!(count(&Effect::Crashed), count(&Effect::Restarted), "whoever crashed starts again");
        assert!(count(&Effect::Crashed) <= 1 && count(&Effect::AnswerLost) <= 1, "no more than the budget");
        crashed += count(&Effect::Crashed);
        lost += count(&Effect::AnswerLost);
    }
    assert!(crashed > 20 && lost > 20, "{crashed} crashes and {lost} lost answers in 200 runs");
}

#[test]
fn a_violation_shrinks_and_replays() {
    let scenario = scenario("end-race-naive");
    let protocol = protocol::find(&scenario.protocol).unwrap();
    let (_, found) = explore(&scenario, 200).remove("no_loss").expect("about one run in five");
    let effort = Effort { runs_max: 2_000, ..Effort::default() };
    let (small, _) = shrink(&scenario, protocol, database(&scenario), &found, effort).unwrap();
    assert!(matches!(&small.result.end, RunEnd::Violated(violation) if violation.invariant == "no_loss"));
    let switches = |choices: &[Choice]| choices.windows(2).filter(|pair| pair[0].actor != pair[1].actor).count();
    assert!(switches(&small.schedule.choices) <= 3, "one append around one flip: {:?}", small.schedule.choices);
    let workload = small.schedule.workload.as_ref().expect("one append is enough");
    let appends = |role: &Role| if let Role::Appender { appends } = role { appends.len() } else { 0 };
    assert_eq!(workload.iter().map(|actor| appends(&actor.role)).sum::<usize>(), 1);

    let reduced = small.schedule.scenario(&scenario);
    let replayed = runner(&reduced).run(0, &mut Replay::new(small.schedule.choices.clone()), None);
    assert_eq!(replayed.hash, small.result.hash, "a schedule file's reader replays the same history");
    assert_eq!(small.history.steps.len(), small.schedule.choices.len());
}
