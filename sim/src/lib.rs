//! The harness that verifies skiptrace: seeded schedules on a model of PostgreSQL, and on a real one.

pub mod backend;
pub mod cli;
pub mod exec;
pub mod exit;
pub mod explore;
mod fault;
pub mod invariant;
pub mod protocol;
pub mod report;
pub mod scenario;
pub mod spec;
pub mod strategy;
