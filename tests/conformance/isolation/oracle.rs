//! Is the judge sound? Small histories, of any kind, are judged by trying every order, and adya must say the same.
//!
//! A history here has up to four transactions at the same time and a last one that reads all. Reads are drawn, not executed, so that most
//! histories are wrong in some way. For each level an order is looked for that explains what was read:
//!
//! - READ COMMITTED: an order of commits in which each list is written, and each read sees a beginning of its list that ends with the last
//!   write of a transaction before the reader, or with its own.
//! - REPEATABLE READ: an order of starts and commits; who starts sees all that was committed before; of two that overlap only one writes a key.
//! - SERIALIZABLE: an order of transactions.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::test_runner::TestCaseError;

use super::history::{Kind, Op, Unit};
use super::judge::{Level, faults_under};
use crate::differential::check;
use crate::differential::choices::Choices;

const CASES: u32 = 1500;
const KEYS: usize = 2;

/// The lists at the end are a random mix of what was appended; each read is a random beginning of one, and what the reader itself has appended by then.
fn draw(numbers: &[u16]) -> Vec<Unit> {
    let mut choices = Choices::new(numbers);
    let count = 2 + choices.below(3);
    let mut units = Vec::new();
    let mut lists: [Vec<i64>; KEYS] = Default::default();
    for begun in 0..count {
        let mut ops = Vec::new();
        for number in 0..=choices.below(3) {
            let key = choices.below(KEYS);
            if choices.below(2) == 0 {
                ops.push(Op::Read { key, values: Vec::new() });
                continue;
            }
            let value = i64::try_from(begun * 10 + number).expect("small");
            ops.push(Op::Write { key, value });
            let list = &mut lists[key];
            // A transaction's writes stand in order, and mostly together.
            let own = list.iter().rposition(|other| other / 10 == value / 10).map_or(0, |own| own + 1);
            let together = own > 0 && choices.below(4) > 0;
            let place = if together { own } else { own + choices.below(list.len() + 1 - own) };
            list.insert(place, value);
        }
        units.push(Unit { begun, ended: count + begun, committed: true, ops });
    }
    for (number, unit) in units.iter_mut().enumerate() {
        let mut own = [0; KEYS];
        for op in &mut unit.ops {
            match op {
                Op::Write { key, value } => {
                    own[*key] = lists[*key].iter().position(|other| other == value).expect("it was put there") + 1;
                }
                Op::Read { key, values } => {
                    let list = &lists[*key];
                    // Nobody reads what he has yet to write: see `History::impossible`.
                    let is_own = |value: &i64| value / 10 == i64::try_from(number).expect("small");
                    let own_first = list.iter().position(is_own).unwrap_or(list.len());
                    let length = if own[*key] > 0 { own[*key] } else { choices.below(own_first + 1) };
                    *values = list[..length].to_vec();
                }
            }
        }
    }
    let ops = lists.into_iter().enumerate().map(|(key, values)| Op::Read { key, values }).collect();
    units.push(Unit { begun: 2 * count, ended: 2 * count + 1, committed: true, ops });
    units
}

/// All orders of `count` things that come `times` each.
fn orders(count: usize, times: usize) -> Vec<Vec<usize>> {
    let mut found = vec![Vec::new()];
    for _ in 0..count * times {
        let longer = |order: Vec<usize>| {
            let open = move |one: &usize, order: &[usize]| order.iter().filter(|other| *other == one).count() < times;
            let next: Vec<usize> = (0..count).filter(|one| open(one, &order)).collect();
            next.into_iter().map(move |one| [order.as_slice(), &[one]].concat())
        };
        found = found.into_iter().flat_map(longer).collect();
    }
    found
}

/// Orders, by how many there are of what: to make them takes longer than to try them.
struct Orders(BTreeMap<(usize, usize), Vec<Vec<usize>>>);

impl Orders {
    fn new() -> Self {
        Self((2..=4).flat_map(|count| [1, 2].map(|times| ((count, times), orders(count, times)))).collect())
    }

    /// Whether one of them will do.
    fn any(&self, units: &[Unit], times: usize, explains: impl Fn(&[usize]) -> bool) -> bool {
        self.0[&(units.len(), times)].iter().any(|order| explains(order))
    }
}

type Lists = BTreeMap<usize, Vec<i64>>;

/// Executes a transaction on lists, and whether it reads what it has read.
fn explains(unit: &Unit, lists: &mut Lists) -> bool {
    unit.ops.iter().all(|op| match op {
        Op::Write { key, value } => {
            lists.entry(*key).or_default().push(*value);
            true
        }
        Op::Read { key, values } => lists.get(key).map_or(&[][..], Vec::as_slice) == values.as_slice(),
    })
}

fn writes(unit: &Unit) -> impl Iterator<Item = (usize, i64)> {
    unit.ops.iter().filter_map(|op| match op {
        Op::Write { key, value } => Some((*key, *value)),
        Op::Read { .. } => None,
    })
}

fn is_serializable(orders: &Orders, units: &[Unit]) -> bool {
    let (last, others) = units.split_last().expect("the one that reads all");
    orders.any(others, 1, |order| {
        let mut lists = Lists::new();
        order.iter().all(|one| explains(&others[*one], &mut lists)) && explains(last, &mut lists)
    })
}

fn is_snapshot_isolated(orders: &Orders, units: &[Unit]) -> bool {
    let (last, others) = units.split_last().expect("the one that reads all");
    orders.any(others, 2, |order| {
        let mut lists = Lists::new();
        let mut begun: BTreeMap<usize, usize> = BTreeMap::new();
        let mut committed: Vec<(usize, usize)> = Vec::new();
        let holds = order.iter().enumerate().all(|(time, one)| {
            let unit = &others[*one];
            let Some(start) = begun.get(one).copied() else {
                begun.insert(*one, time);
                return explains(unit, &mut lists.clone());
            };
            let meets = |other: &usize| writes(&others[*other]).any(|(key, _)| writes(unit).any(|(to, _)| to == key));
            let is_first = committed.iter().all(|(end, other)| *end < start || !meets(other));
            writes(unit).for_each(|(key, value)| lists.entry(key).or_default().push(value));
            committed.push((time, *one));
            is_first
        });
        holds && explains(last, &mut lists)
    })
}

fn is_read_committed(orders: &Orders, units: &[Unit]) -> bool {
    let (last, others) = units.split_last().expect("the one that reads all");
    orders.any(others, 1, |order| {
        let mut lists = Lists::new();
        for one in order {
            writes(&others[*one]).for_each(|(key, value)| lists.entry(key).or_default().push(value));
        }
        let ends = |key: usize, value: i64, before: usize| {
            order[..before]
                .iter()
                .any(|one| writes(&others[*one]).filter(|(to, _)| *to == key).last() == Some((key, value)))
        };
        let reads = |(place, one): (usize, &usize)| {
            let mut own = Vec::new();
            others[*one].ops.iter().all(|op| match op {
                Op::Write { key, value } => {
                    own.push((*key, *value));
                    true
                }
                Op::Read { key, values } => {
                    values.last().is_none_or(|value| own.contains(&(*key, *value)) || ends(*key, *value, place))
                }
            })
        };
        explains(last, &mut lists) && order.iter().enumerate().all(reads)
    })
}

fn show(units: &[Unit]) -> String {
    units.iter().map(|unit| format!("{:?}", unit.ops)).collect::<Vec<_>>().join("\n")
}

#[test]
fn adya_says_what_trying_every_order_says() {
    let orders = Orders::new();
    // By level: how many histories were right, and how many wrong.
    let counts = std::cell::RefCell::new([[0; 2]; 3]);
    check(CASES, &vec(any::<u16>(), 40).prop_map(|numbers| draw(&numbers)), |units| {
        for level in Level::ALL {
            let (model, holds) = match level {
                Level::ReadCommitted => ("read-committed", is_read_committed(&orders, &units)),
                Level::RepeatableRead => ("snapshot-isolation", is_snapshot_isolated(&orders, &units)),
                Level::Serializable => ("serializable", is_serializable(&orders, &units)),
            };
            let faults = faults_under(Kind::Lists, &units, model);
            counts.borrow_mut()[level as usize][usize::from(!holds)] += 1;
            if faults.is_empty() != holds {
                let shown = show(&units);
                return Err(TestCaseError::fail(format!("{model}: {holds} by trial, but adya: {faults:?}\n{shown}")));
            }
        }
        Ok(())
    });
    let counts = counts.into_inner();
    println!("right and wrong by level: {counts:?}");
    assert!(counts.iter().flatten().all(|count| count * 20 > CASES), "too one-sided to say anything: {counts:?}");
}
