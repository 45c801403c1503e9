//! LISTEN and NOTIFY: what a transaction notifies is sent when it commits, each text once a channel, and reaches who listens when they are in no
//! transaction. Source: PostgreSQL, src/backend/commands/async.c.

use smol_str::SmolStr;

use crate::error::Error;
use crate::server::{Core, Server, SessionId};

/// What LISTEN brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The channel.
    pub channel: SmolStr,
    /// The text that was sent along.
    pub payload: SmolStr,
    /// Who sent it.
    pub sender: SessionId,
}

/// LISTEN and UNLISTEN take effect when their transaction commits.
#[derive(Clone, Debug)]
pub(crate) enum Listening {
    Listen(SmolStr),
    Unlisten(SmolStr),
    UnlistenAll,
}

/// A session's part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mailbox {
    channels: Vec<SmolStr>,
    /// Sent, in order, on whatever channel, while this session was in a transaction and listened to any. It picks out what it wants when it reads
    /// them: a LISTEN of that transaction brings what was sent before it.
    held: Vec<Notification>,
    arrived: Vec<Notification>,
}

/// A transaction's part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    notifies: Vec<(SmolStr, SmolStr)>,
    listens: Vec<Listening>,
}

impl Outbox {
    /// How much there is, for a savepoint.
    pub(crate) fn mark(&self) -> (usize, usize) {
        (self.notifies.len(), self.listens.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.mark() == (0, 0)
    }

    pub(crate) fn roll_back_to(&mut self, (notifies, listens): (usize, usize)) {
        self.notifies.truncate(notifies);
        self.listens.truncate(listens);
    }
}

impl Mailbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.held.is_empty() && self.arrived.is_empty()
    }

    fn follow(&mut self, listening: Listening) {
        match listening {
            Listening::Listen(channel) if self.channels.contains(&channel) => {}
            Listening::Listen(channel) => self.channels.push(channel),
            Listening::Unlisten(channel) => self.channels.retain(|known| *known != channel),
            Listening::UnlistenAll => self.channels.clear(),
        }
    }
}

impl Server {
    /// The notifications that have reached a session since this was last asked.
    pub fn take_notifications(&mut self, session: SessionId) -> Vec<Notification> {
        self.core.open_mail(session.number());
        std::mem::take(&mut self.core.session_mut(session.number()).mailbox.arrived)
    }
}

impl Core {
    pub(crate) fn listen(&mut self, me: u16, listening: Listening) {
        self.transaction_mut(me).outbox.listens.push(listening);
    }

    /// NOTIFY: twice the same is once.
    pub(crate) fn notify(&mut self, me: u16, channel: &SmolStr, payload: &SmolStr) -> Result<(), Error> {
        if channel.is_empty() {
            return Err(Error::new("22023", "channel name cannot be empty"));
        }
        if channel.len() >= 64 {
            return Err(Error::new("22023", "channel name too long"));
        }
        if payload.len() >= 8000 {
            return Err(Error::new("22023", "payload string too long"));
        }
        let notifies = &mut self.transaction_mut(me).outbox.notifies;
        let new = (channel.clone(), payload.clone());
        if !notifies.contains(&new) {
            notifies.push(new);
        }
        Ok(())
    }

    /// `me` has committed.
    pub(crate) fn send_mail(&mut self, me: u16, outbox: &mut Outbox) {
        if outbox.listens.is_empty() && outbox.notifies.is_empty() {
            return;
        }
        let mailbox = &mut self.session_mut(me).mailbox;
        for listening in outbox.listens.drain(..) {
            mailbox.follow(listening);
        }
        if mailbox.channels.is_empty() {
            mailbox.held.clear();
        }
        for (channel, payload) in outbox.notifies.drain(..) {
            for session in &mut self.sessions {
                if !session.mailbox.channels.is_empty() {
                    let (channel, payload) = (channel.clone(), payload.clone());
                    let mail = Notification { channel, payload, sender: SessionId(u32::from(me)) };
                    session.mailbox.held.push(mail);
                }
            }
        }
        // One's own come with the end of the message, after those that were held back before.
        for other in 0..u16::try_from(self.sessions.len()).unwrap_or(0) {
            if other != me {
                self.open_mail(other);
            }
        }
    }

    /// A session outside a transaction gets what was held back for it, as far as it still listens.
    fn open_mail(&mut self, me: u16) {
        let session = self.session_mut(me);
        if session.transaction.is_none() {
            let mailbox = &mut session.mailbox;
            let (channels, held) = (&mailbox.channels, std::mem::take(&mut mailbox.held));
            mailbox.arrived.extend(held.into_iter().filter(|mail| channels.contains(&mail.channel)));
        }
    }
}
