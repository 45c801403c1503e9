//! Functions and operators of text, in collation C: letters are ASCII's, characters are code points.

use smol_str::SmolStr;

use super::{Function, unreachable_types};
use crate::error::Error;
use crate::types::Value;

/// No text that a function makes is longer, in bytes; PostgreSQL's limit is 1 GB.
const LENGTH_MAX: usize = 1 << 24;

pub(super) fn call(function: Function, args: &[Value]) -> Result<Value, Error> {
    Ok(match (function, args) {
        (Function::Concat, [Value::Text(left), Value::Text(right)]) => {
            bounded(left.len() + right.len())?;
            Value::Text([&**left, &**right].concat().into())
        }
        (Function::ConcatAll, args) => {
            let texts = args.iter().filter_map(|arg| if let Value::Text(text) = arg { Some(&**text) } else { None });
            bounded(texts.clone().map(str::len).sum())?;
            Value::Text(texts.collect::<String>().into())
        }
        (Function::Padded, [Value::Text(text), Value::Int(length)]) => {
            let length = usize::try_from(*length).unwrap_or(0);
            Value::Text(format!("{text:<length$}").into())
        }
        (Function::Lower, [Value::Text(text)]) => Value::Text(text.to_ascii_lowercase().into()),
        (Function::Upper, [Value::Text(text)]) => Value::Text(text.to_ascii_uppercase().into()),
        (Function::Length, [Value::Text(text)]) => number(text.chars().count()),
        (Function::OctetLength, [Value::Text(text)]) => number(text.len()),
        (Function::Left, [Value::Text(text), Value::Int(count)]) => Value::Text(left(text, *count)),
        // Without the first -count characters; that of the lowest integer is no number. Source: varlena.c, `text_right`.
        (Function::Right, [Value::Text(text), Value::Int(count)]) if *count == i64::from(i32::MIN) => {
            Value::Text(text.clone())
        }
        (Function::Right, [Value::Text(text), Value::Int(count)]) => {
            let reversed: String = text.chars().rev().collect();
            Value::Text(left(&reversed, *count).chars().rev().collect::<String>().into())
        }
        (Function::Repeat, [Value::Text(text), Value::Int(times)]) => {
            let times = usize::try_from(*times).unwrap_or(0);
            bounded(text.len().saturating_mul(times))?;
            Value::Text(text.repeat(times).into())
        }
        (Function::Replace, [Value::Text(text), Value::Text(from), Value::Text(to)]) => {
            bounded(text.len().saturating_mul(to.len().max(1)))?;
            Value::Text(if from.is_empty() { text.clone() } else { text.replace(&**from, to).into() })
        }
        (Function::StrPos, [Value::Text(text), Value::Text(part)]) => {
            text.find(&**part).map_or(Value::Int(0), |at| number(text[..at].chars().count() + 1))
        }
        (Function::StartsWith, [Value::Text(text), Value::Text(part)]) => Value::Bool(text.starts_with(&**part)),
        (Function::SplitPart, [Value::Text(text), Value::Text(by), Value::Int(place)]) => split_part(text, by, *place)?,
        (Function::Trim, [Value::Text(text)]) => Value::Text(text.trim_matches(' ').into()),
        (Function::TrimLeft, [Value::Text(text)]) => Value::Text(text.trim_start_matches(' ').into()),
        (Function::TrimRight, [Value::Text(text)]) => Value::Text(text.trim_end_matches(' ').into()),
        (Function::Like, [Value::Text(text), Value::Text(pattern)]) => Value::Bool(like(text, pattern)?),
        _ => unreachable_types(function, args),
    })
}

pub(crate) fn bounded(length: usize) -> Result<(), Error> {
    if length > LENGTH_MAX {
        Err(Error::too_much(format_args!("a text of more than {LENGTH_MAX} bytes")))
    } else {
        Ok(())
    }
}

fn number(value: usize) -> Value {
    Value::Int(i64::try_from(value).expect("lengths fit"))
}

/// The first `count` characters; with a negative count, all but the last.
fn left(text: &str, count: i64) -> SmolStr {
    let length = i64::try_from(text.chars().count()).expect("lengths fit");
    let count = if count < 0 { length.saturating_add(count).max(0) } else { count };
    text.chars().take(usize::try_from(count).unwrap_or(usize::MAX)).collect::<String>().into()
}

fn split_part(text: &str, by: &str, place: i64) -> Result<Value, Error> {
    if place == 0 {
        return Err(Error::new("22023", "field position must not be zero"));
    }
    let parts: Vec<&str> = if by.is_empty() { vec![text] } else { text.split(by).collect() };
    let count = i64::try_from(parts.len()).expect("lengths fit");
    let at = if place < 0 { count.saturating_add(place) } else { place - 1 };
    let part = usize::try_from(at).ok().and_then(|at| parts.get(at)).unwrap_or(&"");
    Ok(Value::Text((*part).into()))
}

/// LIKE, with `\` as its escape. Remembers the last `%` and starts again behind it: no recursion.
fn like(text: &str, pattern: &str) -> Result<bool, Error> {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut want, mut retry) = (0, 0, None);
    loop {
        match pattern.get(want) {
            Some('%') => {
                retry = Some((at, want));
                want += 1;
                continue;
            }
            None if at == text.len() => return Ok(true),
            Some('\\') if want + 1 == pattern.len() => {
                return Err(Error::new("22025", "LIKE pattern must not end with escape character"));
            }
            Some(sign) if at < text.len() => {
                let escaped = *sign == '\\';
                let literal = if escaped { pattern[want + 1] } else { *sign };
                if literal == text[at] || *sign == '_' {
                    at += 1;
                    want += 1 + usize::from(escaped);
                    continue;
                }
            }
            _ => {}
        }
        match retry {
            Some((from, percent)) if from < text.len() => {
                at = from + 1;
                want = percent + 1;
                retry = Some((from + 1, percent));
            }
            _ => return Ok(false),
        }
    }
}
