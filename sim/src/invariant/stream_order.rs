//! Stream order: a generation is told of each stream's events in the order of their versions.

use super::Ledger;
use crate::backend::Observation;

pub(super) fn check(_: &Observation, ledger: &Ledger) -> Result<(), String> {
    match ledger.late {
        None => Ok(()),
        Some((event, later)) => Err(format!(
            "expected event {} of stream {} to be applied before event {later}; found it after, as apply {}",
            event.version, event.stream, event.position
        )),
    }
}
