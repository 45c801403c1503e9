//! Convergence: when everybody is done and nothing is in flight, a generation is live, it was told of every event, and no skip record is left.

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
    Ok(())
}
