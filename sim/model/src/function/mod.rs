//! Functions and operators, resolved by name and argument types when a statement is compiled.

/// A pure function or operator: its result follows from its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {}

/// A function that reads or changes the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerFunction {
    /// `pg_current_xact_id()`: assigns one where there is none
    CurrentXactId,
    /// `pg_current_xact_id_if_assigned()`
    CurrentXactIdIfAssigned,
    /// `pg_current_snapshot()`: the statement's own
    CurrentSnapshot,
    /// `pg_advisory_lock` and its seven kin
    AdvisoryLock { shared: bool, transaction: bool, wait: bool },
    /// `pg_advisory_unlock`, `pg_advisory_unlock_shared`
    AdvisoryUnlock { shared: bool },
    /// `now()`, `transaction_timestamp()`: when the transaction began
    Now,
    /// `clock_timestamp()`, `statement_timestamp()`: the virtual clock
    ClockTimestamp,
    /// `set_config(name, value, is_local)`
    SetConfig,
    /// `current_setting(name [, missing_ok])`
    CurrentSetting,
    /// `pg_backend_pid()`
    BackendPid,
    /// `currval('sequence')`
    CurrVal,
    /// `nextval('sequence')` by name
    NextValByName,
    /// `pg_is_in_recovery()`
    IsInRecovery,
    /// `current_database()`
    CurrentDatabase,
}

/// A function in FROM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableFunction {
    /// `unnest(array, ..)`: one column an array, the shorter ones filled with NULL
    Unnest,
    /// `generate_series(from, to [, step])`
    GenerateSeries,
    /// `pg_snapshot_xip(snapshot)`
    SnapshotXip,
}

/// Aggregates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AggregateFunction {
    Count,
    Sum,
    Min,
    Max,
    BoolAnd,
    BoolOr,
    ArrayAgg,
    StringAgg,
}
