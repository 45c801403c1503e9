//! Aggregates and GROUP BY. Groups are given back in the order in which their first rows came.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::error::Error;
use crate::exec::sort::order_keys;
use crate::exec::{Exec, Interrupt, Polled, Stage};
use crate::function::{AggregateFunction, Function, Number, call};
use crate::plan::{Aggregate, Expr, NodeId, SlotId};
use crate::types::{Value, compare as order, same};

/// What an aggregate has been given in one group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Collected {
    /// Argument values of each row, and then its sort keys.
    rows: Vec<Vec<Value>>,
    /// `count`, so far.
    count: i64,
    /// `min` and `max`, so far.
    best: Option<Value>,
}

impl Collected {
    /// Takes a value, none for `count(*)`, where no rows are kept.
    fn count(&mut self, aggregate: &Aggregate, value: Option<&Value>) {
        if matches!(value, Some(Value::Null)) {
            return;
        }
        let worse = match aggregate.function {
            AggregateFunction::Min => Ordering::Greater,
            AggregateFunction::Max => Ordering::Less,
            _ => {
                self.count += 1;
                return;
            }
        };
        let Some(value) = value else { return };
        // Of two equal ones the later stays, as in `numeric_larger` and its kin.
        if self.best.as_ref().is_none_or(|best| order(value, best) != worse) {
            self.best = Some(value.clone());
        }
    }

    /// What it has come to, without rows.
    #[inline]
    fn counted(&mut self, aggregate: &Aggregate) -> Value {
        match aggregate.function {
            AggregateFunction::Min | AggregateFunction::Max => self.best.take().unwrap_or(Value::Null),
            _ => Value::Int(self.count),
        }
    }

    pub(super) fn add(&mut self, aggregate: &Aggregate, row: SmallVec<[Value; 2]>) {
        if is_counted(aggregate) {
            self.count(aggregate, row.first());
        } else {
            self.rows.push(row.into_vec());
        }
    }
}

/// Whether an aggregate needs no more than what it has come to so far.
fn is_counted(aggregate: &Aggregate) -> bool {
    match aggregate.function {
        AggregateFunction::Count => !aggregate.distinct,
        AggregateFunction::Min | AggregateFunction::Max => true,
        _ => false,
    }
}

/// The groups of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    count: usize,
    /// Of all groups, one after another.
    keys: Vec<Value>,
    /// One an aggregate, group by group.
    collected: Vec<Collected>,
}

impl Exec<'_> {
    #[inline(never)]
    pub(super) fn poll_aggregate(
        &mut self,
        node: NodeId,
        input: NodeId,
        slot: SlotId,
        keys: &[Expr],
        aggregates: &[Aggregate],
    ) -> Result<Polled, Interrupt> {
        let place = usize::from(node);
        if self.state(node).stage == Stage::Fresh {
            self.act.groups.resize_with(self.act.groups.len().max(place + 1), Groups::default);
            let groups = &mut self.act.groups[place];
            groups.count = usize::from(keys.is_empty());
            groups.keys.clear();
            groups.collected.clear();
            if keys.is_empty() {
                groups.collected.resize_with(aggregates.len(), Collected::default);
            }
            self.state(node).stage = Stage::Input;
        }
        while self.state(node).stage != Stage::Return {
            if self.input(node, input)? == Polled::End {
                self.state(node).stage = Stage::Return;
                break;
            }
            self.collect(node, keys, aggregates)?;
            self.state(node).stage = Stage::Input;
        }
        let at = self.state(node).at as usize;
        let groups = &mut self.act.groups[place];
        if at == groups.count {
            return Ok(Polled::End);
        }
        let row = &mut self.act.values[super::place(slot)];
        row.clear();
        row.extend_from_slice(&groups.keys[at * keys.len()..][..keys.len()]);
        for (number, aggregate) in aggregates.iter().enumerate() {
            let collected = &mut groups.collected[at * aggregates.len() + number];
            row.push(if is_counted(aggregate) {
                collected.counted(aggregate)
            } else {
                result(aggregate, std::mem::take(collected))?
            });
        }
        self.bind_values(slot);
        self.state(node).at += 1;
        Ok(Polled::Row)
    }

    /// Whether an aggregate takes every row, and its argument needs no computing.
    fn is_at_hand(&self, aggregate: &Aggregate) -> bool {
        is_counted(aggregate)
            && aggregate.filter.is_none()
            && aggregate.order.is_empty()
            && aggregate.args.iter().all(|arg| self.look(arg).is_some())
    }

    /// Gives a row of the input to its group. First everything is evaluated, since that may wait.
    fn collect(&mut self, node: NodeId, keys: &[Expr], aggregates: &[Aggregate]) -> Result<(), Interrupt> {
        if keys.is_empty() && aggregates.iter().all(|aggregate| self.is_at_hand(aggregate)) {
            let mut collected = std::mem::take(&mut self.act.groups[usize::from(node)].collected);
            for (aggregate, collected) in aggregates.iter().zip(&mut collected) {
                collected.count(aggregate, aggregate.args.first().and_then(|arg| self.look(arg)));
            }
            self.act.groups[usize::from(node)].collected = collected;
            return Ok(());
        }
        let mut key = SmallVec::<[Value; 4]>::new();
        for expr in keys {
            key.push(self.eval(expr)?);
        }
        let mut given = SmallVec::<[Option<SmallVec<[Value; 2]>>; 4]>::new();
        for aggregate in aggregates {
            let counts = match &aggregate.filter {
                Some(filter) => self.test(filter)? == Some(true),
                None => true,
            };
            if !counts {
                given.push(None);
                continue;
            }
            let mut row = SmallVec::new();
            for expr in aggregate.args.iter().chain(aggregate.order.iter().map(|key| &key.expr)) {
                row.push(self.eval(expr)?);
            }
            given.push(Some(row));
        }
        self.row_done();
        let compared = self.act.groups[usize::from(node)].count;
        self.spend_comparisons(compared)?;
        let kept = given.iter().flatten().flatten().chain(&key).map(|value| 1 + super::budget::size(value));
        self.spend(kept.sum())?;
        let groups = &mut self.act.groups[usize::from(node)];
        let is_group = |group: &usize| {
            let other = &groups.keys[group * keys.len()..][..keys.len()];
            other.iter().zip(&key).all(|(left, right)| same(left, right))
        };
        let group = (0..groups.count).find(is_group).unwrap_or_else(|| {
            groups.count += 1;
            groups.keys.extend(key);
            groups.collected.resize_with(groups.count * aggregates.len(), Collected::default);
            groups.count - 1
        });
        for (number, (row, aggregate)) in given.into_iter().zip(aggregates).enumerate() {
            if let Some(row) = row {
                let collected = &mut groups.collected[group * aggregates.len() + number];
                collected.add(aggregate, row);
            }
        }
        Ok(())
    }
}

/// The value of an aggregate over what it was given.
pub(super) fn result(aggregate: &Aggregate, mut collected: Collected) -> Result<Value, Error> {
    if is_counted(aggregate) {
        return Ok(collected.counted(aggregate));
    }
    let args = aggregate.args.len();
    if !aggregate.order.is_empty() {
        collected.rows.sort_by(|left, right| order_keys(&aggregate.order, &left[args..], &right[args..]));
    }
    if aggregate.distinct {
        if aggregate.order.is_empty() {
            collected.rows.sort_by(|left, right| order(&left[0], &right[0]));
        }
        collected.rows.dedup_by(|left, right| order(&left[0], &right[0]).is_eq());
    }
    let separators: Vec<Value> =
        collected.rows.iter_mut().filter(|row| args > 1 && row.len() > 1).map(|row| row.swap_remove(1)).collect();
    let mut values = collected.rows.into_iter().map(|mut row| row.swap_remove(0));
    let present = |value: &Value| !matches!(value, Value::Null);
    match aggregate.function {
        AggregateFunction::Count => Ok(Value::Int(i64::try_from(values.filter(present).count()).expect("it fits"))),
        AggregateFunction::Sum => {
            let sum = values.filter(present).try_fold(None, |sum, value| match sum {
                None => Ok::<_, Error>(Some(value)),
                Some(sum) => crate::function::add(&sum, &value).map(Some),
            })?;
            Ok(sum.unwrap_or(Value::Null))
        }
        AggregateFunction::Min | AggregateFunction::Max => unreachable!("counted, not collected"),
        AggregateFunction::BoolAnd | AggregateFunction::BoolOr => {
            let decisive = aggregate.function == AggregateFunction::BoolOr;
            let mut any = false;
            let decided = values.by_ref().filter(present).any(|value| {
                any = true;
                value == Value::Bool(decisive)
            });
            Ok(if any { Value::Bool(decided == decisive) } else { Value::Null })
        }
        AggregateFunction::Avg => average(values.filter(present)),
        AggregateFunction::JsonbAgg => {
            let items: Vec<Value> = values.collect();
            if items.is_empty() { Ok(Value::Null) } else { call(Function::JsonbBuildArray, &items) }
        }
        AggregateFunction::JsonbObjectAgg => {
            let pairs: Vec<Value> = values.zip(separators).flat_map(|(key, value)| [key, value]).collect();
            if pairs.iter().step_by(2).any(|key| matches!(key, Value::Null)) {
                return Err(Error::new("22023", "field name must not be null"));
            }
            if pairs.is_empty() { Ok(Value::Null) } else { call(Function::JsonbBuildObject, &pairs) }
        }
        AggregateFunction::ArrayAgg => {
            let items: Vec<Value> = values.collect();
            Ok(if items.is_empty() { Value::Null } else { Value::Array(items.into()) })
        }
        AggregateFunction::StringAgg => {
            let mut text: Option<String> = None;
            for (value, separator) in values.zip(separators) {
                let Value::Text(part) = value else { continue };
                match &mut text {
                    None => text = Some(part.to_string()),
                    Some(text) => {
                        if let Value::Text(separator) = separator {
                            text.push_str(&separator);
                        }
                        crate::function::bounded_text(text.len() + part.len())?;
                        text.push_str(&part);
                    }
                }
            }
            Ok(text.map_or(Value::Null, |text| Value::Text(text.into())))
        }
    }
}

/// `avg`: the sum, divided by how many there are.
fn average(values: impl Iterator<Item = Value>) -> Result<Value, Error> {
    let mut count = 0_i64;
    let sum = values.inspect(|_| count += 1).try_fold(None, |sum, value| match sum {
        None => Ok::<_, Error>(Some(value)),
        Some(sum) => crate::function::add(&sum, &value).map(Some),
    })?;
    let Some(sum) = sum else { return Ok(Value::Null) };
    let count = Value::Numeric(crate::types::numeric::from_int(count).into());
    call(Function::Divide(Number::Numeric), &[sum, count])
}
