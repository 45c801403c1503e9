//! PostgreSQL's concurrency, in memory: SQL text in; rows, waits and errors out.

mod catalog;
mod compile;
mod error;
mod exec;
mod explain;
mod footprint;
mod function;
mod lock;
mod mvcc;
mod parse;
mod plan;
mod sequence;
mod server;
mod session;
mod settings;
mod types;

pub use error::{Error, FEATURE_NOT_SUPPORTED};
pub use server::{Answer, CommandTag, Outcome, Prepared, Rows, Server, SessionId, TableHandle};
pub use types::{Numeric, PgSnapshot, Scalar, Type, Value};
