//! Random schemas, and random programs of several sessions over them, as statements of SQL.

use super::choices::Choices;

/// A schema's tables: `id int PRIMARY KEY, n int, s text`, and what is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    pub(crate) setup: Vec<String>,
    tables: Vec<&'static str>,
    /// Whether transaction ids are looked at. Where they are, sequences are not used: a server assigns one for some of their values, one in 32.
    shows_xids: bool,
}

const TABLES: [&str; 2] = ["t", "u"];
/// What tells a table's rows apart beside its key.
const INDEXES: [&str; 6] = [
    "",
    "CREATE UNIQUE INDEX ON TABLE (n)",
    "CREATE UNIQUE INDEX ON TABLE (n) WHERE n > 2",
    "CREATE INDEX ON TABLE (n)",
    "CREATE UNIQUE INDEX ON TABLE (n, s)",
    "CREATE UNIQUE INDEX ON TABLE (lower(s)) WHERE n < 2",
];

impl Schema {
    pub(crate) fn new(numbers: &[u16]) -> Self {
        let mut choices = Choices::new(numbers);
        let tables = TABLES[..=choices.below(2)].to_vec();
        let mut setup = vec!["CREATE SEQUENCE q".to_owned()];
        let mut first_rows = 0;
        for (place, table) in tables.iter().enumerate() {
            let n = choices.of(&["n int", "n int NOT NULL DEFAULT 5", "n int DEFAULT 1"]);
            let references = [
                "",
                " REFERENCES t",
                " REFERENCES t ON DELETE CASCADE",
                " REFERENCES t ON UPDATE CASCADE",
                " REFERENCES t ON DELETE SET NULL ON UPDATE SET DEFAULT",
                " REFERENCES t ON DELETE RESTRICT ON UPDATE CASCADE",
            ];
            let reference = if place == 1 { choices.of(&references) } else { "" };
            let check = if choices.one_in(4) { ", CHECK (n < 50)" } else { "" };
            let unique = if choices.one_in(4) { ", UNIQUE (s)" } else { "" };
            setup.push(format!("CREATE TABLE {table} (id int PRIMARY KEY, {n}{reference}, s text{unique}{check})"));
            let index = choices.of(&INDEXES).replace("TABLE", table);
            if !index.is_empty() {
                setup.push(index);
            }
            let mut rows = [2, 1, 3, 2, 1, 0][choices.below(6)];
            if !reference.is_empty() {
                rows = rows.min(first_rows);
            }
            first_rows = rows;
            for row in 1..=rows {
                setup.push(format!("INSERT INTO {table} (id, n, s) VALUES ({row}, {row}, 's{row}')"));
            }
        }
        Self { setup, tables, shows_xids: choices.one_in(3) }
    }
}

/// What a program is about: its statements, by the numbers that [`Maker::statement`] has for them. All of them, or those that meet on rows, on
/// tables, on keys.
const THEMES: [&[usize]; 4] = [
    &[],
    &[0, 1, 2, 3, 19, 20, 21, 22, 23, 24, 16, 17, 10, 30, 28, 37, 38, 41, 43],
    &[31, 31, 32, 32, 34, 34, 35, 34, 33, 0, 1, 10, 16, 19, 20, 27, 37, 38, 41, 43],
    &[10, 11, 12, 13, 14, 15, 0, 1, 2, 16, 17, 18, 19, 20, 29, 28, 37, 38, 41, 43, 45],
];

/// Statements of one program.
struct Maker<'c, 't> {
    choices: &'c mut Choices<'t>,
    schema: &'c Schema,
    theme: &'static [usize],
}

const LOCKS: [&str; 12] = [
    "FOR UPDATE",
    "FOR SHARE",
    "FOR NO KEY UPDATE",
    "FOR KEY SHARE",
    "FOR UPDATE",
    "FOR SHARE",
    "FOR NO KEY UPDATE",
    "FOR KEY SHARE",
    "FOR UPDATE SKIP LOCKED",
    "FOR UPDATE NOWAIT",
    "FOR SHARE SKIP LOCKED",
    "FOR NO KEY UPDATE NOWAIT",
];

const MODES: [&str; 8] = [
    "ACCESS EXCLUSIVE",
    "SHARE",
    "ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS SHARE",
    "ROW SHARE",
    "SHARE ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
];

impl Maker<'_, '_> {
    fn table(&mut self) -> &'static str {
        self.choices.of(&self.schema.tables)
    }

    fn key(&mut self) -> String {
        // Few, so that programs meet.
        self.choices.of(&["1", "1", "2", "1", "2", "1", "2", "3"]).to_owned()
    }

    fn condition(&mut self) -> String {
        let key = self.key();
        match self.choices.below(14) {
            0..=7 => format!("id = {key}"),
            8 => format!("n = {key}"),
            // Not `n >= ..`: in which order a range of an index is read, and locked, is the planner's guess at how many rows there are.
            9 => format!("n + 0 >= {key}"),
            10 | 11 => "true".to_owned(),
            12 => format!("id <> {key} AND n IS NOT NULL"),
            _ => format!("n + 0 > (SELECT count(*) FROM {} w WHERE w.n < {key})", self.table()),
        }
    }

    fn set(&mut self) -> String {
        let key = self.key();
        match self.choices.below(8) {
            0..=2 => "n = n + 1".to_owned(),
            3 => format!("n = {key}"),
            4 => "s = s || 'x'".to_owned(),
            5 => format!("id = id + {key}"),
            6 => format!("n = DEFAULT, s = 's{key}'"),
            _ => format!("n = (SELECT max(w.n) + 1 FROM {} w)", self.table()),
        }
    }

    fn returning(&mut self) -> &'static str {
        self.choices.of(&["", " RETURNING id, n", " RETURNING *"])
    }

    fn statement(&mut self, in_transaction: bool, has_savepoint: bool) -> String {
        let table = self.table();
        if !in_transaction && self.choices.below(if self.theme.is_empty() { 6 } else { 12 }) > 0 {
            return self.choices.of(&["BEGIN", "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ"]).to_string();
        }
        let kind = if self.theme.is_empty() { self.choices.below(48) } else { self.choices.of(self.theme) };
        match kind {
            0..=9 => format!("UPDATE {table} SET {} WHERE {}{}", self.set(), self.condition(), self.returning()),
            10..=15 => self.insert(table),
            16..=18 => format!("DELETE FROM {table} WHERE {}{}", self.condition(), self.returning()),
            19..=26 => self.locking_select(table),
            27 => format!("SELECT * FROM {table} ORDER BY id"),
            28 => self.of_two_tables(table),
            29 | 30 => self.with(table),
            31 | 32 => {
                let mode = self.choices.of(&MODES);
                format!("LOCK TABLE {table} IN {mode} MODE{}", self.choices.of(&["", "", "", " NOWAIT"]))
            }
            33 => format!("TRUNCATE {table}{}", self.choices.of(&["", " RESTART IDENTITY"])),
            34 | 35 => self.advisory(),
            36 => self.functions(table),
            37..=39 if has_savepoint => {
                self.choices.of(&["ROLLBACK TO a", "ROLLBACK TO a", "RELEASE a", "SAVEPOINT a"]).to_owned()
            }
            37..=39 => "SAVEPOINT a".to_owned(),
            40 | 41 if in_transaction => "ROLLBACK".to_owned(),
            42..=44 if in_transaction => "COMMIT".to_owned(),
            _ => format!("SELECT count(*), sum(n), min(s) FROM {table} WHERE {}", self.condition()),
        }
    }

    fn insert(&mut self, table: &str) -> String {
        let (key, n) = (self.key(), self.key());
        let rows = match self.choices.below(4) {
            0 | 1 => format!("VALUES ({key}, {n}, 's{n}')"),
            2 => format!("VALUES ({key}, {n}, 'a'), ({n}, {key}, NULL)"),
            _ => format!("SELECT id + {key}, n, s || '{n}' FROM {} WHERE {}", self.table(), self.condition()),
        };
        let conflict = match self.choices.below(6) {
            0 | 1 => String::new(),
            2 => " ON CONFLICT DO NOTHING".to_owned(),
            3 => " ON CONFLICT (id) DO NOTHING".to_owned(),
            4 => format!(" ON CONFLICT (id) DO UPDATE SET n = {table}.n + excluded.n"),
            _ => format!(" ON CONFLICT (id) DO UPDATE SET n = excluded.n WHERE {table}.n < {n}"),
        };
        format!("INSERT INTO {table} (id, n, s) {rows}{conflict}{}", self.returning())
    }

    fn locking_select(&mut self, table: &str) -> String {
        let (condition, lock) = (self.condition(), self.choices.of(&LOCKS));
        match self.choices.below(4) {
            0 | 1 => format!("SELECT * FROM {table} WHERE {condition} {lock}"),
            2 => format!("SELECT id, n FROM {table} WHERE {condition} ORDER BY id LIMIT 1 {lock}"),
            _ => format!("SELECT id FROM {table} WHERE {condition} ORDER BY n, id DESC {lock}"),
        }
    }

    fn of_two_tables(&mut self, table: &str) -> String {
        let other = self.table();
        let key = self.key();
        match self.choices.below(5) {
            0 => format!(
                "UPDATE {table} a SET n = b.n + 1 FROM {other} b WHERE b.id = a.n AND b.id = {key} RETURNING a.id, a.n"
            ),
            1 => format!("DELETE FROM {table} a USING {other} b WHERE b.n = a.id AND b.id = {key} RETURNING a.id"),
            2 => format!(
                "SELECT a.id, b.n FROM {table} a JOIN {other} b ON b.id = a.id WHERE a.id = {key} FOR UPDATE OF a"
            ),
            3 => format!("SELECT a.id, b.n FROM {table} a LEFT JOIN {other} b ON b.id = a.n ORDER BY 1, 2"),
            _ => format!(
                "SELECT a.id FROM {table} a WHERE EXISTS (SELECT FROM {other} b WHERE b.n = a.id) ORDER BY id FOR SHARE"
            ),
        }
    }

    fn with(&mut self, table: &str) -> String {
        let other = self.table();
        let condition = self.condition();
        match self.choices.below(4) {
            0 => format!(
                "WITH x AS (UPDATE {table} SET n = n + 10 WHERE {condition} RETURNING id, n) SELECT * FROM x ORDER BY id"
            ),
            1 => format!(
                "WITH x AS (DELETE FROM {table} WHERE {condition} RETURNING id, n, s) INSERT INTO {other} (id, n, s) SELECT id + 10, n, s FROM x RETURNING id, n"
            ),
            2 => format!(
                "WITH x AS (SELECT id FROM {table} WHERE {condition} ORDER BY id FOR UPDATE) UPDATE {table} SET n = n + 1 FROM x WHERE x.id = {table}.id RETURNING {table}.id, {table}.n"
            ),
            _ => format!(
                "WITH x AS (INSERT INTO {table} (id, n) VALUES (7, 7) ON CONFLICT DO NOTHING RETURNING id) SELECT (SELECT count(*) FROM x), (SELECT count(*) FROM {table})"
            ),
        }
    }

    fn advisory(&mut self) -> String {
        self.choices
            .of(&[
                "SELECT pg_advisory_xact_lock(1)",
                "SELECT pg_try_advisory_xact_lock(1)",
                "SELECT pg_advisory_lock(1)",
                "SELECT pg_advisory_unlock(1)",
                "SELECT pg_advisory_xact_lock_shared(1)",
                "SELECT pg_try_advisory_lock_shared(1)",
                "SELECT pg_advisory_xact_lock(2)",
                "SELECT pg_advisory_xact_lock(1)",
                "SELECT pg_advisory_lock_shared(1)",
            ])
            .to_string()
    }

    fn functions(&mut self, table: &str) -> String {
        if self.schema.shows_xids {
            let calls = [
                "SELECT pg_current_xact_id_if_assigned()::text",
                "SELECT pg_current_snapshot()::text",
                "SELECT pg_current_xact_id()::text",
                "SELECT pg_visible_in_snapshot(pg_current_xact_id(), pg_current_snapshot())",
            ];
            return self.choices.of(&calls).to_owned();
        }
        let calls = [
            "SELECT nextval('q')",
            "SELECT nextval('q'), id FROM TABLE ORDER BY id",
            "INSERT INTO TABLE (id, n) SELECT nextval('q') + 5, 0 RETURNING id",
        ];
        self.choices.of(&calls).replace("TABLE", table)
    }
}

/// A step: which session, and what it sends.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) session: usize,
    pub(crate) sql: String,
}

/// The steps of a program of so many sessions about one of [`THEMES`]; each is made of its own numbers, so that one can be left out.
pub(crate) fn steps(schema: &Schema, sessions: usize, theme: usize, numbers: &[(u8, Vec<u16>)]) -> Vec<Step> {
    let theme = THEMES[theme % THEMES.len()];
    let mut in_transaction = vec![false; sessions];
    let mut has_savepoint = vec![false; sessions];
    let make = |(session, numbers): &(u8, Vec<u16>)| {
        let session = usize::from(*session) % sessions;
        let mut choices = Choices::new(numbers);
        let sql =
            Maker { choices: &mut choices, schema, theme }.statement(in_transaction[session], has_savepoint[session]);
        match sql.as_str() {
            "COMMIT" | "ROLLBACK" => (in_transaction[session], has_savepoint[session]) = (false, false),
            "SAVEPOINT a" => has_savepoint[session] = in_transaction[session],
            "RELEASE a" => has_savepoint[session] = false,
            sql if sql.starts_with("BEGIN") => in_transaction[session] = true,
            _ => {}
        }
        Step { session, sql }
    };
    let mut steps: Vec<Step> = numbers.iter().map(make).collect();
    // A prepared statement that waited for TRUNCATE is analysed anew, for which the server frees its locks and takes them again: who stands
    // behind it in the table's queue goes first. Nobody does where nothing else wants a strong lock.
    // Source: PostgreSQL, src/backend/utils/cache/plancache.c, `RevalidateCachedQuery`.
    let truncates = |step: &Step| step.sql.starts_with("TRUNCATE");
    if let Some(first) = steps.iter().position(truncates) {
        for (place, step) in steps.iter_mut().enumerate() {
            if place != first && (truncates(step) || step.sql.starts_with("LOCK")) {
                "SELECT 1".clone_into(&mut step.sql);
            }
        }
    }
    steps
}

/// What every program ends with, on each session until nobody waits any more.
pub(crate) const ENDS: [&str; 2] = ["COMMIT", "SELECT pg_advisory_unlock_all()"];

/// What is looked at when everything is over.
pub(crate) fn looks(schema: &Schema) -> Vec<String> {
    schema.tables.iter().map(|table| format!("SELECT * FROM {table} ORDER BY id")).collect()
}
