//! What a statement errs with: PostgreSQL's SQLSTATE and primary message, or a refusal by name.

use std::fmt;

/// An error as PostgreSQL would answer it, or a refusal ([`Error::is_refusal`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// PostgreSQL's five characters.
    pub sqlstate: &'static str,
    /// PostgreSQL's primary message; for a refusal, the construct's name.
    pub message: String,
}

/// The code of a refusal: the model never guesses.
pub const FEATURE_NOT_SUPPORTED: &str = "0A000";

/// The code of a refusal of what is too much.
const LIMIT_EXCEEDED: &str = "54000";

/// How a refusal begins.
const REFUSAL: &str = "the model does not support";

/// How the refusal of a text begins that the parser cannot read.
pub(crate) const UNREADABLE: &str = "what its parser cannot read, or is no SQL:";

impl Error {
    /// An error with PostgreSQL's code and message.
    #[cold]
    #[inline(never)]
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into() }
    }

    /// The model does not know `construct` and says so.
    #[cold]
    pub fn refused(construct: impl fmt::Display) -> Self {
        Self::new(FEATURE_NOT_SUPPORTED, format!("{REFUSAL} {construct}"))
    }

    /// The model does not do so much, and says so: `program_limit_exceeded`.
    #[cold]
    pub(crate) fn too_much(what: impl fmt::Display) -> Self {
        Self::new(LIMIT_EXCEEDED, format!("{REFUSAL} {what}"))
    }

    /// The error of a statement in a failed transaction block.
    pub(crate) fn aborted() -> Self {
        Self::new("25P02", "current transaction is aborted, commands ignored until end of transaction block")
    }

    /// Whether PostgreSQL finds it before it looks at what names mean, or the model cannot say whether it does.
    pub(crate) fn is_of_grammar(&self) -> bool {
        let beginnings = ["syntax error", "unterminated", "LIMIT #,#", "subquery in FROM must", "VALUES in FROM must"];
        self.sqlstate == "42601" && beginnings.iter().any(|beginning| self.message.starts_with(beginning))
            || self.is_refusal() && self.message[REFUSAL.len() + 1..].starts_with(UNREADABLE)
    }

    /// Whether the model refused, where PostgreSQL might have gone on. PostgreSQL has errors of its own with these codes.
    pub fn is_refusal(&self) -> bool {
        matches!(self.sqlstate, FEATURE_NOT_SUPPORTED | LIMIT_EXCEEDED) && self.message.starts_with(REFUSAL)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.sqlstate)
    }
}

impl std::error::Error for Error {}
