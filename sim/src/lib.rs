//! The harness that verifies skiptrace: seeded schedules on a model of PostgreSQL, and on a real one.

pub mod backend;
pub mod exit;
pub mod explore;
pub mod scenario;
pub mod strategy;
