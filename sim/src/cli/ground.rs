//! What schedules are run on, chosen on the command line.

use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::thread;

use skiptrace::{Statement, Value};

use super::args::On;
use crate::backend::model::ModelDatabase;
use crate::backend::postgres::PostgresDatabase;
use crate::backend::testbed::{AcquireOptions, Source, TestBed};
use crate::backend::{BackendError, Database, Observation, Outcome, Woken};
use crate::explore::Runner;
use crate::explore::shrink::Effort;
use crate::protocol::{self, Protocol};
use crate::scenario::Scenario;

/// One more server takes a second of a core to start: in that time it does not make up for itself.
const SEEDS_WORTH_A_SERVER: u64 = 100;

/// The model, or servers.
pub(super) enum Ground {
    Model,
    Postgres(Box<Servers>),
}

/// Servers to run on side by side. Transaction ids and horizons are a server's: two runs on one would see each other, and a fence would wait
/// for the transactions of the other's run.
pub(super) struct Servers {
    first: TestBed,
    /// Each started by the worker that needs it; none where that failed, and the others do its work.
    more: Vec<OnceLock<Option<TestBed>>>,
}

impl Servers {
    pub(super) fn first(&self) -> &TestBed {
        &self.first
    }
}

/// A database of either kind. A call through it costs little beside any statement, and no command needs two versions.
pub(super) type AnyDatabase<'g> = Box<dyn Database + 'g>;

impl Ground {
    /// Finds or starts a server, if one is asked for.
    pub(super) fn acquire(on: On) -> Result<Self, BackendError> {
        match on {
            On::Model => Ok(Self::Model),
            On::Postgres => TestBed::acquire(AcquireOptions::default())
                .map(|first| {
                    let more = if first.source() == Source::Local { cores().get() - 1 } else { 0 };
                    let more = (0..more).map(|_| OnceLock::new()).collect();
                    Self::Postgres(Box::new(Servers { first, more }))
                })
                .map_err(|error| BackendError::Environment(error.to_string())),
        }
    }

    /// As a reader knows it.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Model => "the model of PostgreSQL".to_owned(),
            Self::Postgres(servers) => format!("PostgreSQL {}", servers.first.version()),
        }
    }

    /// How many runs it is worth to make a counterexample small: seconds, on either.
    pub(super) fn effort(&self) -> Effort {
        match self {
            Self::Model => Effort::default(),
            Self::Postgres(_) => Effort { runs_max: 600, seeds_a_workload: 10 },
        }
    }

    /// How many workers there may be, if so many are asked for.
    pub(super) fn workers(&self, jobs: Option<NonZeroUsize>, seeds: Option<u64>) -> NonZeroUsize {
        let jobs = jobs.unwrap_or_else(cores);
        let most = match self {
            Self::Model => return jobs,
            Self::Postgres(servers) => servers.more.len() as u64,
        };
        let more = seeds.map_or(most, |seeds| most.min(seeds / SEEDS_WORTH_A_SERVER));
        jobs.min(NonZeroUsize::MIN.saturating_add(usize::try_from(more).unwrap_or(0)))
    }

    /// The runner of worker `number`, from 0; none if it has nothing to run on.
    pub(super) fn worker<'g>(
        &'g self,
        number: usize,
        scenario: &'g Scenario,
    ) -> Result<Option<Runner<'g, AnyDatabase<'g>>>, BackendError> {
        let (Self::Postgres(servers), Some(place)) = (self, number.checked_sub(1)) else {
            return self.runner(scenario).map(Some);
        };
        let bed = servers.more[place].get_or_init(|| servers.first.another().and_then(Result::ok));
        let Some(bed) = bed else { return Ok(None) };
        let protocol = protocol_of(scenario);
        let database: AnyDatabase<'g> = Box::new(PostgresDatabase::open(bed, &protocol.layout(scenario))?);
        Runner::new(scenario, protocol, database).map(Some)
    }

    /// A database that is set up for the scenario.
    pub(super) fn open(&self, scenario: &Scenario) -> Result<AnyDatabase<'_>, BackendError> {
        let layout = protocol_of(scenario).layout(scenario);
        Ok(match self {
            Self::Model => Box::new(ModelDatabase::new(&layout)?),
            Self::Postgres(servers) => Box::new(PostgresDatabase::open(&servers.first, &layout)?),
        })
    }

    /// A runner of the scenario on a database of its own.
    pub(super) fn runner<'g>(&'g self, scenario: &'g Scenario) -> Result<Runner<'g, AnyDatabase<'g>>, BackendError> {
        Runner::new(scenario, protocol_of(scenario), self.open(scenario)?)
    }
}

fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The scenario's protocol; its file's parser knows that there is one of that name.
pub(super) fn protocol_of(scenario: &Scenario) -> &'static dyn Protocol {
    protocol::find(&scenario.protocol).expect("a scenario names a protocol that there is")
}

impl Database for AnyDatabase<'_> {
    fn reset(&mut self) -> Result<(), BackendError> {
        (**self).reset()
    }

    fn connect(&mut self, session: usize) -> Result<(), BackendError> {
        (**self).connect(session)
    }

    fn execute(&mut self, session: usize, statement: &Statement, params: &[Value]) -> Result<Outcome, BackendError> {
        (**self).execute(session, statement, params)
    }

    fn execute_to_snapshot(
        &mut self,
        session: usize,
        statement: &Statement,
        params: &[Value],
    ) -> Result<Outcome, BackendError> {
        (**self).execute_to_snapshot(session, statement, params)
    }

    fn proceed(&mut self, session: usize) -> Result<Outcome, BackendError> {
        (**self).proceed(session)
    }

    fn next_woken(&mut self) -> Result<Option<Woken>, BackendError> {
        (**self).next_woken()
    }

    fn blockers(&mut self, session: usize) -> Result<Vec<usize>, BackendError> {
        (**self).blockers(session)
    }

    fn disconnect(&mut self, session: usize) -> Result<(), BackendError> {
        (**self).disconnect(session)
    }

    fn has_changed(&mut self) -> bool {
        (**self).has_changed()
    }

    fn observe(&mut self, into: &mut Observation) -> Result<(), BackendError> {
        (**self).observe(into)
    }
}
