//! A message of several statements, one by one.

/// The statements of `sql`, without their semicolons: text, quoted names and comments may hold semicolons, too.
///
/// ```
/// let sql = "BEGIN; SELECT ';' -- ; \n; COMMIT;";
/// assert_eq!(skiptrace_sim::spec::statements(sql), ["BEGIN", "SELECT ';' -- ;", "COMMIT"]);
/// ```
pub fn statements(sql: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < sql.len() {
        let rest = &sql[at..];
        if rest.starts_with(';') {
            found.push(&sql[start..at]);
            start = at + 1;
        }
        at += token_length(rest);
    }
    found.push(&sql[start..]);
    found.into_iter().map(str::trim).filter(|statement| !statement.is_empty()).collect()
}

/// How long what begins here is: a whole text, name or comment, or else one character.
fn token_length(rest: &str) -> usize {
    let until = |skip: usize, end: &str| rest[skip..].find(end).map_or(rest.len(), |found| skip + found + end.len());
    match rest.as_bytes() {
        [b'\'', ..] => until(1, "'"),
        [b'"', ..] => until(1, "\""),
        [b'-', b'-', ..] => until(2, "\n"),
        [b'/', b'*', ..] => until(2, "*/"),
        [b'$', ..] => match rest[1..].find('$') {
            // `$tag$ .. $tag$`; a parameter `$1` is none.
            Some(tag) if rest[1..=tag].chars().all(|c| c.is_ascii_alphabetic() || c == '_') => {
                until(tag + 2, &rest[..tag + 2])
            }
            _ => 1,
        },
        _ => rest.chars().next().map_or(1, char::len_utf8),
    }
}

#[cfg(test)]
mod tests {
    use super::statements;

    #[test]
    fn semicolons_that_end_nothing() {
        assert_eq!(statements("a; b"), ["a", "b"]);
        assert_eq!(statements(" ;; "), [""; 0]);
        assert_eq!(statements("SELECT 'it''s; one'; \"x;y\""), ["SELECT 'it''s; one'", "\"x;y\""]);
        assert_eq!(statements("DO $$ BEGIN; END $$; DO $x$;$$;$x$"), ["DO $$ BEGIN; END $$", "DO $x$;$$;$x$"]);
        assert_eq!(statements("SELECT $1; SELECT $2 /* ; */"), ["SELECT $1", "SELECT $2 /* ; */"]);
        assert_eq!(statements("SELECT 'open; "), ["SELECT 'open;"]);
    }
}
