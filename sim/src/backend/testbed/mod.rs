//! The test bed: a real PostgreSQL to step schedules on, wherever one can be had.
//!
//! Asked in this order, and the first that is there is taken:
//!
//! 1. `SKIPTRACE_DATABASE_URL`: a server that somebody else runs. Nothing on it is touched but databases that the test bed created;
//!    they are dropped again; those of a process that was killed, by the next one: see `holder`.
//! 2. The binaries of a local installation: a server in a private folder, reached through a unix socket there, of this process alone.
//! 3. A container, where the crate was built with its feature `container` and an engine answers.
//!
//! `SKIPTRACE_TESTBED=url|local|container` forces one of them; a forced one never falls back to another. A server or container that
//! was started here ends with the process that started it, also when that process is killed: see `local` and `container`.

mod admin;
#[cfg(feature = "container")]
mod container;
mod holder;
mod local;
mod name;
mod url;

use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use url::DatabaseUrl;
pub(crate) use url::chain;

/// The oldest major version whose functions are all there.
const MAJOR_MIN: u32 = 14;

/// No call to a server takes longer, or it is an error.
const CALL_MAX: Duration = Duration::from_secs(30);

/// What a server is wanted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcquireOptions {
    /// Whether a server that is started here must be as durable as a real one: for benchmarks. A URL server is as it is.
    pub fsync: bool,
}

/// A PostgreSQL server, and the means to end it if it was started here.
#[derive(Debug)]
pub struct TestBed {
    server: Server,
    url: DatabaseUrl,
    version: String,
    /// How the names of its databases begin.
    owner: String,
}

#[derive(Debug)]
enum Server {
    Url {
        _holder: holder::Holder,
    },
    Local(local::LocalServer),
    #[cfg(feature = "container")]
    Container(Box<container::ContainerServer>),
}

/// The ways to come by a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `SKIPTRACE_DATABASE_URL` names it.
    Url,
    /// Binaries that are installed here.
    Local,
    /// A container.
    Container,
}

/// What the environment says about where to look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `SKIPTRACE_DATABASE_URL`
    pub database_url: Option<String>,
    /// `SKIPTRACE_TESTBED`
    pub forced: Option<String>,
    /// Folders that may hold PostgreSQL's binaries: those of `PATH` and `/usr/lib/postgresql/*/bin`.
    pub binaries: Vec<PathBuf>,
    /// `DOCKER_HOST`: where the container engine listens, if not where it usually does.
    pub engine: Option<String>,
}

impl Settings {
    /// Read from the environment; an empty variable counts as none.
    pub fn from_env() -> Self {
        let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            database_url: read("SKIPTRACE_DATABASE_URL"),
            forced: read("SKIPTRACE_TESTBED"),
            binaries: local::usual_folders(),
            engine: read("DOCKER_HOST"),
        }
    }

    fn source(&self) -> Result<Option<Source>, TestBedError> {
        match self.forced.as_deref() {
            None => Ok(None),
            Some("url") => Ok(Some(Source::Url)),
            Some("local") => Ok(Some(Source::Local)),
            Some("container") => Ok(Some(Source::Container)),
            Some(other) => Err(TestBedError::new(format!(
                "SKIPTRACE_TESTBED is {other:?}: expected url, local or container, or nothing at all"
            ))),
        }
    }
}

impl TestBed {
    /// A server as the environment names it. Takes about a second where one has to be started.
    pub fn acquire(options: AcquireOptions) -> Result<Self, TestBedError> {
        Self::acquire_with(&Settings::from_env(), options)
    }

    /// The same, with the environment given.
    pub fn acquire_with(settings: &Settings, options: AcquireOptions) -> Result<Self, TestBedError> {
        match settings.source()? {
            Some(Source::Url) => Self::from_url(settings),
            Some(Source::Local) => Self::from_local(settings, options)?.map_err(|e| TestBedError::forced("local", &e)),
            Some(Source::Container) => {
                Self::from_container(settings, options)?.map_err(|e| TestBedError::forced("container", &e))
            }
            None if settings.database_url.is_some() => Self::from_url(settings),
            None => {
                let no_binaries = match Self::from_local(settings, options)? {
                    Ok(bed) => return Ok(bed),
                    Err(reason) => reason,
                };
                match Self::from_container(settings, options)? {
                    Ok(bed) => Ok(bed),
                    Err(no_engine) => Err(TestBedError::nowhere(&no_binaries, &no_engine)),
                }
            }
        }
    }

    /// One server for all tests of a process, started at the first call and ended with the process.
    pub fn shared() -> Result<&'static Self, TestBedError> {
        static SHARED: OnceLock<Result<TestBed, TestBedError>> = OnceLock::new();
        SHARED.get_or_init(|| Self::acquire(AcquireOptions::default())).as_ref().map_err(Clone::clone)
    }

    fn from_url(settings: &Settings) -> Result<Self, TestBedError> {
        let text = settings.database_url.as_deref().ok_or_else(|| {
            TestBedError::new(
                "SKIPTRACE_TESTBED=url, but SKIPTRACE_DATABASE_URL is not set: \
                 set it to postgresql://user@host/database",
            )
        })?;
        let url = DatabaseUrl::parse(text).map_err(|e| TestBedError::new(format!("SKIPTRACE_DATABASE_URL: {e}")))?;
        Self::on_url(url).map_err(|e| e.within("the server that SKIPTRACE_DATABASE_URL names"))
    }

    fn on_url(url: DatabaseUrl) -> Result<Self, TestBedError> {
        let owner = name::new_owner();
        let holder = holder::Holder::open(&url, &owner).map_err(|e| TestBedError::new(e.to_string()))?;
        let bed = Self::over(Server::Url { _holder: holder }, url, owner)?;
        holder::clean_up(&bed.url);
        Ok(bed)
    }

    /// The inner error: no binaries here. The outer one: there are, and they failed.
    fn from_local(settings: &Settings, options: AcquireOptions) -> Result<Result<Self, String>, TestBedError> {
        let binaries = match local::Binaries::find(&settings.binaries) {
            Ok(binaries) => binaries,
            Err(reason) => return Ok(Err(reason)),
        };
        let server = local::LocalServer::start(&binaries, options)?;
        let url = server.url();
        Self::over(Server::Local(server), url, name::new_owner()).map(Ok)
    }

    #[cfg(feature = "container")]
    fn from_container(settings: &Settings, options: AcquireOptions) -> Result<Result<Self, String>, TestBedError> {
        let server = match container::ContainerServer::start(settings.engine.as_deref(), options)? {
            Ok(server) => server,
            Err(reason) => return Ok(Err(reason)),
        };
        let url = server.url();
        Self::over(Server::Container(Box::new(server)), url, name::new_owner()).map(Ok)
    }

    #[cfg(not(feature = "container"))]
    #[expect(clippy::unnecessary_wraps, reason = "one signature with and without the feature")]
    fn from_container(_: &Settings, _: AcquireOptions) -> Result<Result<Self, String>, TestBedError> {
        Ok(Err("this build has no container support (cargo feature `container`)".to_owned()))
    }

    /// Asks the server whether it will do.
    fn over(server: Server, url: DatabaseUrl, owner: String) -> Result<Self, TestBedError> {
        let mut bed = Self { server, url, version: String::new(), owner };
        let facts = admin::facts(&bed.url).map_err(|e| bed.explain(&e))?;
        if facts.major() < MAJOR_MIN {
            let version = facts.version;
            return Err(TestBedError::new(format!("found PostgreSQL {version}, expected {MAJOR_MIN} or newer")));
        }
        if facts.standby {
            return Err(TestBedError::new("found a standby, expected a server that takes writes"));
        }
        if !facts.may_create {
            let user = facts.user;
            return Err(TestBedError::new(format!(
                "user {user} may not create databases: ALTER ROLE {user} CREATEDB, or connect as another user"
            )));
        }
        bed.version = facts.version;
        Ok(bed)
    }

    /// One more server like this one, whose transaction ids are its own. None where there is but the one: that of a URL, or in a container,
    /// which takes long to start.
    pub fn another(&self) -> Option<Result<Self, TestBedError>> {
        let Server::Local(server) = &self.server else { return None };
        Some(server.another().and_then(|server| {
            let url = server.url();
            Self::over(Server::Local(server), url, name::new_owner())
        }))
    }

    /// Where the server came from.
    pub fn source(&self) -> Source {
        match self.server {
            Server::Url { .. } => Source::Url,
            Server::Local(_) => Source::Local,
            #[cfg(feature = "container")]
            Server::Container(_) => Source::Container,
        }
    }

    /// The server's version, as in `15.18`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The URL of one of the server's databases.
    pub fn url(&self, database: &str) -> String {
        self.url.with_database(database)
    }

    /// A new empty database, dropped with the guard. Its name begins with `skiptrace_`, has `prefix` in it, and is nobody else's.
    pub fn create_database(&self, prefix: &str) -> Result<Database<'_>, TestBedError> {
        // Not template1, which may hold anything; and one collation everywhere, so that every server sorts alike.
        self.create(prefix, "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
    }

    /// A new database with all that `template` holds; nobody may be connected to `template`.
    pub fn copy_database(&self, prefix: &str, template: &Database<'_>) -> Result<Database<'_>, TestBedError> {
        self.create(prefix, &format!("TEMPLATE \"{}\"", template.name))
    }

    fn create(&self, prefix: &str, how: &str) -> Result<Database<'_>, TestBedError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = name::database(&self.owner, prefix, NEXT.fetch_add(1, Ordering::Relaxed));
        admin::batch(&self.url, &format!("CREATE DATABASE \"{name}\" {how}")).map_err(|e| self.explain(&e))?;
        let database = Database { bed: self, name };
        self.configure(&database.name)?;
        Ok(database)
    }

    /// Settings of a database of ours, for every session in it.
    fn configure(&self, name: &str) -> Result<(), TestBedError> {
        // Statements are prepared and many: planned once, not at each of their first five executions. Nobody here has a second to compile.
        let plans = format!(
            "ALTER DATABASE \"{name}\" SET plan_cache_mode = 'force_generic_plan'; ALTER DATABASE \"{name}\" SET jit = off"
        );
        admin::batch(&self.url, &plans).map_err(|e| self.explain(&e))?;
        // Only a superuser may. See the stepper for what a deadlock is then.
        let superuser = format!(
            "ALTER DATABASE \"{name}\" SET deadlock_timeout = '500ms'; ALTER DATABASE \"{name}\" SET lc_messages = 'C'"
        );
        match admin::batch(&self.url, &superuser) {
            Err(admin::Failure::Db(e)) if e.sqlstate().code() == "42501" => Ok(()),
            other => other.map_err(|e| self.explain(&e)),
        }
    }

    /// What `failure`, met on a connection to this server, says about the server: one that died is named, with the end of its log.
    pub fn diagnose(&self, failure: &str) -> TestBedError {
        self.explain(&failure)
    }

    fn explain(&self, failure: &dyn fmt::Display) -> TestBedError {
        let died = match &self.server {
            Server::Url { .. } => None,
            Server::Local(server) => server.post_mortem(),
            #[cfg(feature = "container")]
            Server::Container(server) => server.post_mortem(),
        };
        match died {
            Some(log) => TestBedError::new(format!("the server that was started here has died: {failure}\n{log}")),
            None => TestBedError::new(failure.to_string()),
        }
    }
}

/// A database of the test bed's own, dropped with this guard.
#[derive(Debug)]
pub struct Database<'bed> {
    bed: &'bed TestBed,
    name: String,
}

impl Database<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.bed.url(&self.name)
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // A failure here has nobody to go to: the server is gone, or will go with everything that is in it.
        let _ = admin::batch(&self.bed.url, &format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", self.name));
    }
}

/// Why there is no server to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestBedError {
    message: String,
}

impl TestBedError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    fn within(self, place: &str) -> Self {
        Self::new(format!("{place}: {}", self.message))
    }

    fn forced(source: &str, reason: &str) -> Self {
        Self::new(format!("SKIPTRACE_TESTBED={source}, but {reason}")).with_ways()
    }

    fn nowhere(no_binaries: &str, no_engine: &str) -> Self {
        Self::new(format!("no PostgreSQL: SKIPTRACE_DATABASE_URL is not set; {no_binaries}; {no_engine}")).with_ways()
    }

    fn with_ways(self) -> Self {
        Self::new(format!(
            "{}\nprovide one of:\n  \
             1. a running server: SKIPTRACE_DATABASE_URL=postgresql://user:password@host/database (the user may create databases)\n  \
             2. PostgreSQL's own binaries, {MAJOR_MIN} or newer: on Debian `apt-get install postgresql`; or a folder with \
             initdb and postgres on PATH\n  \
             3. a container engine that answers (Docker, DOCKER_HOST), with the cargo feature `container`",
            self.message
        ))
    }
}

impl fmt::Display for TestBedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TestBedError {}
