//! Back to what the setup left, between two runs.
//!
//! TRUNCATE is the plain way, and ten times too slow: it gives every table, index and toast table a new file, and every session
//! plans its statements anew (5 ms for eight tables, without the planning). Here the rows that a run left are deleted, the setup's own rows are put
//! back from a copy, and sequences are set to where the setup left them: one transaction of prepared statements, in one flight (0.3 ms).
//!
//! Rows must stand in the order in which they come, as in a fresh table. New rows stand behind the dead ones as long as the page has room;
//! before it gets narrow, VACUUM empties it. Not after each run: VACUUM makes every session plan anew, too. A table that has grown
//! beyond one page is truncated: the free space map would not hand out its pages in order.

use std::collections::BTreeMap;

use tokio::runtime::Runtime;
use tokio_postgres::{Row, Statement};

use super::control::Control;
use crate::backend::block_on::block_on;

/// Where the setup's own rows are kept.
const BASELINE: &str = "skiptrace_baseline";

/// What a reset does; made once, after the setup.
pub(super) struct Reset {
    /// In the order in which they were made: those that refer to others come after them.
    tables: Vec<Table>,
    begin: Statement,
    commit: Statement,
    /// Sets all sequences, if there are any.
    sequences: Option<Statement>,
    /// By the tables that runs have touched: their pages.
    pages: BTreeMap<Vec<usize>, Statement>,
    /// What puts the setup's own rows and sequences back, as text.
    refill: String,
}

struct Table {
    id: u32,
    /// Schema and name, quoted.
    name: String,
    delete: Statement,
    /// Puts the setup's own rows back.
    refill: Option<Statement>,
    /// Runs that touched it since its page was emptied.
    runs: u32,
    /// So many runs share its page at most: where a run's last rows are gone again, nobody knows how full it is.
    runs_max: u32,
    /// So much of its page was in use when last seen.
    used: i64,
    /// The most that a run has added.
    growth: i64,
}

/// What a table's page of 8192 bytes holds before the server begins to clean it up at reading. Source: PostgreSQL,
/// src/backend/access/heap/pruneheap.c, `heap_page_prune_opt`: a tenth of the page is free, or less.
const USED_MAX: i64 = 7300;
/// A row's line pointer, and its padding. Source: PostgreSQL manual, 73.6, database page layout.
const LINE: i64 = 12;
const RUNS_MAX: u32 = 16;

impl Table {
    /// What the run has left, row by row: the line where it stands, its width.
    fn found(&mut self, rows: &[Row]) {
        let last = rows.iter().map(|row| row.get(0)).max().unwrap_or(0);
        let width = rows.iter().map(|row| row.get(1)).max().unwrap_or(0);
        let used = i64::from(last) * (LINE + i64::from(width));
        self.growth = self.growth.max(used - self.used);
        self.used = self.used.max(used);
        self.runs += 1;
    }

    /// Whether the next run might find the page full.
    fn is_narrow(&self) -> bool {
        self.runs >= self.runs_max || self.used + self.growth + self.growth / 4 > USED_MAX
    }

    /// It has `pages` pages, and may be about to be emptied.
    fn has(&mut self, pages: i64) {
        if pages > 1 && self.runs > 1 {
            self.runs_max = self.runs / 2;
        }
    }
}

impl Reset {
    /// Looks at what the setup left, and keeps a copy of its rows.
    pub(super) fn prepare((runtime, control): (&Runtime, &Control)) -> Result<Self, String> {
        block_on(runtime, async {
            control.batch(&format!("CREATE SCHEMA {BASELINE}")).await?;
            let (mut tables, mut refills) = (Vec::new(), Vec::new());
            for (number, (id, name, columns)) in tables_of(control).await?.into_iter().enumerate() {
                let copy = format!("{BASELINE}.t{number}");
                control.batch(&format!("CREATE TABLE {copy} AS SELECT {columns} FROM {name}")).await?;
                let mut refill = None;
                if control.query(&format!("SELECT EXISTS (SELECT FROM {copy})")).await?[0].get(0) {
                    let sql =
                        format!("INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {copy}");
                    refill = Some(control.prepare(&sql).await?);
                    refills.push(sql);
                }
                let delete = control.prepare(&deletion_of(&name)).await?;
                tables.push(Table { id, name, delete, refill, runs: 0, runs_max: RUNS_MAX, used: 0, growth: 0 });
            }
            let mut sequences = None;
            if let Some(sql) = sequences_of(control).await? {
                sequences = Some(control.prepare(&sql).await?);
                refills.push(sql);
            }
            let (begin, commit) = (control.prepare("BEGIN").await?, control.prepare("COMMIT").await?);
            Ok(Self { tables, begin, commit, sequences, pages: BTreeMap::new(), refill: refills.join("; ") })
        })
    }

    /// The setup's tables, with their schemas.
    pub(super) fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|table| table.name.as_str())
    }

    /// Nobody may have a transaction open in this database. `touched` says of a table whether the run may have written it.
    pub(super) fn run(
        &mut self,
        (runtime, control): (&Runtime, &Control),
        touched: impl Fn(&str) -> bool,
    ) -> Result<(), String> {
        let touched: Vec<usize> = (0..self.tables.len()).filter(|&table| touched(&self.tables[table].name)).collect();
        if touched.is_empty() {
            return Ok(());
        }
        let pages = self.size_up(runtime, control, touched.clone())?;
        let tables = || touched.iter().map(|&table| &self.tables[table]);
        let flight = [&self.begin, &pages].into_iter().chain(tables().rev().map(|table| &table.delete));
        let flight = flight.chain(tables().filter_map(|table| table.refill.as_ref()));
        let flight = flight.chain(&self.sequences).chain([&self.commit]);
        let found = block_on(runtime, control.flight("a reset", flight))?;
        let (mut truncated, mut vacuumed) = (Vec::new(), Vec::new());
        for (place, &table) in touched.iter().enumerate() {
            let pages = found[1][place].get(0);
            let table = &mut self.tables[table];
            table.found(&found[1 + touched.len() - place]);
            table.has(pages);
            match pages {
                2.. => truncated.push(table.name.clone()),
                1 if table.is_narrow() => vacuumed.push(table.name.clone()),
                _ => continue,
            }
            (table.runs, table.used) = (0, 0);
        }
        if truncated.is_empty() && vacuumed.is_empty() {
            return Ok(());
        }
        block_on(runtime, self.empty(control, &truncated, &vacuumed))
    }

    /// The query for the pages of the tables that a run has touched.
    fn size_up(&mut self, runtime: &Runtime, control: &Control, touched: Vec<usize>) -> Result<Statement, String> {
        if let Some(known) = self.pages.get(&touched) {
            return Ok(known.clone());
        }
        let ids = touched.iter().map(|&table| self.tables[table].id);
        let query = block_on(runtime, control.prepare(&pages_of(ids)))?;
        self.pages.insert(touched, query.clone());
        Ok(query)
    }

    /// Gives tables their whole room back.
    async fn empty(&self, control: &Control, truncated: &[String], vacuumed: &[String]) -> Result<(), String> {
        // What was put back stands behind what is to go.
        let delete: Vec<String> = self.tables.iter().rev().map(|table| format!("DELETE FROM {}", table.name)).collect();
        control.batch(&delete.join("; ")).await?;
        if !truncated.is_empty() {
            // Whatever refers to a truncated table goes with it: it is put back, too.
            control.batch(&format!("TRUNCATE {} CASCADE", truncated.join(", "))).await?;
        }
        if !vacuumed.is_empty() {
            let options = "TRUNCATE false, PROCESS_TOAST false, INDEX_CLEANUP on";
            control.batch(&format!("VACUUM ({options}) {}", vacuumed.join(", "))).await?;
        }
        control.batch(&self.refill).await
    }
}

/// A row a table: its pages. By ids at run time: a plan that names tables is made anew when one of them was truncated.
fn pages_of(ids: impl Iterator<Item = u32>) -> String {
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    format!(
        "SELECT pg_relation_size(t.id::regclass) / current_setting('block_size')::int FROM unnest(ARRAY[{}]::oid[]) AS t (id)",
        ids.join(", ")
    )
}

/// `(0,17)`: the line in the page.
fn deletion_of(table: &str) -> String {
    format!(
        "DELETE FROM {table} AS gone RETURNING split_part(rtrim(ctid::text, ')'), ',', 2)::int4, pg_column_size(gone)"
    )
}

/// The setup's tables in the order in which they were made, with their columns that are not generated.
async fn tables_of(control: &Control) -> Result<Vec<(u32, String, String)>, String> {
    const TABLES: &str = "SELECT c.oid, format('%I.%I', n.nspname, c.relname), \
         coalesce((SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute a \
           WHERE a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''), '') \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY c.oid";
    Ok(control.query(TABLES).await?.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// Sets all sequences, if there are any.
async fn sequences_of(control: &Control) -> Result<Option<String>, String> {
    const SEQUENCES: &str = "SELECT format('setval(%L, %s, %L)', format('%I.%I', schemaname, sequencename), \
         coalesce(last_value, start_value), last_value IS NOT NULL) FROM pg_sequences";
    let rows = control.query(SEQUENCES).await?;
    let calls: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    Ok((!calls.is_empty()).then(|| format!("SELECT {}", calls.join(", "))))
}
