//! Strategies make schedules; a schedule is data.

use crate::explore::schedule::Choice;

/// Picks what happens next. Lives across the runs of one worker; asked only with the choices that are there.
pub trait Strategy {
    /// A run begins; its seed decides everything that is random in it.
    fn begin_run(&mut self, seed: u64);

    /// Index into `ready`, which is never empty and always sorted. None: the schedule that is replayed does not fit here.
    fn choose(&mut self, ready: &[Choice]) -> Option<usize>;
}
