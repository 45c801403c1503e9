//! A real server as [`Messages`], with libpq's and isolationtester's eyes.
//!
//! Whether a connection waits for a lock is asked of the server every ten milliseconds, through a connection of its own, with the function that isolationtester
//! uses. Source: PostgreSQL, src/test/isolation/isolationtester.c, `try_complete_step`; src/backend/utils/adt/lockfuncs.c.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, SimpleQueryMessage};

use super::{Messages, Notice, Notification, Part, Patience, Table, Trouble, application_name};
use crate::backend::block_on::block_on;
use crate::backend::testbed::{Database, TestBed, chain};
use crate::spec::OUTPUT_MAX;

/// How often the server is asked who waits.
const LOOK: Duration = Duration::from_millis(10);
/// What tokio-postgres errs with where the server begins to copy in the middle of a simple query.
const COPIES: &str = "unexpected message from server";
/// A step that takes longer never comes back, unless `PGISOLATIONTIMEOUT` says otherwise.
const STEP_SECONDS_MAX: u64 = 60;

/// A database on a test bed's server and connections to it.
pub struct PostgresMessages<'bed> {
    // Before the database: they go first.
    connections: Vec<Connection>,
    watch: Client,
    runtime: Runtime,
    /// How many looks a step may take.
    looks_max: u32,
    /// How many times time was let pass since an answer came.
    idle: u32,
    database: Database<'bed>,
    bed: &'bed TestBed,
    program: String,
    names: Vec<String>,
}

struct Connection {
    client: Arc<Client>,
    pid: i32,
    inbox: Arc<Mutex<Inbox>>,
    flight: Option<JoinHandle<Result<Option<Vec<Part>>, tokio_postgres::Error>>>,
    parts: Option<Vec<Part>>,
}

/// What came beside answers.
#[derive(Default)]
struct Inbox {
    notices: Vec<Notice>,
    /// How many results of the message that is under way are complete, and whether rows of the next one have begun.
    results: (usize, bool),
    notifications: Vec<tokio_postgres::Notification>,
}

impl<'bed> PostgresMessages<'bed> {
    /// A database on `bed`'s server, and a connection for each of `names`, whose `application_name` is `program` and its own.
    pub fn open(bed: &'bed TestBed, program: &str, names: &[String]) -> Result<Self, Trouble> {
        let names: Vec<String> = names.iter().map(|name| application_name(program, name)).collect();
        let seconds = std::env::var("PGISOLATIONTIMEOUT").ok().and_then(|text| text.parse().ok());
        let looks = seconds.unwrap_or(STEP_SECONDS_MAX).saturating_mul(100).clamp(1, u64::from(u32::MAX));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Trouble::Environment(error.to_string()))?;
        let (database, connections, watch) = fresh(bed, &runtime, program, &names)?;
        let looks_max = u32::try_from(looks).expect("clamped");
        Ok(Self { connections, watch, runtime, looks_max, idle: 0, database, bed, program: program.to_owned(), names })
    }

    fn trouble(&self, error: &tokio_postgres::Error) -> Trouble {
        Trouble::Environment(self.bed.diagnose(&chain(error)).to_string())
    }

    /// Whether somebody of ours keeps a connection from going on.
    fn is_blocked(&self, connection: usize) -> Result<bool, Trouble> {
        let pids: Vec<i32> = self.connections[1..].iter().map(|connection| connection.pid).collect();
        let pid = self.connections[connection].pid;
        let sql = "SELECT pg_catalog.pg_isolation_test_session_is_blocked($1, $2)";
        let row = block_on(&self.runtime, self.watch.query_one(sql, &[&pid, &pids]));
        row.map(|row| row.get(0)).map_err(|error| self.trouble(&error))
    }
}

fn fresh<'bed>(
    bed: &'bed TestBed,
    runtime: &Runtime,
    program: &str,
    names: &[String],
) -> Result<(Database<'bed>, Vec<Connection>, Client), Trouble> {
    let database = bed.create_database("spec").map_err(|error| Trouble::Environment(error.to_string()))?;
    let lost = |error: tokio_postgres::Error| Trouble::Environment(bed.diagnose(&chain(&error)).to_string());
    let url = database.url();
    let opened = block_on(runtime, async {
        // As the server itself is set up, in English: what the test bed sets for stepping is not isolationtester's.
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
        tokio::spawn(connection);
        client.simple_query(&format!("ALTER DATABASE \"{}\" RESET ALL", database.name())).await?;
        // Where only a superuser may, others do without.
        let english = format!("ALTER DATABASE \"{}\" SET lc_messages = 'C'", database.name());
        let _ = client.simple_query(&english).await;
        let mut connections = Vec::new();
        for name in names {
            connections.push(Connection::open(&url, program, name).await?);
        }
        Ok((connections, client))
    });
    let (connections, watch) = opened.map_err(lost)?;
    Ok((database, connections, watch))
}

impl Connection {
    async fn open(url: &str, program: &str, name: &str) -> Result<Self, tokio_postgres::Error> {
        let mut config = config(url, |variable| std::env::var(variable).ok())?;
        config.application_name(program);
        let (client, mut connection) = config.connect(NoTls).await?;
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let receiver = inbox.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                // Results that came before are counted first: whoever takes them has been woken.
                tokio::task::yield_now().await;
                let mut inbox = receiver.lock().unwrap_or_else(PoisonError::into_inner);
                match message {
                    AsyncMessage::Notice(notice) => {
                        let (results, in_rows) = inbox.results;
                        inbox.notices.push(Notice::new(words(&notice), results, in_rows));
                    }
                    AsyncMessage::Notification(notification) => inbox.notifications.push(notification),
                    _ => {}
                }
            }
        });
        let set = "SELECT pg_backend_pid(), set_config('application_name', $1, false)";
        let row = client.query_one(set, &[&name]).await?;
        Ok(Self { client: Arc::new(client), pid: row.get(0), inbox, flight: None, parts: None })
    }
}

/// With the settings that libpq takes from the environment, where `pg_regress` puts them. Source: PostgreSQL, fe-connect.c,
/// `EnvironmentOptions`.
fn config(url: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Config, tokio_postgres::Error> {
    let mut config: Config = url.parse()?;
    let mut options = config.get_options().unwrap_or_default().to_owned();
    for (variable, setting) in [("PGDATESTYLE", "datestyle"), ("PGTZ", "timezone")] {
        if let Some(value) = environment(variable) {
            // A space would end the argument.
            let value = value.replace('\\', "\\\\").replace(' ', "\\ ");
            options = format!("{options} -c {setting}={value}");
        }
    }
    config.options(options.trim_start());
    Ok(config)
}

/// A notice as libpq shows it by default. Source: PostgreSQL, fe-protocol3.c, `pqBuildErrorMessage3`.
fn words(notice: &DbError) -> String {
    let more = [("DETAIL", notice.detail()), ("HINT", notice.hint())];
    let more = more.into_iter().filter_map(|(label, text)| Some(format!("{label}:  {}\n", text?)));
    std::iter::once(format!("{}:  {}\n", notice.severity(), notice.message())).chain(more).collect()
}

/// Sends a message and collects what it is answered. None: it is too much.
async fn talk(
    client: Arc<Client>,
    sql: String,
    inbox: Arc<Mutex<Inbox>>,
) -> Result<Option<Vec<Part>>, tokio_postgres::Error> {
    let mut parts = Vec::new();
    let mut size = 0;
    let mut table = None;
    let answered: Result<bool, tokio_postgres::Error> = async {
        let mut messages = std::pin::pin!(client.simple_query_raw(&sql).await?);
        while let Some(message) = messages.try_next().await? {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    inbox.lock().unwrap_or_else(PoisonError::into_inner).results.1 = true;
                    let columns = columns.iter().map(|column| column.name().to_owned()).collect();
                    table = Some(Table { columns, rows: Vec::new() });
                }
                SimpleQueryMessage::Row(row) => {
                    let values: Vec<_> = (0..row.len()).map(|place| row.get(place).map(str::to_owned)).collect();
                    size += values.iter().flatten().map(|text| 1 + text.len()).sum::<usize>() + 1;
                    if size > OUTPUT_MAX {
                        return Ok(true);
                    }
                    if let Some(table) = &mut table {
                        table.rows.push(values);
                    }
                }
                SimpleQueryMessage::CommandComplete(_) => {
                    parts.push(table.take().map_or(Part::Done, Part::Rows));
                    let results = &mut inbox.lock().unwrap_or_else(PoisonError::into_inner).results;
                    *results = (results.0 + 1, false);
                }
                _ => {}
            }
        }
        Ok(false)
    }
    .await;
    match answered {
        Ok(false) => {}
        Ok(true) => return Ok(None),
        Err(error) => match error.as_db_error() {
            Some(error) => {
                let (severity, message) = (error.severity().to_owned(), error.message().to_owned());
                let fatal = error.parsed_severity() == Some(Severity::Fatal);
                parts.push(Part::Error { severity, message });
                parts.extend(fatal.then_some(Part::Closed));
            }
            None => return Err(error),
        },
    }
    Ok(Some(parts))
}

impl Messages for PostgresMessages<'_> {
    fn restart(&mut self) -> Result<(), Trouble> {
        let (database, connections, watch) = fresh(self.bed, &self.runtime, &self.program, &self.names)?;
        self.connections = connections;
        self.watch = watch;
        self.database = database;
        self.idle = 0;
        Ok(())
    }

    fn send(&mut self, connection: usize, sql: &str) -> Result<(), Trouble> {
        let connection = &mut self.connections[connection];
        assert!(connection.flight.is_none() && connection.parts.is_none(), "a message is under way");
        connection.inbox.lock().unwrap_or_else(PoisonError::into_inner).results = (0, false);
        let flight = talk(connection.client.clone(), sql.to_owned(), connection.inbox.clone());
        connection.flight = Some(self.runtime.spawn(flight));
        Ok(())
    }

    fn wait(&mut self, number: usize, patience: Patience) -> Result<bool, Trouble> {
        for _ in 0..self.looks_max {
            let connection = &mut self.connections[number];
            let Some(flight) = &mut connection.flight else { return Ok(connection.parts.is_some()) };
            if let Ok(ended) = block_on(&self.runtime, async { tokio::time::timeout(LOOK, flight).await }) {
                let parts = ended.map_err(|error| Trouble::Environment(error.to_string()))?;
                let connection = &mut self.connections[number];
                connection.flight = None;
                self.idle = 0;
                match parts {
                    Ok(Some(parts)) => connection.parts = Some(parts),
                    Ok(None) => {
                        let too_much = format!("a message that returns more than {OUTPUT_MAX} bytes");
                        return Err(Trouble::Refused(too_much));
                    }
                    Err(error) if error.to_string() == COPIES => {
                        return Err(Trouble::Refused(
                            "COPY from or to the client: isolationtester never ends".to_owned(),
                        ));
                    }
                    Err(error) => return Err(self.trouble(&error)),
                }
                return Ok(true);
            }
            if patience == Patience::UntilBlocked && self.is_blocked(number)? {
                let flight = self.connections[number].flight.as_ref();
                if !flight.is_some_and(JoinHandle::is_finished) {
                    return Ok(false);
                }
            }
        }
        Err(Trouble::Stuck)
    }

    fn answer(&mut self, number: usize) -> Result<Vec<Part>, Trouble> {
        Ok(self.connections[number].parts.take().expect("an answer is there"))
    }

    fn notifications(&mut self, number: usize) -> Vec<Notification> {
        // One may stand right behind the answer.
        block_on(&self.runtime, async { tokio::time::sleep(Duration::from_millis(1)).await });
        let mut inbox = self.connections[number].inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let arrived = std::mem::take(&mut inbox.notifications);
        drop(inbox);
        let sender =
            |pid: i32| self.connections[1..].iter().position(|c| c.pid == pid).map_or(Err(pid), |at| Ok(at + 1));
        let told = |arrived: tokio_postgres::Notification| Notification {
            channel: arrived.channel().to_owned(),
            payload: arrived.payload().to_owned(),
            sender: sender(arrived.process_id()),
        };
        arrived.into_iter().map(told).collect()
    }

    fn notices(&mut self, connection: usize) -> Vec<Notice> {
        let mut inbox = self.connections[connection].inbox.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut inbox.notices)
    }

    fn touched(&mut self) -> usize {
        0
    }

    fn commute(&self, _one: usize, _other: usize) -> bool {
        false
    }

    fn pass_time(&mut self) -> Result<(), Trouble> {
        self.idle += 1;
        if self.idle > self.looks_max {
            return Err(Trouble::Stuck);
        }
        block_on(&self.runtime, async { tokio::time::sleep(LOOK).await });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::config;

    #[test]
    fn a_connection_heeds_what_pg_regress_sets() {
        let options = |url: &str| {
            let environment = |name: &str| (name == "PGDATESTYLE").then(|| "Postgres, MDY".to_owned());
            config(url, environment).expect("a connection string").get_options().map(str::to_owned)
        };
        assert_eq!(options("host=h user=u").as_deref(), Some("-c datestyle=Postgres,\\ MDY"));
        assert_eq!(options("host=h options='-c a=b'").as_deref(), Some("-c a=b -c datestyle=Postgres,\\ MDY"));
    }
}
