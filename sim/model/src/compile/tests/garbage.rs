//! Text from anybody: any text is a plan or an error, never a panic.

use super::{SCHEMA, catalog};
use crate::catalog::Catalog;
use crate::compile::compile;
use crate::parse::{parse, split};

/// Statements that compile, to be damaged.
const SEEDS: [&str; 12] = [
    "SELECT id, n + 1 FROM t WHERE id = $1 AND s IN ('a', 'b') ORDER BY n DESC LIMIT 3 FOR UPDATE OF t NOWAIT",
    "INSERT INTO t AS x (id, n) VALUES (1, DEFAULT), ($1, 2) ON CONFLICT (id) DO UPDATE SET n = x.n + excluded.n RETURNING *",
    "UPDATE t SET (n, s) = (1, 'x') FROM u WHERE u.a = t.id RETURNING t.n, u.b",
    "DELETE FROM u USING unnest($1::int[]) WITH ORDINALITY AS v (a, i) WHERE u.a = v.a RETURNING u.a",
    "WITH c AS MATERIALIZED (SELECT count(*) AS k, max(n) FROM t GROUP BY s HAVING count(*) > 1) SELECT * FROM c c1, c c2",
    "SELECT CASE WHEN s LIKE 'a%' THEN data ->> 'k' ELSE coalesce(s, 'z') END, (SELECT max(b) FROM u WHERE a = t.id) FROM t",
    "SELECT g, array_agg(g ORDER BY g) FROM generate_series(1, 3) AS g GROUP BY 1 UNION ALL SELECT 1, ARRAY[2::int]",
    "SELECT pg_visible_in_snapshot(x, '1:1:'::pg_snapshot), x::text::bigint = ANY (ARRAY[1, 2]) FROM u LEFT JOIN t ON t.id = u.a",
    "CREATE TABLE z (a serial PRIMARY KEY, b text CHECK (b <> '') DEFAULT 'x', UNIQUE (b, a), CONSTRAINT c CHECK (a > 0))",
    "CREATE UNIQUE INDEX i ON t (lower(s), n) WHERE n > 0",
    "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SAVEPOINT a; ROLLBACK TO a; SET LOCAL x.y = 'z'; LOCK TABLE t IN SHARE MODE",
    "SELECT '{\"a\": [1, null]}'::jsonb #>> '{a,0}', now(), nextval('counter'), pg_advisory_lock(1, 2) IS NULL, -5 % 3",
];

/// A generator that needs no more than to be deterministic (Steele, Lea, Flood: `SplitMix`, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("below a usize")
    }
}

fn feed(sql: &str, catalog: &Catalog) {
    for source in split(sql).unwrap_or_default() {
        if let Ok(statement) = parse(source) {
            let _ = compile(&statement, catalog);
        }
    }
}

fn words(sql: &str) -> Vec<&str> {
    let mut words: Vec<&str> = Vec::new();
    let mut start = 0;
    for (at, c) in sql.char_indices() {
        if !c.is_alphanumeric() && c != '_' {
            words.extend([&sql[start..at], &sql[at..at + c.len_utf8()]]);
            start = at + c.len_utf8();
        }
    }
    words.push(&sql[start..]);
    words
}

#[test]
fn seeds_compile() {
    let catalog = catalog();
    for sql in SEEDS {
        for source in split(sql).unwrap_or_else(|error| panic!("{sql}: {error}")) {
            let statement = parse(source).unwrap_or_else(|error| panic!("{sql}: {error}"));
            compile(&statement, &catalog).unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }
}

#[test]
fn words_out_of_place() {
    let catalog = catalog();
    let pool: Vec<&str> = SEEDS.iter().chain([&SCHEMA]).flat_map(|sql| words(sql)).collect();
    let mut random = Random(1);
    for _ in 0..4_000 {
        let mut sql = words(SEEDS[random.next(SEEDS.len())]);
        for _ in 0..=random.next(4) {
            let at = random.next(sql.len());
            match random.next(4) {
                0 => drop(sql.remove(at)),
                1 => sql.insert(at, pool[random.next(pool.len())]),
                2 => sql[at] = pool[random.next(pool.len())],
                _ => {
                    let other = random.next(sql.len());
                    sql.swap(at, other);
                }
            }
            if sql.is_empty() {
                break;
            }
        }
        feed(&sql.concat(), &catalog);
    }
}

#[test]
fn characters_out_of_place() {
    let catalog = catalog();
    let signs: Vec<char> = "'\"$();,.:*%\\\0\u{e4}\u{1F600}[]{}-+/0 9eE|<>=!~@#?&^_`\n".chars().collect();
    let mut random = Random(2);
    for _ in 0..4_000 {
        let mut sql: Vec<char> = SEEDS[random.next(SEEDS.len())].chars().collect();
        for _ in 0..=random.next(3) {
            let at = random.next(sql.len());
            if random.next(2) == 0 {
                sql.insert(at, signs[random.next(signs.len())]);
            } else {
                sql[at] = signs[random.next(signs.len())];
            }
        }
        feed(&sql.into_iter().collect::<String>(), &catalog);
    }
}

#[test]
fn what_nests_is_bounded() {
    let catalog = catalog();
    for (open, close) in [
        ("(", ")"),
        ("(SELECT ", ")"),
        ("NOT ", ""),
        ("- ", ""),
        ("CASE WHEN true THEN ", " END"),
        ("lower(", ")"),
        ("ARRAY[", "]"),
        ("1 IN (", ")"),
        ("EXISTS (SELECT ", ")"),
        ("1 + ", ""),
        ("true AND ", ""),
        ("1 = 1 OR ", ""),
        ("'a' || ", ""),
        ("1::", "int"),
    ] {
        for depth in [5, 15, 40, 200, 3000] {
            feed(&format!("SELECT {}1{}", open.repeat(depth), close.repeat(depth)), &catalog);
            feed(&format!("SELECT * FROM {}t{}", open.repeat(depth), close.repeat(depth)), &catalog);
        }
    }
    feed(&format!("SELECT 1{}", "::int".repeat(2000)), &catalog);
    feed(&format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(900)), &catalog);
    feed(&format!("SELECT 1 FROM t{}", " CROSS JOIN t".repeat(900)), &catalog);
}
