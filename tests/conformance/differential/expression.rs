//! Random typed expressions and queries over one table, as text.

use super::choices::Choices;
use super::grammar::Ty::{self, Bool, Int2, Int4, Int8, Numeric, Text};
use super::grammar::{ANY, ARRAYS, NUMBERS, forms};

/// How deep expressions nest.
const DEPTH_MAX: usize = 4;

/// What an expression may read, and how deep it is.
struct Maker<'c, 't> {
    choices: &'c mut Choices<'t>,
    /// Columns of the table can be read.
    columns: bool,
}

impl Maker<'_, '_> {
    fn leaf(&mut self, ty: Ty) -> String {
        let columns = ty.columns();
        if self.columns && !columns.is_empty() && self.choices.below(3) > 0 {
            return self.choices.of(columns).to_owned();
        }
        let literals = if self.choices.one_in(8) { ty.untyped() } else { ty.literals() };
        self.choices.of(literals).to_owned()
    }

    fn make(&mut self, ty: Ty, depth: usize) -> String {
        // One argument in forty is of any type: PostgreSQL's errors are part of it.
        let ty = if self.choices.one_in(40) { self.choices.of(&ANY) } else { ty };
        if depth >= DEPTH_MAX || self.choices.below(5) < 2 {
            return self.leaf(ty);
        }
        match self.choices.below(12) {
            0..=6 => self.form(ty, depth),
            7 | 8 if ty == Bool => self.comparison(depth),
            7 | 8 => self.arithmetic(ty, depth),
            9 if ty == Bool => self.membership(depth),
            9 => {
                let (left, right) = (self.make(ty, depth + 1), self.make(ty, depth + 1));
                let name = self.choices.of(&["coalesce", "nullif", "greatest", "least"]);
                format!("{name}({left}, {right})")
            }
            10 => self.case(ty, depth),
            _ if ty == Bool => {
                let ty = self.choices.of(&ANY);
                let value = self.make(ty, depth + 1);
                format!("({value} IS {}NULL)", self.choices.of(&["", "NOT "]))
            }
            _ => format!("(SELECT {})", self.make(ty, depth + 1)),
        }
    }

    fn form(&mut self, ty: Ty, depth: usize) -> String {
        let (form, args) = self.choices.of(forms(ty));
        let mut text = form.to_owned();
        for (place, arg) in args.iter().enumerate() {
            let arg = self.make(*arg, depth + 1);
            text = text.replace(&format!("${}", place + 1), &arg);
        }
        format!("({text})")
    }

    fn arithmetic(&mut self, ty: Ty, depth: usize) -> String {
        let Some(rank) = [Int2, Int4, Int8, Numeric].iter().position(|number| *number == ty) else {
            return self.form(ty, depth);
        };
        if self.choices.one_in(6) {
            let value = self.make(ty, depth + 1);
            return self.choices.of(&["(- V)", "abs(V)", "(+ V)"]).replace('V', &value);
        }
        let other = [Int2, Int4, Int8, Numeric][self.choices.below(rank + 1)];
        let (mut left, mut right) = (self.make(ty, depth + 1), self.make(other, depth + 1));
        if self.choices.one_in(2) {
            std::mem::swap(&mut left, &mut right);
        }
        format!("({left} {} {right})", self.choices.of(&["+", "-", "*", "/", "%"]))
    }

    /// Two values that can be compared, mostly.
    fn pair(&mut self, depth: usize) -> (String, String) {
        let left = self.choices.of(&ANY);
        let right = if NUMBERS.contains(&left) { self.choices.of(&NUMBERS) } else { left };
        (self.make(left, depth + 1), self.make(right, depth + 1))
    }

    fn comparison(&mut self, depth: usize) -> String {
        let (left, right) = self.pair(depth);
        let operators = ["=", "<", "<>", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"];
        format!("({left} {} {right})", self.choices.of(&operators))
    }

    fn membership(&mut self, depth: usize) -> String {
        let operator = self.choices.of(&["=", "<>", "<", ">="]);
        match self.choices.below(4) {
            0 => {
                let ty = self.choices.of(&ANY);
                let value = self.make(ty, depth + 1);
                let count = 1 + self.choices.below(3);
                let list: Vec<String> = (0..count).map(|_| self.make(ty, depth + 1)).collect();
                format!("({value} {}IN ({}))", self.choices.of(&["", "NOT "]), list.join(", "))
            }
            quantifier => {
                let array = self.choices.of(&ARRAYS);
                let (value, array) = (self.make(array.element(), depth + 1), self.make(array, depth + 1));
                format!("({value} {operator} {} ({array}))", if quantifier == 1 { "ALL" } else { "ANY" })
            }
        }
    }

    fn case(&mut self, ty: Ty, depth: usize) -> String {
        let result = self.make(ty, depth + 1);
        let otherwise =
            if self.choices.one_in(3) { String::new() } else { format!(" ELSE {}", self.make(ty, depth + 1)) };
        if self.choices.one_in(3) {
            let (left, right) = self.pair(depth);
            return format!("(CASE {left} WHEN {right} THEN {result}{otherwise} END)");
        }
        let condition = self.make(Bool, depth + 1);
        format!("(CASE WHEN {condition} THEN {result}{otherwise} END)")
    }

    fn aggregate(&mut self) -> String {
        let distinct = self.choices.of(&["", "DISTINCT "]);
        let ty = self.choices.of(&ANY);
        let call = match self.choices.below(8) {
            0 => "count(*)".to_owned(),
            1 => format!("count({distinct}{})", self.make(ty, 2)),
            2 => {
                let number = self.choices.of(&NUMBERS);
                format!("sum({distinct}{})", self.make(number, 2))
            }
            3 => format!("{}({})", self.choices.of(&["min", "max"]), self.make(ty, 2)),
            4 => format!("{}({})", self.choices.of(&["bool_and", "bool_or", "every"]), self.make(Bool, 2)),
            5 => format!("string_agg({}, ',' ORDER BY id{})", self.make(Text, 2), self.choices.of(&["", " DESC"])),
            6 => {
                let value = self.make(ty, 3);
                format!(
                    "array_agg(DISTINCT {value} ORDER BY {value}{})",
                    self.choices.of(&["", " DESC", " NULLS FIRST"])
                )
            }
            _ => format!("array_agg({} ORDER BY {}, id)", self.make(ty, 2), self.make(Text, 3)),
        };
        if self.choices.one_in(4) {
            return format!("{call} FILTER (WHERE {})", self.make(Bool, 2));
        }
        call
    }

    fn order(&mut self) -> &'static str {
        self.choices.of(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST", " ASC NULLS LAST"])
    }

    fn query(&mut self) -> String {
        let ty = self.choices.of(&ANY);
        self.columns = false;
        let kind = self.choices.below(10);
        if kind < 3 {
            return format!("SELECT {}", self.make(ty, 0));
        }
        self.columns = true;
        match kind {
            3 | 4 => format!("SELECT {} FROM v ORDER BY id", self.make(ty, 0)),
            5 => format!("SELECT id FROM v WHERE {} ORDER BY id", self.make(Bool, 0)),
            6 => {
                let aggregate = self.aggregate();
                if self.choices.one_in(2) {
                    return format!("SELECT {aggregate}, {} FROM v", self.aggregate());
                }
                format!("SELECT {aggregate} FROM v WHERE {}", self.make(Bool, 2))
            }
            7 => {
                let key = self.make(ty, 2);
                let (aggregate, order) = (self.aggregate(), self.order());
                format!("SELECT {key} AS k, {aggregate} FROM v GROUP BY 1 ORDER BY 1{order}")
            }
            8 => format!("SELECT DISTINCT {} FROM v ORDER BY 1{}", self.make(ty, 1), self.order()),
            _ => {
                let (key, order) = (self.make(ty, 1), self.order());
                let limit = self.choices.of(&["", " LIMIT 3", " OFFSET 2", " LIMIT 2 OFFSET 1"]);
                format!("SELECT id, t FROM v ORDER BY {key}{order}, id{limit}")
            }
        }
    }
}

/// A query, whose rows come in an order that the query says.
pub(crate) fn query(numbers: &[u16]) -> String {
    Maker { choices: &mut Choices::new(numbers), columns: false }.query()
}

/// The table that the expressions read.
pub(crate) const TABLE: [&str; 2] = [
    "CREATE TABLE v (id int PRIMARY KEY, p boolean, q boolean, s smallint, i int, j int NOT NULL, b bigint, n numeric, t text, \
     u text NOT NULL, o jsonb, z timestamptz, ia int[], ta text[])",
    "INSERT INTO v VALUES \
     (1, true, false, 1, 5, 1, 10, 1.5, 'a', 'x', '{\"a\": 1}', '2024-01-31 12:00:00+00', '{1,2}', '{a,b}'), \
     (2, false, true, -1, NULL, 2, NULL, 2.50, 'B', 'y', '[1, 2]', '2000-01-01 00:00:00+00', '{}', '{a}'), \
     (3, NULL, true, NULL, 2147483647, -3, 9223372036854775807, NULL, NULL, '', 'null', NULL, NULL, NULL), \
     (4, true, NULL, 32767, 0, 0, 0, 0, '', 'ab', '\"a\"', '2024-01-31 12:00:00.25+00', '{NULL,3}', '{NULL,\"\"}'), \
     (5, false, false, 0, -7, 5, -9223372036854775808, -0.001, 'ab', 'a', NULL, '1999-12-31 23:59:59+00', '{1,2,3}', '{}'), \
     (6, NULL, NULL, 7, 5, 1, 10, 1.50, 'A', 'x', '{\"a\": {\"b\": [1]}, \"c\": 1.0}', NULL, '{1,2}', '{b,a}')",
];
