//! What is wrong with a file, and where.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// An error in a scenario or schedule file: where, what was found, what was expected.
///
/// ```text
/// scenarios/end-race.toml:2:12: unknown protocol "naiv"
///   2 | protocol = "naiv"
///     |            ^^^^^^
/// expected one of: naive, skip-records
/// did you mean "naive"?
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub message: String,
    source_line: String,
    marked: usize,
}

/// A line longer than this is shown in part only.
const SHOWN_MAX: usize = 100;

impl FileError {
    /// An error at the bytes `span` of `text`. The first line of `message` stands before the excerpt, the others behind it.
    pub(crate) fn new(path: &Path, text: &str, span: &Range<usize>, message: impl Into<String>) -> Self {
        let start = floor_char_boundary(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let rest = &text[line_start..];
        let source_line = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let line_end = line_start + source_line.len();
        let end = floor_char_boundary(text, span.end).min(line_end).max(start);
        Self {
            path: path.to_owned(),
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            message: message.into(),
            source_line: source_line.to_owned(),
            marked: text[start..end].chars().count().max(1),
        }
    }
}

fn floor_char_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0)
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, rest) = self.message.split_once('\n').unwrap_or((&self.message, ""));
        writeln!(f, "{}:{}:{}: {first}", self.path.display(), self.line, self.column)?;
        let gutter = self.line.to_string().len().max(3);
        // Tabs would move the caret; a control character would reach the terminal.
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let fits = self.column + self.marked <= SHOWN_MAX;
        let skipped = if fits { 0 } else { (self.column - 1).saturating_sub(SHOWN_MAX / 2) };
        let shown: String = self.source_line.chars().skip(skipped).take(SHOWN_MAX).map(printable).collect();
        let before = self.column - 1 - skipped;
        let marked = self.marked.min((SHOWN_MAX - before).max(1));
        writeln!(f, "{:>gutter$} | {shown}", self.line)?;
        write!(f, "{:>gutter$} | {:before$}{}", "", "", "^".repeat(marked))?;
        if !rest.is_empty() {
            write!(f, "\n{rest}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FileError {}

/// `unknown protocol "naiv"`, what there is, and the nearest name.
pub fn unknown_name(what: &str, found: &str, known: &[&str]) -> String {
    use std::fmt::Write;

    let mut message = format!("unknown {what} {found:?}");
    if known.is_empty() {
        message.push_str("\nnone exists");
        return message;
    }
    let _ = write!(message, "\nexpected one of: {}", known.join(", "));
    if let Some(nearest) = nearest(found, known) {
        let _ = write!(message, "\ndid you mean {nearest:?}?");
    }
    message
}

/// The name that `found` was likely meant to be: at most a third of its letters differ.
pub fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let found = found.to_lowercase().replace('_', "-");
    let distance = |name: &str| edit_distance(&found, &name.to_lowercase().replace('_', "-"));
    let best = known.iter().map(|name| (distance(name), *name)).min_by_key(|(distance, _)| *distance)?;
    (best.0 * 3 <= found.chars().count().max(3)).then_some(best.1)
}

/// Insertions, deletions, replacements and swaps of neighbours that make `b` of `a` (optimal string alignment).
fn edit_distance(a: &str, b: &str) -> usize {
    // A name is short; a file can hold anything.
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped { best.min(rows[i - 2][j - 2] + 1) } else { best }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_allows_a_slip_and_no_more() {
        let known = ["naive", "skip-records", "xid-boundary"];
        assert_eq!(nearest("naiv", &known), Some("naive"));
        assert_eq!(nearest("niave", &known), Some("naive"));
        assert_eq!(nearest("skip_records", &known), Some("skip-records"));
        assert_eq!(nearest("something", &known), None);
        assert_eq!(nearest("", &known), None);
    }

    #[test]
    fn any_span_of_any_text_makes_an_error() {
        let text = "ä = 1\r\n\tb = \"ü\"\n";
        for start in 0..text.len() + 3 {
            for end in start..text.len() + 3 {
                let error = FileError::new(Path::new("f"), text, &(start..end), "wrong");
                assert!(error.to_string().starts_with(&format!("f:{}:", error.line)), "{error}");
                assert!(error.line <= 3 && error.column >= 1);
            }
        }
    }
}
