//! Convergence: when everybody is done and nothing is in flight, a generation is live, it was told of every event, and no skip record is left.
//!
//! A read model that its applies make in any order of the streams equals a fold over the log then, each stream's own order being the
//! business of another invariant. One that shows in which order it was told of different streams' events must have been told of
//! them by position.

use super::Ledger;
use crate::backend::Observation;

pub(super) fn check(observation: &Observation, ledger: &Ledger) -> Result<(), String> {
    let Some((generation, true)) = ledger.generation else {
        return Err(format!(
            "expected a live generation when everybody is done; found generations {:?}",
            observation.generations
        ));
    };
    if let Some(skip) = observation.skips.first() {
        return Err(format!(
            "expected no skip record when everybody is done; found {}, the first of event {} of stream {} in generation {}",
            observation.skips.len(),
            skip.version,
            skip.stream,
            skip.generation
        ));
    }
    if let Some((stream, version)) = ledger.events.first_outside(&ledger.applied, &ledger.applied) {
        return Err(format!(
            "expected generation {generation} to have been told of event {version} of stream {stream}; it was not"
        ));
    }
    if ledger.shows_order { equals_fold(observation) } else { Ok(()) }
}

/// Whether the applies came in the order of positions.
fn equals_fold(observation: &Observation) -> Result<(), String> {
    for (number, (event, applied)) in (1..).zip(observation.events.iter().zip(&observation.applied)) {
        if (event.stream, event.version) != (applied.stream, applied.version) {
            return Err(format!(
                "expected the read model to equal a fold over the log, whose event number {number} is event {} of stream {}; \
                 found that it was told of event {} of stream {} there",
                event.version, event.stream, applied.version, applied.stream
            ));
        }
    }
    Ok(())
}
