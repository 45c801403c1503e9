//! A server's URL, with another database put into it.

use std::str::FromStr;

/// The connection string of a server, in either of libpq's forms: `postgresql://..` or `host=.. dbname=..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DatabaseUrl {
    text: String,
}

impl DatabaseUrl {
    /// Errs with what the driver does not like about it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match tokio_postgres::Config::from_str(text) {
            Ok(config) if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() => {
                Err("it names no host: expected postgresql://user@host/database".to_owned())
            }
            Ok(_) => Ok(Self { text: text.to_owned() }),
            Err(e) => Err(format!("{}: expected postgresql://user@host/database", chain(&e))),
        }
    }

    /// The string as it was given.
    pub(super) fn as_given(&self) -> &str {
        &self.text
    }

    /// In both forms a later `dbname` wins over an earlier one, and over the path.
    pub(super) fn with_database(&self, name: &str) -> String {
        if !self.text.contains("://") {
            return format!("{} dbname='{name}'", self.text);
        }
        let separator = if self.text.contains('?') { '&' } else { '?' };
        // A parameter needs a path before it.
        let (_, rest) = self.text.split_once("://").expect("looked for above");
        let path = if rest.contains('/') || separator == '&' { "" } else { "/" };
        format!("{}{path}{separator}dbname={name}", self.text)
    }
}

/// An error and its causes in one line: tokio-postgres says what went wrong only in the cause.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let url = DatabaseUrl::parse(text).expect("a connection string").with_database("other");
        assert_eq!(url, want);
        let config = tokio_postgres::Config::from_str(&url).expect("still a connection string");
        assert_eq!(config.get_dbname(), Some("other"), "in {url}");
    }

    #[test]
    fn another_database_in_every_form_of_a_url() {
        check("postgresql://u@h/d", "postgresql://u@h/d?dbname=other");
        check("postgresql://u@h", "postgresql://u@h/?dbname=other");
        check("postgres://u:p@h:5433/d?connect_timeout=3", "postgres://u:p@h:5433/d?connect_timeout=3&dbname=other");
        check("postgresql://u@%2Ftmp%2Fs:5433/d", "postgresql://u@%2Ftmp%2Fs:5433/d?dbname=other");
        check("host=/tmp/s user=u dbname=d", "host=/tmp/s user=u dbname=d dbname='other'");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in ["nonsense", "postgresql://", "mysql://u@h/d"] {
            DatabaseUrl::parse(text).expect_err(text);
        }
    }
}
