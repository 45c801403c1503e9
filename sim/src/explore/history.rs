//! A history: what happened in a run, step by step. Kept in full only when somebody will read it; its hash always.

use skiptrace::{Answer, DbError, Statement, Value};

use super::schedule::Choice;

/// What happened in one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Its steps, in order.
    pub steps: Vec<StepRecord>,
}

/// One step.
#[derive(Clone, Debug)]
pub struct StepRecord {
    /// What was chosen.
    pub choice: Choice,
    /// What was sent, if the step sent something.
    pub sent: Option<(Statement, Vec<Value>)>,
    /// What became of it.
    pub effect: Effect,
    /// Statements of other actors that waited and were answered through this step, in the order in which they went on.
    pub woken: Vec<(u8, Result<Answer, DbError>)>,
    /// Milestones first reached here, by name.
    pub milestones: Vec<&'static str>,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The statement was answered.
    Answered(Result<Answer, DbError>),
    /// It was executed, its answer lost with the connection.
    AnswerLost,
    /// It waits, for the actors named.
    Waits(Vec<u8>),
    /// The statement has its snapshot; a later step goes on with it.
    HasSnapshot,
    /// A pause ended.
    PauseEnded,
    /// The actor crashed.
    Crashed,
    /// The actor started again after a crash.
    Restarted,
}

impl PartialEq for StepRecord {
    /// Statements are equal where their names and texts are.
    fn eq(&self, other: &Self) -> bool {
        let sent = |record: &Self| {
            record.sent.as_ref().map(|(s, params)| (s.name().to_owned(), s.sql().to_owned(), params.clone()))
        };
        self.choice == other.choice
            && sent(self) == sent(other)
            && self.effect == other.effect
            && self.woken == other.woken
            && self.milestones == other.milestones
    }
}
