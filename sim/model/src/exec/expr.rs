//! Expressions. A constant, parameter or column is looked at where it stands; only what is computed is a new value.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::error::Error;
use crate::exec::{Exec, Interrupt, Polled, Slot};
use crate::function::Function;
use crate::plan::{CompareOp, Expr, NodeId, SubqueryKind};
use crate::types::{Value, compare as order, same};

static NULL: Value = Value::Null;

/// NULL if either is NULL.
#[inline]
fn compare(op: CompareOp, left: &Value, right: &Value) -> Option<bool> {
    if let (Value::Int(left), Value::Int(right)) = (left, right) {
        return Some(op.holds(left.cmp(right)));
    }
    if matches!(left, Value::Null) || matches!(right, Value::Null) {
        return None;
    }
    Some(match op {
        CompareOp::Eq => same(left, right),
        CompareOp::NotEq => !same(left, right),
        _ => op.holds(order(left, right)),
    })
}

pub(crate) fn any_all(op: CompareOp, left: &Value, array: &Value, all: bool) -> Option<bool> {
    let Value::Array(items) = array else { return None };
    let mut quantifier = Quantifier { all, unknown: false };
    let decided = items.iter().find_map(|item| quantifier.add(compare(op, left, item)));
    decided.or_else(|| quantifier.end())
}

fn boolean(truth: Option<bool>) -> Value {
    truth.map_or(Value::Null, Value::Bool)
}

/// Adds a comparison to those before it: ANY is true, ALL is false, as soon as one is.
struct Quantifier {
    all: bool,
    unknown: bool,
}

impl Quantifier {
    /// The answer, if this comparison decides it.
    fn add(&mut self, truth: Option<bool>) -> Option<bool> {
        match truth {
            None => self.unknown = true,
            Some(truth) if truth != self.all => return Some(truth),
            Some(_) => {}
        }
        None
    }

    fn end(&self) -> Option<bool> {
        if self.unknown { None } else { Some(self.all) }
    }
}

impl Exec<'_> {
    /// How many values a slot holds.
    pub(super) fn width(&self, slot: Slot) -> usize {
        match slot {
            Slot::Unbound | Slot::Nulls => 0,
            Slot::Tuple { table, .. } => self.core.tables[table as usize].stride,
            Slot::Values(at) => self.act.values[usize::from(at)].len(),
            Slot::Buffer { width, .. } => usize::from(width),
        }
    }

    /// All values of a slot.
    pub(super) fn row(&self, slot: Slot) -> &[Value] {
        match slot {
            Slot::Unbound | Slot::Nulls => &[],
            Slot::Tuple { table, tuple } => self.core.tables[table as usize].row(tuple),
            Slot::Values(at) => &self.act.values[usize::from(at)],
            Slot::Buffer { buffer, width, start } => {
                &self.act.buffers[usize::from(buffer)][start as usize..start as usize + usize::from(width)]
            }
        }
    }

    /// A value of a bound slot.
    #[expect(clippy::inline_always, reason = "each expression comes through here")]
    #[inline(always)]
    pub(super) fn slot_value(&self, slot: Slot, column: usize) -> &Value {
        match slot {
            Slot::Tuple { table, tuple } => self.core.tables[table as usize].value(tuple, column),
            Slot::Values(at) => &self.act.values[usize::from(at)][column],
            Slot::Buffer { buffer, start, .. } => &self.act.buffers[usize::from(buffer)][start as usize + column],
            Slot::Nulls => &NULL,
            Slot::Unbound => panic!("an expression reads a slot that nothing has bound"),
        }
    }

    /// The value of an expression that needs no computing.
    #[expect(clippy::inline_always, reason = "each expression comes through here")]
    #[inline(always)]
    pub(super) fn look<'s>(&'s self, expr: &'s Expr) -> Option<&'s Value> {
        match expr {
            Expr::Const(value) => Some(value),
            Expr::Param(number) => Some(&self.act.params[usize::from(*number)]),
            Expr::Column { slot, column } => Some(self.slot_value(self.bound(*slot), usize::from(*column))),
            Expr::Once { number, .. } => self.act.onces[usize::from(*number)].as_ref(),
            _ => None,
        }
    }

    /// Whether a row passes a filter; the row's work is done then.
    pub(super) fn passes(&mut self, filter: Option<&Expr>) -> Result<bool, Interrupt> {
        let Some(filter) = filter else { return Ok(true) };
        let truth = self.qualifies(filter)?;
        self.row_done();
        Ok(truth)
    }

    /// Whether a condition holds. A row is out with the first term that is not true, be it NULL: what stands behind it is not evaluated.
    /// Source: PostgreSQL, src/backend/executor/execExpr.c, `ExecInitQual`.
    fn qualifies(&mut self, condition: &Expr) -> Result<bool, Interrupt> {
        let Expr::And(parts) = condition else { return Ok(self.test(condition)? == Some(true)) };
        for part in parts {
            if !self.qualifies(part)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The truth of a condition. Most are comparisons of what need not be computed.
    #[inline]
    pub(super) fn test(&mut self, expr: &Expr) -> Result<Option<bool>, Interrupt> {
        if let Expr::Compare { op, left, right } = expr
            && let (Some(left), Some(right)) = (self.look(left), self.look(right))
        {
            return Ok(compare(*op, left, right));
        }
        self.decide(expr)
    }

    /// The truth of a condition that has to be computed.
    #[inline(never)]
    fn decide(&mut self, expr: &Expr) -> Result<Option<bool>, Interrupt> {
        match expr {
            Expr::Compare { op, left, right } => self.compare(*op, left, right),
            Expr::And(parts) => self.connect(parts, false),
            Expr::Or(parts) => self.connect(parts, true),
            Expr::Not(inner) => Ok(self.test(inner)?.map(|truth| !truth)),
            Expr::IsNull { expr, negated } => {
                let null = match self.look(expr) {
                    Some(value) => matches!(value, Value::Null),
                    None => matches!(self.eval(expr)?, Value::Null),
                };
                Ok(Some(null != *negated))
            }
            Expr::IsBool { expr, value, negated } => Ok(Some((self.test(expr)? == Some(*value)) != *negated)),
            Expr::IsDistinct { left, right, negated } => {
                let (left, right) = (self.eval(left)?, self.eval(right)?);
                Ok(Some((order(&left, &right) != Ordering::Equal) != *negated))
            }
            Expr::AnyAll { op, left, array, all } => self.any_all(*op, left, array, *all),
            Expr::Rechecked { same, asked, doubtful } => self.rechecked(same, asked.as_deref(), *doubtful),
            Expr::Subquery { kind: SubqueryKind::Exists { negated }, root, .. } => {
                let exists = self.subquery(*root, |_| Ok(Some(())))?.is_some();
                Ok(Some(exists != *negated))
            }
            Expr::Subquery { kind: SubqueryKind::AnyAll { op, left, all }, root, output, column } => {
                let left = self.eval(left)?;
                let mut quantifier = Quantifier { all: *all, unknown: false };
                let decided = self.subquery(*root, |exec| {
                    let right = exec.slot_value(exec.bound(*output), usize::from(*column));
                    Ok(quantifier.add(compare(*op, &left, right)))
                })?;
                Ok(decided.or_else(|| quantifier.end()))
            }
            _ => match self.eval(expr)? {
                Value::Bool(truth) => Ok(Some(truth)),
                Value::Null => Ok(None),
                other => panic!("a condition gave {other:?}"),
            },
        }
    }

    fn compare(&mut self, op: CompareOp, left: &Expr, right: &Expr) -> Result<Option<bool>, Interrupt> {
        let left = self.eval(left)?;
        if let Some(right) = self.look(right) {
            return Ok(compare(op, &left, right));
        }
        let right = self.eval(right)?;
        Ok(compare(op, &left, &right))
    }

    /// AND (`decisive` is false) and OR (true).
    fn connect(&mut self, parts: &[Expr], decisive: bool) -> Result<Option<bool>, Interrupt> {
        let mut result = Some(!decisive);
        for part in parts {
            match self.test(part)? {
                Some(truth) if truth == decisive => return Ok(Some(decisive)),
                Some(_) => {}
                None => result = None,
            }
        }
        Ok(result)
    }

    fn any_all(&mut self, op: CompareOp, left: &Expr, array: &Expr, all: bool) -> Result<Option<bool>, Interrupt> {
        if let Some(Value::Array(items)) = self.look(array) {
            let count = items.len();
            self.spend_comparisons(count)?;
        }
        if let (Some(left), Some(array)) = (self.look(left), self.look(array)) {
            return Ok(any_all(op, left, array, all));
        }
        let left = self.eval(left)?;
        let array = self.eval(array)?;
        Ok(any_all(op, &left, &array, all))
    }

    /// The value of an expression.
    pub(super) fn eval(&mut self, expr: &Expr) -> Result<Value, Interrupt> {
        match self.look(expr) {
            Some(value) => Ok(value.clone()),
            None => self.compute(expr),
        }
    }

    /// The value of an expression that has to be computed.
    pub(super) fn compute(&mut self, expr: &Expr) -> Result<Value, Interrupt> {
        match expr {
            Expr::Case { arms, otherwise } => {
                for (condition, result) in arms {
                    if self.test(condition)? == Some(true) {
                        return self.eval(result);
                    }
                }
                otherwise.as_ref().map_or(Ok(Value::Null), |result| self.eval(result))
            }
            Expr::Coalesce(parts) => {
                for part in parts {
                    let value = self.eval(part)?;
                    if !matches!(value, Value::Null) {
                        return Ok(value);
                    }
                }
                Ok(Value::Null)
            }
            Expr::Array(items) => {
                let items: Result<Vec<Value>, Interrupt> = items.iter().map(|item| self.eval(item)).collect();
                self.array(items?)
            }
            Expr::Call { function, args } => {
                if let [left, right] = args.as_slice()
                    && let (Some(left), Some(right)) = (self.look(left), self.look(right))
                    && let Some(value) = crate::function::call_at_once(*function, left, right)
                {
                    return Ok(value?);
                }
                // Nobody asks for an element of no array. Source: PostgreSQL, execExpr.c, `ExecInitSubscriptingRef`.
                if *function == Function::ArrayElement && matches!(self.eval(&args[0])?, Value::Null) {
                    return Ok(Value::Null);
                }
                let args = self.eval_all(args)?;
                self.call(*function, &args)
            }
            Expr::ServerCall { function, args } if args.is_empty() => self.server_call(*function, &[]),
            Expr::ServerCall { function, args } => {
                let args = self.eval_all(args)?;
                self.server_call(*function, &args)
            }
            Expr::Once { number, expr } => {
                let value = self.eval(expr)?;
                self.act.onces[usize::from(*number)] = Some(value.clone());
                Ok(value)
            }
            Expr::NextVal(sequence) => self.remembered(|exec| exec.next_value(*sequence)),
            Expr::Subquery { kind: SubqueryKind::Scalar, root, output, column } => {
                let mut found = None;
                self.subquery(*root, |exec| {
                    if found.is_some() {
                        let message = "more than one row returned by a subquery used as an expression";
                        return Err(Error::new("21000", message));
                    }
                    found = Some(exec.slot_value(exec.bound(*output), usize::from(*column)).clone());
                    Ok(None::<()>)
                })?;
                Ok(found.unwrap_or(Value::Null))
            }
            Expr::Subquery { kind: SubqueryKind::Array, root, output, column } => {
                let mut items = Vec::new();
                self.subquery(*root, |exec| {
                    items.push(exec.slot_value(exec.bound(*output), usize::from(*column)).clone());
                    Ok(None::<()>)
                })?;
                self.array(items)
            }
            _ => Ok(boolean(self.test(expr)?)),
        }
    }

    fn array(&mut self, items: Vec<Value>) -> Result<Value, Interrupt> {
        let array = Value::Array(items.into());
        self.spend(super::budget::size(&array))?;
        Ok(array)
    }

    fn eval_all(&mut self, exprs: &[Expr]) -> Result<SmallVec<[Value; 4]>, Interrupt> {
        let mut values = SmallVec::with_capacity(exprs.len());
        for expr in exprs {
            values.push(self.eval(expr)?);
        }
        Ok(values)
    }

    /// Runs a subquery anew, until `each` has an answer or the rows end.
    fn subquery<T>(
        &mut self,
        root: NodeId,
        mut each: impl FnMut(&Self) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Interrupt> {
        self.rescan(root);
        self.spend(1)?;
        self.act.memo.depth += 1;
        let mut answer = None;
        while answer.is_none() && self.poll(root)? == Polled::Row {
            self.spend(1)?;
            answer = each(self)?;
        }
        self.act.memo.depth -= 1;
        Ok(answer)
    }

    /// The row that was worked on is done: nothing of it will be evaluated again.
    pub(super) fn row_done(&mut self) {
        let memo = &mut self.act.memo;
        if memo.depth == 0 && !memo.results.is_empty() {
            memo.results.clear();
            memo.next = 0;
        }
    }

    /// The result of a call that must not be made twice for a row. If the row's expressions are evaluated again after a wait, the
    /// calls that were made before it give what they gave then.
    pub(super) fn remembered(
        &mut self,
        call: impl FnOnce(&mut Self) -> Result<Value, Interrupt>,
    ) -> Result<Value, Interrupt> {
        let next = self.act.memo.next;
        let value = if let Some(known) = self.act.memo.results.get(next) {
            known.clone()
        } else {
            let value = call(self)?;
            self.act.memo.results.push(value.clone());
            value
        };
        self.act.memo.next = next + 1;
        Ok(value)
    }

    /// See [`Expr::Rechecked`].
    #[cold]
    fn rechecked(&mut self, same: &[Expr], asked: Option<&Expr>, doubtful: bool) -> Result<Option<bool>, Interrupt> {
        let newest = same.iter().map(|expr| self.eval(expr)).collect::<Result<Vec<Value>, Interrupt>>()?;
        self.exchange_versions();
        let found = same.iter().map(|expr| self.eval(expr)).collect::<Result<Vec<Value>, Interrupt>>();
        self.exchange_versions();
        if found?.iter().zip(&newest).all(|(left, right)| order(left, right) == Ordering::Equal) {
            return Ok(Some(true));
        }
        let Some(asked) = asked else { return Ok(Some(false)) };
        let truth = self.test(asked)? == Some(true);
        if truth == doubtful {
            let message =
                "a subquery in WHERE that may find other rows for the newest version of a row that was waited for";
            return Err(Error::refused(message).into());
        }
        Ok(Some(truth))
    }

    /// Whether the newest version of a row that was waited for still qualifies.
    pub(super) fn rechecks(&mut self, conditions: &[Expr]) -> Result<bool, Interrupt> {
        for condition in conditions {
            if !self.qualifies(condition)? {
                self.row_done();
                return Ok(false);
            }
        }
        self.row_done();
        Ok(true)
    }
}
