//! Back to what the setup left, between two runs.
//!
//! TRUNCATE is the plain way, and ten times too slow: it gives every table, index and toast table a new file, and every session
//! plans its statements anew (5 ms for eight tables, without the planning). Here the rows that a run left are deleted, the setup's own rows are put
//! back from a copy, and sequences are set to where the setup left them (0.5 ms).
//!
//! Rows must stand in the order in which they come, as in a fresh table. New rows stand behind the dead ones as long as the page has room;
//! before it gets narrow, VACUUM empties it. Not after each run: VACUUM makes every session plan anew, too. A table that has grown
//! beyond one page is truncated: the free space map would not hand out its pages in order.

use std::fmt::Write;

use tokio::runtime::Runtime;
use tokio_postgres::Statement;

use super::control::Control;

/// Where the setup's own rows are kept.
const BASELINE: &str = "skiptrace_baseline";

/// What a reset does; made once, after the setup.
pub(super) struct Reset {
    tables: Vec<Table>,
    /// Three columns a table: its pages, where its last row stands, its widest row.
    survey: Option<Statement>,
    /// Sets all sequences; empty where there is none.
    sequences: String,
}

struct Table {
    /// Schema and name, quoted.
    name: String,
    /// Puts the setup's rows back, if it has any.
    refill: Option<String>,
    /// Runs since its page was emptied.
    runs: u32,
}

/// What stands in a table after a run.
#[derive(Clone, Copy)]
struct Found {
    pages: i64,
    /// The line of the last row that is there.
    last: Option<i64>,
    /// The widest such row's.
    width: i64,
}

/// Dead rows may fill so much of a page of 8192 bytes; the rest is for the next run.
const USED_MAX: i64 = 4096;
/// Where the last rows are gone nobody knows how full the page is.
const RUNS_MAX: u32 = 3;
/// A row's line pointer, and its padding. Source: PostgreSQL manual, 73.6, database page layout.
const LINE: i64 = 12;

impl Table {
    /// Whether the next run might find the page full.
    fn is_narrow(&self, found: Found) -> bool {
        let used = found.last.map_or(0, |last| last * (LINE + found.width));
        found.pages == 1 && (used > USED_MAX || self.runs >= RUNS_MAX)
    }
}

impl Reset {
    /// Looks at what the setup left, and keeps a copy of its rows.
    pub(super) fn prepare((runtime, control): (&Runtime, &Control)) -> Result<Self, String> {
        runtime.block_on(async {
            control.batch(&format!("CREATE SCHEMA {BASELINE}")).await?;
            let mut tables = Vec::new();
            for (number, (name, columns)) in tables_of(control).await?.into_iter().enumerate() {
                let copy = format!("{BASELINE}.t{number}");
                control.batch(&format!("CREATE TABLE {copy} AS SELECT {columns} FROM {name}")).await?;
                let has_rows: bool = control.query(&format!("SELECT EXISTS (SELECT FROM {copy})")).await?[0].get(0);
                let refill = has_rows.then(|| {
                    format!("INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {copy};")
                });
                tables.push(Table { name, refill, runs: 0 });
            }
            let survey = match survey_of(&tables) {
                Some(sql) => Some(control.prepare(&sql).await?),
                None => None,
            };
            Ok(Self { sequences: sequences_of(control).await?, tables, survey })
        })
    }

    /// Nobody may have a transaction open in this database.
    pub(super) fn run(&mut self, (runtime, control): (&Runtime, &Control)) -> Result<(), String> {
        let Some(survey) = &self.survey else { return Ok(()) };
        let row = &runtime.block_on(control.query_prepared(survey))?[0];
        let found = |index: usize| Found {
            pages: row.get(3 * index),
            last: row.get(3 * index + 1),
            width: row.get(3 * index + 2),
        };
        // All together: each VACUUM costs the next run its plans.
        let now = self.tables.iter().enumerate().any(|(index, table)| table.is_narrow(found(index)));
        let (mut empty, mut refill) = (self.sequences.clone(), String::new());
        let (mut truncate, mut delete, mut vacuum) = (Vec::new(), Vec::new(), Vec::new());
        for (index, table) in self.tables.iter_mut().enumerate() {
            let Found { pages, last, .. } = found(index);
            if pages > 1 {
                truncate.push(table.name.as_str());
            } else {
                delete.extend(last.is_some().then_some(table.name.as_str()));
                vacuum.extend((now && pages == 1).then_some(table.name.as_str()));
            }
            table.runs = if now || pages != 1 { 0 } else { table.runs + 1 };
            refill.push_str(table.refill.as_deref().unwrap_or(""));
        }
        if !truncate.is_empty() {
            // Whatever refers to a truncated table goes with it; its rows are the run's, too, or are put back.
            write!(empty, "TRUNCATE {} CASCADE;", truncate.join(", ")).expect("to a string");
        }
        // Those that refer to others were made after them.
        for name in delete.iter().rev() {
            write!(empty, "DELETE FROM {name};").expect("to a string");
        }
        runtime.block_on(async {
            control.batch(&empty).await?;
            if !vacuum.is_empty() {
                let options = "TRUNCATE false, PROCESS_TOAST false, INDEX_CLEANUP on";
                control.batch(&format!("VACUUM ({options}) {}", vacuum.join(", "))).await?;
            }
            control.batch(&refill).await
        })
    }
}

/// The setup's tables in the order in which they were made, with their columns that are not generated.
async fn tables_of(control: &Control) -> Result<Vec<(String, String)>, String> {
    const TABLES: &str = "SELECT format('%I.%I', n.nspname, c.relname), \
         coalesce((SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute a \
           WHERE a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''), '') \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY c.oid";
    Ok(control.query(TABLES).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn survey_of(tables: &[Table]) -> Option<String> {
    let (mut columns, mut sources) = (Vec::new(), Vec::new());
    for (number, Table { name, .. }) in tables.iter().enumerate() {
        let text = name.replace('\'', "''");
        columns.push(format!(
            "pg_relation_size('{text}') / current_setting('block_size')::int, s{number}.last, s{number}.width"
        ));
        // `(0,17)`: the line in the page.
        sources.push(format!(
            "(SELECT split_part(rtrim(max(t.ctid)::text, ')'), ',', 2)::int8 AS last, \
             coalesce(max(pg_column_size(t)), 0)::int8 AS width FROM {name} AS t) AS s{number}"
        ));
    }
    (!columns.is_empty()).then(|| format!("SELECT {} FROM {}", columns.join(", "), sources.join(", ")))
}

async fn sequences_of(control: &Control) -> Result<String, String> {
    const SEQUENCES: &str = "SELECT format('setval(%L, %s, %L)', format('%I.%I', schemaname, sequencename), \
         coalesce(last_value, start_value), last_value IS NOT NULL) FROM pg_sequences";
    let rows = control.query(SEQUENCES).await?;
    let calls: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    Ok(if calls.is_empty() { String::new() } else { format!("SELECT {};", calls.join(", ")) })
}
