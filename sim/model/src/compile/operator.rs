//! Operators: which one its operands' types mean.
//!
//! Source: PostgreSQL's manual, section 10.2.

use std::cmp::Ordering;

use sqlparser::ast::{BinaryOperator, UnaryOperator};

use super::Builder;
use super::coerce::{BOOL, Cast, INT4, JSONB, NUMERIC, TEXT, UNKNOWN, call, promotes};
use super::scope::Typed;
use crate::error::Error;
use crate::function::{Function, Number};
use crate::plan::{CompareOp, Expr};
use crate::types::text::type_name;
use crate::types::{Scalar, Type};

/// PostgreSQL's error for an operator that these types do not have.
fn undefined(op: &str, left: Type, right: Type) -> Error {
    Error::new("42883", format!("operator does not exist: {} {op} {}", type_name(left), type_name(right)))
}

/// The comparison that an operator is.
pub(super) fn comparison(op: &BinaryOperator) -> Option<CompareOp> {
    Some(match op {
        BinaryOperator::Eq => CompareOp::Eq,
        BinaryOperator::NotEq => CompareOp::NotEq,
        BinaryOperator::Lt => CompareOp::Lt,
        BinaryOperator::LtEq => CompareOp::LtEq,
        BinaryOperator::Gt => CompareOp::Gt,
        BinaryOperator::GtEq => CompareOp::GtEq,
        _ => return None,
    })
}

impl CompareOp {
    /// Whether it holds for a left side that compares so to the right side.
    pub(crate) fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Eq => ordering.is_eq(),
            Self::NotEq => ordering.is_ne(),
            Self::Lt => ordering.is_lt(),
            Self::LtEq => ordering.is_le(),
            Self::Gt => ordering.is_gt(),
            Self::GtEq => ordering.is_ge(),
        }
    }
}

pub(crate) fn comparison_text(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Eq => "=",
        CompareOp::NotEq => "<>",
        CompareOp::Lt => "<",
        CompareOp::LtEq => "<=",
        CompareOp::Gt => ">",
        CompareOp::GtEq => ">=",
    }
}

/// Whether values of a type can be compared so.
fn compares(op: CompareOp, ty: Type) -> bool {
    let (Type::Scalar(scalar) | Type::Array(scalar)) = ty;
    match scalar {
        Scalar::Snapshot | Scalar::Void | Scalar::Record => false,
        Scalar::Xid => matches!(op, CompareOp::Eq | CompareOp::NotEq),
        _ => true,
    }
}

/// Whether values of a type can be sorted.
pub(super) fn sortable(ty: Type) -> Result<(), Error> {
    super::refuse_if(ty == Scalar::Record.into(), "an order of records")?;
    if compares(CompareOp::Lt, ty) {
        return Ok(());
    }
    Err(Error::new("42883", format!("could not identify an ordering operator for type {}", type_name(ty))))
}

/// Whether values of a type can be grouped and told apart.
pub(super) fn groupable(ty: Type) -> Result<(), Error> {
    if compares(CompareOp::Eq, ty) {
        return Ok(());
    }
    Err(Error::new("42883", format!("could not identify an equality operator for type {}", type_name(ty))))
}

impl Builder<'_> {
    /// Both sides as values of one type that can be compared.
    pub(super) fn comparable(&mut self, op: CompareOp, left: Typed, right: Typed) -> Result<(Expr, Expr), Error> {
        let error = undefined(comparison_text(op), left.ty, right.ty);
        let xid = |ty| ty == Type::Scalar(Scalar::Xid);
        let ty = match (left.ty, right.ty) {
            (UNKNOWN, UNKNOWN) => TEXT,
            (UNKNOWN, ty) | (ty, UNKNOWN) => ty,
            (left, right) if left == right => left,
            (left, right) if promotes(left, right) => right,
            (left, right) if promotes(right, left) => left,
            // xid has an operator of its own for integers.
            (left, INT4) if xid(left) => left,
            _ => return Err(error),
        };
        if !compares(op, ty) {
            return Err(error);
        }
        if xid(left.ty) && right.ty == INT4 {
            return Ok((left.expr, right.expr));
        }
        let left = self.try_coerce(left, ty, Cast::Implicit)?.ok_or_else(|| error.clone())?;
        let right = self.try_coerce(right, ty, Cast::Implicit)?.ok_or(error)?;
        Ok((left, right))
    }

    pub(super) fn compare(&mut self, op: CompareOp, left: Typed, right: Typed) -> Result<Typed, Error> {
        let (left, right) = self.comparable(op, left, right)?;
        Ok(Typed { expr: Expr::Compare { op, left: Box::new(left), right: Box::new(right) }, ty: BOOL })
    }

    pub(super) fn binary(&mut self, left: Typed, op: &BinaryOperator, right: Typed) -> Result<Typed, Error> {
        if let Some(op) = comparison(op) {
            return self.compare(op, left, right);
        }
        let wide = |function: fn(Number) -> Function| (function, op.to_string());
        match op {
            BinaryOperator::Plus => self.arithmetic(wide(Function::Add), left, right),
            BinaryOperator::Minus if left.ty == JSONB => self.jsonb_minus(left, right),
            // No other type has texts subtracted.
            BinaryOperator::Minus if left.ty == UNKNOWN && right.ty == TEXT => {
                let left = Typed { expr: self.try_coerce(left, JSONB, Cast::Implicit)?.expect("untyped"), ty: JSONB };
                self.jsonb_minus(left, right)
            }
            BinaryOperator::Minus if left.ty == UNKNOWN && matches!(right.ty, Type::Array(_)) => {
                Err(Error::refused("an untyped literal -"))
            }
            BinaryOperator::Minus => self.arithmetic(wide(Function::Subtract), left, right),
            BinaryOperator::Multiply => self.arithmetic(wide(Function::Multiply), left, right),
            BinaryOperator::Divide => self.arithmetic(wide(Function::Divide), left, right),
            BinaryOperator::Modulo => self.arithmetic(wide(Function::Modulo), left, right),
            BinaryOperator::StringConcat => self.concat(left, right),
            BinaryOperator::Arrow => self.json_step(left, right, "->", false),
            BinaryOperator::LongArrow => self.json_step(left, right, "->>", true),
            BinaryOperator::HashArrow => self.json_path(left, right, "#>", false),
            BinaryOperator::HashLongArrow => self.json_path(left, right, "#>>", true),
            BinaryOperator::AtArrow => {
                self.contains(left, right, "@>", Function::JsonContains, Function::ArrayContains)
            }
            BinaryOperator::ArrowAt => {
                self.contains(left, right, "<@", Function::JsonContained, Function::ArrayContained)
            }
            BinaryOperator::PGOverlap => self.overlaps(left, right),
            BinaryOperator::Question => self.json_call(left, right, TEXT, BOOL, "?", Function::JsonHasKey),
            BinaryOperator::QuestionPipe => {
                self.json_call(left, right, Type::Array(Scalar::Text), BOOL, "?|", Function::JsonHasKeys { all: false })
            }
            BinaryOperator::QuestionAnd => {
                self.json_call(left, right, Type::Array(Scalar::Text), BOOL, "?&", Function::JsonHasKeys { all: true })
            }
            op => Err(Error::refused(format!("the operator {op}"))),
        }
    }

    fn arithmetic(
        &mut self,
        (function, text): (fn(Number) -> Function, String),
        left: Typed,
        right: Typed,
    ) -> Result<Typed, Error> {
        let error = undefined(&text, left.ty, right.ty);
        let ty = match (left.ty, right.ty) {
            (UNKNOWN, UNKNOWN) => {
                let message = format!("operator is not unique: unknown {text} unknown");
                return Err(Error::new("42725", message));
            }
            (UNKNOWN, ty) | (ty, UNKNOWN) => ty,
            (left, right) if left == right || promotes(right, left) => left,
            (left, right) if promotes(left, right) => right,
            _ => return Err(error),
        };
        let number = match ty {
            Type::Scalar(scalar) => Number::of(scalar),
            Type::Array(_) => None,
        };
        let Some(number) = number else {
            // PostgreSQL adds intervals to timestamps, subtracts them, and so on.
            let refused = ty == Type::Scalar(Scalar::Timestamptz);
            return Err(if refused { Error::refused(format!("timestamptz {text}")) } else { error });
        };
        let left = self.try_coerce(left, ty, Cast::Implicit)?.ok_or_else(|| error.clone())?;
        let right = self.try_coerce(right, ty, Cast::Implicit)?.ok_or(error)?;
        Ok(Typed { expr: call(function(number), vec![left, right]), ty })
    }

    fn concat(&mut self, left: Typed, right: Typed) -> Result<Typed, Error> {
        let error = undefined("||", left.ty, right.ty);
        let scalar_text = |ty| matches!(ty, TEXT | UNKNOWN);
        match (left.ty, right.ty) {
            (left_ty, right_ty) if scalar_text(left_ty) && scalar_text(right_ty) => {
                let left = self.settle(left)?.expr;
                let right = self.settle(right)?.expr;
                Ok(Typed { expr: call(Function::Concat, vec![left, right]), ty: TEXT })
            }
            (JSONB, JSONB | UNKNOWN) | (UNKNOWN, JSONB) => {
                let left = self.try_coerce(left, JSONB, Cast::Implicit)?.ok_or_else(|| error.clone())?;
                let right = self.try_coerce(right, JSONB, Cast::Implicit)?.ok_or(error)?;
                Ok(Typed { expr: call(Function::JsonConcat, vec![left, right]), ty: JSONB })
            }
            (Type::Array(_), _) | (_, Type::Array(_)) => self.array_concat(left, right, error),
            (TEXT | UNKNOWN, Type::Scalar(_)) | (Type::Scalar(_), TEXT | UNKNOWN) => {
                // anynonarray || text: the other side's text is taken.
                let left = self.try_coerce(left, TEXT, Cast::Assignment)?.ok_or_else(|| error.clone())?;
                let right = self.try_coerce(right, TEXT, Cast::Assignment)?.ok_or(error)?;
                Ok(Typed { expr: call(Function::Concat, vec![left, right]), ty: TEXT })
            }
            _ => Err(error),
        }
    }

    fn array_concat(&mut self, left: Typed, right: Typed, error: Error) -> Result<Typed, Error> {
        let (function, ty, left_ty, right_ty) = match (left.ty, right.ty) {
            (Type::Array(a), Type::Array(b)) if a == b || promotes(b.into(), a.into()) => {
                (Function::ArrayCat, left.ty, left.ty, left.ty)
            }
            (Type::Array(a), Type::Array(b)) if promotes(a.into(), b.into()) => {
                (Function::ArrayCat, right.ty, right.ty, right.ty)
            }
            (Type::Array(_), UNKNOWN) => (Function::ArrayCat, left.ty, left.ty, left.ty),
            (UNKNOWN, Type::Array(_)) => (Function::ArrayCat, right.ty, right.ty, right.ty),
            (Type::Array(a), Type::Scalar(b)) if a == b || promotes(b.into(), a.into()) => {
                (Function::ArrayAppend, left.ty, left.ty, a.into())
            }
            (Type::Array(a), Type::Scalar(b)) if promotes(a.into(), b.into()) => {
                (Function::ArrayAppend, Type::Array(b), Type::Array(b), b.into())
            }
            (Type::Scalar(a), Type::Array(b)) if a == b || promotes(a.into(), b.into()) => {
                (Function::ArrayPrepend, right.ty, b.into(), right.ty)
            }
            (Type::Scalar(a), Type::Array(b)) if promotes(b.into(), a.into()) => {
                (Function::ArrayPrepend, Type::Array(a), a.into(), Type::Array(a))
            }
            _ => return Err(error),
        };
        let left = self.try_coerce(left, left_ty, Cast::Implicit)?.ok_or_else(|| error.clone())?;
        let right = self.try_coerce(right, right_ty, Cast::Implicit)?.ok_or(error)?;
        Ok(Typed { expr: call(function, vec![left, right]), ty })
    }

    fn json_step(&mut self, left: Typed, right: Typed, text: &str, as_text: bool) -> Result<Typed, Error> {
        let ty = if as_text { TEXT } else { JSONB };
        if right.ty == INT4 || right.ty == Type::Scalar(Scalar::Int2) {
            return self.json_call(left, right, INT4, ty, text, Function::JsonElement { as_text });
        }
        self.json_call(left, right, TEXT, ty, text, Function::JsonField { as_text })
    }

    fn json_path(&mut self, left: Typed, right: Typed, text: &str, as_text: bool) -> Result<Typed, Error> {
        let ty = if as_text { TEXT } else { JSONB };
        self.json_call(left, right, Type::Array(Scalar::Text), ty, text, Function::JsonPath { as_text })
    }

    fn json_call(
        &mut self,
        left: Typed,
        right: Typed,
        right_ty: Type,
        result: Type,
        text: &str,
        function: Function,
    ) -> Result<Typed, Error> {
        let error = undefined(text, left.ty, right.ty);
        if left.ty == UNKNOWN {
            // json has the same operators, and those of jsonb with unknown types on both sides are not known here.
            if matches!(text, "->" | "->>") && matches!(right.ty, TEXT | INT4 | UNKNOWN) {
                let message = format!("operator is not unique: unknown {text} {}", type_name(right.ty));
                return Err(Error::new("42725", message));
            }
            return Err(Error::refused(format!("an untyped literal {text}")));
        }
        if left.ty != JSONB {
            return Err(error);
        }
        let right = self.try_coerce(right, right_ty, Cast::Implicit)?.ok_or(error)?;
        Ok(Typed { expr: call(function, vec![left.expr, right]), ty: result })
    }

    fn jsonb_minus(&mut self, left: Typed, right: Typed) -> Result<Typed, Error> {
        if right.ty == TEXT {
            return self.json_call(left, right, TEXT, JSONB, "-", Function::JsonRemove);
        }
        Err(Error::refused(format!("the operator jsonb - {}", type_name(right.ty))))
    }

    fn contains(
        &mut self,
        left: Typed,
        right: Typed,
        text: &str,
        json: Function,
        array: Function,
    ) -> Result<Typed, Error> {
        let error = undefined(text, left.ty, right.ty);
        let (ty, function) = match (left.ty, right.ty) {
            (JSONB, JSONB | UNKNOWN) | (UNKNOWN, JSONB) => (JSONB, json),
            (Type::Array(a), Type::Array(b)) if a == b => (left.ty, array),
            (Type::Array(_), UNKNOWN) => (left.ty, array),
            (UNKNOWN, Type::Array(_)) => (right.ty, array),
            // Ranges have these operators, too.
            (UNKNOWN, _) | (_, UNKNOWN) => return Err(Error::refused(format!("an untyped literal {text}"))),
            _ => return Err(error),
        };
        let left = self.try_coerce(left, ty, Cast::Implicit)?.ok_or_else(|| error.clone())?;
        let right = self.try_coerce(right, ty, Cast::Implicit)?.ok_or(error)?;
        Ok(Typed { expr: call(function, vec![left, right]), ty: BOOL })
    }

    fn overlaps(&mut self, left: Typed, right: Typed) -> Result<Typed, Error> {
        match (left.ty, right.ty) {
            (JSONB, _) | (_, JSONB) => Err(undefined("&&", left.ty, right.ty)),
            _ => self.contains(left, right, "&&", Function::ArrayOverlaps, Function::ArrayOverlaps),
        }
    }

    pub(super) fn unary(&mut self, op: UnaryOperator, value: Typed) -> Result<Typed, Error> {
        let number = match value.ty {
            Type::Scalar(scalar) => Number::of(scalar),
            Type::Array(_) => None,
        };
        match (op, number) {
            (UnaryOperator::Not, _) => {
                let value = self.boolean(value, "NOT")?;
                Ok(Typed { expr: Expr::Not(Box::new(value)), ty: BOOL })
            }
            (UnaryOperator::Plus, Some(_)) => Ok(value),
            (UnaryOperator::Minus, Some(number)) => {
                Ok(Typed { expr: call(Function::Negate(number), vec![value.expr]), ty: value.ty })
            }
            (UnaryOperator::Plus, None) if value.ty == UNKNOWN => {
                // Its `double precision`, which PostgreSQL prefers, is not modelled.
                Err(Error::refused("+ of an untyped literal"))
            }
            (UnaryOperator::Minus, None) if value.ty == UNKNOWN => {
                Err(Error::new("42725", format!("operator is not unique: {op} unknown")))
            }
            (UnaryOperator::Plus | UnaryOperator::Minus, None) => {
                Err(Error::new("42883", format!("operator does not exist: {op} {}", type_name(value.ty))))
            }
            (op, _) => Err(Error::refused(format!("the operator {op}"))),
        }
    }

    /// `value` as a number of rows: LIMIT and OFFSET take a bigint.
    pub(super) fn row_count(&mut self, value: Typed, what: &str) -> Result<Expr, Error> {
        let ty = value.ty;
        let cast = if ty == NUMERIC { Cast::Assignment } else { Cast::Implicit };
        let found = self.try_coerce(value, super::coerce::INT8, cast)?;
        let message = || format!("argument of {what} must be type bigint, not type {}", type_name(ty));
        found.ok_or_else(|| Error::new("42804", message()))
    }
}
