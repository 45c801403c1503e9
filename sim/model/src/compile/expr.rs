//! Expressions: each gets its type where it stands.

use sqlparser::ast::{self, AccessExpr, BinaryOperator, CaseWhen, CastKind, Subscript, UnaryOperator};

use super::character::refuse_shown;
use super::coerce::{BOOL, Cast, INT4, INT8, NUMERIC, TEXT, UNKNOWN, call, fitted, is_varchar, modified_type};
use super::names::refuse_reserved;
use super::operator::{comparison, comparison_text};
use super::row_value::row_of;
use super::scope::{Typed, ident};
use super::{Builder, DEPTH_MAX, refuse_if, too_deep};
use crate::error::Error;
use crate::function::Function;
use crate::plan::{CompareOp, Expr};
use crate::types::{Scalar, Type, Value, numeric, text};

/// How many parameters a statement has at most. Source: the protocol counts them in 16 bits.
const PARAMS_MAX: u16 = 32767;

fn typed(expr: Expr, ty: Type) -> Typed {
    Typed { expr, ty }
}

impl Builder<'_> {
    /// An expression, with its type; an untyped literal or parameter is of type unknown still.
    pub(super) fn expr(&mut self, ast: &ast::Expr) -> Result<Typed, Error> {
        if self.depth >= DEPTH_MAX {
            return Err(too_deep());
        }
        self.depth += 1;
        let found = self.expr_inner(ast);
        self.depth -= 1;
        found
    }

    fn expr_inner(&mut self, ast: &ast::Expr) -> Result<Typed, Error> {
        use ast::Expr as A;
        match ast {
            A::Identifier(name) => self.identifier(name),
            A::CompoundIdentifier(names) => {
                names.first().map_or(Ok(()), refuse_reserved)?;
                let names: Vec<_> = names.iter().map(ident).collect();
                self.qualified_column(&names)
            }
            A::Nested(inner) => self.expr(inner),
            A::Value(value) => self.literal(&value.value),
            A::BinaryOp { left, op, right } => self.binary_op(left, op, right),
            A::UnaryOp { op, expr } => self.unary_op(*op, expr),
            A::Cast { kind, expr, data_type, format } => self.cast_expr(kind, expr, data_type, format.is_some()),
            A::TypedString(ast::TypedString { data_type, value, uses_odbc_syntax }) => {
                refuse_if(*uses_odbc_syntax, "ODBC literals")?;
                let value = self.literal(&value.value)?;
                self.cast_to(value, data_type)
            }
            A::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            A::Array(ast::Array { elem, named: _ }) => self.array(elem),
            A::CompoundFieldAccess { root, access_chain } => self.subscript(root, access_chain),
            A::Function(function) => self.function(function),
            A::Exists { subquery, negated } => self.exists(subquery, *negated),
            A::Subquery(query) => self.scalar_subquery(query, false),
            _ => self.predicate(ast),
        }
    }

    /// The expressions that are tests, and those that are written like functions but are grammar.
    fn predicate(&mut self, ast: &ast::Expr) -> Result<Typed, Error> {
        use ast::Expr as A;
        match ast {
            A::IsNull(expr) => self.is_null(expr, false),
            A::IsNotNull(expr) => self.is_null(expr, true),
            A::IsTrue(expr) => self.is_bool(expr, true, false),
            A::IsNotTrue(expr) => self.is_bool(expr, true, true),
            A::IsFalse(expr) => self.is_bool(expr, false, false),
            A::IsNotFalse(expr) => self.is_bool(expr, false, true),
            A::IsUnknown(expr) => self.is_unknown(expr, false),
            A::IsNotUnknown(expr) => self.is_unknown(expr, true),
            A::IsDistinctFrom(left, right) => self.is_distinct(left, right, false),
            A::IsNotDistinctFrom(left, right) => self.is_distinct(left, right, true),
            A::In { expr, target, negated, global } => {
                refuse_if(*global, "GLOBAL IN")?;
                match target {
                    ast::InTarget::List(list) => self.in_list(expr, list, *negated),
                    ast::InTarget::Subquery(query) => self.in_subquery(expr, query, *negated),
                    ast::InTarget::Unnest(_) => Err(Error::refused("IN UNNEST")),
                    ast::InTarget::Table { .. } => Err(Error::refused("IN with a table")),
                }
            }
            A::Between { expr, negated, low, high } => self.between(expr, low, high, *negated),
            A::AnyOp { left, compare_op, right, is_some: _ } => self.any_all(left, compare_op, right, false),
            A::AllOp { left, compare_op, right } => self.any_all(left, compare_op, right, true),
            A::Like { negated, any, expr, pattern, escape_char } => {
                refuse_if(*any, "LIKE ANY")?;
                refuse_if(escape_char.is_some(), "LIKE .. ESCAPE")?;
                let args = [&**expr, &**pattern];
                let like = self.text_call(Function::Like, if *negated { "!~~" } else { "~~" }, &args, BOOL)?;
                if *negated { self.unary(UnaryOperator::Not, like) } else { Ok(like) }
            }
            A::Position { expr, r#in } => self.text_call(Function::StrPos, "position", &[r#in, expr], INT4),
            A::Trim { trim_where, trim_what, expr, trim_characters } => {
                refuse_if(trim_what.is_some() || trim_characters.is_some(), "trim with characters of one's own")?;
                let (function, name) = match trim_where {
                    None | Some(ast::TrimWhereField::Both) => (Function::Trim, "btrim"),
                    Some(ast::TrimWhereField::Leading) => (Function::TrimLeft, "ltrim"),
                    Some(ast::TrimWhereField::Trailing) => (Function::TrimRight, "rtrim"),
                };
                self.text_call(function, name, &[expr], TEXT)
            }
            A::Tuple(_) => Err(Error::refused("row values")),
            other => Err(Error::refused(format!("the expression {other}"))),
        }
    }

    fn unary_op(&mut self, op: UnaryOperator, expr: &ast::Expr) -> Result<Typed, Error> {
        if op == UnaryOperator::Minus
            && let Some(digits) = signed_number(expr, true)
        {
            // The signs belong to a number before the number gets its type. Source: gram.y, `doNegate`.
            return number(&digits);
        }
        // NOT EXISTS is one thing to the executor.
        if let (UnaryOperator::Not, ast::Expr::Exists { subquery, negated }) = (op, expr) {
            return self.exists(subquery, !negated);
        }
        let value = self.expr(expr)?;
        self.unary(op, value)
    }

    fn identifier(&mut self, name: &ast::Ident) -> Result<Typed, Error> {
        if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default") {
            return Err(Error::new("42601", "DEFAULT is not allowed in this context"));
        }
        refuse_reserved(name)?;
        self.column(&ident(name))
    }

    fn literal(&mut self, value: &ast::Value) -> Result<Typed, Error> {
        use ast::Value as V;
        match value {
            V::Number(digits, false) => number(digits),
            V::SingleQuotedString(text) | V::EscapedStringLiteral(text) | V::UnicodeStringLiteral(text) => {
                Ok(typed(Expr::Const(Value::Text(text.as_str().into())), UNKNOWN))
            }
            V::DollarQuotedString(ast::DollarQuotedString { value, tag: _ }) => {
                Ok(typed(Expr::Const(Value::Text(value.as_str().into())), UNKNOWN))
            }
            V::Boolean(value) => Ok(typed(Expr::Const(Value::Bool(*value)), BOOL)),
            V::Null => Ok(typed(Expr::Const(Value::Null), UNKNOWN)),
            V::Placeholder(name) => self.param(name),
            other => Err(Error::refused(format!("the literal {other}"))),
        }
    }

    fn param(&mut self, name: &str) -> Result<Typed, Error> {
        let missing = || Error::new("42P02", format!("there is no parameter {name}"));
        let number = name.strip_prefix('$').and_then(|digits| digits.parse::<u16>().ok()).ok_or_else(missing)?;
        if number == 0 || number > PARAMS_MAX {
            return Err(missing());
        }
        let place = usize::from(number - 1);
        if self.params.len() <= place {
            self.params.resize(place + 1, None);
        }
        Ok(typed(Expr::Param(number - 1), self.params[place].unwrap_or(UNKNOWN)))
    }

    fn binary_op(&mut self, left: &ast::Expr, op: &BinaryOperator, right: &ast::Expr) -> Result<Typed, Error> {
        if matches!(op, BinaryOperator::And | BinaryOperator::Or) {
            let name = op.to_string();
            let mut terms = vec![right];
            let mut rest = left;
            // `a AND b AND c` leans to the left, as deep as it is long.
            while let ast::Expr::BinaryOp { left, op: other, right } = rest
                && other == op
            {
                terms.push(right);
                rest = left;
            }
            terms.push(rest);
            let mut all = Vec::with_capacity(terms.len());
            for term in terms.into_iter().rev() {
                let value = self.expr(term)?;
                all.push(self.boolean(value, &name)?);
            }
            let expr = if *op == BinaryOperator::And { Expr::And(all) } else { Expr::Or(all) };
            return Ok(typed(expr, BOOL));
        }
        let compares = |side: &ast::Expr| matches!(side, ast::Expr::BinaryOp { op, .. } if comparison(op).is_some());
        // Its grammar has no `a < b < c`.
        refuse_if(comparison(op).is_some() && (compares(left) || compares(right)), "comparisons in a row")?;
        if let (Some(op), Some(left), Some(right)) = (comparison(op), row_of(left), row_of(right)) {
            return self.compare_rows(op, left, right);
        }
        let left = self.expr(left)?;
        let right = self.expr(right)?;
        self.binary(left, op, right)
    }

    fn cast_expr(
        &mut self,
        kind: &CastKind,
        expr: &ast::Expr,
        ty: &ast::DataType,
        has_format: bool,
    ) -> Result<Typed, Error> {
        match kind {
            CastKind::Cast | CastKind::DoubleColon => {}
            CastKind::TryCast => return Err(Error::refused("TRY_CAST")),
            CastKind::SafeCast => return Err(Error::refused("SAFE_CAST")),
        }
        refuse_if(has_format, "CAST .. FORMAT")?;
        // The elements of `ARRAY[..]::type[]` are cast one by one, which also gives an empty one its type.
        let mut inner = expr;
        while let ast::Expr::Nested(nested) = inner {
            inner = nested;
        }
        if let ast::Expr::Array(ast::Array { elem, named: true }) = inner
            && let (Type::Array(element), _) = modified_type(ty)?
        {
            self.saw_varchar(is_varchar(ty));
            let mut items = Vec::with_capacity(elem.len());
            for item in elem {
                let value = self.expr(item)?;
                refuse_if(matches!(value.ty, Type::Array(_)), "arrays of more than one dimension")?;
                items.push(self.cast(value, element.into())?.expr);
            }
            return Ok(typed(array_of(items), Type::Array(element)));
        }
        let value = self.expr(expr)?;
        self.cast_to(value, ty)
    }

    pub(super) fn cast_to(&mut self, value: Typed, ty: &ast::DataType) -> Result<Typed, Error> {
        self.saw_varchar(is_varchar(ty));
        let (to, modifier) = modified_type(ty)?;
        let Typed { expr, ty } = self.cast(value, to)?;
        Ok(typed(fitted(expr, modifier, true), ty))
    }

    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&ast::Expr>,
    ) -> Result<Typed, Error> {
        let operand = match operand {
            // What is untyped is text before it is compared. Source: parse_expr.c, `transformCaseExpr`.
            Some(operand) => {
                let operand = self.expr(operand)?;
                Some(self.settle(operand)?)
            }
            None => None,
        };
        let mut tests = Vec::with_capacity(conditions.len());
        let mut results = Vec::with_capacity(conditions.len() + 1);
        for CaseWhen { condition, result } in conditions {
            let condition = self.expr(condition)?;
            tests.push(match &operand {
                Some(operand) if !super::coerce::is_stable(&operand.expr) => {
                    return Err(Error::refused("CASE of a volatile expression"));
                }
                Some(operand) => self.compare(CompareOp::Eq, operand.clone(), condition)?.expr,
                None => self.boolean(condition, "CASE/WHEN")?,
            });
            results.push(self.expr(result)?);
        }
        // The type of ELSE is looked at first. Source: parse_expr.c, transformCaseExpr.
        let has_else = otherwise.is_some();
        if let Some(otherwise) = otherwise {
            let otherwise = self.expr(otherwise)?;
            results.insert(0, otherwise);
        }
        let (mut results, ty) = self.common_type(results, "CASE")?;
        let otherwise = has_else.then(|| Box::new(results.remove(0)));
        Ok(typed(Expr::Case { arms: tests.into_iter().zip(results).collect(), otherwise }, ty))
    }

    fn array(&mut self, elem: &[ast::Expr]) -> Result<Typed, Error> {
        if elem.is_empty() {
            return Err(Error::new("42P18", "cannot determine type of empty array"));
        }
        let mut items = Vec::with_capacity(elem.len());
        for item in elem {
            items.push(self.expr(item)?);
        }
        let (items, ty) = self.common_type(items, "ARRAY")?;
        refuse_shown(ty, "an array")?;
        match ty {
            Type::Scalar(element) => Ok(typed(array_of(items), Type::Array(element))),
            Type::Array(_) => Err(Error::refused("arrays of more than one dimension")),
        }
    }

    fn subscript(&mut self, root: &ast::Expr, chain: &[AccessExpr]) -> Result<Typed, Error> {
        use ast::Expr as A;
        // PostgreSQL's grammar has none behind a call or an ARRAY[..].
        let takes_one =
            matches!(root, A::Identifier(_) | A::CompoundIdentifier(_) | A::Value(_) | A::Nested(_) | A::Subquery(_));
        refuse_if(!takes_one, "a subscript behind anything but a column, a parameter or parentheses")?;
        let root = self.expr(root)?;
        let (Type::Array(element), [AccessExpr::Subscript(Subscript::Index { index })]) = (root.ty, chain) else {
            return Err(Error::refused("subscripts and fields of anything but an array, slices"));
        };
        let index = self.expr(index)?;
        let index = self.try_coerce(index, INT4, Cast::Assignment)?;
        let index = index.ok_or_else(|| Error::new("42804", "array subscript must have type integer"))?;
        Ok(typed(call(Function::ArrayElement, vec![root.expr, index]), element.into()))
    }

    fn is_null(&mut self, expr: &ast::Expr, negated: bool) -> Result<Typed, Error> {
        // Nothing tells a parameter's type here: PostgreSQL asks for one (42P18), too.
        let expr = self.expr(expr)?.expr;
        Ok(typed(Expr::IsNull { expr: Box::new(expr), negated }, BOOL))
    }

    fn is_bool(&mut self, expr: &ast::Expr, value: bool, negated: bool) -> Result<Typed, Error> {
        let operand = self.expr(expr)?;
        let name = format!("IS {}{}", if negated { "NOT " } else { "" }, if value { "TRUE" } else { "FALSE" });
        let expr = self.boolean(operand, &name)?;
        Ok(typed(Expr::IsBool { expr: Box::new(expr), value, negated }, BOOL))
    }

    fn is_unknown(&mut self, expr: &ast::Expr, negated: bool) -> Result<Typed, Error> {
        let operand = self.expr(expr)?;
        let expr = self.boolean(operand, if negated { "IS NOT UNKNOWN" } else { "IS UNKNOWN" })?;
        Ok(typed(Expr::IsNull { expr: Box::new(expr), negated }, BOOL))
    }

    fn is_distinct(&mut self, left: &ast::Expr, right: &ast::Expr, negated: bool) -> Result<Typed, Error> {
        let (left, right) = (self.expr(left)?, self.expr(right)?);
        let (left, right) = self.comparable(CompareOp::Eq, left, right)?;
        Ok(typed(Expr::IsDistinct { left: Box::new(left), right: Box::new(right), negated }, BOOL))
    }

    fn in_list(&mut self, expr: &ast::Expr, list: &[ast::Expr], negated: bool) -> Result<Typed, Error> {
        if let Some(left) = row_of(expr) {
            return self.row_in_list(left, list, negated);
        }
        let left = self.expr(expr)?;
        let mut values = vec![left];
        for item in list {
            values.push(self.expr(item)?);
        }
        if !values.iter().all(|left| values.iter().all(|right| matchable(left.ty, right.ty))) {
            return self.in_list_of_types(&values, negated);
        }
        let (mut exprs, ty) = self.common_type(values, "IN")?;
        super::operator::groupable(ty)?;
        let left = exprs.remove(0);
        let op = if negated { CompareOp::NotEq } else { CompareOp::Eq };
        // What reads no column goes into an array, if it is more than one; the rest is compared one by one.
        // Source: parse_expr.c, `transformAExprIn`.
        let own: Vec<_> = self.scope().sources.iter().map(|source| source.slot).collect();
        let reads = |expr: &Expr| super::visit::slots(expr, &self.nodes).iter().any(|slot| own.contains(slot));
        let (columns, mut others): (Vec<Expr>, Vec<Expr>) = exprs.iter().cloned().partition(reads);
        let mut singles = columns;
        if others.len() == 1 {
            others.clear();
            singles = exprs;
        }
        refuse_if(
            singles.len() + usize::from(!others.is_empty()) > 1 && !super::coerce::is_stable(&left),
            "IN of a volatile expression",
        )?;
        let mut parts = Vec::with_capacity(singles.len() + 1);
        if !others.is_empty() {
            let array = Box::new(array_of(others));
            parts.push(Expr::AnyAll { op, left: Box::new(left.clone()), array, all: negated });
        }
        let single = |right| Expr::Compare { op, left: Box::new(left.clone()), right: Box::new(right) };
        parts.extend(singles.into_iter().map(single));
        let expr = match parts.len() {
            1 => parts.remove(0),
            _ if negated => Expr::And(parts),
            _ => Expr::Or(parts),
        };
        Ok(typed(expr, BOOL))
    }

    /// Where there is no common type, each is compared by itself. Source: `parse_expr.c`, `transformAExprIn`.
    fn in_list_of_types(&mut self, values: &[Typed], negated: bool) -> Result<Typed, Error> {
        let op = if negated { CompareOp::NotEq } else { CompareOp::Eq };
        for value in &values[1..] {
            self.compare(op, values[0].clone(), value.clone())?;
        }
        Err(Error::refused("IN with a list of several types"))
    }

    fn between(&mut self, expr: &ast::Expr, low: &ast::Expr, high: &ast::Expr, negated: bool) -> Result<Typed, Error> {
        let value = self.expr(expr)?;
        if !super::coerce::is_stable(&value.expr) {
            return Err(Error::refused("BETWEEN of a volatile expression"));
        }
        let (lower, upper) = if negated { (CompareOp::Lt, CompareOp::Gt) } else { (CompareOp::GtEq, CompareOp::LtEq) };
        // One comparison after the other. Source: parse_expr.c, `transformAExprBetween`.
        let low = self.expr(low)?;
        let low = self.compare(lower, value.clone(), low)?.expr;
        let high = self.expr(high)?;
        let both = vec![low, self.compare(upper, value, high)?.expr];
        Ok(typed(if negated { Expr::Or(both) } else { Expr::And(both) }, BOOL))
    }

    /// `left op ANY (right)`, `left op ALL (right)`: `right` is an array or a subquery.
    fn any_all(&mut self, left: &ast::Expr, op: &BinaryOperator, right: &ast::Expr, all: bool) -> Result<Typed, Error> {
        let Some(op) = comparison(op) else { return Err(Error::refused(format!("{op} ANY and {op} ALL"))) };
        let mut inner = right;
        while let ast::Expr::Nested(nested) = inner {
            inner = nested;
        }
        if let ast::Expr::Subquery(query) = inner {
            return self.any_all_subquery(left, op, query, all);
        }
        let left = self.expr(left)?;
        let right = self.expr(right)?;
        let array_ty = match (left.ty, right.ty) {
            (_, Type::Array(_)) => right.ty,
            (UNKNOWN, UNKNOWN) => Type::Array(Scalar::Text),
            (Type::Scalar(scalar), UNKNOWN) => Type::Array(scalar),
            (Type::Array(_), UNKNOWN) => {
                let message = format!("could not find array type for data type {}", text::type_name(left.ty));
                return Err(Error::new("42704", message));
            }
            _ => return Err(Error::new("42809", "op ANY/ALL (array) requires array on right side")),
        };
        let Type::Array(element) = array_ty else { return Err(Error::refused("arrays of arrays")) };
        let array = self.try_coerce(right, array_ty, Cast::Implicit)?.unwrap_or(Expr::Const(Value::Null));
        let stand_in = typed(Expr::Const(Value::Null), element.into());
        let error = format!(
            "operator does not exist: {} {} {}",
            text::type_name(left.ty),
            comparison_text(op),
            text::type_name(element.into())
        );
        let left_ty = left.ty;
        let (left, right) = self.comparable(op, left, stand_in)?;
        let integers = matches!(element, Scalar::Int2 | Scalar::Int4 | Scalar::Int8);
        refuse_if(left_ty == NUMERIC && integers, "ANY and ALL of integers beside a numeric")?;
        if right != Expr::Const(Value::Null) || left_ty == NUMERIC && element != Scalar::Numeric {
            return Err(Error::new("42883", error));
        }
        Ok(typed(Expr::AnyAll { op, left: Box::new(left), array: Box::new(array), all }, BOOL))
    }

    /// A function of texts that the grammar, not a name, calls.
    fn text_call(&mut self, function: Function, name: &str, args: &[&ast::Expr], result: Type) -> Result<Typed, Error> {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            let value = self.expr(arg)?;
            if name.ends_with("~~") {
                refuse_shown(value.ty, "LIKE")?;
            }
            values.push(value);
        }
        let types: Vec<String> = values.iter().map(|value| text::type_name(value.ty)).collect();
        let undefined = || match (name, types.as_slice()) {
            ("~~" | "!~~", [left, right]) => {
                Error::new("42883", format!("operator does not exist: {left} {name} {right}"))
            }
            _ => Error::new("42883", format!("function pg_catalog.{name}({}) does not exist", types.join(", "))),
        };
        let mut exprs = Vec::with_capacity(args.len());
        for value in values {
            let expr = self.try_coerce(value, TEXT, Cast::Implicit)?;
            exprs.push(expr.ok_or_else(undefined)?);
        }
        Ok(typed(call(function, exprs), result))
    }
}

/// An array of expressions; of constants it is one.
fn array_of(items: Vec<Expr>) -> Expr {
    let constants: Option<Vec<Value>> =
        items.iter().map(|item| if let Expr::Const(value) = item { Some(value.clone()) } else { None }).collect();
    constants.map_or(Expr::Array(items), |constants| Expr::Const(Value::Array(constants.into())))
}

/// Whether two types have a common one.
fn matchable(left: Type, right: Type) -> bool {
    use super::coerce::promotes;
    left == UNKNOWN || right == UNKNOWN || left == right || promotes(left, right) || promotes(right, left)
}

/// The digits of a number with any number of minus signs before it.
pub(super) fn signed_number(expr: &ast::Expr, negative: bool) -> Option<String> {
    match expr {
        ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(digits, false), .. }) => {
            Some(if negative { format!("-{digits}") } else { digits.clone() })
        }
        ast::Expr::Nested(inner) => signed_number(inner, negative),
        ast::Expr::UnaryOp { op: UnaryOperator::Minus, expr } => signed_number(expr, !negative),
        _ => None,
    }
}

/// A number is an integer where it fits, then a bigint, then numeric.
fn number(digits: &str) -> Result<Typed, Error> {
    if let Ok(value) = digits.parse::<i64>() {
        let ty = if text::fits(value, Scalar::Int4) { INT4 } else { INT8 };
        return Ok(typed(Expr::Const(Value::Int(value)), ty));
    }
    match numeric::parse(digits) {
        Some(value) => Ok(typed(Expr::Const(Value::Numeric(value.into())), NUMERIC)),
        None => Err(Error::refused(format!("the number {digits}: more than 38 digits"))),
    }
}
