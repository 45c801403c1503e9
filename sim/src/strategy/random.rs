//! Random walk: at each step every actor that can go on is as likely as any other.
//!
//! It is the plainest strategy there is, and blind to how deep a bug lies: a race that needs `d` particular switches among
//! `k` steps is found about once in `k^d` runs. What it finds, anybody understands.

use super::Strategy;
use crate::exec::seed::{Purpose, Stream, scale};
use crate::explore::schedule::{Act, Choice, Ready};

/// One step in so many of an actor that a fault could befall has the fault. With budgets of a few faults a run and some 40 steps,
/// this spreads them over the run's length.
const FAULT_ONE_IN: u64 = 12;

/// See the module.
#[derive(Clone, Debug)]
pub struct RandomWalk {
    random: Stream,
}

impl RandomWalk {
    /// A walk; each run's seed begins it anew.
    pub fn new() -> Self {
        Self { random: Stream::new(0, Purpose::Strategy) }
    }
}

impl Default for RandomWalk {
    fn default() -> Self {
        Self::new()
    }
}

impl Strategy for RandomWalk {
    fn begin_run(&mut self, seed: u64) {
        self.random = Stream::new(seed, Purpose::Strategy);
    }

    fn choose(&mut self, ready: &Ready) -> Option<Choice> {
        let actor = pick(self.random.bits(), ready.steps);
        let is_offered = |act| ready.contains(Choice { actor, act });
        let (lose, crash) = (is_offered(Act::LoseAnswer), is_offered(Act::Crash));
        let faults = u64::from(lose) + u64::from(crash);
        let drawn = if faults > 0 { self.random.below(FAULT_ONE_IN * faults) } else { faults };
        let act = match drawn {
            _ if drawn >= faults => Act::Step,
            0 if lose => Act::LoseAnswer,
            _ => Act::Crash,
        };
        Some(Choice { actor, act })
    }
}

/// One of `actors`, each of them equally likely.
fn pick(bits: u64, mut actors: u64) -> u8 {
    for _ in 0..scale(bits, actors.count_ones().into()) {
        // The lowest one is passed over.
        actors &= actors - 1;
    }
    u8::try_from(actors.trailing_zeros()).expect("at most 64 actors")
}
