//! CREATE SEQUENCE and ALTER SEQUENCE: options, and the sequences of serial and identity columns.

use smol_str::SmolStr;
use sqlparser::ast::{self, SequenceOptions};

use super::refuse_if;
use crate::catalog::SequenceDef;
use crate::error::Error;
use crate::parse::SequenceChanges;
use crate::types::Scalar;
use crate::types::text::type_name;

/// A sequence with its options. Source: PostgreSQL, src/backend/commands/sequence.c, `init_params`.
pub(super) fn sequence(
    schema: SmolStr,
    name: SmolStr,
    scalar: Scalar,
    options: &[SequenceOptions],
) -> Result<SequenceDef, Error> {
    let (lowest, highest) = match scalar {
        Scalar::Int2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Scalar::Int4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    let (mut increment, mut min, mut max, mut start, mut cycle) = (1, None, None, None, false);
    for option in options {
        match option {
            SequenceOptions::IncrementBy(expr, _) => increment = constant(expr)?,
            SequenceOptions::MinValue(value) => min = value.as_ref().map(constant).transpose()?,
            SequenceOptions::MaxValue(value) => max = value.as_ref().map(constant).transpose()?,
            SequenceOptions::StartWith(expr, _) => start = Some(constant(expr)?),
            SequenceOptions::Cycle(no) => cycle = !no,
            SequenceOptions::Cache(expr) => refuse_if(constant(expr)? != 1, "a sequence with CACHE above 1")?,
            SequenceOptions::DataType(_) => return Err(Error::refused("CREATE SEQUENCE .. AS")),
            SequenceOptions::OwnedBy(_) => return Err(Error::refused("OWNED BY")),
        }
    }
    if increment == 0 {
        return Err(Error::new("22023", "INCREMENT must not be zero"));
    }
    let min = min.unwrap_or(if increment > 0 { 1 } else { lowest });
    let max = max.unwrap_or(if increment > 0 { highest } else { -1 });
    if min < lowest || max > highest {
        let (what, value) = if min < lowest { ("MINVALUE", min) } else { ("MAXVALUE", max) };
        let ty = type_name(scalar.into());
        return Err(Error::new("22023", format!("{what} ({value}) is out of range for sequence data type {ty}")));
    }
    if min >= max {
        return Err(Error::new("22023", format!("MINVALUE ({min}) must be less than MAXVALUE ({max})")));
    }
    let start = start.unwrap_or(if increment > 0 { min } else { max });
    if start < min {
        return Err(Error::new("22023", format!("START value ({start}) cannot be less than MINVALUE ({min})")));
    }
    if start > max {
        return Err(Error::new("22023", format!("START value ({start}) cannot be greater than MAXVALUE ({max})")));
    }
    Ok(SequenceDef { schema, name, start, increment, min, max, cycle })
}

fn constant(expr: &ast::Expr) -> Result<i64, Error> {
    let text = expr.to_string();
    text.parse().map_err(|_| Error::new("42601", format!("syntax error at or near \"{text}\"")))
}

/// A sequence as ALTER SEQUENCE leaves it. Of another data type than bigint only what its bounds tell is known.
pub(super) fn altered(old: &SequenceDef, changes: SequenceChanges) -> Result<SequenceDef, Error> {
    let mut def = old.clone();
    if let Some(increment) = changes.increment {
        if increment == 0 {
            return Err(Error::new("22023", "INCREMENT must not be zero"));
        }
        refuse_if((increment > 0) != (old.increment > 0), "another direction of a sequence")?;
        def.increment = increment;
    }
    def.min = changes.min.unwrap_or(old.min);
    def.max = changes.max.unwrap_or(old.max);
    def.cycle = changes.cycle.unwrap_or(old.cycle);
    def.start = changes.start.unwrap_or(old.start);
    if def.min >= def.max {
        return Err(Error::new("22023", format!("MINVALUE ({}) must be less than MAXVALUE ({})", def.min, def.max)));
    }
    def.within("START", def.start)?;
    Ok(def)
}
