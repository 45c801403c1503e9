//! `jsonb`: reading, printing and what its operators need.
//!
//! A number whose digits `serde_json` would lose (beyond 64-bit integers and what a double prints back) is refused: PostgreSQL keeps
//! every digit.

use std::fmt::Write;

use serde_json::{Map, Value as Json};

use super::numeric;
use crate::error::Error;

/// The pairs of an object in the order in which jsonb keeps them: shorter keys first, then by bytes.
pub(crate) fn pairs(object: &Map<String, Json>) -> Vec<(&String, &Json)> {
    let mut pairs: Vec<_> = object.iter().collect();
    pairs.sort_by(|(left, _), (right, _)| {
        left.len().cmp(&right.len()).then_with(|| left.as_bytes().cmp(right.as_bytes()))
    });
    pairs
}

/// jsonb's input function.
pub(crate) fn parse(text: &str) -> Result<Json, Error> {
    let value: Json = serde_json::from_str(text).map_err(|error| {
        let reason = error.to_string();
        if reason.starts_with("recursion limit exceeded") {
            return too_deep();
        }
        if reason.starts_with("number out of range") {
            return not_held();
        }
        Error::new("22P02", "invalid input syntax for type json")
    })?;
    if has_nul(text) {
        return Err(Error::new("22P05", "unsupported Unicode escape sequence"));
    }
    let mut printed = Vec::new();
    numbers(&value, &mut printed);
    if printed.is_empty() || same_numbers(text, &printed) {
        return Ok(value);
    }
    Err(not_held())
}

fn not_held() -> Error {
    Error::refused("jsonb numbers that a double does not hold as they are written")
}

/// Whether a text of JSON escapes the character that no `text` holds.
fn has_nul(text: &str) -> bool {
    // A backslash and what it escapes: of two in a row, the second escapes nothing.
    text.split("\\\\").any(|part| part.contains("\\u0000"))
}

/// Every number in `value`, as it will be printed; objects that repeat a key make it shorter than the text's list.
fn numbers(value: &Json, into: &mut Vec<String>) {
    match value {
        Json::Number(number) => into.push(number.to_string()),
        Json::Array(items) => items.iter().for_each(|item| numbers(item, into)),
        Json::Object(object) => object.values().for_each(|item| numbers(item, into)),
        Json::Null | Json::Bool(_) | Json::String(_) => {}
    }
}

/// Whether each number in the text is one of the printed ones, digit by digit.
fn same_numbers(text: &str, printed: &[String]) -> bool {
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        if byte == b'"' {
            while let Some((_, byte)) = bytes.next() {
                match byte {
                    b'\\' => {
                        bytes.next();
                    }
                    b'"' => break,
                    _ => {}
                }
            }
        } else if byte == b'-' || byte.is_ascii_digit() {
            let mut end = at + 1;
            while bytes.next_if(|(_, byte)| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).is_some() {
                end += 1;
            }
            let kept = numeric::parse(&text[at..end]).map(numeric::print);
            if !kept.is_some_and(|kept| printed.contains(&kept)) {
                return false;
            }
        }
    }
    true
}

/// How deep a value nests at most: what is read is bounded by `serde_json`, what is built by [`bounded`]. Everything here recurses.
const DEPTH_MAX: usize = 128;

fn too_deep() -> Error {
    Error::too_much(format_args!("jsonb that nests deeper than {DEPTH_MAX} levels"))
}

/// Errs if a value that was built nests too deep.
pub(crate) fn bounded(value: &Json) -> Result<(), Error> {
    if depth(value) > DEPTH_MAX { Err(too_deep()) } else { Ok(()) }
}

fn depth(value: &Json) -> usize {
    match value {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Json::Object(object) => 1 + object.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// How many values stand in `value`, long texts counted by what they are as long as.
pub(crate) fn size(value: &Json) -> usize {
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => 1,
        Json::String(text) => 1 + text.len() / 64,
        Json::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Json::Object(object) => 1 + object.iter().map(|(key, item)| 1 + key.len() / 64 + size(item)).sum::<usize>(),
    }
}

/// jsonb's output function: a space behind each comma and colon.
pub(crate) fn print(value: &Json) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Json, out: &mut String) {
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Json::Number(number) => out.push_str(&number.to_string()),
        Json::String(text) => write_string(text, out),
        Json::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                out.push_str(if place == 0 { "" } else { ", " });
                write(item, out);
            }
            out.push(']');
        }
        Json::Object(object) => {
            out.push('{');
            for (place, (key, item)) in pairs(object).into_iter().enumerate() {
                out.push_str(if place == 0 { "" } else { ", " });
                write_string(key, out);
                out.push_str(": ");
                write(item, out);
            }
            out.push('}');
        }
    }
}

/// Source: PostgreSQL, src/backend/utils/adt/json.c, `escape_json`.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => write!(out, "\\u{:04x}", u32::from(c)).expect("a String takes all"),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// `->` with a key or an index; `#>` one step of a path: in an array a text that is an integer is an index.
pub(crate) fn step<'a>(value: &'a Json, key: &str) -> Option<&'a Json> {
    match value {
        Json::Object(object) => object.get(key),
        Json::Array(_) => element(value, key.parse().ok()?),
        _ => None,
    }
}

/// `->` with an integer: from the end if negative. A scalar is stored as an array of one. Source: PostgreSQL, jsonfuncs.c,
/// `jsonb_array_element`; jsonb.h, `JB_FSCALAR`.
pub(crate) fn element(value: &Json, index: i64) -> Option<&Json> {
    let items = match value {
        Json::Array(items) => items.as_slice(),
        Json::Object(_) => return None,
        scalar => std::slice::from_ref(scalar),
    };
    let at = if index < 0 { i64::try_from(items.len()).ok()?.checked_add(index)? } else { index };
    items.get(usize::try_from(at).ok()?)
}

/// `@>`. Source: PostgreSQL's manual, section 8.14.3.
pub(crate) fn contains(whole: &Json, part: &Json) -> bool {
    match (whole, part) {
        (Json::Object(whole), Json::Object(part)) => part
            .iter()
            .all(|(key, part)| whole.get(key).is_some_and(|whole| same_kind(whole, part) && contains(whole, part))),
        (Json::Array(whole), Json::Array(part)) => part.iter().all(|part| {
            whole.iter().any(|whole| {
                if part.is_array() || part.is_object() {
                    same_kind(whole, part) && contains(whole, part)
                } else {
                    equal(whole, part)
                }
            })
        }),
        // An array may contain a primitive value.
        (Json::Array(whole), part) if !part.is_object() => whole.iter().any(|whole| equal(whole, part)),
        (whole, part) => equal(whole, part),
    }
}

fn same_kind(left: &Json, right: &Json) -> bool {
    left.is_array() == right.is_array() && left.is_object() == right.is_object()
}

/// Equal as jsonb: 1 and 1.0 are.
fn equal(left: &Json, right: &Json) -> bool {
    use super::Value;
    super::compare(&Value::Json(left.clone().into()), &Value::Json(right.clone().into())).is_eq()
}
