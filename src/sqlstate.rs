//! SQLSTATE codes by PostgreSQL's condition names.
//!
//! Source: PostgreSQL, src/backend/utils/errcodes.txt; manual, appendix A.

use std::fmt;

/// A five-character SQLSTATE.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SqlState([u8; 5]);

macro_rules! conditions {
    ($($name:ident = $code:literal, $condition:literal;)*) => {
        impl SqlState {
            $(#[doc = concat!("`", $condition, "`")] pub const $name: Self = Self(*$code);)*

            /// PostgreSQL's condition name, where this is a code that the project branches on or raises.
            pub fn condition(self) -> Option<&'static str> {
                match &self.0 {
                    $($code => Some($condition),)*
                    _ => None,
                }
            }
        }
    };
}

conditions! {
    CONNECTION_FAILURE = b"08006", "connection_failure";
    TRANSACTION_RESOLUTION_UNKNOWN = b"08007", "transaction_resolution_unknown";
    FEATURE_NOT_SUPPORTED = b"0A000", "feature_not_supported";
    NO_DATA_FOUND = b"P0002", "no_data_found";
    TOO_MANY_ROWS = b"P0003", "too_many_rows";
    NUMERIC_VALUE_OUT_OF_RANGE = b"22003", "numeric_value_out_of_range";
    INVALID_TEXT_REPRESENTATION = b"22P02", "invalid_text_representation";
    NOT_NULL_VIOLATION = b"23502", "not_null_violation";
    FOREIGN_KEY_VIOLATION = b"23503", "foreign_key_violation";
    UNIQUE_VIOLATION = b"23505", "unique_violation";
    CHECK_VIOLATION = b"23514", "check_violation";
    ACTIVE_SQL_TRANSACTION = b"25001", "active_sql_transaction";
    NO_ACTIVE_SQL_TRANSACTION = b"25P01", "no_active_sql_transaction";
    IN_FAILED_SQL_TRANSACTION = b"25P02", "in_failed_sql_transaction";
    SERIALIZATION_FAILURE = b"40001", "serialization_failure";
    DEADLOCK_DETECTED = b"40P01", "deadlock_detected";
    DATATYPE_MISMATCH = b"42804", "datatype_mismatch";
    SYNTAX_ERROR = b"42601", "syntax_error";
    UNDEFINED_TABLE = b"42P01", "undefined_table";
    LOCK_NOT_AVAILABLE = b"55P03", "lock_not_available";
    QUERY_CANCELED = b"57014", "query_canceled";
    ADMIN_SHUTDOWN = b"57P01", "admin_shutdown";
    INTERNAL_ERROR = b"XX000", "internal_error";
}

impl SqlState {
    /// The code as PostgreSQL sends it. Anything that is not five ASCII letters and digits is read as `internal_error`.
    pub fn from_code(code: &str) -> Self {
        match <[u8; 5]>::try_from(code.as_bytes()) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_alphanumeric) => Self(bytes),
            _ => Self::INTERNAL_ERROR,
        }
    }

    /// The five characters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made of ASCII only")
    }

    /// The transaction may be tried again as it was: it lost against another one.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::SERIALIZATION_FAILURE | Self::DEADLOCK_DETECTED | Self::LOCK_NOT_AVAILABLE)
    }

    /// The connection is gone (class 08, or an administrator's shutdown).
    pub fn is_connection_lost(self) -> bool {
        self.0.starts_with(b"08") || self.0.starts_with(b"57P")
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlState({self})")
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.condition() {
            Some(condition) => write!(f, "{} {condition}", self.code()),
            None => f.write_str(self.code()),
        }
    }
}
