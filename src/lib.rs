//! An event store core on PostgreSQL that rebuilds inline projections without losing an event.

mod error;
#[cfg(feature = "postgres")]
pub mod postgres;
mod session;
mod sqlstate;

pub use error::DbError;
pub use session::{Answer, Call, Row, Session, Statement, Tag, Value};
pub use sqlstate::SqlState;
