//! The statements of setting up.

use crate::statements::Text;

/// Two processes that migrate at once take turns. The key says nothing; it is only unlikely to be somebody else's.
pub(crate) const LOCK: Text = ("schema.lock", "SELECT pg_advisory_xact_lock(7598239847112983)");

pub(crate) const CREATE_SCHEMA: Text = ("schema.create", "CREATE SCHEMA IF NOT EXISTS {schema}");

pub(crate) const CREATE_MIGRATIONS: Text = (
    "schema.create_migrations",
    "CREATE TABLE IF NOT EXISTS {schema}.migrations (
        number bigint PRIMARY KEY,
        name text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )",
);

pub(crate) const READ_MIGRATIONS: Text =
    ("schema.read_migrations", "SELECT number FROM {schema}.migrations ORDER BY number");

pub(crate) const RECORD_MIGRATION: Text =
    ("schema.record_migration", "INSERT INTO {schema}.migrations (number, name) VALUES ($1, $2)");

pub(crate) const IN_RECOVERY: Text = ("schema.in_recovery", "SELECT pg_is_in_recovery()");

/// A row where the sequence behind the positions hands out numbers in advance.
pub(crate) const SEQUENCE_CACHE: Text = (
    "schema.sequence_cache",
    "SELECT seqrelid::regclass::text, seqcache FROM pg_sequence
     WHERE seqrelid = pg_get_serial_sequence('{schema_in_literal}.events', 'position')::regclass AND seqcache > 1",
);
