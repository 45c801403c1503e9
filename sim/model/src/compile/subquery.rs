//! Subqueries in expressions. Their nodes stand in the same list, so that they read the outer query's slots like their own.

use sqlparser::ast;

use super::call::{function_name, plain_arg};
use super::character::refuse_shown;
use super::coerce::{BOOL, call};
use super::operator::comparison_text;
use super::scope::{Scope, Typed};
use super::{Builder, DEPTH_MAX, refuse_if, too_deep};
use crate::error::Error;
use crate::function::Function;
use crate::plan::{CompareOp, Expr, SubqueryKind};
use crate::types::{Scalar, Type, Value, text};

impl Builder<'_> {
    /// A query in a scope of its own, inside the present one.
    pub(super) fn subquery(&mut self, query: &ast::Query) -> Result<super::Rows, Error> {
        self.nested(|builder| {
            builder.scopes.push(Scope::default());
            let rows = builder.query(query, None);
            builder.scopes.pop();
            rows
        })
    }

    /// One step deeper: what nests too deep is an error before it is a stack overflow.
    pub(super) fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        const STEP: usize = 8;
        self.depth += STEP;
        let found = if self.depth > DEPTH_MAX { Err(too_deep()) } else { inner(self) };
        self.depth -= STEP;
        found
    }

    /// A subquery whose rows have one column.
    fn one_column(&mut self, query: &ast::Query) -> Result<(super::Rows, Type), Error> {
        let rows = self.subquery(query)?;
        match rows.columns.as_slice() {
            [(_, ty)] => {
                let ty = *ty;
                Ok((rows, ty))
            }
            [] => Err(Error::refused("a subquery without columns as an expression")),
            _ => Err(Error::new("42601", "subquery must return only one column")),
        }
    }

    /// A result of a query: here, too, ROW can stand, and a subquery that gives one.
    pub(super) fn result(&mut self, expr: &ast::Expr) -> Result<Typed, Error> {
        match expr {
            ast::Expr::Function(function) if function_name(&function.name)? == "row" => self.row(function),
            ast::Expr::Subquery(query) => self.scalar_subquery(query, true),
            _ => match self.series_result(expr)? {
                Some(series) => Ok(series),
                None => self.expr(expr),
            },
        }
    }

    /// ROW(..): the text that it is printed as.
    fn row(&mut self, function: &ast::Function) -> Result<Typed, Error> {
        let ast::FunctionArguments::List(list) = &function.args else {
            return Err(Error::refused("ROW without values"));
        };
        let mut parts = vec![Expr::Const(Value::Text("(".into()))];
        for (place, arg) in list.args.iter().enumerate() {
            if place > 0 {
                parts.push(Expr::Const(Value::Text(",".into())));
            }
            let value = self.expr(plain_arg(arg)?)?;
            let value = self.settle(value)?;
            refuse_shown(value.ty, "ROW")?;
            parts.push(call(Function::RecordField(value.ty), vec![value.expr]));
        }
        parts.push(Expr::Const(Value::Text(")".into())));
        Ok(Typed { expr: call(Function::ConcatAll, parts), ty: Scalar::Record.into() })
    }

    pub(super) fn exists(&mut self, query: &ast::Query, negated: bool) -> Result<Typed, Error> {
        let rows = self.subquery(query)?;
        let kind = SubqueryKind::Exists { negated };
        Ok(Typed { expr: Expr::Subquery { kind, root: rows.root, output: rows.slot, column: 0 }, ty: BOOL })
    }

    /// `result`: it is a result, not a part of an expression.
    pub(super) fn scalar_subquery(&mut self, query: &ast::Query, result: bool) -> Result<Typed, Error> {
        let (rows, ty) = self.one_column(query)?;
        refuse_if(!result && ty == Scalar::Record.into(), "a record inside an expression")?;
        Ok(Typed {
            expr: Expr::Subquery { kind: SubqueryKind::Scalar, root: rows.root, output: rows.slot, column: 0 },
            ty,
        })
    }

    pub(super) fn array_subquery(&mut self, query: &ast::Query) -> Result<Typed, Error> {
        let (rows, ty) = self.one_column(query)?;
        let Type::Scalar(element) = ty else { return Err(Error::refused("arrays of more than one dimension")) };
        refuse_shown(ty, "an array")?;
        let expr = Expr::Subquery { kind: SubqueryKind::Array, root: rows.root, output: rows.slot, column: 0 };
        Ok(Typed { expr, ty: Type::Array(element) })
    }

    pub(super) fn in_subquery(&mut self, left: &ast::Expr, query: &ast::Query, negated: bool) -> Result<Typed, Error> {
        // NOT IN is NOT (= ANY): that operator is looked for. Source: gram.y.
        let mut found = self.any_all_subquery(left, CompareOp::Eq, query, negated)?;
        if let Expr::Subquery { kind: SubqueryKind::AnyAll { op, .. }, .. } = &mut found.expr
            && negated
        {
            *op = CompareOp::NotEq;
        }
        Ok(found)
    }

    pub(super) fn any_all_subquery(
        &mut self,
        left: &ast::Expr,
        op: CompareOp,
        query: &ast::Query,
        all: bool,
    ) -> Result<Typed, Error> {
        // In this order. Source: PostgreSQL, parse_expr.c, `transformSubLink`.
        let rows = self.subquery(query)?;
        let left = self.expr(left)?;
        let [(_, ty)] = rows.columns.as_slice() else {
            return Err(Error::new("42601", "subquery has too many columns"));
        };
        // The subquery's rows are compared as they are: only the left side can be cast.
        let left_ty = left.ty;
        let stand_in = Typed { expr: Expr::Param(u16::MAX), ty: *ty };
        let (left, right) = self.comparable(op, left, stand_in)?;
        if right != Expr::Param(u16::MAX) {
            let (left, right) = (text::type_name(left_ty), text::type_name(*ty));
            return Err(Error::refused(format!("{left} {} ANY or ALL of {right} rows", comparison_text(op))));
        }
        let kind = SubqueryKind::AnyAll { op, left: Box::new(left), all };
        Ok(Typed { expr: Expr::Subquery { kind, root: rows.root, output: rows.slot, column: 0 }, ty: BOOL })
    }
}
