//! Back to what the setup left, between two runs.
//!
//! TRUNCATE is the plain way, and ten times too slow: it gives every table, index and toast table a new file, and every session
//! plans its statements anew (5 ms for eight tables, without the planning). Here the rows that a run left are deleted, VACUUM empties
//! the pages, so that new rows stand in them in the order in which they come, as in a fresh table (0.5 ms), the setup's
//! own rows are put back from a copy, and sequences are set to where the setup left them. Only a table that has grown beyond
//! one page is truncated: the free space map would not hand out its pages in order.

use std::fmt::Write;

use tokio::runtime::Runtime;
use tokio_postgres::Statement;

use super::control::Control;

/// Where the setup's own rows are kept.
const BASELINE: &str = "skiptrace_baseline";

/// What a reset does; made once, after the setup.
pub(super) struct Reset {
    tables: Vec<Table>,
    /// One boolean and one integer a table: whether it holds rows, how many pages it has.
    survey: Option<Statement>,
    /// Sets all sequences; empty where there is none.
    sequences: String,
}

struct Table {
    /// Schema and name, quoted.
    name: String,
    /// Puts the setup's rows back, if it has any.
    refill: Option<String>,
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
                tables.push(Table { name, refill });
            }
            let survey = match survey_of(&tables) {
                Some(sql) => Some(control.prepare(&sql).await?),
                None => None,
            };
            Ok(Self { sequences: sequences_of(control).await?, tables, survey })
        })
    }

    /// Nobody may have a transaction open in this database.
    pub(super) fn run(&self, (runtime, control): (&Runtime, &Control)) -> Result<(), String> {
        let Some(survey) = &self.survey else { return Ok(()) };
        runtime.block_on(async {
            let row = &control.query_prepared(survey).await?[0];
            let (mut empty, mut refill) = (self.sequences.clone(), String::new());
            let (mut truncate, mut vacuum) = (Vec::new(), Vec::new());
            for (index, table) in self.tables.iter().enumerate() {
                if row.get(2 * index) {
                    let one_page = row.get::<_, i64>(2 * index + 1) <= 1;
                    let way = if one_page { &mut vacuum } else { &mut truncate };
                    way.push(table.name.as_str());
                }
                refill.push_str(table.refill.as_deref().unwrap_or(""));
            }
            if !truncate.is_empty() {
                // Whatever refers to a truncated table goes with it; its rows are the run's, too, or are put back.
                write!(empty, "TRUNCATE {} CASCADE;", truncate.join(", ")).expect("to a string");
            }
            // Those that refer to others were made after them.
            for name in vacuum.iter().rev() {
                write!(empty, "DELETE FROM {name};").expect("to a string");
            }
            if !empty.is_empty() {
                control.batch(&empty).await?;
            }
            if !vacuum.is_empty() {
                let options = "TRUNCATE false, PROCESS_TOAST false, INDEX_CLEANUP on";
                control.batch(&format!("VACUUM ({options}) {}", vacuum.join(", "))).await?;
            }
            if !refill.is_empty() {
                control.batch(&refill).await?;
            }
            Ok(())
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
    let columns: Vec<String> = tables
        .iter()
        .map(|Table { name, .. }| {
            format!(
                "EXISTS (SELECT FROM {name}), pg_relation_size('{}') / current_setting('block_size')::int",
                name.replace('\'', "''")
            )
        })
        .collect();
    (!columns.is_empty()).then(|| format!("SELECT {}", columns.join(", ")))
}

async fn sequences_of(control: &Control) -> Result<String, String> {
    const SEQUENCES: &str = "SELECT format('SELECT setval(%L, %s, %L);', format('%I.%I', schemaname, sequencename), \
         coalesce(last_value, start_value), last_value IS NOT NULL) FROM pg_sequences";
    Ok(control.query(SEQUENCES).await?.iter().map(|row| row.get::<_, &str>(0)).collect())
}
