//! The names of results that have no alias.

use smol_str::SmolStr;
use sqlparser::ast::{self, SelectItem};

use super::coerce::{BOOL, is_varchar, modified_type};
use super::scope::{ident, loose_parts};
use crate::types::Type;

/// The name of a result without an alias. Source: PostgreSQL, `parse_target.c`, `FigureColname`.
pub(super) fn result_name(expr: &ast::Expr) -> SmolStr {
    colname(expr).map_or_else(|| "?column?".into(), |(name, _)| name)
}

/// The name, and whether it is a strong one: a column's or function's goes before a type's.
fn colname(expr: &ast::Expr) -> Option<(SmolStr, bool)> {
    use ast::Expr as A;
    match expr {
        A::Identifier(name) => Some((ident(name), true)),
        A::CompoundIdentifier(names) => names.last().map(|name| (ident(name), true)),
        A::Nested(inner) => colname(inner),
        A::Function(function) => loose_parts(&function.name).ok()?.last().map(|name| (name.clone(), true)),
        A::Cast { expr, data_type, .. } => match colname(expr) {
            Some((name, true)) => Some((name, true)),
            _ => Some((type_colname(data_type), false)),
        },
        A::TypedString(ast::TypedString { data_type, .. }) => Some((type_colname(data_type), false)),
        A::CompoundFieldAccess { root, .. } => colname(root),
        A::Case { else_result, .. } => match else_result.as_deref().and_then(colname) {
            Some((name, true)) => Some((name, true)),
            _ => Some(("case".into(), false)),
        },
        A::Exists { negated: false, .. } => Some(("exists".into(), true)),
        A::Array(_) => Some(("array".into(), true)),
        A::Position { .. } => Some(("position".into(), true)),
        A::Trim { trim_where, .. } => Some((
            match trim_where {
                None | Some(ast::TrimWhereField::Both) => "btrim",
                Some(ast::TrimWhereField::Leading) => "ltrim",
                Some(ast::TrimWhereField::Trailing) => "rtrim",
            }
            .into(),
            true,
        )),
        A::Subquery(query) => match &*query.body {
            // Whatever it is called there, it is called here.
            ast::SetExpr::Select(select) => match select.projection.first()? {
                SelectItem::UnnamedExpr(expr) => Some((result_name(expr), true)),
                SelectItem::ExprWithAlias { alias, .. } => Some((ident(alias), true)),
                _ => None,
            },
            ast::SetExpr::Values(_) => Some(("column1".into(), true)),
            _ => None,
        },
        _ => None,
    }
}

/// A cast's name is that of the type in the system catalog.
fn type_colname(ty: &ast::DataType) -> SmolStr {
    use crate::types::Scalar as S;
    match ty {
        ast::DataType::Varchar(_) | ast::DataType::CharacterVarying(_) | ast::DataType::CharVarying(_) => {
            return "varchar".into();
        }
        ast::DataType::Char(_) | ast::DataType::Character(_) => return "bpchar".into(),
        ast::DataType::Custom(name, _) if name.to_string().eq_ignore_ascii_case("name") => return "name".into(),
        _ => {}
    }
    if is_varchar(ty) {
        return "varchar".into();
    }
    let (ty, _) = modified_type(ty).unwrap_or((BOOL, None));
    let (Type::Scalar(scalar) | Type::Array(scalar)) = ty;
    match scalar {
        S::Bool => "bool",
        S::Int2 => "int2",
        S::Int4 => "int4",
        S::Int8 => "int8",
        S::Timestamptz => "timestamptz",
        other => crate::types::text::scalar_name(other),
    }
    .into()
}
