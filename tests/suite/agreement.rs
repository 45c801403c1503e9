//! The model's only judge is PostgreSQL: each scenario, seed by seed, on both, step by step. Rows, command tags, waits, who is
//! woken and SQLSTATEs must agree.
//!
//! One thing the server leaves to chance. Where several sessions wait for one row that its holder has *updated*, or for a table, the
//! holder's COMMIT wakes them all, and they race: who is first is up to the scheduler of the operating system
//! (`heap_lock_tuple` and `heap_update` in PostgreSQL's src/backend/access/heap/heapam.c give the tuple lock up before the new version is
//! locked). So a seed that differs is run again, and has to agree in one of [`ATTEMPTS_MAX`] runs; a model that was wrong would not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use skiptrace_sim::backend::model::ModelDatabase;
use skiptrace_sim::backend::postgres::PostgresDatabase;
use skiptrace_sim::backend::testbed::{AcquireOptions, TestBed};
use skiptrace_sim::explore::compare::compare;
use skiptrace_sim::explore::history::History;
use skiptrace_sim::explore::schedule::{Act, Choice};
use skiptrace_sim::explore::{RunEnd, Runner};
use skiptrace_sim::protocol;
use skiptrace_sim::scenario::library::Library;
use skiptrace_sim::scenario::{FaultBudget, Scenario};
use skiptrace_sim::strategy::{Lenient, RandomWalk};

use crate::tidy::root;

const SEEDS: u64 = 200;
const ATTEMPTS_MAX: u32 = 8;
/// More seeds of a scenario that needed a second run are a disagreement, not a race.
const RACES_MAX: u64 = SEEDS / 10;

/// A server of its own, one comparison at a time: transaction ids reach rows, so nobody else may take any meanwhile. (On a server that
/// a URL names, that is asked of its owner.)
fn bed() -> MutexGuard<'static, TestBed> {
    static BED: LazyLock<Mutex<TestBed>> = LazyLock::new(|| {
        Mutex::new(TestBed::acquire(AcquireOptions::default()).unwrap_or_else(|error| panic!("{error}")))
    });
    BED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn agree(name: &str) {
    let bed = bed();
    let library = Library::find(&root()).expect("the scenarios of this repository");
    let scenario = library.load(name).unwrap_or_else(|error| panic!("{error}"));
    let protocol = protocol::find(&scenario.protocol).expect("a protocol of that name");
    let mut model = runner(&scenario);
    let server = PostgresDatabase::open(&bed, &protocol.layout(&scenario)).expect("a database of our own");
    let mut server = Runner::new(&scenario, protocol, server).expect("a server that answers");
    let mut races = 0;
    for seed in 0..SEEDS {
        for attempt in 1.. {
            model.database().align_with(server.database()).expect("a server that answers");
            let comparison = compare(&mut model, &mut server, seed, &mut RandomWalk::new());
            let Some(difference) = comparison.difference else { break };
            races += u64::from(attempt == 1);
            assert!(
                attempt < ATTEMPTS_MAX && races <= RACES_MAX,
                "{name}, seed {seed}, step {}, {}: {}\nthe model is wrong: ask the server, and add a spec to tests/conformance",
                difference.step,
                difference.statement,
                difference.message
            );
        }
    }
}

/// Where a fault can befall the core.
#[derive(Default)]
struct Places {
    /// All statements that it sends; of a COMMIT, with the one before.
    sent: BTreeSet<String>,
    /// By what befalls it there, and the statement: choices that lead there.
    choices: BTreeMap<(Act, String), Vec<Choice>>,
}

/// The places that random walks of the model come to.
fn places(scenario: &Scenario, model: &mut Runner<'_, ModelDatabase>) -> Places {
    let faultless = Scenario { faults: FaultBudget::default(), ..scenario.clone() };
    let mut walker = runner(&faultless);
    let mut places = Places::default();
    for seed in 0..300 {
        let mut history = History::default();
        let schedule = walker.run(seed, &mut RandomWalk::new(), Some(&mut history)).schedule;
        let mut before = vec![String::new(); scenario.actors.len()];
        for (at, step) in history.steps.iter().enumerate() {
            let Some((statement, _)) = &step.sent else { continue };
            let before = &mut before[usize::from(step.choice.actor)];
            let is_commit = statement.sql() == "COMMIT";
            let name = if is_commit { format!("COMMIT after {before}") } else { statement.name().to_owned() };
            for act in [Act::Crash, Act::LoseAnswer].into_iter().take(1 + usize::from(is_commit)) {
                let place = (act, name.clone());
                let fault = Choice { act, ..step.choice };
                let choices: Vec<Choice> = schedule[..at].iter().copied().chain([fault]).collect();
                // When all work is done nothing goes wrong any more, so not everywhere.
                if !places.choices.contains_key(&place)
                    && model.run(0, &mut lenient(&choices), None).schedule[at] == fault
                {
                    places.choices.insert(place, choices);
                }
            }
            places.sent.insert(name);
            statement.name().clone_into(before);
        }
    }
    places
}

fn runner(scenario: &Scenario) -> Runner<'_, ModelDatabase> {
    let protocol = protocol::find(&scenario.protocol).expect("a protocol of that name");
    let model = ModelDatabase::new(&protocol.layout(scenario)).expect("the model does not refuse the setup");
    Runner::new(scenario, protocol, model).expect("the model does not refuse the setup")
}

fn lenient(choices: &[Choice]) -> Lenient {
    let mut lenient = Lenient::default();
    lenient.set(choices);
    lenient
}

/// A stepped server mostly imitates a broken connection. Here each is really broken: an actor's crash before each statement of the core's, and
/// the answer lost of each COMMIT.
fn agree_though_broken(name: &str) -> Places {
    let bed = bed();
    let scenario = Library::find(&root()).expect("the scenarios").load(name).unwrap_or_else(|error| panic!("{error}"));
    let scenario = Scenario { faults: FaultBudget { crashes: 1, lost_answers: 1 }, ..scenario };
    let protocol = protocol::find(&scenario.protocol).expect("a protocol of that name");
    let mut model = runner(&scenario);
    let mut server = PostgresDatabase::open(&bed, &protocol.layout(&scenario)).expect("a database of our own");
    server.break_really();
    let mut server = Runner::new(&scenario, protocol, server).expect("a server that answers");
    let places = places(&scenario, &mut model);
    for (place, choices) in &places.choices {
        for attempt in 1.. {
            model.database().align_with(server.database()).expect("a server that answers");
            let comparison = compare(&mut model, &mut server, 0, &mut lenient(choices));
            assert_eq!(comparison.first.end, RunEnd::Completed, "{name}, {place:?}");
            assert!(comparison.first.schedule.starts_with(choices), "{name}, {place:?}: the fault has happened");
            let Some(difference) = comparison.difference else { break };
            assert!(attempt < ATTEMPTS_MAX, "{name}, {place:?}: {difference:?}");
        }
    }
    places
}

#[test]
fn a_connection_that_breaks_at_any_statement_of_the_core_is_as_the_model_says() {
    let (mut sent, mut places) = (BTreeSet::new(), BTreeSet::new());
    for name in ["drain-crashes", "standard", "two-rebuilders"] {
        let found = agree_though_broken(name);
        sent.extend(found.sent);
        places.extend(found.choices.into_keys());
    }
    let missed = |act: Act| sent.iter().filter(|name| !places.contains(&(act, (*name).clone()))).collect::<Vec<_>>();
    assert!(sent.len() >= 30, "the core sends more than {sent:?}");
    assert_eq!(missed(Act::Crash), [""; 0], "a scenario must come there while there is work");
    let mut commits = missed(Act::LoseAnswer);
    commits.retain(|name| name.starts_with("COMMIT"));
    assert_eq!(commits, [""; 0], "a scenario must come there while there is work");
}

macro_rules! scenarios {
    ($($test:ident = $name:literal;)*) => {
        $(#[test] fn $test() { agree($name); })*

        #[test]
        fn every_scenario_is_compared() {
            let library = Library::find(&root()).expect("the scenarios of this repository");
            let mut compared = [$($name),*];
            compared.sort_unstable();
            assert_eq!(library.names(), compared, "add the scenario to this list");
        }
    };
}

scenarios! {
    cross_stream_projection = "cross-stream-projection";
    dead_letter_after_rollback = "dead-letter-after-rollback";
    drain_crashes = "drain-crashes";
    drain_once = "drain-once";
    end_race_naive = "end-race-naive";
    end_race_skip_records = "end-race-skip-records";
    lock_and_read = "lock-and-read";
    lock_the_flip = "lock-the-flip";
    plain_read_epoch = "plain-read-epoch";
    standard = "standard";
    start_race_fenced = "start-race-fenced";
    start_race_naive = "start-race-naive";
    two_rebuilders = "two-rebuilders";
    ungated_drain_order = "ungated-drain-order";
    wait_for_running = "wait-for-running";
    xid_boundary = "xid-boundary";
    xmax_fence = "xmax-fence";
}
