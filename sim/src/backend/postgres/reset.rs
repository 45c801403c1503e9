//! Back to what the setup left, between two runs.
//!
//! TRUNCATE is the plain way, and ten times too slow: it gives every table, index and toast table a new file, and every session
//! plans its statements anew (5 ms for eight tables, without the planning). Here the rows that a run left are deleted, the setup's own rows are put
//! back from a copy, and sequences are set to where the setup left them: one transaction of prepared statements, in one flight (0.3 ms).
//!
//! Rows must stand in the order in which they come, as in a fresh table. New rows stand behind the dead ones as long as the page has room;
//! before it gets narrow, VACUUM empties it. Not after each run: VACUUM makes every session plan anew, too. A table that has grown
//! beyond one page is truncated: the free space map would not hand out its pages in order.

use tokio::runtime::Runtime;
use tokio_postgres::{Row, Statement};

use super::control::Control;

/// Where the setup's own rows are kept.
const BASELINE: &str = "skiptrace_baseline";

/// What a reset does; made once, after the setup.
pub(super) struct Reset {
    /// In the order in which they were made: those that refer to others come after them.
    tables: Vec<Table>,
    /// Everything back, where no table has to be emptied otherwise.
    flight: Vec<Statement>,
    /// What puts the setup's own rows and sequences back, as text.
    refill: String,
    /// Runs since the pages were emptied.
    runs: u32,
    /// So many runs share a page at most: where a run's last rows are gone again, nobody knows how full it is.
    runs_max: u32,
}

struct Table {
    id: u32,
    /// Schema and name, quoted.
    name: String,
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
const RUNS_MAX: u32 = 8;

impl Table {
    /// What the run has left, row by row: the line where it stands, its width.
    fn found(&mut self, rows: &[Row]) {
        let last = rows.iter().map(|row| row.get(0)).max().unwrap_or(0);
        let width = rows.iter().map(|row| row.get(1)).max().unwrap_or(0);
        let used = i64::from(last) * (LINE + i64::from(width));
        self.growth = self.growth.max(used - self.used);
        self.used = self.used.max(used);
    }

    /// Whether the next run might find the page full.
    fn is_narrow(&self) -> bool {
        self.used + self.growth + self.growth / 4 > USED_MAX
    }
}

impl Reset {
    /// Looks at what the setup left, and keeps a copy of its rows.
    pub(super) fn prepare((runtime, control): (&Runtime, &Control)) -> Result<Self, String> {
        runtime.block_on(async {
            control.batch(&format!("CREATE SCHEMA {BASELINE}")).await?;
            let (mut tables, mut refill) = (Vec::new(), Vec::new());
            for (number, (id, name, columns)) in tables_of(control).await?.into_iter().enumerate() {
                let copy = format!("{BASELINE}.t{number}");
                control.batch(&format!("CREATE TABLE {copy} AS SELECT {columns} FROM {name}")).await?;
                if control.query(&format!("SELECT EXISTS (SELECT FROM {copy})")).await?[0].get(0) {
                    refill.push(format!(
                        "INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {copy}"
                    ));
                }
                tables.push(Table { id, name, used: 0, growth: 0 });
            }
            refill.extend(sequences_of(control).await?);
            let mut flight = vec![control.prepare("BEGIN").await?];
            if !tables.is_empty() {
                flight.push(control.prepare(&pages_of(&tables)).await?);
            }
            for table in tables.iter().rev() {
                flight.push(control.prepare(&deletion_of(table)).await?);
            }
            for sql in &refill {
                flight.push(control.prepare(sql).await?);
            }
            flight.push(control.prepare("COMMIT").await?);
            Ok(Self { tables, flight, refill: refill.join("; "), runs: 0, runs_max: RUNS_MAX })
        })
    }

    /// Nobody may have a transaction open in this database.
    pub(super) fn run(&mut self, (runtime, control): (&Runtime, &Control)) -> Result<(), String> {
        if self.tables.is_empty() {
            return Ok(());
        }
        let found = runtime.block_on(control.flight("a reset", &self.flight))?;
        for (table, rows) in self.tables.iter_mut().rev().zip(&found[2..]) {
            table.found(rows);
        }
        self.runs += 1;
        let pages = |table: usize| found[1][table].get::<_, i64>(0);
        let large: Vec<usize> = (0..self.tables.len()).filter(|&table| pages(table) > 1).collect();
        if large.is_empty() && self.runs < self.runs_max && !self.tables.iter().any(Table::is_narrow) {
            return Ok(());
        }
        if !large.is_empty() && self.runs > 1 {
            self.runs_max = self.runs / 2;
        }
        // All together: it costs the next run its plans, whether one page is emptied or all are.
        let (mut truncated, mut vacuumed) = (Vec::new(), Vec::new());
        for (number, table) in self.tables.iter().enumerate() {
            match pages(number) {
                0 => {}
                1 => vacuumed.push(table.name.as_str()),
                _ => truncated.push(table.name.as_str()),
            }
        }
        runtime.block_on(self.empty(control, &truncated, &vacuumed))?;
        self.runs = 0;
        self.tables.iter_mut().for_each(|table| table.used = 0);
        Ok(())
    }

    /// Gives tables their whole room back.
    async fn empty(&self, control: &Control, truncated: &[&str], vacuumed: &[&str]) -> Result<(), String> {
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
fn pages_of(tables: &[Table]) -> String {
    let ids: Vec<String> = tables.iter().map(|table| table.id.to_string()).collect();
    format!(
        "SELECT pg_relation_size(t.id::regclass) / current_setting('block_size')::int FROM unnest(ARRAY[{}]::oid[]) AS t (id)",
        ids.join(", ")
    )
}

/// `(0,17)`: the line in the page.
fn deletion_of(table: &Table) -> String {
    format!(
        "DELETE FROM {} AS gone RETURNING split_part(rtrim(ctid::text, ')'), ',', 2)::int4, pg_column_size(gone)",
        table.name
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
