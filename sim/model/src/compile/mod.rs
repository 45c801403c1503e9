//! Syntax trees to plans: names, types, defaults and access paths are settled here, so that execution sees none of it.
//!
//! Every field of a syntax tree is taken apart by name. What the model does not know is refused by name (0A000), and a field
//! that a new version of sqlparser adds breaks the build until somebody has decided what it means.

mod aggregate;
mod alter;
mod call;
mod character;
mod coerce;
mod column;
mod conflict;
mod constant;
mod create;
mod dml;
mod expr;
mod foreign_key;
mod from;
mod insert;
mod join;
mod name;
mod names;
mod once;
pub(crate) mod operator;
mod order;
mod query;
mod recheck;
mod row_value;
mod scope;
mod select;
mod sequence;
mod series;
mod set_operation;
mod simplify;
mod subquery;
mod utility;
mod view;
pub(crate) mod visit;
mod window;

use std::cell::Cell;
use std::sync::Arc;

use smol_str::SmolStr;

use sqlparser::ast::Statement;

use crate::catalog::{Catalog, TableId};
use crate::error::Error;
use crate::parse::Parsed;
use crate::plan::{Body, Cte, Node, NodeId, Plan, Query, QueryKind, SlotId, TableLockMode, Utility};
use crate::types::{Scalar, Type};
use scope::{CteName, Scope};

/// How many columns a table can have. Source: PostgreSQL, `src/include/access/htup_details.h`.
pub(super) const COLUMNS_MAX: usize = 1600;
/// How many items a list of results can have. Source: the same.
const TARGETS_MAX: usize = 1664;
/// How deep expressions nest at most, beside chains of AND and OR, which do not count.
const DEPTH_MAX: usize = 100;
/// How many nodes a plan has at most: far more than anybody writes, far less than their numbers hold.
const NODES_MAX: usize = 4096;

/// What is made of a statement, under the names of `catalog`.
pub(crate) fn compile(statement: &Parsed, catalog: &Catalog) -> Result<Plan, Error> {
    let mut builder = Builder::new(catalog);
    let (columns, body) = match statement {
        Parsed::Tree(statement) => crate::parse::with_stack(|| builder.tree(statement)).map_err(|error| {
            // Which of them PostgreSQL calls character varying is not known here.
            let doubt = builder.varchar.get() && error.message.contains("text") && !error.is_refusal();
            if doubt { Error::refused(format_args!("an error about text where varchar is ({error})")) } else { error }
        })?,
        Parsed::Own(own) => (Columns::new(), Body::Utility(builder.own(own)?)),
    };
    let params = builder.take_params()?;
    Ok(Plan { params, columns, body })
}

/// Name and type of each column of the rows that a query gives.
type Columns = Vec<(SmolStr, Type)>;

/// The rows of a query: they stand in `slot` after each poll of `root`.
#[derive(Clone, Debug)]
struct Rows {
    root: NodeId,
    slot: SlotId,
    columns: Columns,
}

/// What a statement is compiled into, while it grows.
struct Builder<'a> {
    catalog: &'a Catalog,
    /// The whole statement: a view keeps it.
    source: Option<Arc<Statement>>,
    params: Vec<Option<Type>>,
    nodes: Vec<Node>,
    slots: SlotId,
    ctes: Vec<Cte>,
    locks: Vec<(TableId, TableLockMode)>,
    /// Of the tables that views read.
    view_locks: Vec<(TableId, TableLockMode)>,
    scopes: Vec<Scope>,
    cte_names: Vec<CteName>,
    /// How deep the expression nests that is being compiled.
    depth: usize,
    /// Whether `varchar` was met.
    varchar: Cell<bool>,
}

impl<'a> Builder<'a> {
    fn tree(&mut self, statement: &Arc<Statement>) -> Result<(Columns, Body), Error> {
        self.source = Some(statement.clone());
        self.statement(statement)
    }

    fn new(catalog: &'a Catalog) -> Self {
        Self {
            catalog,
            source: None,
            params: Vec::new(),
            nodes: Vec::new(),
            slots: 0,
            ctes: Vec::new(),
            locks: Vec::new(),
            view_locks: Vec::new(),
            scopes: vec![Scope::default()],
            cte_names: Vec::new(),
            depth: 0,
            varchar: Cell::new(false),
        }
    }

    fn saw_varchar(&self, met: bool) {
        self.varchar.set(self.varchar.get() || met);
    }

    fn statement(&mut self, statement: &Statement) -> Result<(Columns, Body), Error> {
        let (kind, rows) = match statement {
            Statement::Query(query) => (QueryKind::Select, self.top_query(query)?),
            Statement::Insert(insert) => (QueryKind::Insert, self.insert(insert)?),
            Statement::Update(update) => (QueryKind::Update, self.update(update)?),
            Statement::Delete(delete) => (QueryKind::Delete, self.delete(delete)?),
            other => {
                let utility = self.utility(other)?;
                let columns = match &utility {
                    Utility::Show(name) => vec![(name.clone(), Scalar::Text.into())],
                    _ => Vec::new(),
                };
                return Ok((columns, Body::Utility(utility)));
            }
        };
        let rows = self.pad(rows)?;
        // A SELECT around it does not make WITH .. INSERT a SELECT: the tag is that of the last part.
        let kind = match self.nodes.get(usize::from(rows.root)) {
            Some(Node::Insert { .. }) => QueryKind::Insert,
            Some(Node::Update { .. }) => QueryKind::Update,
            Some(Node::Delete { .. }) => QueryKind::Delete,
            _ => kind,
        };
        Ok((rows.columns.clone(), Body::Query(self.finish(kind, &rows))))
    }

    fn finish(&mut self, kind: QueryKind, rows: &Rows) -> Query {
        let output = (!rows.columns.is_empty() || kind == QueryKind::Select).then_some(rows.slot);
        let fails = constant::fold(&mut self.nodes, &self.ctes, rows.root);
        let (nodes, ctes) = (&mut self.nodes, &mut self.ctes);
        simplify::Parts { nodes, ctes, slots: &mut self.slots, output }.simplify();
        let onces = once::mark(&mut self.nodes);
        let writes = crate::exec::name_of_query(kind, &self.nodes);
        for (table, mode) in std::mem::take(&mut self.view_locks) {
            self.lock(table, mode);
        }
        let order = order::of_rows(&self.nodes, &self.ctes, rows.root);
        Query {
            kind,
            locks: std::mem::take(&mut self.locks),
            nodes: std::mem::take(&mut self.nodes),
            root: rows.root,
            output,
            slots: self.slots,
            ctes: std::mem::take(&mut self.ctes),
            onces,
            fails,
            order,
            writes,
        }
    }

    fn take_params(&mut self) -> Result<Vec<Type>, Error> {
        let params = std::mem::take(&mut self.params).into_iter().enumerate();
        let untold = |place| Error::new("42P18", format!("could not determine data type of parameter ${}", place + 1));
        params.map(|(place, ty)| ty.ok_or_else(|| untold(place))).collect()
    }

    fn node(&mut self, node: Node) -> Result<NodeId, Error> {
        if self.nodes.len() >= NODES_MAX {
            return Err(Error::too_much(format_args!("a statement whose plan has more than {NODES_MAX} nodes")));
        }
        self.nodes.push(node);
        Ok(NodeId::try_from(self.nodes.len() - 1).expect("the number of nodes is limited"))
    }

    /// A new slot. There are hardly more slots than nodes, and those are limited.
    fn slot(&mut self) -> SlotId {
        self.slots += 1;
        self.slots - 1
    }

    /// A table lock, in the order in which the tables are named.
    fn lock(&mut self, table: TableId, mode: TableLockMode) {
        if !self.locks.contains(&(table, mode)) {
            self.locks.push((table, mode));
        }
    }
}

/// Errs as PostgreSQL does where a list of results is too long.
fn limit_targets(count: usize) -> Result<(), Error> {
    if count <= TARGETS_MAX {
        return Ok(());
    }
    Err(Error::new("54011", format!("target lists can have at most {TARGETS_MAX} entries")))
}

fn too_deep() -> Error {
    Error::too_much(format_args!("expressions and queries that nest deeper than {DEPTH_MAX} levels"))
}

/// Refuses `construct` where `present`.
fn refuse_if(present: bool, construct: &str) -> Result<(), Error> {
    if present { Err(Error::refused(construct)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
