//! Rows as isolationtester prints them: aligned columns, numbers to the right. Source: PostgreSQL, src/interfaces/libpq/fe-print.c, `PQprint`.

use super::run::too_much_output;
use crate::backend::messages::{Table, Trouble};

/// Whether `PQprint` takes a value for a number. It looks at values, not at types, and is easily fooled: so are we.
fn looks_numeric(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'E' | 'e' | ' ' | '-');
    value.chars().all(plain) && value.ends_with(|c: char| c.is_ascii_digit()) && !value.starts_with(['E', 'e'])
}

/// A table with its header and the number of its rows; nothing for one without columns. Errs before it makes more than `max` bytes.
pub(super) fn table(table: &Table, max: usize) -> Result<String, Trouble> {
    if table.columns.is_empty() {
        return Ok(String::new());
    }
    let columns = table.columns.iter().enumerate().map(|(place, name)| {
        // An empty text is not looked at, NULL looks like one.
        let values = table.rows.iter().filter_map(|row| row[place].as_deref()).filter(|value| !value.is_empty());
        let width = values.clone().map(str::len).chain([name.len()]).max().unwrap_or(0);
        Column { width, right: values.clone().all(looks_numeric) }
    });
    let columns: Vec<Column> = columns.collect();
    // Every row is as wide as the widest.
    let width = columns.iter().fold(0_usize, |sum, column| sum.saturating_add(column.width + 1));
    if width.saturating_mul(table.rows.len() + 2) > max {
        return Err(too_much_output());
    }
    let mut text = line(&columns, table.columns.iter().map(String::as_str));
    let dashes: Vec<String> = columns.iter().map(|column| "-".repeat(column.width)).collect();
    text.push_str(&dashes.join("+"));
    text.push('\n');
    for row in &table.rows {
        text.push_str(&line(&columns, row.iter().map(|value| value.as_deref().unwrap_or(""))));
    }
    let rows = table.rows.len();
    Ok(text + &format!("({rows} row{})\n\n", if rows == 1 { "" } else { "s" }))
}

struct Column {
    width: usize,
    right: bool,
}

/// Values with a bar between them; the last is padded, too.
fn line<'v>(columns: &[Column], values: impl Iterator<Item = &'v str>) -> String {
    let mut text = String::new();
    for (place, (value, column)) in values.zip(columns).enumerate() {
        if place > 0 {
            text.push('|');
        }
        // Widths are bytes, as there.
        let padding = " ".repeat(column.width.saturating_sub(value.len()));
        text.push_str(&if column.right { padding + value } else { value.to_owned() + &padding });
    }
    text.push('\n');
    text
}
