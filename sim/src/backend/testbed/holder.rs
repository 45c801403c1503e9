//! Databases that nobody will drop any more, on a server that others run.
//!
//! A process that is killed drops nothing. So each has an owner's id, which is part of the names of its databases (`name`) and the
//! `application_name` of a connection that it opens before it creates the first and holds until it has dropped the last. Whoever comes
//! later drops what has such a name, whose owner holds no connection, and where nobody is connected.
//!
//! ```text
//! killed   holds a connection   creates d   ✗                           server: the connection is gone
//! next                                          holds its own   lists d          lists who is connected: not d's owner   drops d
//! ```
//!
//! The databases are listed first: an owner that is not seen after its database was has gone for good.

use std::str::FromStr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_postgres::{Config, NoTls};

use super::admin::{self, Failure};
use super::name;
use super::url::DatabaseUrl;

/// How long a server has to take leave.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// A connection that says that its process lives.
#[derive(Debug)]
pub(super) struct Holder {
    release: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Holder {
    /// Connects as `owner`, and stays connected until it is dropped, or its process ends.
    pub(super) fn open(url: &DatabaseUrl, owner: &str) -> Result<Self, Failure> {
        let mut config = Config::from_str(url.as_given()).expect("parsed before");
        config.application_name(owner);
        let (release, released) = oneshot::channel();
        let (connected, outcome) = mpsc::channel();
        let hold = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let opened = admin::limited(async {
                    let (client, connection) = config.connect(NoTls).await?;
                    let connection = tokio::spawn(connection);
                    // It says nothing for as long as a search takes.
                    client.batch_execute("SET idle_session_timeout = 0").await?;
                    Ok((client, connection))
                });
                let held = match opened.await {
                    Ok(held) => held,
                    Err(failure) => return drop(connected.send(Err(failure))),
                };
                let _ = connected.send(Ok(()));
                let _ = released.await;
                let (client, connection) = held;
                drop(client);
                let _ = tokio::time::timeout(FAREWELL_MAX, connection).await;
            });
        };
        #[expect(clippy::disallowed_methods, reason = "a connection beside every run")]
        let thread = thread::spawn(hold);
        let holder = Self { release: Some(release), thread: Some(thread) };
        outcome.recv().expect("the thread does not panic").map(|()| holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.release.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Drops what killed processes have left. What cannot be dropped, now or by this user, is left to others.
pub(super) fn clean_up(url: &DatabaseUrl) {
    const ALL: &str = "SELECT datname FROM pg_database ORDER BY oid";
    const UNUSED: &str = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1 OR application_name = $2)";
    let _ = admin::call(url, async |client| {
        for row in client.query(ALL, &[]).await? {
            let name: &str = row.get(0);
            let Some(owner) = name::owner_of(name) else { continue };
            if client.query_one(UNUSED, &[&name, &owner]).await?.get(0) {
                let _ = client.batch_execute(&format!("DROP DATABASE IF EXISTS \"{name}\"")).await;
            }
        }
        Ok(())
    });
}
