//! A schedule is data: the list of choices that, with its scenario, makes a run.

/// One choice: which actor goes on, and what befalls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Choice {
    /// Index into the scenario's actors.
    pub actor: u8,
    /// What happens.
    pub act: Act,
}

/// What can happen to an actor at a scheduling point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// The statement that it has ready is sent; or its pause ends; or, after a crash, it starts again.
    Step,
    /// Its statement (a COMMIT) is executed, its connection breaks, and its answer is lost.
    LoseAnswer,
    /// It dies: its connection breaks, its open transaction is rolled back, its memory is gone. Step starts it again.
    Crash,
}
