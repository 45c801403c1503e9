//! Function calls: ordinary functions, those of many types, and aggregates.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::character::refuse_shown;
use super::coerce::{BOOL, CHAR, Cast, INT4, INT8, JSONB, NUMERIC, REGCLASS, TEXT, UNKNOWN, call, promotes};
use super::scope::{Typed, loose_parts};
use super::{Builder, operator, refuse_if, visit};
use crate::error::Error;
use crate::function::signature::{self, Callee};
use crate::function::{AggregateFunction, Function, ServerFunction};
use crate::plan::{Aggregate, CompareOp, Expr, SortKey};
use crate::types::{Scalar, Type, Value, text};

/// A call taken apart.
struct Call<'a> {
    args: Vec<&'a ast::Expr>,
    star: bool,
    distinct: bool,
    order: &'a [ast::OrderByExpr],
    filter: Option<&'a ast::Expr>,
}

impl Call<'_> {
    fn is_plain(&self) -> bool {
        !self.star && !self.distinct && self.order.is_empty() && self.filter.is_none()
    }
}

/// The function's name, without `pg_catalog`.
pub(super) fn function_name(name: &ast::ObjectName) -> Result<String, Error> {
    let names = loose_parts(name)?;
    match names.iter().map(|part| &**part).collect::<Vec<_>>().as_slice() {
        [name] | ["pg_catalog", name] => Ok((*name).to_owned()),
        _ => Err(Error::refused(format!("the function {name}"))),
    }
}

/// The expression of an argument without a name.
pub(super) fn plain_arg(arg: &FunctionArg) -> Result<&ast::Expr, Error> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
        FunctionArg::Unnamed(_) => Err(Error::new("42601", "syntax error at or near \"*\"")),
        FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => Err(Error::refused("named arguments")),
    }
}

/// How many arguments a function can have: PostgreSQL's `FUNC_MAX_ARGS`.
const ARGUMENTS_MAX: usize = 100;

fn take_apart(function: &ast::Function) -> Result<Call<'_>, Error> {
    let ast::Function { name, uses_odbc_syntax, parameters, args, within_group, filter, null_treatment, over: _ } =
        function;
    refuse_if(*uses_odbc_syntax, "ODBC function calls")?;
    refuse_if(!matches!(parameters, FunctionArguments::None), "parametric functions")?;
    refuse_if(!within_group.is_empty(), "WITHIN GROUP")?;
    refuse_if(null_treatment.is_some(), "IGNORE NULLS, RESPECT NULLS")?;
    let mut call = Call { args: Vec::new(), star: false, distinct: false, order: &[], filter: filter.as_deref() };
    let list = match args {
        FunctionArguments::None => return Ok(call),
        FunctionArguments::Subquery(_) => return Err(Error::refused("a subquery as a function's only argument")),
        FunctionArguments::List(list) => list,
    };
    let ast::FunctionArgumentList { duplicate_treatment, args, clauses } = list;
    // Source: PostgreSQL, src/backend/parser/parse_func.c; those that are no functions there have no such limit.
    let unbounded = ["coalesce", "greatest", "least"].contains(&name.to_string().to_ascii_lowercase().as_str());
    if args.len() > ARGUMENTS_MAX && !unbounded {
        let message = format!("cannot pass more than {ARGUMENTS_MAX} arguments to a function");
        return Err(Error::new("54023", message));
    }
    call.distinct = *duplicate_treatment == Some(ast::DuplicateTreatment::Distinct);
    for arg in args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if args.len() == 1 => call.star = true,
            arg => call.args.push(plain_arg(arg)?),
        }
    }
    for clause in clauses {
        match clause {
            ast::FunctionArgumentClause::OrderBy(order) => call.order = order,
            other => return Err(Error::refused(format!("{other} in a function call"))),
        }
    }
    Ok(call)
}

/// Some names are keywords: they are called without parentheses, or mean grammar.
fn is_polymorphic(name: &str) -> bool {
    matches!(
        name,
        "coalesce"
            | "nullif"
            | "greatest"
            | "least"
            | "concat"
            | "to_jsonb"
            | "jsonb_build_object"
            | "jsonb_build_array"
            | "array_length"
            | "cardinality"
            | "array_append"
            | "array_prepend"
            | "array_cat"
            | "array_remove"
            | "array_position"
    )
}

impl Builder<'_> {
    pub(super) fn function(&mut self, function: &ast::Function) -> Result<Typed, Error> {
        let name = function_name(&function.name)?;
        self.catalog.refuse_poisoned_function(&name)?;
        if let FunctionArguments::Subquery(query) = &function.args
            && name == "array"
        {
            return self.array_subquery(query);
        }
        if let Some(over) = function.over.as_ref().filter(|_| !self.scope().over) {
            refuse_if(!is_window_function(&name, function), &format!("the window function {name}"))?;
            return self.over(&name, over, |builder| builder.function(function));
        }
        let call = take_apart(function)?;
        if let Some(found) = self.polymorphic_aggregate(&name, &call)? {
            return Ok(found);
        }
        if name == "pg_get_serial_sequence" {
            refuse_if(!call.is_plain(), "DISTINCT, ORDER BY or FILTER in pg_get_serial_sequence")?;
            return self.serial_sequence(&call.args);
        }
        refuse_if(name == "row", "ROW inside an expression")?;
        if is_polymorphic(&name) {
            refuse_if(!call.is_plain(), &format!("DISTINCT, ORDER BY or FILTER in {name}"))?;
            let mut args = Vec::with_capacity(call.args.len());
            for arg in &call.args {
                args.push(self.expr(arg)?);
            }
            return self.polymorphic(&name, args);
        }
        // The arguments of an aggregate are in its own scope: no aggregate in an aggregate.
        let aggregate = signature_is_aggregate(&name);
        let (args, filter) = if aggregate { self.aggregate_args(&call)? } else { (self.exprs(&call.args)?, None) };
        let types: Vec<Type> = args.iter().map(|arg| arg.ty).collect();
        if name == "octet_length" {
            types.iter().try_for_each(|ty| refuse_shown(*ty, "octet_length"))?;
        }
        let found = signature::resolve(&name, &types)?;
        let sleeps = matches!(found.callee, Callee::Server(ServerFunction::Sleep));
        refuse_if(sleeps && types == [UNKNOWN], "pg_sleep of an untyped literal")?;
        let mut exprs = Vec::with_capacity(args.len());
        for (arg, ty) in args.into_iter().zip(found.args) {
            exprs.push(self.argument(arg, *ty)?);
        }
        match found.callee {
            Callee::Aggregate(function) => {
                let as_numeric = function == AggregateFunction::Avg && found.args != [NUMERIC];
                if as_numeric || matches!((function, found.args), (AggregateFunction::Sum, [INT8])) {
                    exprs =
                        exprs.into_iter().map(|expr| super::coerce::call(Function::IntToNumeric, vec![expr])).collect();
                }
                let aggregate = self.aggregate_parts(function, exprs, filter, &call)?;
                self.add_aggregate(aggregate, found.result, &name)
            }
            _ if !call.is_plain() => {
                let message =
                    format!("DISTINCT, FILTER or ORDER BY specified, but {name} is not an aggregate function");
                Err(Error::new("42809", message))
            }
            Callee::Pure(function) => Ok(Typed { expr: super::coerce::call(function, exprs), ty: found.result }),
            Callee::Server(function) => {
                Ok(Typed { expr: Expr::ServerCall { function, args: exprs }, ty: found.result })
            }
        }
    }

    /// `pg_get_serial_sequence('table', 'column')`: known here, since both are literals.
    fn serial_sequence(&mut self, args: &[&ast::Expr]) -> Result<Typed, Error> {
        let mut names = Vec::with_capacity(2);
        for arg in args {
            match self.expr(arg)?.expr {
                Expr::Const(Value::Text(name)) => names.push(name),
                _ => return Err(Error::refused("pg_get_serial_sequence of anything but literals")),
            }
        }
        let [table, column] = names.as_slice() else {
            return Err(Error::refused("pg_get_serial_sequence without its two arguments"));
        };
        let table = self.table_of_literal(table)?;
        let def = self.catalog.table(table);
        let message = || format!("column \"{column}\" of relation \"{}\" does not exist", def.name);
        let place = def.column(column).ok_or_else(|| Error::new("42703", message()))?;
        let value = match &def.columns[usize::from(place)].default {
            Some(Expr::NextVal(id)) => {
                let sequence = self.catalog.sequence(*id);
                let quote = text::quote_name;
                Value::Text(format!("{}.{}", quote(&sequence.schema), quote(&sequence.name)).into())
            }
            _ => Value::Null,
        };
        Ok(Typed { expr: Expr::Const(value), ty: TEXT })
    }

    fn exprs(&mut self, args: &[&ast::Expr]) -> Result<Vec<Typed>, Error> {
        args.iter().map(|arg| self.expr(arg)).collect()
    }

    /// An argument as its parameter's type; a literal that stands for a `regclass` is a relation's name.
    fn argument(&mut self, arg: Typed, ty: Type) -> Result<Expr, Error> {
        if ty == REGCLASS
            && let (UNKNOWN, Expr::Const(Value::Text(name))) = (arg.ty, &arg.expr)
        {
            return Ok(self.regclass_literal(&name.clone())?.expr);
        }
        if ty == REGCLASS
            && let (TEXT, Expr::Const(Value::Text(name))) = (arg.ty, &arg.expr)
        {
            // Of `pg_get_serial_sequence`, which is known.
            return Ok(self.regclass_literal(&name.clone())?.expr);
        }
        refuse_if(ty == REGCLASS && matches!(arg.ty, UNKNOWN | TEXT), "regclass of anything but a literal")?;
        let found = self.try_coerce(arg, ty, Cast::Implicit)?;
        Ok(found.expect("a signature is chosen because its arguments can be cast"))
    }

    fn polymorphic(&mut self, name: &str, mut args: Vec<Typed>) -> Result<Typed, Error> {
        let types: Vec<Type> = args.iter().map(|arg| arg.ty).collect();
        let undefined = || {
            let types: Vec<String> = types.iter().map(|ty| text::type_name(*ty)).collect();
            Error::new("42883", format!("function {name}({}) does not exist", types.join(", ")))
        };
        match (name, args.len()) {
            ("coalesce" | "greatest" | "least", 1..) => {
                let (exprs, ty) = self.common_type(args, &name.to_uppercase())?;
                let expr = match name {
                    "coalesce" => Expr::Coalesce(exprs),
                    "greatest" => call(Function::Greatest, exprs),
                    _ => call(Function::Least, exprs),
                };
                if name != "coalesce" {
                    operator::sortable(ty)?;
                }
                Ok(Typed { expr, ty })
            }
            ("coalesce" | "greatest" | "least" | "nullif", count) if name != "nullif" || count != 2 => {
                // Its grammar does not take that.
                Err(Error::refused(format_args!("{name} with {count} arguments")))
            }
            ("nullif", _) => {
                let right = args.remove(1);
                let left = args.remove(0);
                // The left operand of the equality, with the type that it has there. Source: parse_expr.c, `transformAExprNullIf`.
                let ty = match (left.ty, right.ty) {
                    (UNKNOWN, UNKNOWN) => TEXT,
                    (UNKNOWN, ty) => ty,
                    (left, NUMERIC) if left != NUMERIC => NUMERIC,
                    (left, _) => left,
                };
                let (left, right) = self.comparable(CompareOp::Eq, left, right)?;
                Ok(Typed { expr: call(Function::NullIf, vec![left, right]), ty })
            }
            ("concat", 1..) => {
                let mut exprs = Vec::with_capacity(args.len());
                for arg in args {
                    refuse_if(arg.ty == BOOL, "concat of a boolean")?;
                    refuse_shown(arg.ty, "concat")?;
                    let expr = self.try_coerce(arg, TEXT, Cast::Assignment)?;
                    exprs.push(expr.ok_or_else(undefined)?);
                }
                Ok(Typed { expr: call(Function::ConcatAll, exprs), ty: TEXT })
            }
            ("to_jsonb", 1) => {
                if args[0].ty == UNKNOWN {
                    return Err(Error::new(
                        "42804",
                        "could not determine polymorphic type because input has type unknown",
                    ));
                }
                let arg = args.remove(0);
                refuse_shown(arg.ty, "to_jsonb")?;
                Ok(Typed { expr: call(Function::ToJsonb(arg.ty), vec![arg.expr]), ty: JSONB })
            }
            ("jsonb_build_object", count) if count % 2 == 1 => {
                Err(Error::new("22023", "argument list must have even number of elements"))
            }
            ("jsonb_build_object" | "jsonb_build_array", _) => self.build_json(name, args),
            _ => self.array_function(name, args)?.ok_or_else(undefined),
        }
    }

    fn build_json(&mut self, name: &str, args: Vec<Typed>) -> Result<Typed, Error> {
        let object = name == "jsonb_build_object";
        let mut exprs = Vec::with_capacity(args.len());
        for (place, arg) in args.into_iter().enumerate() {
            let arg = self.settle(arg)?;
            let key = object && place % 2 == 0;
            refuse_shown(arg.ty, name)?;
            refuse_if(
                key && matches!(arg.ty, Type::Array(_) | JSONB),
                "jsonb_build_object with keys that are no scalars",
            )?;
            exprs.push(match arg.ty {
                TEXT if key => arg.expr,
                ty if key => call(Function::Output(ty), vec![arg.expr]),
                JSONB => arg.expr,
                ty => call(Function::ToJsonb(ty), vec![arg.expr]),
            });
        }
        let function = if object { Function::JsonbBuildObject } else { Function::JsonbBuildArray };
        Ok(Typed { expr: call(function, exprs), ty: JSONB })
    }

    fn array_function(&mut self, name: &str, mut args: Vec<Typed>) -> Result<Option<Typed>, Error> {
        let Some(element) = array_element(name, &args)? else { return Ok(None) };
        let (array, element) = (Type::Array(element), Type::Scalar(element));
        let (function, wanted, result): (_, &[Type], _) = match name {
            "array_length" => (Function::ArrayLength, &[array, INT4], INT4),
            "cardinality" => (Function::Cardinality, &[array], INT4),
            "array_append" => (Function::ArrayAppend, &[array, element], array),
            "array_prepend" => (Function::ArrayPrepend, &[element, array], array),
            "array_cat" => (Function::ArrayCat, &[array, array], array),
            "array_remove" => (Function::ArrayRemove, &[array, element], array),
            "array_position" => (Function::ArrayPosition, &[array, element], INT4),
            _ => return Ok(None),
        };
        if args.len() != wanted.len() {
            return Ok(None);
        }
        let mut exprs = Vec::with_capacity(args.len());
        for (arg, ty) in args.drain(..).zip(wanted) {
            match self.try_coerce(arg, *ty, Cast::Implicit)? {
                Some(expr) => exprs.push(expr),
                None => return Ok(None),
            }
        }
        Ok(Some(Typed { expr: call(function, exprs), ty: result }))
    }

    /// The aggregates that take any type.
    fn polymorphic_aggregate(&mut self, name: &str, call: &Call<'_>) -> Result<Option<Typed>, Error> {
        let function = match name {
            "count" => AggregateFunction::Count,
            "min" => AggregateFunction::Min,
            "max" => AggregateFunction::Max,
            "array_agg" => AggregateFunction::ArrayAgg,
            "jsonb_agg" | "jsonb_object_agg" => return self.json_aggregate(name, call).map(Some),
            _ => return Ok(None),
        };
        if name == "count" && call.args.is_empty() && !call.star {
            let message = "count(*) must be used to call a parameterless aggregate function";
            return Err(Error::new("42809", message));
        }
        let (mut args, filter) = self.aggregate_args(call)?;
        if name == "count" && call.star {
            let aggregate = self.aggregate_parts(function, Vec::new(), filter, call)?;
            return self.add_aggregate(aggregate, INT8, name).map(Some);
        }
        let (1, false) = (args.len(), call.star) else {
            let types: Vec<String> = args.iter().map(|arg| text::type_name(arg.ty)).collect();
            return Err(Error::new("42883", format!("function {name}({}) does not exist", types.join(", "))));
        };
        let arg = args.remove(0);
        if arg.ty == UNKNOWN && function == AggregateFunction::ArrayAgg {
            return Err(Error::new("42725", "function array_agg(unknown) is not unique"));
        }
        let arg = self.settle(arg)?;
        let ty = match function {
            AggregateFunction::Count => INT8,
            AggregateFunction::ArrayAgg => match arg.ty {
                CHAR => return refuse_shown(arg.ty, "array_agg").map(|()| None),
                Type::Scalar(scalar) => Type::Array(scalar),
                Type::Array(_) => return Err(Error::refused("arrays of more than one dimension")),
            },
            _ => {
                let none = matches!(
                    arg.ty,
                    Type::Scalar(Scalar::Bool | Scalar::Jsonb | Scalar::Xid | Scalar::Snapshot | Scalar::Void)
                );
                if none {
                    return Err(Error::new(
                        "42883",
                        format!("function {name}({}) does not exist", text::type_name(arg.ty)),
                    ));
                }
                arg.ty
            }
        };
        let aggregate = self.aggregate_parts(function, vec![arg.expr], filter, call)?;
        if aggregate.distinct {
            operator::groupable(arg.ty)?;
        }
        self.add_aggregate(aggregate, ty, name).map(Some)
    }

    /// `jsonb_agg(value)`, `jsonb_object_agg(key, value)`.
    fn json_aggregate(&mut self, name: &str, call: &Call<'_>) -> Result<Typed, Error> {
        let (args, filter) = self.aggregate_args(call)?;
        let types: Vec<String> = args.iter().map(|arg| text::type_name(arg.ty)).collect();
        let (function, builder) = match (name, args.len(), call.star) {
            ("jsonb_agg", 1, false) if args[0].ty == UNKNOWN => {
                let message = "could not determine polymorphic type because input has type unknown";
                return Err(Error::new("42804", message));
            }
            ("jsonb_agg", 1, false) => (AggregateFunction::JsonbAgg, "jsonb_build_array"),
            ("jsonb_object_agg", 2, false) => (AggregateFunction::JsonbObjectAgg, "jsonb_build_object"),
            _ => return Err(Error::new("42883", format!("function {name}({}) does not exist", types.join(", ")))),
        };
        refuse_if(call.distinct, &format!("{name} with DISTINCT"))?;
        let Expr::Call { args, .. } = self.build_json(builder, args)?.expr else {
            return Err(Error::refused(format_args!("{name} of nothing but constants")));
        };
        let aggregate = self.aggregate_parts(function, args, filter, call)?;
        self.add_aggregate(aggregate, JSONB, name)
    }

    /// The arguments of an aggregate and its FILTER: no aggregate can stand in them. They are looked at before it is known which
    /// aggregate it is. Source: PostgreSQL, `parse_func.c`, `ParseFuncOrColumn`.
    fn aggregate_args(&mut self, call: &Call<'_>) -> Result<(Vec<Typed>, Option<Expr>), Error> {
        let args = self.inside_aggregate(|builder| builder.exprs(&call.args))?;
        let filter = match call.filter {
            Some(filter) => Some(self.inside_aggregate(|builder| {
                let filter = builder.expr(filter)?;
                builder.boolean(filter, "FILTER")
            })?),
            None => None,
        };
        Ok((args, filter))
    }

    fn aggregate_parts(
        &mut self,
        function: AggregateFunction,
        args: Vec<Expr>,
        filter: Option<Expr>,
        call: &Call<'_>,
    ) -> Result<Aggregate, Error> {
        let order = self.inside_aggregate(|builder| {
            call.order.iter().map(|key| builder.sort_key(key, None)).collect::<Result<Vec<SortKey>, Error>>()
        })?;
        let distinct_order = call.distinct && order.iter().any(|key| !args.contains(&key.expr));
        refuse_if(
            distinct_order && order.iter().any(|key| visit::has_subquery(&key.expr)),
            "an aggregate with DISTINCT, ordered by a subquery",
        )?;
        if distinct_order {
            let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
            return Err(Error::new("42P10", message));
        }
        Ok(Aggregate { function, args, distinct: call.distinct, filter, order })
    }
}

/// The elements' type of the arrays of a call. Source: PostgreSQL's manual, section 38.2.5: `array_length` and `cardinality` take
/// `anyarray`, the others `anycompatiblearray` and `anycompatible`.
fn array_element(name: &str, args: &[Typed]) -> Result<Option<Scalar>, Error> {
    let untyped = || Error::new("42804", "could not determine polymorphic type because input has type unknown");
    if matches!(name, "array_length" | "cardinality") {
        return match args.first().map(|arg| arg.ty) {
            Some(Type::Array(element)) => Ok(Some(element)),
            // What fits beside it is looked at first.
            Some(UNKNOWN) if args[1..].iter().all(|arg| matches!(arg.ty, UNKNOWN | INT4)) => Err(untyped()),
            _ => Ok(None),
        };
    }
    let array = |place: usize| match (name, place) {
        ("array_cat", _) => true,
        ("array_prepend", place) => place == 1,
        (_, place) => place == 0,
    };
    let mut common = None;
    for (place, arg) in args.iter().enumerate() {
        let element = match arg.ty {
            UNKNOWN => continue,
            Type::Array(element) if array(place) => element,
            Type::Scalar(element) if !array(place) => element,
            Type::Array(_) if args.iter().filter(|arg| arg.ty == UNKNOWN).count() + 1 == args.len() => {
                let message = format!("could not find array type for data type {}", text::type_name(arg.ty));
                return Err(Error::new("42704", message));
            }
            _ => return Ok(None),
        };
        common = match common {
            None => Some(element),
            Some(common) if common == element || promotes(element.into(), common.into()) => Some(common),
            Some(common) if promotes(common.into(), element.into()) => Some(element),
            Some(_) => return Ok(None),
        };
    }
    match common {
        Some(element) => Ok(Some(element)),
        None => Ok(Some(Scalar::Text)),
    }
}

/// Whether it is known over a window.
fn is_window_function(name: &str, function: &ast::Function) -> bool {
    let bare = matches!(&function.args, FunctionArguments::List(list) if list.args.is_empty());
    match name {
        "row_number" | "rank" | "dense_rank" => bare && function.filter.is_none(),
        "count" | "min" | "max" => true,
        name => signature_is_aggregate(name),
    }
}

fn signature_is_aggregate(name: &str) -> bool {
    matches!(name, "sum" | "avg" | "bool_and" | "bool_or" | "every" | "string_agg")
}
