//! Twice: about one run in a hundred is executed a second time, and must give the same history.
//!
//! A run is a function of its scenario and its schedule. If that ever fails (an unordered map, a clock, an address that reached a
//! decision), nothing found here can be replayed; so it is looked for all the time, and has an exit code of its own.

use crate::exec::seed::{Purpose, Stream};
use crate::explore::{RunEnd, RunResult};

/// One run in so many is executed twice.
const ONE_IN: u64 = 100;

/// Whether the run of `seed` is executed twice.
pub fn is_selected(seed: u64) -> bool {
    Stream::new(seed, Purpose::Options).below(ONE_IN) == 0
}

/// The first result, or the difference to the second as its end.
pub fn compare(mut first: RunResult, second: &RunResult) -> RunResult {
    let difference = if let Some(step) = first_difference(&first, second) {
        format!(
            "the same seed chose differently at step {step}: first {:?}, then {:?}",
            first.schedule.get(step),
            second.schedule.get(step)
        )
    } else if first.hash != second.hash {
        format!(
            "the same schedule of {} steps gave two histories: hash {:016x}, then {:016x}",
            first.schedule.len(),
            first.hash,
            second.hash
        )
    } else if first.end != second.end {
        format!("the same history ended in two ways: {:?}, then {:?}", first.end, second.end)
    } else {
        return first;
    };
    first.end = RunEnd::Nondeterministic(difference);
    first
}

fn first_difference(first: &RunResult, second: &RunResult) -> Option<usize> {
    let shared = first.schedule.iter().zip(&second.schedule).position(|(a, b)| a != b);
    shared.or_else(|| {
        (first.schedule.len() != second.schedule.len()).then(|| first.schedule.len().min(second.schedule.len()))
    })
}
