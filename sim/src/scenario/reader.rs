//! Reads TOML by hand, from the tree with its spans: so every error can point at what it is about, which `serde` cannot
//! once a value has been built.

use std::fmt::Write;
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{FileError, nearest, unknown_name};

/// A larger file is refused: a scenario and a schedule are small, and a wrong argument may be anything.
const FILE_BYTES_MAX: usize = 4 << 20;

/// A file's text.
#[derive(Clone, Copy)]
pub(crate) struct Document<'a> {
    pub(crate) path: &'a Path,
    pub(crate) text: &'a str,
}

impl<'a> Document<'a> {
    /// The tree of its values.
    pub(crate) fn tree(&self) -> Result<Spanned<DeTable<'a>>, FileError> {
        if self.text.len() > FILE_BYTES_MAX {
            let found = self.text.len();
            let message = format!("the file is too large\nexpected at most {FILE_BYTES_MAX} bytes, found {found}");
            return Err(self.error(&(0..0), message));
        }
        DeTable::parse(self.text).map_err(|error| {
            let end = self.text.len()..self.text.len();
            self.error(&error.span().unwrap_or(end), error.message())
        })
    }

    pub(crate) fn error(&self, span: &Range<usize>, message: impl Into<String>) -> FileError {
        FileError::new(self.path, self.text, span, message)
    }

    /// The document's outermost table.
    pub(crate) fn root<'t>(
        self,
        tree: &'t Spanned<DeTable<'a>>,
        what: &'t str,
        keys: &'t [&'t str],
    ) -> Result<Table<'t, 'a>, FileError> {
        // What is missing from the root is missing at the file's end.
        let end = self.text.trim_end().len();
        Table::new(self, tree.get_ref(), end..end, what, keys)
    }
}

/// A table all of whose keys are known.
pub(crate) struct Table<'t, 'a> {
    document: Document<'a>,
    entries: &'t DeTable<'a>,
    span: Range<usize>,
    what: &'t str,
}

impl<'t, 'a> Table<'t, 'a> {
    fn new(
        document: Document<'a>,
        entries: &'t DeTable<'a>,
        span: Range<usize>,
        what: &'t str,
        keys: &[&str],
    ) -> Result<Self, FileError> {
        // The tree is sorted by key; the reader of an error wants the first in the file.
        let unknown = entries.keys().filter(|key| !keys.contains(&key.get_ref().as_ref()));
        if let Some(key) = unknown.min_by_key(|key| key.span().start) {
            let mut message =
                format!("unknown key `{}` in {what}\nexpected one of: {}", key.get_ref(), keys.join(", "));
            if let Some(nearest) = nearest(key.get_ref(), keys) {
                let _ = write!(message, "\ndid you mean `{nearest}`?");
            }
            return Err(document.error(&key.span(), message));
        }
        Ok(Self { document, entries, span, what })
    }

    /// The value of `key`, if it is there.
    pub(crate) fn optional(&self, key: &'t str) -> Option<Item<'t, 'a>> {
        let value = self.entries.get(key)?;
        Some(Item { document: self.document, value, key })
    }

    /// The value of `key`; `expected` says what it should have been.
    pub(crate) fn required(&self, key: &'t str, expected: &str) -> Result<Item<'t, 'a>, FileError> {
        self.optional(key).ok_or_else(|| {
            let message = format!("{} has no `{key}`\nexpected `{key}`: {expected}", self.what);
            self.document.error(&self.span, message)
        })
    }
}

/// A value, with its key.
#[derive(Clone, Copy)]
pub(crate) struct Item<'t, 'a> {
    document: Document<'a>,
    value: &'t Spanned<DeValue<'a>>,
    key: &'t str,
}

impl<'t, 'a> Item<'t, 'a> {
    /// An error that points at this value.
    pub(crate) fn error(&self, message: impl Into<String>) -> FileError {
        self.document.error(&self.value.span(), message)
    }

    fn wrong_type(&self, expected: &str) -> FileError {
        let found = self.value.get_ref().type_str();
        self.error(format!("`{}` is of a wrong type\nexpected {expected}, found {found}", self.key))
    }

    pub(crate) fn is_string(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// A string.
    pub(crate) fn string(&self, expected: &str) -> Result<&'t str, FileError> {
        self.value.get_ref().as_str().ok_or_else(|| self.wrong_type(expected))
    }

    /// An integer in `range`, decimal.
    pub(crate) fn integer(&self, range: RangeInclusive<u64>) -> Result<u64, FileError> {
        let expected = format!("an integer from {} to {}", range.start(), range.end());
        let DeValue::Integer(integer) = self.value.get_ref() else { return Err(self.wrong_type(&expected)) };
        let value = u64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|value| range.contains(value));
        value.ok_or_else(|| self.error(format!("`{}` is out of range\nexpected {expected}, found {integer}", self.key)))
    }

    /// As [`Item::integer`], for counts that a `u32` holds.
    pub(crate) fn count(&self, range: RangeInclusive<u32>) -> Result<u32, FileError> {
        let value = self.integer(u64::from(*range.start())..=u64::from(*range.end()))?;
        Ok(u32::try_from(value).expect("in the range of a u32"))
    }

    /// An array's elements, from `range.start()` to `range.end()` of them.
    pub(crate) fn array(&self, range: RangeInclusive<usize>, of: &str) -> Result<Vec<Item<'t, 'a>>, FileError> {
        let expected = format!("{} to {} {of}", range.start(), range.end());
        let DeValue::Array(array) = self.value.get_ref() else {
            return Err(self.wrong_type(&format!("an array of {expected}")));
        };
        let items: Vec<_> = array.iter().map(|value| Item { value, ..*self }).collect();
        if range.contains(&items.len()) {
            return Ok(items);
        }
        let wrong = if items.len() < *range.start() { "few" } else { "many" };
        let message = format!("`{}` has too {wrong} elements\nexpected {expected}, found {}", self.key, items.len());
        // The one that is too many says more than the first.
        Err(items.get(*range.end()).unwrap_or(self).error(message))
    }

    /// A table with these keys.
    pub(crate) fn table(&self, what: &'t str, keys: &[&str]) -> Result<Table<'t, 'a>, FileError> {
        let table = self.value.get_ref().as_table().ok_or_else(|| self.wrong_type("a table"))?;
        Table::new(self.document, table, self.value.span(), what, keys)
    }

    /// The value of `key` where this is a table, before its keys are known.
    pub(crate) fn peek(&self, key: &'t str, what: &str, expected: &str) -> Result<Item<'t, 'a>, FileError> {
        let table = self.value.get_ref().as_table().ok_or_else(|| self.wrong_type("a table"))?;
        let value =
            table.get(key).ok_or_else(|| self.error(format!("{what} has no `{key}`\nexpected `{key}`: {expected}")))?;
        Ok(Item { value, key, ..*self })
    }

    /// A string that is one of `known`.
    pub(crate) fn one_of(&self, what: &str, known: &[&str]) -> Result<&'t str, FileError> {
        let found = self.string(&format!("the name of a {what}"))?;
        if known.contains(&found) { Ok(found) } else { Err(self.error(unknown_name(what, found, known))) }
    }

    /// A name that can stand in a schedule, a lane and a file's name: a letter, then letters, digits, `_`, `-`.
    pub(crate) fn name(&self, what: &str, length_max: usize) -> Result<&'t str, FileError> {
        let expected = format!("{what}: a letter, then letters, digits, `_` or `-`, at most {length_max} in all");
        let found = self.string(&expected)?;
        let starts = found.starts_with(|c: char| c.is_ascii_alphabetic());
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if starts && found.chars().all(allowed) && found.len() <= length_max {
            Ok(found)
        } else {
            Err(self.error(format!("{found:?} cannot be {what}\nexpected {expected}")))
        }
    }

    /// The words of a string as they stand in the file, each with its span.
    pub(crate) fn words(&self) -> Result<Vec<(Range<usize>, &'a str)>, FileError> {
        self.string("a string")?;
        let span = self.value.span();
        let raw = &self.document.text[span.clone()];
        let quote = if raw.starts_with("\"\"\"") || raw.starts_with("'''") { 3 } else { 1 };
        let inner = &raw[quote..raw.len() - quote];
        let base = span.start + quote;
        let mut words = Vec::new();
        for word in inner.split_ascii_whitespace() {
            let start = base + (word.as_ptr() as usize - inner.as_ptr() as usize);
            words.push((start..start + word.len(), word));
        }
        Ok(words)
    }

    /// An error that points at `span`, from [`Item::words`].
    pub(crate) fn error_at(&self, span: &Range<usize>, message: impl Into<String>) -> FileError {
        self.document.error(span, message)
    }
}
