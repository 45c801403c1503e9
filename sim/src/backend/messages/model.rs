//! The model as [`Messages`]: waits are exact, and time passes only while somebody is waited for.

use std::collections::BTreeMap;

use skiptrace_model::{Checkpoint, Reply, Server, SessionId, Touch};

use super::{Messages, Notice, Notification, Part, Patience, Setup, Table, Trouble, application_name};

/// isolationtester looks for a wait this long after it has sent a step: whatever is due by then has happened.
const LOOK_MICROSECONDS: i64 = 10_000;

/// When a spec's time begins, in microseconds since the Unix epoch: 2027-01-01. The dates that a spec calls past are before it, and `now()` is beyond them.
const TODAY: i64 = 1_798_761_600_000_000;

/// What the messages of a permutation may cost together, as the model's budgets count it.
const SPENT_MAX: u64 = 1 << 24;

/// A model server and its connections.
pub struct ModelMessages {
    server: Server,
    connections: Vec<SessionId>,
    /// Replies that nobody has fetched, by connection.
    replies: BTreeMap<usize, Reply>,
    /// Something waited, went on or failed: then the order may matter, whatever was touched.
    entangled: bool,
    /// What messages had cost when the permutation began.
    spent_before: u64,
    /// By the numbers that were given out.
    touches: Vec<Touch>,
    /// With nothing in it.
    fresh: Checkpoint,
    /// After the setup.
    kept: Option<(Checkpoint, Setup)>,
    /// Nothing was left of earlier permutations when this one's setup began.
    began_as_new: bool,
}

impl ModelMessages {
    /// An empty database with so many connections.
    pub fn new(connections: usize) -> Self {
        let mut server = Server::new();
        server.advance_clock(TODAY);
        server.heed_deadlock_timeout();
        server.watch_touches();
        let connections: Vec<SessionId> = (0..connections).map(|_| server.connect()).collect();
        // Setups make more than each permutation needs.
        connections.iter().take(1).for_each(|control| server.poison(*control));
        let fresh = server.checkpoint();
        Self {
            server,
            connections,
            replies: BTreeMap::new(),
            entangled: false,
            spent_before: 0,
            touches: Vec::new(),
            fresh,
            kept: None,
            began_as_new: false,
        }
    }

    /// The same, for connections of these names, as [`super::PostgresMessages::open`] calls them.
    pub fn named(program: &str, names: &[String]) -> Self {
        let mut messages = Self::new(names.len());
        for (session, name) in messages.connections.clone().into_iter().zip(names) {
            messages.server.introduce(session, program, &application_name(program, name));
        }
        messages.fresh = messages.server.checkpoint();
        messages
    }

    /// Lets everybody go on who can.
    fn settle(&mut self) -> Result<(), Trouble> {
        self.entangled |= self.server.has_woken();
        while let Some((session, reply)) = self.server.next_reply() {
            let connection = self.connections.iter().position(|known| *known == session).expect("a connection of ours");
            self.keep(connection, reply)?;
        }
        Ok(())
    }

    fn keep(&mut self, connection: usize, reply: Reply) -> Result<(), Trouble> {
        if self.server.spent() - self.spent_before > SPENT_MAX {
            return Err(Trouble::Refused(format!(
                "a permutation that reads, keeps and returns more than {SPENT_MAX} rows and values"
            )));
        }
        if let Some(error) = reply.error.as_ref().filter(|error| error.is_refusal()) {
            return Err(Trouble::Refused(error.message.clone()));
        }
        self.entangled |= reply.error.is_some();
        self.replies.insert(connection, reply);
        Ok(())
    }
}

impl Messages for ModelMessages {
    fn restart(&mut self) -> Result<(), Trouble> {
        // What was compiled stays compiled.
        self.server.go_back(&self.fresh);
        self.replies.clear();
        self.entangled = false;
        self.spent_before = 0;
        Ok(())
    }

    fn send(&mut self, connection: usize, sql: &str) -> Result<(), Trouble> {
        assert!(!self.replies.contains_key(&connection), "connection {connection} has an answer to fetch");
        match self.server.send(self.connections[connection], sql) {
            Some(reply) => self.keep(connection, reply)?,
            None => self.entangled = true,
        }
        self.settle()
    }

    fn wait(&mut self, connection: usize, patience: Patience) -> Result<bool, Trouble> {
        match patience {
            Patience::UntilAnswered => {
                while !self.replies.contains_key(&connection) {
                    self.pass_time()?;
                }
            }
            Patience::UntilBlocked if !self.replies.contains_key(&connection) => {
                self.server.advance_clock(LOOK_MICROSECONDS);
                self.settle()?;
                let waits = !self.replies.contains_key(&connection);
                if waits && self.server.blockers(self.connections[connection]).is_empty() {
                    // For a prepared transaction: isolationtester does not see that it waits, and goes on only when it is answered.
                    return Err(Trouble::Stuck);
                }
            }
            Patience::UntilBlocked => {}
        }
        Ok(self.replies.contains_key(&connection))
    }

    fn answer(&mut self, connection: usize) -> Result<Vec<Part>, Trouble> {
        let reply = self.replies.remove(&connection).expect("an answer is there");
        let mut parts = Vec::new();
        for returned in reply.results {
            if returned.columns.is_empty() {
                parts.push(Part::Done);
                continue;
            }
            let cells = |row: &[_]| {
                let values = row.iter().zip(&returned.columns);
                values.map(|(value, (_, ty))| self.server.output(value, *ty)).collect()
            };
            parts.push(Part::Rows(Table {
                columns: returned.columns.iter().map(|(name, _)| name.to_string()).collect(),
                rows: returned.rows.iter().map(cells).collect(),
            }));
        }
        parts.extend(reply.error.map(|error| Part::Error { severity: "ERROR".to_owned(), message: error.message }));
        Ok(parts)
    }

    fn notifications(&mut self, connection: usize) -> Vec<Notification> {
        let told = self.server.take_notifications(self.connections[connection]);
        let notification = |mail: skiptrace_model::Notification| Notification {
            channel: mail.channel.to_string(),
            payload: mail.payload.to_string(),
            // The control connection is nobody's session.
            sender: match self.connections.iter().position(|known| *known == mail.sender) {
                Some(connection) if connection > 0 => Ok(connection),
                _ => Err(1001),
            },
        };
        told.into_iter().map(notification).collect()
    }

    fn notices(&mut self, connection: usize) -> Vec<Notice> {
        let notices = self.server.take_notices(self.connections[connection]);
        let notice = |notice: skiptrace_model::Notice| {
            let text = format!("{}:  {}\n", notice.severity, notice.message);
            Notice::new(text, notice.results, notice.in_rows)
        };
        notices.into_iter().map(notice).collect()
    }

    fn keep(&mut self, setup: Setup) {
        // Sessions outlive a permutation: a transaction that one left open is in the state that the next setup leads to.
        if self.began_as_new {
            self.kept = Some((self.server.checkpoint(), setup));
        }
    }

    fn set_up_again(&mut self) -> Option<Setup> {
        self.spent_before = self.server.spent();
        self.began_as_new = self.replies.is_empty() && self.server.is_as_new(&self.fresh);
        let (checkpoint, setup) = self.kept.as_ref()?;
        let again = self.replies.is_empty() && self.server.is_as_new(checkpoint);
        again.then(|| {
            self.server.go_back(checkpoint);
            self.spent_before = 0;
            setup.clone()
        })
    }

    fn touched(&mut self) -> usize {
        let touch = self.server.take_touch();
        let touch = if std::mem::take(&mut self.entangled) { Touch::everything() } else { touch };
        self.touches.iter().position(|known| *known == touch).unwrap_or_else(|| {
            self.touches.push(touch);
            self.touches.len() - 1
        })
    }

    fn commute(&self, one: usize, other: usize) -> bool {
        self.touches[one].is_independent_of(&self.touches[other])
    }

    fn pass_time(&mut self) -> Result<(), Trouble> {
        let next = self.server.next_deadline().ok_or(Trouble::Stuck)?;
        self.server.advance_clock((next - self.server.clock()).max(0));
        self.settle()
    }
}
