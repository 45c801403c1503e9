//! Plans as text, for tests: which access path, which filter where, which types.

use std::fmt::Write;

use crate::catalog::{Catalog, TableId};
use crate::plan::{
    Body, ConflictAction, Difference, EXCLUDED, Expr, Node, NodeId, OWN_ROW, OnConflict, Plan, Query, Returning,
    SlotId, SubqueryKind,
};
use crate::types::Value;
use crate::types::text::type_name;

/// The plan as an indented tree: a node a line, its inputs below it, WITH queries first.
pub(crate) fn explain(plan: &Plan, catalog: &Catalog) -> String {
    let query = match &plan.body {
        Body::Query(query) => query,
        Body::Utility(utility) => return format!("{utility:?}\n"),
    };
    let mut text = Text { catalog, query, out: String::new() };
    if !plan.params.is_empty() {
        let params: Vec<String> = plan.params.iter().map(|ty| type_name(*ty)).collect();
        text.line(0, &format!("params: {}", params.join(", ")));
    }
    for (table, mode) in &query.locks {
        text.line(0, &format!("lock {} {mode:?}", text.table(*table)));
    }
    for (number, cte) in query.ctes.iter().enumerate() {
        text.line(0, &format!("with c{number}{}", if cte.modifies { ", modifies" } else { "" }));
        text.node(cte.root, 1);
    }
    text.node(query.root, 0);
    text.out
}

struct Text<'a> {
    catalog: &'a Catalog,
    query: &'a Query,
    out: String,
}

impl Text<'_> {
    fn line(&mut self, depth: usize, line: &str) {
        writeln!(self.out, "{:width$}{line}", "", width = depth * 2).expect("a String takes all");
    }

    fn table(&self, table: TableId) -> String {
        let def = self.catalog.table(table);
        if *def.schema == *"public" { def.name.to_string() } else { format!("{}.{}", def.schema, def.name) }
    }

    fn node(&mut self, id: NodeId, depth: usize) {
        let query = self.query;
        let node = &query.nodes[usize::from(id)];
        let line = self.head(node);
        self.line(depth, &line);
        let (exprs, inputs) = crate::compile::visit::node_children(node);
        for expr in exprs {
            self.subqueries(expr, depth + 1);
        }
        for input in inputs {
            self.node(input, depth + 1);
        }
    }

    fn subqueries(&mut self, expr: &Expr, depth: usize) {
        if let Expr::Subquery { root, .. } = expr {
            self.line(depth, &format!("subquery n{root}"));
            self.node(*root, depth + 1);
        }
        for child in crate::compile::visit::expr_children(expr) {
            self.subqueries(child, depth);
        }
    }

    fn head(&self, node: &Node) -> String {
        let filter = |filter: &Option<Expr>| {
            filter.as_ref().map_or(String::new(), |filter| format!(" where {}", self.expr(filter)))
        };
        match node {
            Node::OneRow => "OneRow".to_owned(),
            Node::Values { slot, rows } => {
                let rows: Vec<String> = rows.iter().map(|row| format!("({})", self.exprs(row))).collect();
                format!("Values -> s{slot}: {}", rows.join(", "))
            }
            Node::SeqScan { slot, table, bitmap, filter: test } => {
                let name = if *bitmap { "BitmapScan" } else { "SeqScan" };
                format!("{name} {} -> s{slot}{}", self.table(*table), filter(test))
            }
            Node::IndexScan { slot, table, index, keys, filter: test } => {
                let name = &self.catalog.table(*table).indexes[usize::from(*index)].name;
                format!("IndexScan {} -> s{slot} by {name} ({}){}", self.table(*table), self.exprs(keys), filter(test))
            }
            Node::ViewScan { slot, view, filter: test } => format!("ViewScan {view:?} -> s{slot}{}", filter(test)),
            Node::FunctionScan { slot, function, args, ordinality, filter: test } => {
                let numbered = if *ordinality { " with ordinality" } else { "" };
                format!("FunctionScan {function:?}({}){numbered} -> s{slot}{}", self.exprs(args), filter(test))
            }
            Node::CteScan { slots, cte, filter: test } => {
                let slots: Vec<String> = slots.iter().map(|slot| slot_name(*slot)).collect();
                format!("CteScan c{cte} -> {}{}", slots.join(", "), filter(test))
            }
            Node::NestLoop { outer: _, inner: _, kind, on, inner_slots: _ } => {
                format!("NestLoop {kind:?}{}", filter(on))
            }
            Node::Filter { input: _, condition } => format!("Filter {}", self.expr(condition)),
            Node::Project { input: _, slot, exprs } => format!("Project -> s{slot}: {}", self.exprs(exprs)),
            Node::Distinct { input: _, slot } => format!("Distinct s{slot}"),
            Node::Append { inputs: _, slot } => format!("Append -> s{slot}"),
            Node::SetOperation { inputs: _, slot, how: Difference { except, all } } => {
                let name = if *except { "Except" } else { "Intersect" };
                format!("{name}{} -> s{slot}", if *all { " all" } else { "" })
            }
            node => self.head_of_rows(node),
        }
    }

    /// The nodes that read all their input, or change rows.
    fn head_of_rows(&self, node: &Node) -> String {
        let when = |what: &str, exprs: &[Expr]| {
            if exprs.is_empty() { String::new() } else { format!(" {what} {}", self.exprs(exprs)) }
        };
        match node {
            Node::Aggregate { input: _, slot, keys, aggregates } => {
                let all: Vec<String> = aggregates
                    .iter()
                    .map(|aggregate| {
                        let distinct = if aggregate.distinct { "distinct " } else { "" };
                        let filter =
                            aggregate.filter.as_ref().map_or(String::new(), |f| format!(" filter {}", self.expr(f)));
                        format!("{:?}({distinct}{}){filter}", aggregate.function, self.exprs(&aggregate.args))
                    })
                    .collect();
                format!("Aggregate -> s{slot}:{} {}", when("by", keys), all.join(", "))
            }
            Node::Sort { input: _, slots: _, keys } => {
                let keys: Vec<String> = keys
                    .iter()
                    .map(|key| {
                        let desc = if key.descending { " desc" } else { "" };
                        let nulls = if key.nulls_first == key.descending { "" } else { " nulls moved" };
                        format!("{}{desc}{nulls}", self.expr(&key.expr))
                    })
                    .collect();
                format!("Sort {}", keys.join(", "))
            }
            Node::Window { input: _, slots: _, slot, parts: _, keys: _, calls } => {
                format!("Window -> s{slot}: {calls:?}")
            }
            Node::Limit { input: _, limit, offset } => {
                let text = |name: &str, expr: &Option<Expr>| {
                    expr.as_ref().map_or(String::new(), |expr| format!(" {name} {}", self.expr(expr)))
                };
                format!("Limit{}{}", text("limit", limit), text("offset", offset))
            }
            Node::LockRows { input: _, targets, again } => {
                let targets: Vec<String> = targets
                    .iter()
                    .map(|target| format!("s{} {:?} {:?}", target.slot, target.strength, target.wait))
                    .collect();
                format!("LockRows {}{}", targets.join(", "), when("recheck", &again.recheck))
            }
            Node::Insert { input: _, source, table, on_conflict, returning } => {
                let conflict = on_conflict.as_ref().map_or(String::new(), |conflict| self.conflict(*table, conflict));
                format!("Insert {} from s{source}{conflict}{}", self.table(*table), self.returning(returning.as_ref()))
            }
            Node::Update { input: _, target, table, set, recheck, returning } => {
                let set = self.set(*table, set);
                let again = when("recheck", recheck);
                format!(
                    "Update {} s{target} set {set}{again}{}",
                    self.table(*table),
                    self.returning(returning.as_ref())
                )
            }
            Node::Delete { input: _, target, table, recheck, returning } => {
                let again = when("recheck", recheck);
                format!("Delete {} s{target}{again}{}", self.table(*table), self.returning(returning.as_ref()))
            }
            _ => String::new(),
        }
    }

    fn conflict(&self, table: TableId, conflict: &OnConflict) -> String {
        let OnConflict { arbiter, action } = conflict;
        let name = arbiter.map_or("any", |arbiter| &*self.catalog.table(table).indexes[usize::from(arbiter)].name);
        match action {
            ConflictAction::Nothing => format!(" on conflict {name} nothing"),
            ConflictAction::Update { existing, set, condition } => {
                let condition =
                    condition.as_ref().map_or(String::new(), |condition| format!(" where {}", self.expr(condition)));
                format!(" on conflict {name} update s{existing} set {}{condition}", self.set(table, set))
            }
        }
    }

    fn set(&self, table: TableId, set: &[(u16, Expr)]) -> String {
        let def = self.catalog.table(table);
        let all = set
            .iter()
            .map(|(column, expr)| format!("{} = {}", def.columns[usize::from(*column)].name, self.expr(expr)));
        all.collect::<Vec<_>>().join(", ")
    }

    fn returning(&self, returning: Option<&Returning>) -> String {
        returning.map_or(String::new(), |returning| {
            format!(" returning s{} -> s{}: {}", returning.row, returning.slot, self.exprs(&returning.exprs))
        })
    }

    fn exprs(&self, exprs: &[Expr]) -> String {
        exprs.iter().map(|expr| self.expr(expr)).collect::<Vec<_>>().join(", ")
    }

    fn expr(&self, expr: &Expr) -> String {
        let not = |negated: bool| if negated { "not " } else { "" };
        match expr {
            Expr::Const(value) => constant(value),
            Expr::Param(number) => format!("${}", number + 1),
            Expr::Column { slot, column } => format!("{}.{column}", slot_name(*slot)),
            Expr::And(terms) => self.joined(terms, " and "),
            Expr::Or(terms) => self.joined(terms, " or "),
            Expr::Not(expr) => format!("not {}", self.expr(expr)),
            Expr::IsNull { expr, negated } => format!("{} is {}null", self.expr(expr), not(*negated)),
            Expr::IsBool { expr, value, negated } => format!("{} is {}{value}", self.expr(expr), not(*negated)),
            Expr::IsDistinct { left, right, negated } => {
                format!("{} is {}distinct from {}", self.expr(left), not(*negated), self.expr(right))
            }
            Expr::Compare { op, left, right } => format!("{} {} {}", self.expr(left), sign(*op), self.expr(right)),
            Expr::AnyAll { op, left, array, all } => {
                format!("{} {} {}({})", self.expr(left), sign(*op), if *all { "all" } else { "any" }, self.expr(array))
            }
            Expr::Case { arms, otherwise } => {
                let arms: Vec<String> = arms
                    .iter()
                    .map(|(test, result)| format!("when {} then {}", self.expr(test), self.expr(result)))
                    .collect();
                let otherwise = otherwise.as_ref().map_or(String::new(), |expr| format!(" else {}", self.expr(expr)));
                format!("case {}{otherwise} end", arms.join(" "))
            }
            Expr::Coalesce(all) => format!("coalesce({})", self.exprs(all)),
            Expr::Array(all) => format!("[{}]", self.exprs(all)),
            Expr::Call { function, args } => format!("{function:?}({})", self.exprs(args)),
            Expr::ServerCall { function, args } => format!("{function:?}({})", self.exprs(args)),
            Expr::NextVal(sequence) => format!("nextval({})", self.catalog.sequence(*sequence).name),
            Expr::Once { number: _, expr } => self.expr(expr),
            Expr::Rechecked { same, asked, doubtful: _ } => {
                let asked = asked.as_ref().map_or(String::new(), |expr| format!(" or doubtfully {}", self.expr(expr)));
                format!("same [{}]{asked}", self.exprs(same))
            }
            Expr::Subquery { kind, root, output: _, column: _ } => match kind {
                SubqueryKind::Exists { negated } => format!("{}exists n{root}", not(*negated)),
                SubqueryKind::Scalar => format!("scalar n{root}"),
                SubqueryKind::AnyAll { op, left, all } => {
                    format!("{} {} {} n{root}", self.expr(left), sign(*op), if *all { "all" } else { "any" })
                }
                SubqueryKind::Array => format!("array n{root}"),
            },
        }
    }

    fn joined(&self, terms: &[Expr], by: &str) -> String {
        format!("({})", terms.iter().map(|term| self.expr(term)).collect::<Vec<_>>().join(by))
    }
}

fn sign(op: crate::plan::CompareOp) -> &'static str {
    crate::compile::operator::comparison_text(op)
}

fn slot_name(slot: SlotId) -> String {
    match slot {
        OWN_ROW => "own".to_owned(),
        EXCLUDED => "excluded".to_owned(),
        slot => format!("s{slot}"),
    }
}

fn constant(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Text(text) => format!("'{text}'"),
        Value::Array(items) => format!("[{}]", items.iter().map(constant).collect::<Vec<_>>().join(", ")),
        other => crate::types::text::print(other, crate::types::Scalar::Unknown.into()).unwrap_or_default(),
    }
}
