//! No phantom: each skip record, of whatever generation, and each apply names a committed event.

use super::Ledger;
use crate::backend::Observation;

pub(super) fn check(observation: &Observation, ledger: &Ledger) -> Result<(), String> {
    for skip in &observation.skips {
        if !ledger.events.contains(skip.stream, skip.version) {
            return Err(format!(
                "expected a committed event {} of stream {}, since a skip record of generation {} names it; found none",
                skip.version, skip.stream, skip.generation
            ));
        }
    }
    for applied in &observation.applied {
        if !ledger.events.contains(applied.stream, applied.version) {
            return Err(format!(
                "expected a committed event {} of stream {}, since the read model was told of it; found none",
                applied.version, applied.stream
            ));
        }
    }
    Ok(())
}
