//! Exactly once: no event is applied twice to a generation, nor applied and skipped.

use super::Ledger;
use crate::backend::Observation;

pub(super) fn check(_: &Observation, ledger: &Ledger) -> Result<(), String> {
    if let Some(twice) = ledger.twice {
        return Err(format!(
            "expected event {} of stream {} to be applied once; found it applied again, as apply {}",
            twice.version, twice.stream, twice.position
        ));
    }
    match ledger.applied.first_shared(&ledger.skipped) {
        None => Ok(()),
        Some((stream, version)) => {
            let (generation, _) = ledger.generation.expect("skip records are looked at by generation");
            Err(format!(
                "expected event {version} of stream {stream} to be applied or skipped in generation {generation}; found both"
            ))
        }
    }
}
