//! The model's only judge is PostgreSQL: each scenario, seed by seed, on both, step by step. Rows, command tags, waits, who is
//! woken and SQLSTATEs must agree.
//!
//! One thing the server leaves to chance. Where several sessions wait for one row that its holder has *updated*, or for a table, the
//! holder's COMMIT wakes them all, and they race: who is first is up to the scheduler of the operating system
//! (`heap_lock_tuple` and `heap_update` in PostgreSQL's src/backend/access/heap/heapam.c give the tuple lock up before the new version is
//! locked). So a seed that differs is run again, and has to agree in one of [`ATTEMPTS_MAX`] runs; a model that was wrong would not.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use skiptrace_sim::backend::model::ModelDatabase;
use skiptrace_sim::backend::postgres::PostgresDatabase;
use skiptrace_sim::backend::testbed::{AcquireOptions, TestBed};
use skiptrace_sim::explore::Runner;
use skiptrace_sim::explore::compare::compare;
use skiptrace_sim::protocol;
use skiptrace_sim::scenario::library::Library;
use skiptrace_sim::strategy::RandomWalk;

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
    let layout = protocol.layout(&scenario);
    let model = ModelDatabase::new(&layout).expect("the model does not refuse the setup");
    let mut model = Runner::new(&scenario, protocol, model).expect("the model does not refuse the setup");
    let server = PostgresDatabase::open(&bed, &layout).expect("a database of our own");
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
    dead_letter_after_rollback = "dead-letter-after-rollback";
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
