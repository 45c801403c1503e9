//! Names as PostgreSQL's grammar takes them, and the names that it gives itself.

use smol_str::SmolStr;
use sqlparser::ast::Ident;

use crate::error::Error;

/// A longer identifier is cut, as PostgreSQL cuts it. Source: `src/include/pg_config_manual.h`, NAMEDATALEN.
pub(super) const NAME_MAX: usize = 63;

/// Words that are no names of tables and columns unless they are quoted. Source: PostgreSQL, src/include/parser/kwlist.h, `RESERVED_KEYWORD` and
/// `TYPE_FUNC_NAME_KEYWORD`.
const RESERVED: &str = " all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation column \
    concurrently constraint create cross current_catalog current_date current_role current_schema current_time current_timestamp \
    current_user default deferrable desc distinct do else end except false fetch for foreign freeze from full grant group having ilike in \
    initially inner intersect into is isnull join lateral leading left like limit localtime localtimestamp natural not notnull null offset \
    on only or order outer overlaps placing primary references returning right select session_user similar some symmetric table tablesample \
    then to trailing true union unique user using variadic verbose when where window with ";

/// Columns that every table has. Source: PostgreSQL, src/backend/catalog/heap.c, `SysAtt`.
pub(super) fn is_system_column(name: &str) -> bool {
    matches!(name, "ctid" | "xmin" | "xmax" | "cmin" | "cmax" | "tableoid")
}

/// Refuses a word that PostgreSQL's grammar takes for something else: the parser here is not so strict.
pub(super) fn refuse_reserved(name: &Ident) -> Result<(), Error> {
    let word = name.value.to_ascii_lowercase();
    if name.quote_style.is_none() && RESERVED.contains(&format!(" {word} ")) {
        return Err(Error::refused(format_args!("the reserved word {word} as a name")));
    }
    Ok(())
}

/// A text cut to so many bytes, between two characters.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

/// The name of what belongs to a table: the longer of its parts is cut until all fit. Source: PostgreSQL, indexcmds.c, `makeObjectName`.
pub(super) fn object_name(table: &str, columns: Option<&str>, label: &str) -> SmolStr {
    let overhead = label.len() + 1 + usize::from(columns.is_some());
    let mut lengths = (table.len(), columns.map_or(0, str::len));
    while lengths.0 + lengths.1 > NAME_MAX - overhead {
        let longer = if lengths.0 > lengths.1 { &mut lengths.0 } else { &mut lengths.1 };
        *longer -= 1;
    }
    let table = cut(table, lengths.0);
    match columns {
        Some(columns) => format!("{table}_{}_{label}", cut(columns, lengths.1)).into(),
        None => format!("{table}_{label}").into(),
    }
}

/// The names of an index's columns, as they go into its own. Source: PostgreSQL, indexcmds.c, `ChooseIndexNameAddition`.
pub(super) fn index_columns<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut joined = String::new();
    for name in names {
        if !joined.is_empty() {
            joined.push('_');
        }
        joined += name;
        if joined.len() > NAME_MAX {
            cut(&joined, NAME_MAX).to_owned().clone_into(&mut joined);
            break;
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::{index_columns, object_name};

    #[test]
    fn a_name_that_is_too_long_loses_letters_of_its_longer_part() {
        assert_eq!(object_name("t", Some("a"), "key"), "t_a_key");
        assert_eq!(object_name(&"t".repeat(70), None, "pkey"), format!("{}_pkey", "t".repeat(58)));
        let both = object_name(&"t".repeat(60), Some(&"c".repeat(60)), "key");
        assert_eq!(both, format!("{}_{}_key", "t".repeat(29), "c".repeat(29)));
        assert_eq!(index_columns(["a", "b"]), "a_b");
        assert_eq!(index_columns([&*"a".repeat(60), "bcdef"]), format!("{}_bc", "a".repeat(60)));
    }
}
