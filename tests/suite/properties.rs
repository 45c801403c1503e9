//! Properties: proptest makes scenario, workload, faults and seed. A failure is shrunk, and kept in `proptest-regressions`.

use std::path::PathBuf;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use skiptrace_sim::backend::model::ModelDatabase;
use skiptrace_sim::explore::{RunEnd, Runner};
use skiptrace_sim::protocol;
use skiptrace_sim::scenario::{ActorSpec, AppendSpec, Expected, FaultBudget, Granularity, Role, Scenario};
use skiptrace_sim::strategy::RandomWalk;

fn appender() -> impl Strategy<Value = Role> {
    let append = (1..=3u8, 1..=3u32).prop_map(|(stream, events)| AppendSpec { stream: format!("s{stream}"), events });
    prop::collection::vec(append, 1..=3).prop_map(|appends| Role::Appender { appends })
}

fn rebuilder() -> impl Strategy<Value = Role> {
    (1..=2u32, 1..=4u32).prop_map(|(rebuilds, batch)| Role::Rebuilder { rebuilds, batch })
}

fn drainer() -> impl Strategy<Value = Role> {
    (0..=2u32).prop_map(|passes| Role::Drainer { passes })
}

/// At least one of each: the drainer is who makes everything converge.
fn actors() -> impl Strategy<Value = Vec<ActorSpec>> {
    let roles = (
        prop::collection::vec(appender(), 1..=3),
        prop::collection::vec(rebuilder(), 1..=2),
        prop::collection::vec(drainer(), 1..=2),
    );
    roles.prop_map(|(appenders, rebuilders, drainers)| {
        let roles = appenders.into_iter().chain(rebuilders).chain(drainers);
        roles.enumerate().map(|(number, role)| ActorSpec { name: format!("actor-{number}"), role }).collect()
    })
}

fn scenario(protocol: &'static str) -> impl Strategy<Value = Scenario> {
    let granularity = prop_oneof![Just(Granularity::Statement), Just(Granularity::Snapshot)];
    (actors(), 0..=2u32, 0..=2u32, granularity).prop_map(move |(actors, crashes, lost_answers, granularity)| Scenario {
        name: "property".to_owned(),
        path: PathBuf::from("property.toml"),
        title: "made by proptest".to_owned(),
        protocol: protocol.to_owned(),
        expected: Expected::Holds,
        actors,
        milestones: Vec::new(),
        faults: FaultBudget { crashes, lost_answers },
        steps_max: 5_000,
        granularity,
    })
}

/// Any invariant that is violated, and any run that does not end, fails.
fn holds(scenario: &Scenario, seed: u64) -> Result<(), TestCaseError> {
    let protocol = protocol::find(&scenario.protocol).expect("a protocol of that name");
    let database = ModelDatabase::new(&protocol.layout(scenario)).expect("the model does not refuse the setup");
    let mut runner = Runner::new(scenario, protocol, database).expect("the model does not refuse the setup");
    for seed in seed..seed.saturating_add(10) {
        let result = runner.run_checked(seed, &mut RandomWalk::new());
        prop_assert_eq!(result.end, RunEnd::Completed, "with seed {}", seed);
    }
    Ok(())
}

#[test]
fn skip_records_hold_for_any_workload() {
    let config = Config { cases: 300, source_file: Some(file!()), ..Config::default() };
    TestRunner::new(config)
        .run(&(scenario("skip_record"), any::<u64>()), |(scenario, seed)| holds(&scenario, seed))
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// The same property, asked of protocols that lose events: it can fail.
#[test]
fn the_property_convicts_the_known_bad() {
    for protocol in [
        "naive",
        "wait_for_running",
        "xid_boundary",
        "lock_the_flip",
        "start_race_naive",
        "xmax_fence",
        "lock_and_read",
    ] {
        let config = Config { cases: 2_000, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
        let found =
            TestRunner::new(config).run(&(scenario(protocol), any::<u64>()), |(scenario, seed)| holds(&scenario, seed));
        assert!(matches!(found, Err(TestError::Fail(..))), "{protocol}: expected a violation; found {found:?}");
    }
}
