//! What schedules are run on, chosen on the command line.

use skiptrace::{Statement, Value};

use super::args::On;
use crate::backend::model::ModelDatabase;
use crate::backend::postgres::PostgresDatabase;
use crate::backend::testbed::{AcquireOptions, TestBed};
use crate::backend::{BackendError, Database, Observation, Outcome, Woken};
use crate::explore::Runner;
use crate::explore::shrink::Effort;
use crate::protocol::{self, Protocol};
use crate::scenario::Scenario;

/// The model, or a server.
pub(super) enum Ground {
    Model,
    Postgres(Box<TestBed>),
}

/// A database of either kind. A call through it costs little beside any statement, and no command needs two versions.
pub(super) type AnyDatabase<'g> = Box<dyn Database + 'g>;

impl Ground {
    /// Finds or starts a server, if one is asked for.
    pub(super) fn acquire(on: On) -> Result<Self, BackendError> {
        match on {
            On::Model => Ok(Self::Model),
            On::Postgres => TestBed::acquire(AcquireOptions::default())
                .map(|bed| Self::Postgres(Box::new(bed)))
                .map_err(|error| BackendError::Environment(error.to_string())),
        }
    }

    /// As a reader knows it.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Model => "the model of PostgreSQL".to_owned(),
            Self::Postgres(bed) => format!("PostgreSQL {}", bed.version()),
        }
    }

    /// How many runs it is worth to make a counterexample small: seconds, on either.
    pub(super) fn effort(&self) -> Effort {
        match self {
            Self::Model => Effort::default(),
            Self::Postgres(_) => Effort { runs_max: 600, seeds_a_workload: 10 },
        }
    }

    /// A database that is set up for the scenario.
    pub(super) fn open(&self, scenario: &Scenario) -> Result<AnyDatabase<'_>, BackendError> {
        let layout = protocol_of(scenario).layout(scenario);
        Ok(match self {
            Self::Model => Box::new(ModelDatabase::new(&layout)?),
            Self::Postgres(bed) => Box::new(PostgresDatabase::open(bed, &layout)?),
        })
    }

    /// A runner of the scenario on a database of its own.
    pub(super) fn runner<'g>(&'g self, scenario: &'g Scenario) -> Result<Runner<'g, AnyDatabase<'g>>, BackendError> {
        Runner::new(scenario, protocol_of(scenario), self.open(scenario)?)
    }
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
