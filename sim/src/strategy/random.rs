//! Random walk: at each step every actor that can go on is as likely as any other.
//!
//! It is the plainest strategy there is, and blind to how deep a bug lies: a race that needs `d` particular switches among
//! `k` steps is found about once in `k^d` runs. What it finds, anybody understands.

use super::Strategy;
use crate::exec::seed::{Purpose, Stream, scale};
use crate::explore::schedule::{Act, Choice};

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

    fn choose(&mut self, ready: &[Choice]) -> Option<usize> {
        let bits = self.random.bits();
        let steps = ready.iter().filter(|choice| choice.act == Act::Step).count();
        if steps == ready.len() {
            return Some(pick(bits, ready.len()));
        }
        // A fault is only offered beside its actor's step, so there is one.
        let wanted = pick(bits, steps);
        let (at, choice) = ready.iter().enumerate().filter(|(_, c)| c.act == Act::Step).nth(wanted)?;
        let faults = ready[at + 1..].iter().take_while(|fault| fault.actor == choice.actor).count();
        if faults > 0 {
            let drawn = self.random.below(FAULT_ONE_IN * faults as u64);
            if drawn < faults as u64 {
                return Some(at + 1 + usize::try_from(drawn).expect("a handful"));
            }
        }
        Some(at)
    }
}

fn pick(bits: u64, len: usize) -> usize {
    usize::try_from(scale(bits, len as u64)).expect("below len")
}
