//! Subqueries in expressions. Their nodes stand in the same list, so that they read the outer query's slots like their own.

use sqlparser::ast;

use super::Builder;
use super::coerce::BOOL;
use super::operator::comparison_text;
use super::scope::{Scope, Typed};
use crate::error::Error;
use crate::plan::{CompareOp, Expr, SubqueryKind};
use crate::types::{Type, text};

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
        let found = if self.depth > 100 { Err(Error::new("54001", "stack depth limit exceeded")) } else { inner(self) };
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

    pub(super) fn exists(&mut self, query: &ast::Query, negated: bool) -> Result<Typed, Error> {
        let rows = self.subquery(query)?;
        let kind = SubqueryKind::Exists { negated };
        Ok(Typed { expr: Expr::Subquery { kind, root: rows.root, output: rows.slot, column: 0 }, ty: BOOL })
    }

    pub(super) fn scalar_subquery(&mut self, query: &ast::Query) -> Result<Typed, Error> {
        let (rows, ty) = self.one_column(query)?;
        Ok(Typed {
            expr: Expr::Subquery { kind: SubqueryKind::Scalar, root: rows.root, output: rows.slot, column: 0 },
            ty,
        })
    }

    pub(super) fn array_subquery(&mut self, query: &ast::Query) -> Result<Typed, Error> {
        let (rows, ty) = self.one_column(query)?;
        let Type::Scalar(element) = ty else { return Err(Error::refused("arrays of more than one dimension")) };
        let expr = Expr::Subquery { kind: SubqueryKind::Array, root: rows.root, output: rows.slot, column: 0 };
        Ok(Typed { expr, ty: Type::Array(element) })
    }

    pub(super) fn in_subquery(&mut self, left: &ast::Expr, query: &ast::Query, negated: bool) -> Result<Typed, Error> {
        let op = if negated { CompareOp::NotEq } else { CompareOp::Eq };
        self.any_all_subquery(left, op, query, negated)
    }

    pub(super) fn any_all_subquery(
        &mut self,
        left: &ast::Expr,
        op: CompareOp,
        query: &ast::Query,
        all: bool,
    ) -> Result<Typed, Error> {
        let left = self.expr(left)?;
        let rows = self.subquery(query)?;
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
