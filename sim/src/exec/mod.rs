//! The deterministic executor: actors are futures over the port, and one statement is one step.
//!
//! An actor posts a request in its lane and is pending; the executor answers it when the schedule says so. There is one
//! thread, no clock and no waker: what an actor can wait for is an answer, the end of a pause, or the end of the others' work.

pub(crate) mod executor;
pub(crate) mod lane;
pub mod seed;
mod session;
#[cfg(test)]
mod tests;

pub use executor::{Body, Cast, Executor};
pub use session::{ActorContext, SimSession};
