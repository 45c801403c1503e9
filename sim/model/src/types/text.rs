//! Types' input and output functions: text to value and back, as PostgreSQL reads and prints them.

use std::sync::Arc;

use super::timestamp;
use super::{PgSnapshot, Scalar, Type, Value, json, numeric};
use crate::error::Error;

/// The type's name as PostgreSQL's messages and `format_type` have it.
pub(crate) fn type_name(ty: Type) -> String {
    match ty {
        Type::Scalar(scalar) => scalar_name(scalar).to_owned(),
        Type::Array(scalar) => format!("{}[]", scalar_name(scalar)),
    }
}

pub(crate) fn scalar_name(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Bool => "boolean",
        Scalar::Int2 => "smallint",
        Scalar::Int4 => "integer",
        Scalar::Int8 => "bigint",
        Scalar::Numeric => "numeric",
        Scalar::Text => "text",
        Scalar::Char => "character",
        Scalar::Jsonb => "jsonb",
        Scalar::Timestamptz => "timestamp with time zone",
        Scalar::Xid => "xid",
        Scalar::Xid8 => "xid8",
        Scalar::Oid => "oid",
        Scalar::Regclass => "regclass",
        Scalar::Snapshot => "pg_snapshot",
        Scalar::Record => "record",
        Scalar::Void => "void",
        Scalar::Unknown => "unknown",
    }
}

/// A name as SQL needs it: in quotes where it is not plain. Source: PostgreSQL, ruleutils.c, `quote_identifier`; reserved words are
/// not known here.
pub(crate) fn quote_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Output: what `value::text` gives and psql prints. NULL has no text.
pub(crate) fn print(value: &Value, ty: Type) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        // The cast to text spells it out; the output function, which arrays use, does not.
        Value::Bool(value) => if *value { "t" } else { "f" }.to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Numeric(value) => numeric::print(**value),
        Value::Text(text) => text.to_string(),
        Value::Json(value) => json::print(value),
        Value::Timestamp(micros) => timestamp::print(*micros),
        Value::Snapshot(snapshot) => {
            let xip: Vec<String> = snapshot.xip.iter().map(u64::to_string).collect();
            format!("{}:{}:{}", snapshot.xmin, snapshot.xmax, xip.join(","))
        }
        Value::Array(items) => print_array(items, ty),
        Value::Void => String::new(),
    })
}

fn print_array(items: &[Value], ty: Type) -> String {
    let (Type::Array(element) | Type::Scalar(element)) = ty;
    let items: Vec<String> = items
        .iter()
        .map(|item| print(item, Type::Scalar(element)).map_or_else(|| "NULL".to_owned(), |text| quote_element(&text)))
        .collect();
    format!("{{{}}}", items.join(","))
}

/// Source: PostgreSQL, src/backend/utils/adt/arrayfuncs.c, `array_out`.
fn quote_element(text: &str) -> String {
    let special = |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || is_space(c);
    if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(special) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

/// A field of a record, as the record prints it. Source: PostgreSQL, src/backend/utils/adt/rowtypes.c, `record_out`.
pub(crate) fn record_field(value: &Value, ty: Type) -> String {
    let Some(text) = print(value, ty) else { return String::new() };
    let special = |c: char| matches!(c, '"' | '\\' | '(' | ')' | ',') || is_space(c);
    if !text.is_empty() && !text.contains(special) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""))
}

/// Input: what `'text'::type` gives.
pub(crate) fn parse(text: &str, ty: Type) -> Result<Value, Error> {
    match ty {
        Type::Scalar(scalar) => parse_scalar(text, scalar),
        Type::Array(element) => parse_array(text, element),
    }
}

fn parse_scalar(text: &str, scalar: Scalar) -> Result<Value, Error> {
    let invalid = || Error::new("22P02", format!("invalid input syntax for type {}: \"{text}\"", scalar_name(scalar)));
    let trimmed = text.trim_matches(is_space);
    match scalar {
        Scalar::Text | Scalar::Unknown => Ok(Value::Text(text.into())),
        Scalar::Char => Ok(Value::Text(text.trim_end_matches(' ').into())),
        Scalar::Bool => parse_bool(trimmed).map(Value::Bool).ok_or_else(invalid),
        Scalar::Int2 | Scalar::Int4 | Scalar::Int8 => parse_int(text, trimmed, scalar).map(Value::Int),
        Scalar::Numeric => match numeric::parse(trimmed) {
            Some(value) => Ok(Value::Numeric(Arc::new(value))),
            None if looks_numeric(trimmed) => {
                Err(Error::refused("numeric values of more than 38 digits, NaN and infinity"))
            }
            None => Err(invalid()),
        },
        Scalar::Jsonb => json::parse(text).map(|value| Value::Json(Arc::new(value))),
        Scalar::Timestamptz => timestamp::parse(trimmed).map(Value::Timestamp),
        Scalar::Xid | Scalar::Xid8 => {
            let plain = !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit()) && trimmed == text;
            let value = plain.then(|| trimmed.parse::<i64>().ok()).flatten();
            let value = value.filter(|value| scalar == Scalar::Xid8 || u32::try_from(*value).is_ok());
            // PostgreSQL 15 reads these with strtoul: garbage is 0, too much wraps. Nobody means that.
            value.map(Value::Int).ok_or_else(|| Error::refused(format!("{} from \"{text}\"", scalar_name(scalar))))
        }
        // Names are looked up when a statement is compiled.
        Scalar::Oid | Scalar::Regclass => {
            let value = trimmed.parse::<u32>().map_err(|_| invalid())?;
            Ok(Value::Int(i64::from(value)))
        }
        Scalar::Snapshot => {
            parse_snapshot(text).map(|snapshot| Value::Snapshot(Arc::new(snapshot))).ok_or_else(invalid)
        }
        Scalar::Record => Err(Error::refused("a value of type record")),
        Scalar::Void => Err(Error::refused("a value of type void")),
    }
}

fn looks_numeric(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let lower = lower.trim_start_matches(['-', '+']);
    matches!(lower, "nan" | "inf" | "infinity")
        || !lower.is_empty()
            && lower.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && lower.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'-' | b'+'))
}

/// Source: PostgreSQL, src/backend/utils/adt/bool.c, `parse_bool_with_len`.
fn parse_bool(text: &str) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    let prefix_of = |word: &str, least: usize| lower.len() >= least && word.starts_with(&lower);
    match lower.chars().next()? {
        't' if prefix_of("true", 1) => Some(true),
        'f' if prefix_of("false", 1) => Some(false),
        'y' if prefix_of("yes", 1) => Some(true),
        'n' if prefix_of("no", 1) => Some(false),
        'o' if lower == "on" => Some(true),
        'o' if prefix_of("off", 2) => Some(false),
        '1' if lower == "1" => Some(true),
        '0' if lower == "0" => Some(false),
        _ => None,
    }
}

fn parse_int(text: &str, trimmed: &str, scalar: Scalar) -> Result<i64, Error> {
    let name = scalar_name(scalar);
    let digits = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    // What is too large is found first, at its digits; what stands behind them is looked at afterwards. Source: numutils.c, `pg_strtoint32`.
    let fits_negated = |digits: &str| format!("-{digits}").parse::<i64>().is_ok_and(|value| fits(value, scalar));
    if count == 0 || count < digits.len() && fits_negated(&digits[..count]) {
        return Err(Error::new("22P02", format!("invalid input syntax for type {name}: \"{text}\"")));
    }
    let value = trimmed.parse::<i64>().ok().filter(|value| fits(*value, scalar));
    value.ok_or_else(|| Error::new("22003", format!("value \"{text}\" is out of range for type {name}")))
}

/// Whether a value is in the range of an integer type.
pub(crate) fn fits(value: i64, scalar: Scalar) -> bool {
    match scalar {
        Scalar::Int2 => i16::try_from(value).is_ok(),
        Scalar::Int4 => i32::try_from(value).is_ok(),
        Scalar::Oid | Scalar::Regclass | Scalar::Xid => u32::try_from(value).is_ok(),
        _ => true,
    }
}

/// Source: PostgreSQL, src/backend/utils/adt/xid8funcs.c, `parse_snapshot`.
fn parse_snapshot(text: &str) -> Option<PgSnapshot> {
    let (low, rest) = text.split_once(':')?;
    let (high, ids) = rest.split_once(':')?;
    let (low, high) = (low.parse::<u64>().ok()?, high.parse::<u64>().ok()?);
    if low == 0 || high == 0 || high < low || i64::try_from(high).is_err() {
        return None;
    }
    let mut running = Vec::new();
    for item in ids.split(',').filter(|_| !ids.is_empty()) {
        let xid = item.parse::<u64>().ok().filter(|id| (low..high).contains(id))?;
        match running.last() {
            Some(last) if *last > xid => return None,
            Some(last) if *last == xid => {}
            _ => running.push(xid),
        }
    }
    Some(PgSnapshot { xmin: low, xmax: high, xip: running })
}

/// Source: PostgreSQL, src/backend/utils/adt/arrayfuncs.c, `array_in`; one dimension, no bounds.
fn parse_array(text: &str, element: Scalar) -> Result<Value, Error> {
    let malformed = || Error::new("22P02", format!("malformed array literal: \"{text}\""));
    let inner = text.trim_matches(is_space);
    if inner.starts_with('[') {
        return Err(Error::refused("array literals with bounds"));
    }
    let inner = inner.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).ok_or_else(malformed)?;
    if inner.trim_matches(is_space).is_empty() {
        return Ok(Value::Array(Arc::from([])));
    }
    let mut items = Vec::new();
    let mut rest = inner.chars().peekable();
    loop {
        while rest.next_if(|c| is_space(*c)).is_some() {}
        let mut item = String::new();
        let quoted = rest.next_if_eq(&'"').is_some();
        if quoted {
            loop {
                match rest.next().ok_or_else(malformed)? {
                    '"' => break,
                    '\\' => item.push(rest.next().ok_or_else(malformed)?),
                    c => item.push(c),
                }
            }
            while rest.next_if(|c| is_space(*c)).is_some() {}
        } else {
            while let Some(c) = rest.next_if(|c| *c != ',') {
                match c {
                    '{' => return Err(Error::refused("arrays of more than one dimension")),
                    '}' | '"' => return Err(malformed()),
                    '\\' => item.push(rest.next().ok_or_else(malformed)?),
                    c => item.push(c),
                }
            }
            item.truncate(item.trim_end_matches(is_space).len());
            if item.is_empty() {
                return Err(malformed());
            }
        }
        let null = !quoted && item.eq_ignore_ascii_case("null");
        items.push((!null).then_some(item));
        match rest.next() {
            // The braces and commas are right: only now its elements are read.
            None => break,
            Some(',') => {}
            Some(_) => return Err(malformed()),
        }
    }
    let read = |item: Option<String>| item.map_or(Ok(Value::Null), |item| parse_scalar(&item, element));
    let items: Result<Vec<Value>, Error> = items.into_iter().map(read).collect();
    Ok(Value::Array(items?.into()))
}
