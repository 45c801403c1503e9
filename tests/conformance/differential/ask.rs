//! A query put to the model and to a server: names and types of the columns, values as text, or the error.

use std::fmt;

use futures_util::future::join_all;
use skiptrace_model::{Outcome, Scalar, Server, SessionId, Type};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// What a query is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Rows {
        /// Name and type.
        columns: Vec<(String, String)>,
        rows: Vec<Vec<Option<String>>>,
    },
    Error {
        sqlstate: String,
        message: String,
    },
    /// By the model.
    Refused(String),
}

impl Answer {
    /// Whether the model's answer is as good as the server's. Which of several erring rows comes first hangs on how a server sorts and groups.
    pub(crate) fn agrees_with(&self, server: &Self, sql: &str) -> bool {
        let reorders = ["GROUP BY", "DISTINCT", "ORDER BY (", "WHERE ("].iter().any(|clause| sql.contains(clause));
        let is_data_exception =
            |answer: &Self| matches!(answer, Self::Error { sqlstate, .. } if sqlstate.starts_with('2'));
        match (self, server) {
            (Self::Refused(_), _) => true,
            _ if (is_data_exception(self) || is_data_exception(server)) && is_left_open(sql) => true,
            (Self::Error { sqlstate: model, .. }, Self::Error { sqlstate: server, .. }) if reorders => {
                model == server || model.starts_with("22") && server.starts_with("22")
            }
            (model, server) => model == server,
        }
    }
}

/// Whether PostgreSQL says that whether an expression is evaluated is not defined: a condition's terms are ordered by their costs, and `min`
/// and `max` may stop at the first row. Source: its manual, 4.2.14; `order_qual_clauses`, `preprocess_minmax_aggregates`.
fn is_left_open(sql: &str) -> bool {
    sql.contains("WHERE ") && (sql.contains("(SELECT") || sql.contains(" AND "))
        || ["min", "max", "bool_", "every"].iter().any(|name| sql.starts_with(&format!("SELECT {name}")))
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows { columns, rows } => {
                let columns: Vec<String> = columns.iter().map(|(name, ty)| format!("{name} {ty}")).collect();
                write!(f, "{}:", columns.join(", "))?;
                for row in rows {
                    let values: Vec<&str> = row.iter().map(|value| value.as_deref().unwrap_or("∅")).collect();
                    write!(f, " ({})", values.join(" | "))?;
                }
                Ok(())
            }
            Self::Error { sqlstate, message } => write!(f, "ERROR {sqlstate}: {message}"),
            Self::Refused(construct) => write!(f, "refused: {construct}"),
        }
    }
}

/// The model, with a session.
pub(crate) struct Model {
    server: Server,
    session: SessionId,
}

impl Model {
    pub(crate) fn new(setup: &[&str]) -> Self {
        let mut server = Server::new();
        let session = server.connect();
        for sql in setup {
            let outcome = server.query(session, sql);
            assert!(matches!(outcome, Outcome::Done(_)), "the model, asked {sql}: {outcome:?}");
        }
        Self { server, session }
    }

    pub(crate) fn ask(&mut self, sql: &str) -> Answer {
        let failed = |error: skiptrace_model::Error| {
            if error.is_refusal() {
                return Answer::Refused(error.message);
            }
            Answer::Error { sqlstate: error.sqlstate.to_owned(), message: error.message }
        };
        let prepared = match self.server.prepare(sql) {
            Ok(prepared) => prepared,
            // As messages have it: what this parser cannot read may be SQL all the same.
            Err(error) if error.message.starts_with("syntax error") => return Answer::Refused(error.message),
            Err(error) => return failed(error),
        };
        let columns: Vec<(String, Type)> =
            self.server.columns(prepared).map(|(name, ty)| (name.to_owned(), ty)).collect();
        match self.server.execute(self.session, prepared, &[]) {
            Outcome::Done(answer) => {
                let values = |row: &[skiptrace_model::Value]| {
                    row.iter().zip(&columns).map(|(value, (_, ty))| self.server.output(value, *ty)).collect()
                };
                let rows = answer.rows.iter().map(values).collect();
                Answer::Rows { columns: columns.into_iter().map(|(name, ty)| (name, type_name(ty))).collect(), rows }
            }
            Outcome::Failed(error) => failed(error),
            Outcome::Waits | Outcome::Paused => unreachable!("nobody else is there"),
        }
    }
}

/// As `pg_type` has it.
fn type_name(ty: Type) -> String {
    let name = |scalar| match scalar {
        Scalar::Bool => "bool",
        Scalar::Int2 => "int2",
        Scalar::Int4 => "int4",
        Scalar::Int8 => "int8",
        Scalar::Numeric => "numeric",
        Scalar::Text => "text",
        Scalar::Jsonb => "jsonb",
        Scalar::Timestamptz => "timestamptz",
        other => panic!("no expression here is of type {other:?}"),
    };
    match ty {
        Type::Scalar(scalar) => name(scalar).to_owned(),
        Type::Array(scalar) => format!("_{}", name(scalar)),
    }
}

/// A connection to a real server.
pub(crate) struct Postgres {
    runtime: Runtime,
    client: Client,
}

impl Postgres {
    pub(crate) fn open(url: &str, setup: &[&str]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a server that answers");
            tokio::spawn(connection);
            client.batch_execute("SET timezone = 'UTC'").await.expect("a setting");
            for sql in setup {
                client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
            client
        });
        Self { runtime, client }
    }

    /// All in one flight, each a message of its own: an error ends no other.
    pub(crate) fn ask_all(&self, queries: &[String]) -> Vec<Answer> {
        self.runtime.block_on(join_all(queries.iter().map(|sql| self.ask(sql))))
    }

    async fn ask(&self, sql: &str) -> Answer {
        // Types are known to who prepares; values are text to who does not.
        let (prepared, answered) =
            futures_util::future::join(self.client.prepare(sql), self.client.simple_query(sql)).await;
        let failed = |error: &tokio_postgres::Error| {
            let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
            Answer::Error { sqlstate: error.code().code().to_owned(), message: error.message().to_owned() }
        };
        let messages = match answered {
            Ok(messages) => messages,
            Err(error) => return failed(&error),
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return failed(&error),
        };
        let columns = prepared.columns().iter();
        let columns = columns.map(|column| (column.name().to_owned(), column.type_().name().to_owned())).collect();
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
            _ => None,
        });
        Answer::Rows { columns, rows: rows.collect() }
    }
}
