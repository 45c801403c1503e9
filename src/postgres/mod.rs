//! The port on tokio-postgres: [`PostgresSession`]. Nothing else in this package names that driver.

mod convert;
mod session;

pub use session::PostgresSession;
