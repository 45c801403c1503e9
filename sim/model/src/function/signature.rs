//! Which function a name and its arguments' types mean.
//!
//! Source: PostgreSQL's manual, section 10.3, for functions that are not polymorphic; those are resolved where they are compiled.

use super::{AggregateFunction, Function, Number, ServerFunction};
use crate::error::Error;
use crate::types::{Scalar, Type, text};

/// What a signature leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Callee {
    Pure(Function),
    Server(ServerFunction),
    Aggregate(AggregateFunction),
}

/// A function with the types of its arguments and of its result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signature {
    name: &'static str,
    pub(crate) args: &'static [Type],
    pub(crate) result: Type,
    pub(crate) callee: Callee,
}

const BOOL: Type = Type::Scalar(Scalar::Bool);
const INT2: Type = Type::Scalar(Scalar::Int2);
const INT4: Type = Type::Scalar(Scalar::Int4);
const INT8: Type = Type::Scalar(Scalar::Int8);
const NUMERIC: Type = Type::Scalar(Scalar::Numeric);
const TEXT: Type = Type::Scalar(Scalar::Text);
const JSONB: Type = Type::Scalar(Scalar::Jsonb);
const TIMESTAMPTZ: Type = Type::Scalar(Scalar::Timestamptz);
const XID8: Type = Type::Scalar(Scalar::Xid8);
const REGCLASS: Type = Type::Scalar(Scalar::Regclass);
const SNAPSHOT: Type = Type::Scalar(Scalar::Snapshot);
const VOID: Type = Type::Scalar(Scalar::Void);

const fn pure(name: &'static str, args: &'static [Type], result: Type, function: Function) -> Signature {
    Signature { name, args, result, callee: Callee::Pure(function) }
}

const fn server(name: &'static str, args: &'static [Type], result: Type, function: ServerFunction) -> Signature {
    Signature { name, args, result, callee: Callee::Server(function) }
}

const fn aggregate(name: &'static str, args: &'static [Type], result: Type, function: AggregateFunction) -> Signature {
    Signature { name, args, result, callee: Callee::Aggregate(function) }
}

const fn advisory(name: &'static str, args: &'static [Type], shared: bool, transaction: bool, wait: bool) -> Signature {
    let result = if wait { VOID } else { BOOL };
    server(name, args, result, ServerFunction::AdvisoryLock { shared, transaction, wait })
}

const ONE_KEY: &[Type] = &[INT8];
const TWO_KEYS: &[Type] = &[INT4, INT4];

const SIGNATURES: &[Signature] = &[
    pure("abs", &[INT2], INT2, Function::Abs(Number::Int2)),
    pure("abs", &[INT4], INT4, Function::Abs(Number::Int4)),
    pure("abs", &[INT8], INT8, Function::Abs(Number::Int8)),
    pure("abs", &[NUMERIC], NUMERIC, Function::Abs(Number::Numeric)),
    pure("mod", &[INT2, INT2], INT2, Function::Modulo(Number::Int2)),
    pure("mod", &[INT4, INT4], INT4, Function::Modulo(Number::Int4)),
    pure("mod", &[INT8, INT8], INT8, Function::Modulo(Number::Int8)),
    pure("mod", &[NUMERIC, NUMERIC], NUMERIC, Function::Modulo(Number::Numeric)),
    pure("round", &[NUMERIC, INT4], NUMERIC, Function::Round),
    pure("lower", &[TEXT], TEXT, Function::Lower),
    pure("upper", &[TEXT], TEXT, Function::Upper),
    pure("length", &[TEXT], INT4, Function::Length),
    pure("char_length", &[TEXT], INT4, Function::Length),
    pure("character_length", &[TEXT], INT4, Function::Length),
    pure("octet_length", &[TEXT], INT4, Function::OctetLength),
    pure("left", &[TEXT, INT4], TEXT, Function::Left),
    pure("right", &[TEXT, INT4], TEXT, Function::Right),
    pure("repeat", &[TEXT, INT4], TEXT, Function::Repeat),
    pure("replace", &[TEXT, TEXT, TEXT], TEXT, Function::Replace),
    pure("strpos", &[TEXT, TEXT], INT4, Function::StrPos),
    pure("starts_with", &[TEXT, TEXT], BOOL, Function::StartsWith),
    pure("split_part", &[TEXT, TEXT, INT4], TEXT, Function::SplitPart),
    pure("btrim", &[TEXT], TEXT, Function::Trim),
    pure("ltrim", &[TEXT], TEXT, Function::TrimLeft),
    pure("rtrim", &[TEXT], TEXT, Function::TrimRight),
    pure("jsonb_typeof", &[JSONB], TEXT, Function::JsonTypeof),
    pure("jsonb_array_length", &[JSONB], INT4, Function::JsonArrayLength),
    pure("pg_snapshot_xmin", &[SNAPSHOT], XID8, Function::SnapshotXmin),
    pure("pg_snapshot_xmax", &[SNAPSHOT], XID8, Function::SnapshotXmax),
    pure("pg_visible_in_snapshot", &[XID8, SNAPSHOT], BOOL, Function::VisibleInSnapshot),
    server("pg_current_xact_id", &[], XID8, ServerFunction::CurrentXactId),
    server("pg_current_xact_id_if_assigned", &[], XID8, ServerFunction::CurrentXactIdIfAssigned),
    server("pg_current_snapshot", &[], SNAPSHOT, ServerFunction::CurrentSnapshot),
    advisory("pg_advisory_lock", ONE_KEY, false, false, true),
    advisory("pg_advisory_lock", TWO_KEYS, false, false, true),
    advisory("pg_advisory_lock_shared", ONE_KEY, true, false, true),
    advisory("pg_advisory_lock_shared", TWO_KEYS, true, false, true),
    advisory("pg_advisory_xact_lock", ONE_KEY, false, true, true),
    advisory("pg_advisory_xact_lock", TWO_KEYS, false, true, true),
    advisory("pg_advisory_xact_lock_shared", ONE_KEY, true, true, true),
    advisory("pg_advisory_xact_lock_shared", TWO_KEYS, true, true, true),
    advisory("pg_try_advisory_lock", ONE_KEY, false, false, false),
    advisory("pg_try_advisory_lock", TWO_KEYS, false, false, false),
    advisory("pg_try_advisory_lock_shared", ONE_KEY, true, false, false),
    advisory("pg_try_advisory_lock_shared", TWO_KEYS, true, false, false),
    advisory("pg_try_advisory_xact_lock", ONE_KEY, false, true, false),
    advisory("pg_try_advisory_xact_lock", TWO_KEYS, false, true, false),
    advisory("pg_try_advisory_xact_lock_shared", ONE_KEY, true, true, false),
    advisory("pg_try_advisory_xact_lock_shared", TWO_KEYS, true, true, false),
    server("pg_advisory_unlock", ONE_KEY, BOOL, ServerFunction::AdvisoryUnlock { shared: false }),
    server("pg_advisory_unlock", TWO_KEYS, BOOL, ServerFunction::AdvisoryUnlock { shared: false }),
    server("pg_advisory_unlock_shared", ONE_KEY, BOOL, ServerFunction::AdvisoryUnlock { shared: true }),
    server("pg_advisory_unlock_shared", TWO_KEYS, BOOL, ServerFunction::AdvisoryUnlock { shared: true }),
    server("pg_advisory_unlock_all", &[], VOID, ServerFunction::AdvisoryUnlockAll),
    server("pg_notify", &[TEXT, TEXT], VOID, ServerFunction::Notify),
    server("now", &[], TIMESTAMPTZ, ServerFunction::Now),
    server("transaction_timestamp", &[], TIMESTAMPTZ, ServerFunction::Now),
    server("clock_timestamp", &[], TIMESTAMPTZ, ServerFunction::ClockTimestamp),
    server("statement_timestamp", &[], TIMESTAMPTZ, ServerFunction::ClockTimestamp),
    server("set_config", &[TEXT, TEXT, BOOL], TEXT, ServerFunction::SetConfig),
    server("current_setting", &[TEXT], TEXT, ServerFunction::CurrentSetting),
    server("current_setting", &[TEXT, BOOL], TEXT, ServerFunction::CurrentSetting),
    server("pg_backend_pid", &[], INT4, ServerFunction::BackendPid),
    server("currval", &[REGCLASS], INT8, ServerFunction::CurrVal),
    server("nextval", &[REGCLASS], INT8, ServerFunction::NextValByName),
    server("setval", &[REGCLASS, INT8], INT8, ServerFunction::SetVal),
    server("setval", &[REGCLASS, INT8, BOOL], INT8, ServerFunction::SetVal),
    server("lastval", &[], INT8, ServerFunction::LastVal),
    server("txid_current", &[], INT8, ServerFunction::CurrentXactId),
    server("txid_current_if_assigned", &[], INT8, ServerFunction::CurrentXactIdIfAssigned),
    // In PostgreSQL of a `double precision`, which is not modelled: see where calls are compiled.
    server("pg_sleep", &[NUMERIC], VOID, ServerFunction::Sleep),
    server("pg_is_in_recovery", &[], BOOL, ServerFunction::IsInRecovery),
    server("current_database", &[], TEXT, ServerFunction::CurrentDatabase),
    aggregate("sum", &[INT2], INT8, AggregateFunction::Sum),
    aggregate("sum", &[INT4], INT8, AggregateFunction::Sum),
    aggregate("sum", &[INT8], NUMERIC, AggregateFunction::Sum),
    aggregate("sum", &[NUMERIC], NUMERIC, AggregateFunction::Sum),
    aggregate("avg", &[INT2], NUMERIC, AggregateFunction::Avg),
    aggregate("avg", &[INT4], NUMERIC, AggregateFunction::Avg),
    aggregate("avg", &[INT8], NUMERIC, AggregateFunction::Avg),
    aggregate("avg", &[NUMERIC], NUMERIC, AggregateFunction::Avg),
    aggregate("bool_and", &[BOOL], BOOL, AggregateFunction::BoolAnd),
    aggregate("every", &[BOOL], BOOL, AggregateFunction::BoolAnd),
    aggregate("bool_or", &[BOOL], BOOL, AggregateFunction::BoolOr),
    aggregate("string_agg", &[TEXT, TEXT], TEXT, AggregateFunction::StringAgg),
];

/// Whether PostgreSQL casts `from` to `to` without being asked.
pub(crate) fn casts_implicitly(from: Type, to: Type) -> bool {
    let (Type::Scalar(from_scalar), Type::Scalar(to_scalar)) = (from, to) else {
        return from == to || from == Type::Scalar(Scalar::Unknown);
    };
    let integer = |scalar| matches!(scalar, Scalar::Int2 | Scalar::Int4 | Scalar::Int8);
    from == to
        || from_scalar == Scalar::Unknown
        || matches!((Number::of(from_scalar), Number::of(to_scalar)), (Some(from), Some(to)) if from < to)
        || from_scalar == Scalar::Text && to_scalar == Scalar::Regclass
        || from_scalar == Scalar::Char && to_scalar == Scalar::Text
        || integer(from_scalar) && matches!(to_scalar, Scalar::Oid | Scalar::Regclass)
        || matches!((from_scalar, to_scalar), (Scalar::Oid, Scalar::Regclass) | (Scalar::Regclass, Scalar::Oid))
}

/// The function that `name` with arguments of these types means.
pub(crate) fn resolve(name: &str, args: &[Type]) -> Result<&'static Signature, Error> {
    let named = || SIGNATURES.iter().filter(|signature| signature.name == name);
    let fits = |signature: &&Signature| {
        signature.args.len() == args.len()
            && args.iter().zip(signature.args).all(|(from, to)| casts_implicitly(*from, *to))
    };
    let exact = |signature: &&Signature| args.iter().zip(signature.args).filter(|(from, to)| from == to).count();
    let fitting: Vec<&'static Signature> = named().filter(fits).collect();
    let best = fitting.iter().map(exact).max().unwrap_or(0);
    let mut best: Vec<_> = fitting.into_iter().filter(|signature| exact(signature) == best).collect();
    if best.len() > 1 {
        // Unknown arguments: text is preferred; among numbers an integer literal's own type has been matched exactly.
        let texts = |signature: &&'static Signature| signature.args.iter().filter(|ty| **ty == TEXT).count();
        let most = best.iter().map(texts).max().unwrap_or(0);
        best.retain(|signature| texts(signature) == most);
    }
    match best.as_slice() {
        [one] => Ok(one),
        [] => Err(undefined(name, args)),
        [_, ..] => {
            // Its `double precision`, which PostgreSQL prefers, is not modelled.
            if name == "abs" {
                return Err(Error::refused("abs of an untyped literal"));
            }
            let message = format!("function {} is not unique", call_text(name, args));
            Err(Error::new("42725", message))
        }
    }
}

/// PostgreSQL's error for a function that does not exist with these arguments. It also says so of what it has and the model
/// does not know: then the model refuses.
pub(crate) fn undefined(name: &str, args: &[Type]) -> Error {
    // Of these PostgreSQL has more.
    let partial = name == "round";
    if !partial && SIGNATURES.iter().any(|signature| signature.name == name) {
        return Error::new("42883", format!("function {} does not exist", call_text(name, args)));
    }
    Error::refused(format!("the function {}", call_text(name, args)))
}

fn call_text(name: &str, args: &[Type]) -> String {
    let args: Vec<String> = args.iter().map(|ty| text::type_name(*ty)).collect();
    format!("{name}({})", args.join(", "))
}
