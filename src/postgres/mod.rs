//! The port on tokio-postgres.
