//! Types: names of types, casts, and what an untyped literal or parameter becomes.
//!
//! Source: PostgreSQL's manual, chapter 10; `src/backend/parser/parse_coerce.c`.

use sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, TimezoneInfo};

use super::scope::{Typed, loose_parts};
use super::{Builder, refuse_if, visit};
use crate::catalog::{Catalog, Relation, TableId};
use crate::error::Error;
use crate::function::{self, Function, Number, ServerFunction};
use crate::plan::Expr;
use crate::types::text::type_name;
use crate::types::{Modifier, Scalar, Type, Value, text};

/// How much a cast is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cast {
    /// Not at all: an operand, an argument.
    Implicit,
    /// A value that is stored into a column.
    Assignment,
    /// `CAST (x AS type)`, `x::type`.
    Explicit,
}

pub(super) const UNKNOWN: Type = Type::Scalar(Scalar::Unknown);
pub(super) const BOOL: Type = Type::Scalar(Scalar::Bool);
pub(super) const INT4: Type = Type::Scalar(Scalar::Int4);
pub(super) const INT8: Type = Type::Scalar(Scalar::Int8);
pub(super) const CHAR: Type = Type::Scalar(Scalar::Char);
pub(super) const TEXT: Type = Type::Scalar(Scalar::Text);
pub(super) const NUMERIC: Type = Type::Scalar(Scalar::Numeric);
pub(super) const JSONB: Type = Type::Scalar(Scalar::Jsonb);
pub(super) const REGCLASS: Type = Type::Scalar(Scalar::Regclass);

/// The type that a syntax tree names.
pub(super) fn data_type(ty: &DataType) -> Result<Type, Error> {
    let refused = || Err(Error::refused(format!("the type {}", ty.to_string().to_lowercase())));
    let scalar = match ty {
        DataType::Bool | DataType::Boolean => Scalar::Bool,
        DataType::SmallInt(None) | DataType::Int2(None) => Scalar::Int2,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => Scalar::Int4,
        DataType::BigInt(None) | DataType::Int8(None) => Scalar::Int8,
        DataType::Numeric(ExactNumberInfo::None)
        | DataType::Decimal(ExactNumberInfo::None)
        | DataType::Dec(ExactNumberInfo::None) => Scalar::Numeric,
        DataType::Text | DataType::Varchar(None) | DataType::CharacterVarying(None) | DataType::CharVarying(None) => {
            Scalar::Text
        }
        DataType::JSONB => Scalar::Jsonb,
        DataType::Timestamp(None, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => Scalar::Timestamptz,
        DataType::Regclass => Scalar::Regclass,
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => {
            return match data_type(element)? {
                Type::Scalar(element) => Ok(Type::Array(element)),
                Type::Array(_) => Err(Error::refused("arrays of more than one dimension")),
            };
        }
        DataType::Custom(name, modifiers) => {
            let names = loose_parts(name)?;
            let name = match names.iter().map(|part| &**part).collect::<Vec<_>>().as_slice() {
                [name] | ["pg_catalog", name] => (*name).to_owned(),
                _ => return refused(),
            };
            if !modifiers.is_empty() {
                return refused();
            }
            return named_type(&name);
        }
        _ => return refused(),
    };
    Ok(scalar.into())
}

/// The type that a syntax tree names, and what stands in parentheses behind it.
pub(super) fn modified_type(ty: &DataType) -> Result<(Type, Option<Modifier>), Error> {
    let digits = |precision: u64, scale| Ok((NUMERIC, Some(Modifier::digits(precision, scale)?)));
    match ty {
        DataType::Varchar(Some(CharacterLength::IntegerLength { length, unit: None }))
        | DataType::CharacterVarying(Some(CharacterLength::IntegerLength { length, unit: None }))
        | DataType::CharVarying(Some(CharacterLength::IntegerLength { length, unit: None })) => {
            Ok((TEXT, Some(Modifier::length(*length)?)))
        }
        DataType::Char(length) | DataType::Character(length) => match length {
            None => Ok((CHAR, Some(Modifier::blanks(1)?))),
            Some(CharacterLength::IntegerLength { length, unit: None }) => Ok((CHAR, Some(Modifier::blanks(*length)?))),
            _ => data_type(ty).map(|ty| (ty, None)),
        },
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => match info {
            ExactNumberInfo::None => Ok((NUMERIC, None)),
            ExactNumberInfo::Precision(precision) => digits(*precision, 0),
            ExactNumberInfo::PrecisionAndScale(precision, scale) => digits(*precision, *scale),
        },
        _ => data_type(ty).map(|ty| (ty, None)),
    }
}

/// Whether it is kept as text, and called something else in errors.
pub(super) fn is_varchar(ty: &DataType) -> bool {
    match ty {
        DataType::Varchar(_) | DataType::CharacterVarying(_) | DataType::CharVarying(_) => true,
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => is_varchar(element),
        DataType::Custom(name, _) => {
            let name = name.to_string().to_ascii_lowercase();
            name.ends_with("varchar") || name.ends_with("name")
        }
        _ => false,
    }
}

/// A value of a type as what stands behind the type allows; `explicit`: by a cast.
pub(super) fn fitted(expr: Expr, modifier: Option<Modifier>, explicit: bool) -> Expr {
    let Some(modifier) = modifier else { return expr };
    let numbers = modifier.numbers().into_iter().map(Expr::Const);
    call(Function::Fit { explicit }, std::iter::once(expr).chain(numbers).collect())
}

fn named_type(name: &str) -> Result<Type, Error> {
    let scalar = match name {
        "bool" | "boolean" => Scalar::Bool,
        "int2" | "smallint" => Scalar::Int2,
        "int4" | "int" | "integer" => Scalar::Int4,
        "int8" | "bigint" => Scalar::Int8,
        "numeric" => Scalar::Numeric,
        "text" | "varchar" | "name" => Scalar::Text,
        "jsonb" => Scalar::Jsonb,
        "timestamptz" => Scalar::Timestamptz,
        "xid" => Scalar::Xid,
        "xid8" => Scalar::Xid8,
        "oid" => Scalar::Oid,
        "regclass" => Scalar::Regclass,
        "pg_snapshot" => Scalar::Snapshot,
        _ => return Err(Error::refused(format!("the type {name}"))),
    };
    Ok(scalar.into())
}

/// Evaluates what is constant. An error is left for the execution: it may never come to it.
pub(super) fn fold(expr: Expr) -> Expr {
    // `xid::text::bigint` is the only way from one to the other, and nothing is lost on it.
    if let Expr::Call { function: Function::Input(Type::Scalar(Scalar::Int8)), args } = &expr
        && let [Expr::Call { function: Function::Output(Type::Scalar(from)), args }] = args.as_slice()
        && matches!(from, Scalar::Xid | Scalar::Xid8 | Scalar::Oid | Scalar::Int2 | Scalar::Int4 | Scalar::Int8)
    {
        return args[0].clone();
    }
    if let Expr::Call { function, args } = &expr
        && function.is_immutable()
    {
        let values: Option<Vec<Value>> =
            args.iter().map(|arg| if let Expr::Const(value) = arg { Some(value.clone()) } else { None }).collect();
        // What is much work is left for the execution, too, which has a budget.
        if let Some(values) = values
            && crate::exec::is_little(*function, &values)
            && let Ok(value) = function::call(*function, &values)
            && crate::exec::is_small(&value)
        {
            return Expr::Const(value);
        }
    }
    expr
}

pub(super) fn call(function: Function, args: Vec<Expr>) -> Expr {
    fold(Expr::Call { function, args })
}

impl Builder<'_> {
    /// `value` as a `to`, if it can be cast so.
    pub(super) fn try_coerce(&mut self, value: Typed, to: Type, how: Cast) -> Result<Option<Expr>, Error> {
        let Typed { expr, ty: from } = value;
        if from == to {
            return Ok(Some(expr));
        }
        if from == UNKNOWN {
            return self.tell_type(expr, to).map(Some);
        }
        Ok(match (from, to) {
            (Type::Scalar(from), Type::Scalar(to)) => cast_scalar(expr, from, to, how),
            (Type::Array(from), Type::Array(to)) => {
                let known = Number::of(from).is_some() && Number::of(to).is_some()
                    || from == Scalar::Text
                    || to == Scalar::Text;
                let found = cast_array(expr, from, to);
                refuse_if(
                    found.is_none() && known && (how > Cast::Implicit || promotes(from.into(), to.into())),
                    "array casts that change the elements",
                )?;
                found
            }
            (_, TEXT) if how >= Cast::Assignment => Some(call(Function::Output(from), vec![expr])),
            (TEXT, _) if how == Cast::Explicit => Some(call(Function::Input(to), vec![expr])),
            _ => None,
        })
    }

    /// Gives an untyped literal or parameter its type. A literal is read at once: its errors are the statement's.
    fn tell_type(&mut self, expr: Expr, to: Type) -> Result<Expr, Error> {
        match expr {
            Expr::Const(Value::Text(literal)) => text::parse(&literal, to).map(Expr::Const),
            Expr::Param(number) => {
                let told = &mut self.params[usize::from(number)];
                match told {
                    Some(told) if *told != to => {
                        let message = format!("inconsistent types deduced for parameter ${}", number + 1);
                        return Err(Error::new("42P08", message));
                    }
                    _ => *told = Some(to),
                }
                // What is given need not be without blanks at its end.
                Ok(if to == CHAR { call(Function::Input(to), vec![Expr::Param(number)]) } else { Expr::Param(number) })
            }
            // NULL, and what is made of untyped parts alone.
            expr => Ok(expr),
        }
    }

    /// `value` as the boolean that a clause wants.
    pub(super) fn boolean(&mut self, value: Typed, what: &str) -> Result<Expr, Error> {
        let ty = value.ty;
        let found = self.try_coerce(value, BOOL, Cast::Implicit)?;
        let message = || format!("argument of {what} must be type boolean, not type {}", type_name(ty));
        found.ok_or_else(|| Error::new("42804", message()))
    }

    /// An untyped value becomes text, as in the results of a query.
    pub(super) fn settle(&mut self, value: Typed) -> Result<Typed, Error> {
        if value.ty != UNKNOWN {
            return Ok(value);
        }
        Ok(Typed { expr: self.tell_type(value.expr, TEXT)?, ty: TEXT })
    }

    /// `CAST (value AS to)`.
    pub(super) fn cast(&mut self, value: Typed, to: Type) -> Result<Typed, Error> {
        let from = value.ty;
        if to == REGCLASS && matches!(from, TEXT | UNKNOWN) {
            return self.regclass(value);
        }
        let found = self.try_coerce(value, to, Cast::Explicit)?;
        let message = || format!("cannot cast type {} to {}", type_name(from), type_name(to));
        Ok(Typed { expr: found.ok_or_else(|| Error::new("42846", message()))?, ty: to })
    }

    /// `'name'::regclass`.
    pub(super) fn regclass(&mut self, value: Typed) -> Result<Typed, Error> {
        match value.expr {
            Expr::Const(Value::Text(name)) => self.regclass_literal(&name),
            Expr::Const(Value::Null) => Ok(Typed { expr: Expr::Const(Value::Null), ty: REGCLASS }),
            _ => Err(Error::refused("regclass of anything but a literal")),
        }
    }

    /// The OID of the relation that a literal names.
    pub(super) fn regclass_literal(&mut self, name: &str) -> Result<Typed, Error> {
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
            return text::parse(name, REGCLASS).map(|value| Typed { expr: Expr::Const(value), ty: REGCLASS });
        }
        let relation = self.relation_of_literal(name)?;
        match relation {
            Relation::Table(id) | Relation::Sequence(id) | Relation::View(id) => {
                Ok(Typed { expr: Expr::Const(Value::Int(Catalog::oid(id))), ty: REGCLASS })
            }
            Relation::Index(_) => Err(Error::refused("regclass of an index")),
        }
    }

    fn relation_of_literal(&self, name: &str) -> Result<Relation, Error> {
        let names = split_name(name).ok_or_else(|| Error::new("42602", "invalid name syntax"))?;
        match names.as_slice() {
            [bare] => self.relation_by_name(None, bare),
            [schema, bare] => {
                let known =
                    self.catalog.has_schema(schema) || schema.starts_with("pg_") || schema == "information_schema";
                if !known {
                    return Err(Error::new("3F000", format!("schema \"{schema}\" does not exist")));
                }
                self.relation_by_name(Some(schema), bare)
            }
            _ => Err(Error::refused(format!("the name {name}"))),
        }
    }

    /// The table that a literal names.
    pub(super) fn table_of_literal(&self, name: &str) -> Result<TableId, Error> {
        match self.relation_of_literal(name)? {
            Relation::Table(id) => Ok(id),
            _ => Err(Error::new("42809", format!("\"{name}\" is not a table"))),
        }
    }

    /// The type that all of `values` can have: PostgreSQL's rule for CASE, UNION, VALUES, ARRAY and the like.
    pub(super) fn common_type(&mut self, values: Vec<Typed>, what: &str) -> Result<(Vec<Expr>, Type), Error> {
        let promotes = |from: Type, to: Type| match (from, to) {
            (Type::Array(from), Type::Array(to)) => promotes(from.into(), to.into()),
            _ => promotes(from, to),
        };
        let mut common = UNKNOWN;
        for value in &values {
            common = if common == UNKNOWN || promotes(common, value.ty) {
                value.ty
            } else if value.ty == UNKNOWN || value.ty == common || promotes(value.ty, common) {
                common
            } else {
                let (common, other) = (type_name(common), type_name(value.ty));
                let arrays = common.ends_with("[]") && other.ends_with("[]");
                refuse_if(arrays && what == "CASE", "CASE with arrays of several types")?;
                return Err(if arrays {
                    Error::new("42846", format!("{what} could not convert type {other} to {common}"))
                } else {
                    Error::new("42804", format!("{what} types {common} and {other} cannot be matched"))
                });
            };
        }
        if common == UNKNOWN {
            common = TEXT;
        }
        let mut exprs = Vec::with_capacity(values.len());
        for value in values {
            let expr = self.try_coerce(value, common, Cast::Implicit)?;
            exprs.push(expr.expect("every type has been found to promote to the common one"));
        }
        Ok((exprs, common))
    }

    /// Values of one list position, not yet of one type: the same, but nothing is told if all are untyped.
    pub(super) fn all_unknown(values: &[Typed]) -> bool {
        values.iter().all(|value| value.ty == UNKNOWN)
    }
}

/// Whether `from` becomes `to` without being asked.
pub(super) fn promotes(from: Type, to: Type) -> bool {
    from != UNKNOWN && from != to && function::signature::casts_implicitly(from, to)
}

fn cast_scalar(expr: Expr, from: Scalar, to: Scalar, how: Cast) -> Option<Expr> {
    use Scalar::{Bool, Char, Int2, Int4, Int8, Jsonb, Numeric, Oid, Regclass, Text, Void, Xid, Xid8};
    let explicit = how == Cast::Explicit;
    let integer = |scalar: Scalar| matches!(scalar, Int2 | Int4 | Int8);
    if let (Some(narrow), Some(wide)) = (Number::of(from), Number::of(to)) {
        return match (from, to) {
            (Numeric, to) => (how >= Cast::Assignment).then(|| call(Function::NumericToInt(to), vec![expr])),
            (_, Numeric) => Some(call(Function::IntToNumeric, vec![expr])),
            (..) if narrow < wide => Some(expr),
            (_, to) => (how >= Cast::Assignment).then(|| call(Function::Narrow(to), vec![expr])),
        };
    }
    match (from, to) {
        (from, Oid | Regclass) if integer(from) => Some(call(Function::Narrow(Oid), vec![expr])),
        (Oid, Regclass) | (Regclass, Oid) | (Char, Text) => Some(expr),
        (Oid | Regclass, Int8) => (how >= Cast::Assignment).then_some(expr),
        (Regclass, Text) => (how >= Cast::Assignment)
            .then(|| Expr::ServerCall { function: ServerFunction::RelationName, args: vec![expr] }),
        (Oid | Regclass, Int4) => (how >= Cast::Assignment).then(|| call(Function::Narrow(Int4), vec![expr])),
        (Int4, Bool) => explicit.then(|| call(Function::IntToBool, vec![expr])),
        (Bool, Int4) => explicit.then(|| call(Function::BoolToInt, vec![expr])),
        (Xid8, Xid) => explicit.then(|| call(Function::Xid8ToXid, vec![expr])),
        (Jsonb, Bool | Int2 | Int4 | Int8 | Numeric) => explicit.then(|| call(Function::FromJsonb(to), vec![expr])),
        (Void, _) | (_, Void) => None,
        (Text, Char) => (how >= Cast::Assignment).then(|| call(Function::Input(to.into()), vec![expr])),
        (from, Char) => (how >= Cast::Assignment).then(|| call(Function::Output(from.into()), vec![expr])),
        (from, Text) => (how >= Cast::Assignment).then(|| call(Function::Output(from.into()), vec![expr])),
        (Text | Char, to) => explicit.then(|| call(Function::Input(to.into()), vec![expr])),
        _ => None,
    }
}

/// Only where the elements stay as they are; other array casts are refused by whoever asked.
fn cast_array(expr: Expr, from: Scalar, to: Scalar) -> Option<Expr> {
    let widens =
        matches!((Number::of(from), Number::of(to)), (Some(from), Some(to)) if from < to && to != Number::Numeric);
    // An array of untyped parts alone has become one of text: read it anew.
    widens.then_some(expr)
}

/// A dotted name with quotes, taken apart: `s."T"`.
pub(super) fn split_name(name: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut chars = name.chars().peekable();
    loop {
        let mut part = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next()? {
                    '"' if chars.next_if_eq(&'"').is_some() => part.push('"'),
                    '"' => break,
                    c => part.push(c),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| !matches!(c, '.' | '"') && !c.is_ascii_whitespace()) {
                part.push(c.to_ascii_lowercase());
            }
        }
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        match chars.next() {
            None => return Some(parts),
            Some('.') => {}
            Some(_) => return None,
        }
    }
}

/// Whether evaluating it twice gives twice the same.
pub(super) fn is_stable(expr: &Expr) -> bool {
    !visit::is_volatile(expr)
}
