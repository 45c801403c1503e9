//! Exit codes: the kind of the outcome.

/// What a command ended with; the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// All as expected.
    Expected = 0,
    /// An invariant was violated (or, where a violation was expected, none was found); `status --check`: a bound was passed.
    Violated = 1,
    /// The command line, a scenario or a schedule file is wrong.
    Usage = 2,
    /// A run made no progress.
    Stuck = 3,
    /// A milestone was never reached: what was verified was not what the scenario is about.
    Vacuous = 4,
    /// The environment failed: no server, a server that died, a file that cannot be written.
    Environment = 5,
    /// The same schedule gave two histories.
    Nondeterminism = 6,
    /// The model refused a statement (0A000).
    Refused = 7,
}
