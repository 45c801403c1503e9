//! Functions and operators, resolved by name and argument types when a statement is compiled ([`signature`]), and what
//! the pure ones compute ([`call`]).

mod arithmetic;
mod array;
mod cast;
mod json;
pub(crate) mod signature;
mod text;

use crate::error::Error;
use crate::types::{Modifier, PgSnapshot, Scalar, Type, Value};

pub(crate) use arithmetic::Number;
pub(crate) use text::bounded as bounded_text;

/// A pure function or operator: its result follows from its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// `a + b`, and so on: the type that both sides and the result have.
    Add(Number),
    Subtract(Number),
    Multiply(Number),
    Divide(Number),
    Modulo(Number),
    Negate(Number),
    Abs(Number),
    /// `round(numeric, places)`
    Round,
    /// Text to a value of a type: its input function.
    Input(Type),
    /// `character(n)` as it is shown: with so many characters.
    Padded,
    /// A value of a type to text.
    Output(Type),
    /// An integer to a type that may be too narrow for it.
    Narrow(Scalar),
    IntToNumeric,
    NumericToInt(Scalar),
    IntToBool,
    BoolToInt,
    /// xid8 to xid: the low 32 bits.
    Xid8ToXid,
    /// Into what a type's modifier allows, whose numbers stand behind the value; `explicit`: by a cast.
    Fit {
        explicit: bool,
    },
    /// NULL where both are equal, else the first.
    NullIf,
    Greatest,
    Least,
    /// `text || text`
    Concat,
    /// `concat(..)`: NULLs are left out.
    ConcatAll,
    Lower,
    Upper,
    Length,
    OctetLength,
    Left,
    Right,
    Repeat,
    Replace,
    StrPos,
    StartsWith,
    SplitPart,
    Trim,
    TrimLeft,
    TrimRight,
    /// `text LIKE pattern`
    Like,
    /// `array || array`
    ArrayCat,
    ArrayAppend,
    ArrayPrepend,
    ArrayRemove,
    ArrayPosition,
    ArrayLength,
    Cardinality,
    /// `array @> array`
    ArrayContains,
    /// `array <@ array`
    ArrayContained,
    ArrayOverlaps,
    /// `array[n]`
    ArrayElement,
    /// `jsonb -> text`, `jsonb ->> text`
    JsonField {
        as_text: bool,
    },
    /// `jsonb -> integer`, `jsonb ->> integer`
    JsonElement {
        as_text: bool,
    },
    /// `jsonb #> text[]`, `jsonb #>> text[]`
    JsonPath {
        as_text: bool,
    },
    JsonContains,
    JsonContained,
    /// `jsonb ? text`
    JsonHasKey,
    /// `jsonb ?| text[]`, `jsonb ?& text[]`
    JsonHasKeys {
        all: bool,
    },
    /// `jsonb || jsonb`
    JsonConcat,
    /// `jsonb - text`
    JsonRemove,
    JsonTypeof,
    JsonArrayLength,
    /// `to_jsonb(value)`, of the type that it has
    ToJsonb(Type),
    /// Keys as text, values as jsonb, in turn.
    JsonbBuildObject,
    /// Values as jsonb.
    JsonbBuildArray,
    /// A value as a field of a record
    RecordField(Type),
    /// jsonb to a number or boolean
    FromJsonb(Scalar),
    SnapshotXmin,
    SnapshotXmax,
    /// `pg_visible_in_snapshot(xid8, pg_snapshot)`
    VisibleInSnapshot,
}

impl Function {
    /// Whether a NULL argument makes it NULL without a look at the others.
    pub(crate) fn is_strict(self) -> bool {
        !matches!(
            self,
            Self::NullIf
                | Self::Greatest
                | Self::Least
                | Self::ConcatAll
                | Self::RecordField(_)
                | Self::ArrayCat
                | Self::ArrayAppend
                | Self::ArrayPrepend
                | Self::ArrayRemove
                | Self::ArrayPosition
                | Self::JsonbBuildObject
                | Self::JsonbBuildArray
        )
    }

    /// Whether planning evaluates it where its arguments are constant. What hangs on settings or on other types' functions is only stable.
    /// Source: PostgreSQL, `src/include/catalog/pg_proc.dat`, `provolatile`.
    pub(crate) fn is_immutable(self) -> bool {
        let is_plain = |ty| !matches!(ty, Type::Array(_) | Type::Scalar(Scalar::Timestamptz | Scalar::Regclass));
        match self {
            Self::Input(ty) | Self::Output(ty) => is_plain(ty),
            Self::ConcatAll | Self::ToJsonb(_) | Self::JsonbBuildObject | Self::JsonbBuildArray => false,
            _ => true,
        }
    }
}

/// The value of a function.
pub(crate) fn call(function: Function, args: &[Value]) -> Result<Value, Error> {
    if function.is_strict() && args.iter().any(|arg| matches!(arg, Value::Null)) {
        return Ok(Value::Null);
    }
    match function {
        Function::Add(..)
        | Function::Subtract(..)
        | Function::Multiply(..)
        | Function::Divide(..)
        | Function::Modulo(..)
        | Function::Negate(..)
        | Function::Abs(..)
        | Function::Round => arithmetic::call(function, args),
        Function::Input(..)
        | Function::Output(..)
        | Function::RecordField(..)
        | Function::Narrow(..)
        | Function::IntToNumeric
        | Function::NumericToInt(..)
        | Function::IntToBool
        | Function::BoolToInt
        | Function::Xid8ToXid => cast::call(function, &args[0]),
        Function::Fit { explicit } => Modifier::of_numbers(&args[1..]).fit(&args[0], explicit),
        Function::NullIf if crate::types::compare(&args[0], &args[1]).is_eq() => Ok(Value::Null),
        Function::NullIf => Ok(args[0].clone()),
        Function::Greatest => {
            // The first of equals, which may be printed differently, as 1.5 and 1.50.
            let greater = |a, b| if crate::types::compare(a, b).is_lt() { b } else { a };
            Ok(present(args).reduce(greater).cloned().unwrap_or(Value::Null))
        }
        Function::Least => Ok(present(args).min_by(|a, b| crate::types::compare(a, b)).cloned().unwrap_or(Value::Null)),
        Function::SnapshotXmin | Function::SnapshotXmax | Function::VisibleInSnapshot => Ok(snapshot(function, args)),
        Function::JsonField { .. }
        | Function::JsonElement { .. }
        | Function::JsonPath { .. }
        | Function::JsonContains
        | Function::JsonContained
        | Function::JsonHasKey
        | Function::JsonHasKeys { .. }
        | Function::JsonConcat
        | Function::JsonRemove
        | Function::JsonTypeof
        | Function::JsonArrayLength
        | Function::ToJsonb(..)
        | Function::JsonbBuildObject
        | Function::JsonbBuildArray
        | Function::FromJsonb(..) => json::call(function, args),
        Function::ArrayCat
        | Function::ArrayAppend
        | Function::ArrayPrepend
        | Function::ArrayRemove
        | Function::ArrayPosition
        | Function::ArrayLength
        | Function::Cardinality
        | Function::ArrayContains
        | Function::ArrayContained
        | Function::ArrayOverlaps
        | Function::ArrayElement => Ok(array::call(function, args)),
        _ => text::call(function, args),
    }
}

/// The value of a function that is called again and again, without copies of its arguments; none: see [`call`].
pub(crate) fn call_at_once(function: Function, left: &Value, right: &Value) -> Option<Result<Value, Error>> {
    match (function, left, right) {
        (Function::Add(_) | Function::Subtract(_), Value::Int(left), Value::Int(right)) => {
            Some(arithmetic::integers(function, *left, *right))
        }
        (Function::VisibleInSnapshot, Value::Int(xid), Value::Snapshot(snapshot)) => {
            Some(Ok(Value::Bool(is_visible(*xid, snapshot))))
        }
        _ => None,
    }
}

fn is_visible(xid: i64, snapshot: &PgSnapshot) -> bool {
    let xid = u64::try_from(xid).unwrap_or(0);
    xid < snapshot.xmin || xid < snapshot.xmax && snapshot.xip.binary_search(&xid).is_err()
}

/// `sum`, one step: integers add up as bigint does, and a sum that leaves it is refused, for PostgreSQL goes on in numeric.
pub(crate) fn add(left: &Value, right: &Value) -> Result<Value, Error> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => {
            left.checked_add(*right).map(Value::Int).ok_or_else(|| Error::new("22003", "bigint out of range"))
        }
        _ => arithmetic::call(Function::Add(Number::Numeric), &[left.clone(), right.clone()]),
    }
}

fn present(args: &[Value]) -> impl Iterator<Item = &Value> {
    args.iter().filter(|arg| !matches!(arg, Value::Null))
}

fn snapshot(function: Function, args: &[Value]) -> Value {
    match (function, args) {
        (Function::SnapshotXmin, [Value::Snapshot(snapshot)]) => Value::Int(xid(snapshot.xmin)),
        (Function::SnapshotXmax, [Value::Snapshot(snapshot)]) => Value::Int(xid(snapshot.xmax)),
        (Function::VisibleInSnapshot, [Value::Int(xid), Value::Snapshot(snapshot)]) => {
            Value::Bool(is_visible(*xid, snapshot))
        }
        _ => unreachable_types(function, args),
    }
}

fn xid(xid: u64) -> i64 {
    i64::try_from(xid).expect("transaction ids are given from 3 on, one by one")
}

/// Compiling has given each function arguments of its types.
fn unreachable_types(function: Function, args: &[Value]) -> ! {
    panic!("{function:?} was compiled for other types than it is called with: {args:?}")
}

/// A function that reads or changes the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerFunction {
    /// `pg_sleep`, of a number of seconds as numeric
    Sleep,
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
    /// `pg_advisory_unlock_all()`
    AdvisoryUnlockAll,
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
    /// `setval('sequence', value [, is_called])`
    SetVal,
    /// `lastval()`
    LastVal,
    /// `regclass::text`: the relation's name, with its schema unless that is `public`
    RelationName,
    /// `pg_notify(channel, payload)`
    Notify,
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
    /// Of values as jsonb.
    JsonbAgg,
    /// Of keys as text, and values as jsonb.
    JsonbObjectAgg,
    /// Of numbers as numeric.
    Avg,
}
