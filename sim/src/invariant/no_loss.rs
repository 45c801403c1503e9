//! No loss: in every committed state each committed event is, in the live generation, applied or has a skip record.
//!
//! A building generation may still owe events: its rebuild has not ended. What it owes in the end is judged at its cutover, which makes it live.

use super::Ledger;
use crate::backend::Observation;

pub(super) fn check(_: &Observation, ledger: &Ledger) -> Result<(), String> {
    let Some((generation, true)) = ledger.generation else { return Ok(()) };
    match ledger.events.first_outside(&ledger.applied, &ledger.skipped) {
        None => Ok(()),
        Some((stream, version)) => Err(format!(
            "expected event {version} of stream {stream} to be applied to generation {generation}, which is live, or to have a skip \
             record there; found neither"
        )),
    }
}
