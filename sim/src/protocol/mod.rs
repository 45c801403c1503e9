//! Protocols: ways to append, rebuild and drain. The core's, and those that lose events.
//!
//! A protocol is bound to a scenario once (its statements are made then), and starts an actor's body as often as an actor starts.
//! The known-bad ones are what a good engineer would have written, each as small as its story allows; the story stands in its file. Beside
//! the core's stands the core with a projection that breaks its own promise, `cross_stream_projection`.

mod client;
mod cross_stream_projection;
mod known_bad;
mod plain;
mod records;
mod skip_record;

use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use crate::backend::Layout;
use crate::exec::ActorContext;
use crate::exec::executor::{Body, Cast};
use crate::scenario::{Role, Scenario};

/// A way to append, rebuild and drain.
pub trait Protocol: Sync {
    /// Its name in scenarios.
    fn name(&self) -> &'static str;

    /// One line: what it does about skipped events.
    fn summary(&self) -> &'static str;

    /// How it is set up for a scenario, and where its committed state stands.
    fn layout(&self, scenario: &Scenario) -> Layout;

    /// Its statements, ready to be used by any number of runs.
    fn bind(&self, scenario: &Scenario) -> Rc<dyn Bound>;

    /// Whether the read model itself shows in which order the events of *different* streams were applied: then it equals a fold over the
    /// log only where that is the order of positions.
    fn shows_order(&self) -> bool {
        false
    }
}

/// A protocol that is bound to a scenario.
pub trait Bound {
    /// An actor's body, with an empty memory.
    fn start(self: Rc<Self>, role: Rc<Role>, context: ActorContext) -> Body;
}

/// How long an actor waits before it looks again. Under a schedule: until something has happened.
const POLL: Duration = Duration::from_millis(50);

/// All protocols, the core's first.
pub fn all() -> &'static [&'static dyn Protocol] {
    static ALL: LazyLock<Vec<&'static dyn Protocol>> = LazyLock::new(|| {
        let core: [&dyn Protocol; 2] = [&skip_record::SkipRecord, &cross_stream_projection::CrossStreamProjection];
        core.into_iter().chain(known_bad::ALL).collect()
    });
    &ALL
}

/// The protocol of that name.
pub fn find(name: &str) -> Option<&'static dyn Protocol> {
    all().iter().copied().find(|protocol| protocol.name() == name)
}

/// A scenario's stream ids, in the order in which its actors name them: their numbers in an observation.
pub fn streams(scenario: &Scenario) -> Vec<String> {
    let mut streams: Vec<String> = Vec::new();
    for actor in &scenario.actors {
        if let Role::Appender { appends } = &actor.role {
            for append in appends {
                if !streams.contains(&append.stream) {
                    streams.push(append.stream.clone());
                }
            }
        }
    }
    streams
}

/// A scenario's actors, played by a protocol.
pub(crate) struct Actors {
    bound: Rc<dyn Bound>,
    roles: Vec<Rc<Role>>,
}

impl Actors {
    pub(crate) fn new(scenario: &Scenario, protocol: &dyn Protocol) -> Self {
        let roles = scenario.actors.iter().map(|actor| Rc::new(actor.role.clone())).collect();
        Self { bound: protocol.bind(scenario), roles }
    }
}

impl Cast for Actors {
    fn len(&self) -> usize {
        self.roles.len()
    }

    fn works(&self, actor: usize) -> bool {
        !matches!(*self.roles[actor], Role::Drainer { .. })
    }

    fn start(&self, actor: usize, context: ActorContext) -> Body {
        self.bound.clone().start(self.roles[actor].clone(), context)
    }
}
