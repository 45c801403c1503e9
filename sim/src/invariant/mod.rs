//! Invariants: what the core promises, checked on every committed state.
//!
//! One file a promise. A check reads an [`Observation`] and the [`Ledger`] that was made of it; where all is well it allocates nothing,
//! and where it is not, it says what was expected and what was found.

mod convergence;
mod exactly_once;
mod ledger;
mod no_loss;
mod no_phantom;
mod stream_order;
#[cfg(test)]
mod tests;

pub use ledger::Ledger;

use crate::backend::Observation;

/// A promise.
#[derive(Clone, Copy, Debug)]
pub struct Invariant {
    /// Its name in scenarios and reports.
    pub name: &'static str,
    /// One line: what it says.
    pub summary: &'static str,
    /// When it is asked.
    pub when: When,
    check: fn(&Observation, &Ledger) -> Result<(), String>,
}

/// When an invariant is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In every committed state.
    Always,
    /// When everybody is done and the faults are over.
    Eventually,
}

const ALL: &[Invariant] = &[
    Invariant {
        name: "no_loss",
        summary: "in a live generation each committed event is applied or has a skip record",
        when: When::Always,
        check: no_loss::check,
    },
    Invariant {
        name: "no_phantom",
        summary: "each skip record and each apply names a committed event",
        when: When::Always,
        check: no_phantom::check,
    },
    Invariant {
        name: "exactly_once",
        summary: "no event is applied twice to a generation, nor both applied and skipped",
        when: When::Always,
        check: exactly_once::check,
    },
    Invariant {
        name: "stream_order",
        summary: "each stream's events are applied in the order of their versions",
        when: When::Always,
        check: stream_order::check,
    },
    Invariant {
        name: "convergence",
        summary: "when all is done, a live read model equals its log, and no skip record is left",
        when: When::Eventually,
        check: convergence::check,
    },
];

/// All invariants, in the order in which they are asked.
pub fn all() -> &'static [Invariant] {
    ALL
}

/// The first invariant of its kind that `observation` violates: its name, and what was expected and found.
pub(crate) fn check(when: When, observation: &Observation, ledger: &Ledger) -> Result<(), (&'static str, String)> {
    for invariant in ALL {
        if invariant.when == when {
            (invariant.check)(observation, ledger).map_err(|message| (invariant.name, message))?;
        }
    }
    Ok(())
}
