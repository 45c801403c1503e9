//! Execution of plans that are built by hand.

use crate::catalog::{ColumnDef, IndexDef, TableDef};
use crate::plan::*;
use crate::server::{Outcome, Server};
use crate::types::{Scalar, Type, Value};

const INT: Type = Type::Scalar(Scalar::Int4);

fn own(column: u16) -> Expr {
    Expr::Column { slot: OWN_ROW, column }
}

fn column(slot: u16, column: u16) -> Expr {
    Expr::Column { slot, column }
}

fn create() -> Plan {
    let column = |name: &str| ColumnDef {
        name: name.into(),
        ty: INT,
        modifier: None,
        not_null: name == "id",
        default: None,
        identity_always: false,
        generated: None,
        varchar: false,
    };
    let index = IndexDef {
        name: "t_pkey".into(),
        unique: true,
        primary: true,
        constraint: true,
        keys: vec![own(0)],
        include: vec![],
        predicate: None,
    };
    let table = TableDef {
        schema: "public".into(),
        name: "t".into(),
        columns: vec![column("id"), column("n")],
        checks: vec![],
        generates: false,
        indexes: vec![index],
        foreign_keys: vec![],
        referenced_by: vec![],
        sequences: vec![],
    };
    let body = Body::Utility(Utility::CreateTable { table: Box::new(table), sequences: vec![], if_not_exists: false });
    Plan { params: vec![], columns: vec![], body }
}

fn query(kind: QueryKind, mode: TableLockMode, nodes: Vec<Node>, output: Option<SlotId>, params: usize) -> Plan {
    let root = u16::try_from(nodes.len() - 1).expect("few nodes");
    let columns = if output.is_some() { vec![("id".into(), INT), ("n".into(), INT)] } else { vec![] };
    let query = Query {
        kind,
        locks: vec![(0, mode)],
        nodes,
        root,
        output,
        slots: 2,
        ctes: vec![],
        onces: 0,
        fails: None,
        order: RowOrder::default(),
        writes: None,
    };
    Plan { params: vec![INT; params], columns, body: Body::Query(query) }
}

fn by_key() -> Node {
    Node::IndexScan { slot: 0, table: 0, index: 0, keys: vec![Expr::Param(0)], filter: None }
}

/// INSERT INTO t VALUES ($1, $2)
fn insert() -> Plan {
    let values = Node::Values { slot: 0, rows: vec![vec![Expr::Param(0), Expr::Param(1)]] };
    let insert = Node::Insert { input: 0, source: 0, table: 0, on_conflict: None, returning: None };
    query(QueryKind::Insert, TableLockMode::RowExclusive, vec![values, insert], None, 2)
}

/// UPDATE t SET n = $2 WHERE id = $1 AND n < 100
fn update() -> Plan {
    let small = Expr::Compare {
        op: CompareOp::Lt,
        left: Box::new(column(0, 1)),
        right: Box::new(Expr::Const(Value::Int(100))),
    };
    let scan = Node::IndexScan { slot: 0, table: 0, index: 0, keys: vec![Expr::Param(0)], filter: Some(small.clone()) };
    let same = Expr::Compare { op: CompareOp::Eq, left: Box::new(column(0, 0)), right: Box::new(Expr::Param(0)) };
    let set = vec![(1, Expr::Param(1))];
    let update = Node::Update { input: 0, target: 0, table: 0, set, recheck: vec![same, small], returning: None };
    query(QueryKind::Update, TableLockMode::RowExclusive, vec![scan, update], None, 2)
}

/// SELECT * FROM t WHERE id = $1
fn select() -> Plan {
    query(QueryKind::Select, TableLockMode::AccessShare, vec![by_key()], Some(0), 1)
}

fn utility(utility: Utility) -> Plan {
    Plan { params: vec![], columns: vec![], body: Body::Utility(utility) }
}

fn rows(outcome: &Outcome) -> Vec<Vec<i64>> {
    let Outcome::Done(answer) = outcome else { panic!("{outcome:?}") };
    let int = |value: &Value| if let Value::Int(int) = value { *int } else { panic!("{value:?}") };
    answer.rows.iter().map(|row| row.iter().map(int).collect()).collect()
}

fn affected(outcome: &Outcome) -> u64 {
    let Outcome::Done(answer) = outcome else { panic!("{outcome:?}") };
    answer.affected
}

#[test]
fn a_row_is_waited_for_and_checked_again() {
    let mut server = Server::new();
    let (a, b) = (server.connect(), server.connect());
    let create = server.adopt(create());
    affected(&server.execute(a, create, &[]));
    let (insert, update, select) = (server.adopt(insert()), server.adopt(update()), server.adopt(select()));
    let begin = server.adopt(utility(Utility::Begin(TransactionModes::default())));
    let (commit, rollback) = (
        server.adopt(utility(Utility::Commit { chain: false })),
        server.adopt(utility(Utility::Rollback { chain: false })),
    );
    for id in 1..=3 {
        assert_eq!(affected(&server.execute(a, insert, &[Value::Int(id), Value::Int(10 * id)])), 1);
    }
    server.keep();
    for (end, seen, wrote) in [(commit, 500, 0), (rollback, 7, 1)] {
        server.execute(a, begin, &[]);
        assert_eq!(affected(&server.execute(a, update, &[Value::Int(2), Value::Int(500)])), 1);
        assert_eq!(server.execute(b, update, &[Value::Int(2), Value::Int(7)]), Outcome::Waits);
        assert_eq!(server.blockers(b), [a]);
        assert!(server.next_woken().is_none());
        server.execute(a, end, &[]);
        let (woken, outcome) = server.next_woken().expect("b goes on");
        assert_eq!((woken, affected(&outcome)), (b, wrote), "{seen}");
        assert_eq!(rows(&server.execute(b, select, &[Value::Int(2)])), [[2, seen]]);
        server.reset();
        assert_eq!(rows(&server.execute(a, select, &[Value::Int(2)])), [[2, 20]]);
    }
    let twin = server.execute(b, insert, &[Value::Int(2), Value::Int(7)]);
    let Outcome::Failed(error) = twin else { panic!("{twin:?}") };
    assert_eq!(error.to_string(), "duplicate key value violates unique constraint \"t_pkey\" (23505)");
}
