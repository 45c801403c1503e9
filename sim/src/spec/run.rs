//! Runs a spec's permutations and writes down what isolationtester would print.
//!
//! What is printed does not only depend on what the database does, but also on when each session is looked at. So the order in which this looks is
//! isolationtester's, line by line: a step that was sent, then those that were waiting before, in the order in which they began to wait.
//! Source: PostgreSQL, src/test/isolation/isolationtester.c: `run_permutation`, `try_complete_steps`, `try_complete_step`.

use std::collections::BTreeSet;

use super::limits::OUTPUT_MAX;
use super::print::table;
use super::{Marker, PermutationStep, Spec, StepId};
use crate::backend::messages::{Messages, Notice, Part, Patience, Setup, Trouble};

/// How a permutation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All its steps were answered.
    Done,
    /// The model does not support this.
    Refused(String),
    /// This step, or this setup or teardown, never comes back.
    Stuck(String),
    /// The setup is wrong: PostgreSQL's words.
    SetupFailed(String),
}

impl End {
    /// In a word, and the reason.
    pub fn words(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Done => ("done", None),
            Self::Refused(construct) => ("refused", Some(construct)),
            Self::Stuck(what) => ("stuck", Some(what)),
            Self::SetupFailed(message) => ("setup_failed", Some(message)),
        }
    }
}

/// Who takes the next step, in a run whose permutation is not known beforehand.
pub(super) trait Chooser {
    /// The next step of one of these sessions, which are not waiting, is taken; none: the rest of this run is another's.
    fn choose(&mut self, ready: &[usize]) -> Option<usize>;
    /// It was taken; two that touched something commute or they do not.
    fn took(&mut self, touched: usize, commute: &dyn Fn(usize, usize) -> bool);
}

/// A permutation that was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermutationRun {
    /// The names of its steps.
    pub steps: Vec<String>,
    /// What isolationtester prints; where it did not end well: as far as it came.
    pub output: String,
    /// What each session was told, in the order of the sessions: what does not depend on who printed first.
    pub told: Vec<String>,
    /// What went to standard error, of teardowns that failed.
    pub complaints: Vec<String>,
    /// How it ended.
    pub end: End,
}

/// What isolationtester prints before the first permutation: steps that are never used, and how many sessions there are.
pub fn heading(spec: &Spec) -> String {
    let mut text = String::new();
    let used: BTreeSet<StepId> = spec.permutations.iter().flatten().map(|step| step.step).collect();
    let ids = spec
        .sessions
        .iter()
        .enumerate()
        .flat_map(|(session, steps)| (0..steps.steps.len()).map(move |step| StepId { session, step }));
    let mut unused: Vec<&str> = ids.filter(|id| !used.contains(id)).map(|id| spec.step(id).name.as_str()).collect();
    unused.sort_unstable();
    if !spec.permutations.is_empty() {
        text.extend(unused.iter().map(|name| format!("unused step name: {name}\n")));
    }
    text + &format!("Parsed test spec with {} sessions\n", spec.sessions.len())
}

/// The names of a spec's connections, as `application_name` shows them.
pub fn connection_names(spec: &Spec) -> Vec<String> {
    let sessions = spec.sessions.iter().map(|session| session.name.clone());
    std::iter::once("control connection".to_owned()).chain(sessions).collect()
}

/// Runs one permutation: setups, steps, teardowns. Errs where there is no database any more.
pub fn permutation(
    spec: &Spec,
    steps: &[PermutationStep],
    database: &mut dyn Messages,
) -> Result<PermutationRun, String> {
    let names: Vec<String> = steps.iter().map(|step| spec.step(step.step).name.clone()).collect();
    let mut run = Run::new(spec, steps.to_vec(), database);
    let end = run.run(None);
    run.finish(&names, end).map(|run| run.expect("it was run to its end"))
}

/// The same, of steps that are chosen as it goes; none: it was redundant.
pub(super) fn chosen(
    spec: &Spec,
    database: &mut dyn Messages,
    chooser: &mut dyn Chooser,
) -> Result<Option<PermutationRun>, String> {
    let mut run = Run::new(spec, Vec::new(), database);
    let end = run.run(Some(chooser));
    let names: Vec<String> = run.steps.iter().map(|step| spec.step(step.step).name.clone()).collect();
    run.finish(&names, end)
}

/// Whatever the database says: nobody reads so much.
pub(super) fn too_much_output() -> Trouble {
    Trouble::Refused(format!("a permutation that prints more than {OUTPUT_MAX} bytes"))
}

/// libpq's words. Source: PostgreSQL, fe-misc.c, `pqReadData`.
const CLOSED: &str = "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n\tbefore or while processing the request.";

/// A step in the permutation, by place.
type Place = usize;

struct Run<'r> {
    spec: &'r Spec,
    steps: Vec<PermutationStep>,
    database: &'r mut dyn Messages,
    output: String,
    told: Vec<String>,
    complaints: Vec<String>,
    /// What is waited for.
    at: String,
    /// Each session's step that is not reported yet.
    active: Vec<Option<Place>>,
    /// In the order in which they began to wait.
    waiting: Vec<Place>,
    /// How many each session has brought.
    notices: Vec<u32>,
    /// Those of each session that stand between results that are not printed yet.
    late: Vec<Vec<Notice>>,
    /// Whether isolationtester has seen a result of each session's step, and waits for the others.
    shows_result: Vec<bool>,
    /// For each step and marker: how many notices release it. More than can come, where that is what was asked for.
    targets: Vec<Vec<u32>>,
    any_new_notice: bool,
}

impl<'r> Run<'r> {
    fn new(spec: &'r Spec, steps: Vec<PermutationStep>, database: &'r mut dyn Messages) -> Self {
        let (sessions, places) = (spec.sessions.len(), steps.len());
        Self {
            spec,
            steps,
            database,
            output: String::new(),
            told: vec![String::new(); sessions],
            complaints: Vec::new(),
            at: String::new(),
            active: vec![None; sessions],
            waiting: Vec::new(),
            notices: vec![0; sessions],
            late: vec![Vec::new(); sessions],
            shows_result: vec![false; sessions],
            targets: vec![Vec::new(); places],
            any_new_notice: false,
        }
    }

    /// What has become of it; none: it was redundant.
    fn finish(self, names: &[String], end: Result<Option<End>, Trouble>) -> Result<Option<PermutationRun>, String> {
        let end = match end {
            Ok(end) => end,
            Err(Trouble::Refused(construct)) => Some(End::Refused(construct)),
            Err(Trouble::Stuck) => Some(End::Stuck(self.at)),
            Err(Trouble::Environment(message)) => return Err(message),
        };
        if !matches!(end, Some(End::Done | End::SetupFailed(_))) {
            // What was left behind would be in the next one's way.
            if let Err(Trouble::Environment(message)) = self.database.restart() {
                return Err(message);
            }
        }
        let steps = names.to_vec();
        let output = format!("\nstarting permutation: {}\n{}", steps.join(" "), self.output);
        let (told, complaints) = (self.told, self.complaints);
        Ok(end.map(|end| PermutationRun { steps, output, told, complaints, end }))
    }

    fn run(&mut self, chooser: Option<&mut dyn Chooser>) -> Result<Option<End>, Trouble> {
        let spec = self.spec;
        if let Some(end) = self.set_up()? {
            return Ok(Some(end));
        }
        match chooser {
            None => {
                for place in 0..self.steps.len() {
                    self.step(place)?;
                }
            }
            Some(chooser) => {
                if !self.choose_steps(chooser)? {
                    return Ok(None);
                }
            }
        }
        "the last steps".clone_into(&mut self.at);
        self.complete_waiting(Patience::UntilAnswered)?;
        if let Some(place) = self.waiting.first() {
            self.at = format!("step {} (steps wait for each other)", self.name(*place));
            return Err(Trouble::Stuck);
        }
        for (number, session) in spec.sessions.iter().enumerate() {
            let Some(sql) = &session.teardown else { continue };
            if let Err(error) = self.exec(number + 1, sql, &format!("the teardown of session {}", session.name))? {
                self.room(error.len())?;
                self.complaints.push(format!("teardown of session {} failed: {error}", session.name));
            }
        }
        if let Some(sql) = &spec.teardown
            && let Err(error) = self.exec(0, sql, "the teardown")?
        {
            self.room(error.len())?;
            self.complaints.push(format!("teardown failed: {error}"));
        }
        Ok(Some(End::Done))
    }

    /// Runs the setups; some: one of them failed.
    fn set_up(&mut self) -> Result<Option<End>, Trouble> {
        if let Some(Setup { output, told, notices }) = self.database.set_up_again() {
            (self.output, self.told, self.notices) = (output, told, notices);
            return Ok(None);
        }
        let spec = self.spec;
        for sql in &spec.setups {
            if let Err(error) = self.exec(0, sql, "the setup")? {
                return Ok(Some(End::SetupFailed(format!("setup failed: {error}"))));
            }
        }
        for (number, session) in spec.sessions.iter().enumerate() {
            let Some(sql) = &session.setup else { continue };
            if let Err(error) = self.exec(number + 1, sql, &format!("the setup of session {}", session.name))? {
                return Ok(Some(End::SetupFailed(format!("setup of session {} failed: {error}", session.name))));
            }
        }
        let (output, told, notices) = (self.output.clone(), self.told.clone(), self.notices.clone());
        self.database.keep(Setup { output, told, notices });
        Ok(None)
    }

    /// Takes every session's steps, in an order that is chosen; false: the rest is redundant. A session that waits takes no step; where all
    /// that have steps left wait, time passes.
    fn choose_steps(&mut self, chooser: &mut dyn Chooser) -> Result<bool, Trouble> {
        let mut next = vec![0; self.spec.sessions.len()];
        self.database.touched();
        loop {
            let left = |session: &usize| next[*session] < self.spec.sessions[*session].steps.len();
            let with_steps: Vec<usize> = (0..next.len()).filter(left).collect();
            if with_steps.is_empty() {
                return Ok(true);
            }
            let ready: Vec<usize> = with_steps.into_iter().filter(|session| self.active[*session].is_none()).collect();
            if ready.is_empty() {
                "every session".clone_into(&mut self.at);
                self.database.pass_time()?;
                self.complete_waiting(Patience::UntilBlocked)?;
                continue;
            }
            let Some(session) = chooser.choose(&ready) else { return Ok(false) };
            let step = StepId { session, step: next[session] };
            next[session] += 1;
            self.steps.push(PermutationStep { step, markers: Vec::new() });
            self.targets.push(Vec::new());
            self.step(self.steps.len() - 1)?;
            let touched = self.database.touched();
            chooser.took(touched, &|one, other| self.database.commute(one, other));
        }
    }

    fn name(&self, place: Place) -> &str {
        &self.spec.step(self.steps[place].step).name
    }

    fn session(&self, place: Place) -> usize {
        self.steps[place].step.session
    }

    /// Sends a message and waits for its answer, of which only the last result is printed, as `PQexec` returns it. What was notified meanwhile, or
    /// since the session's last step of an earlier permutation, is told with its next step.
    fn exec(&mut self, connection: usize, sql: &str, what: &str) -> Result<Result<(), String>, Trouble> {
        what.clone_into(&mut self.at);
        self.database.send(connection, sql)?;
        self.database.wait(connection, Patience::UntilAnswered)?;
        self.print_notices(connection, usize::MAX)?;
        match self.database.answer(connection)?.pop() {
            Some(Part::Error { severity, message }) => return Ok(Err(format!("{severity}:  {message}"))),
            Some(Part::Closed) => return Ok(Err(CLOSED.to_owned())),
            Some(Part::Rows(rows)) => self.say(&table(&rows, self.left())?)?,
            Some(Part::Done) | None => {}
        }
        Ok(Ok(()))
    }

    /// Prints what came before more results than so many were complete, and keeps the rest. The control connection's are nobody's business.
    fn print_notices(&mut self, connection: usize, after: usize) -> Result<(), Trouble> {
        let arrived = self.database.notices(connection);
        let Some(session) = connection.checked_sub(1) else { return Ok(()) };
        self.shows_result[session] |= arrived.iter().any(|notice| notice.shows_result);
        let mut all = std::mem::take(&mut self.late[session]);
        all.extend(arrived);
        let late = all.iter().position(|notice| notice.after > after).unwrap_or(all.len());
        self.late[session] = all.split_off(late);
        for notice in all {
            let line = format!("{}: {}", self.spec.sessions[session].name, notice.text);
            self.say(&line)?;
            self.told[session] += &line;
            self.notices[session] += 1;
            self.any_new_notice = true;
        }
        Ok(())
    }

    /// How much can still be printed.
    fn left(&self) -> usize {
        OUTPUT_MAX.saturating_sub(self.output.len())
    }

    fn room(&self, length: usize) -> Result<(), Trouble> {
        if length <= self.left() { Ok(()) } else { Err(too_much_output()) }
    }

    /// Prints something.
    fn say(&mut self, text: &str) -> Result<(), Trouble> {
        self.room(text.len())?;
        self.output.push_str(text);
        Ok(())
    }

    fn step(&mut self, place: Place) -> Result<(), Trouble> {
        let session = self.session(place);
        while let Some(old) = self.active[session] {
            self.at = format!("step {}", self.name(old));
            let before = (self.waiting.clone(), self.notices.clone());
            if self.complete(old, Patience::UntilAnswered, true)? {
                self.waiting.retain(|waiting| *waiting != old);
            }
            self.complete_waiting(Patience::UntilBlocked)?;
            if self.active[session].is_some() && before == (self.waiting.clone(), self.notices.clone()) {
                self.database.pass_time()?;
            }
        }
        let step = self.spec.step(self.steps[place].step);
        self.at = format!("step {}", step.name);
        self.database.send(session + 1, &step.sql)?;
        self.shows_result[session] = false;
        self.active[session] = Some(place);
        self.targets[place] = self.steps[place].markers.iter().map(|marker| self.target(marker)).collect();
        let done = self.complete(place, Patience::UntilBlocked, false)?;
        self.complete_waiting(Patience::UntilBlocked)?;
        if !done {
            self.waiting.push(place);
        }
        Ok(())
    }

    fn target(&self, marker: &Marker) -> u32 {
        match marker {
            Marker::Notices(step, count) => self.notices[step.session].saturating_add(*count),
            Marker::Waits | Marker::After(_) => 0,
        }
    }

    /// Looks at all that wait, until nothing changes any more that could release one of them.
    fn complete_waiting(&mut self, patience: Patience) -> Result<(), Trouble> {
        loop {
            let before = self.waiting.len();
            self.any_new_notice = false;
            let mut is_held = false;
            let mut at = 0;
            while let Some(place) = self.waiting.get(at).copied() {
                if self.complete(place, patience, true)? {
                    self.waiting.remove(at);
                } else {
                    is_held |= !self.steps[place].markers.is_empty();
                    at += 1;
                }
            }
            if !is_held || (self.waiting.len() == before && !self.any_new_notice) {
                return Ok(());
            }
        }
    }

    /// Reports a step if it is done; `again`: it was reported as waiting before.
    fn complete(&mut self, place: Place, patience: Patience, again: bool) -> Result<bool, Trouble> {
        let step = self.spec.step(self.steps[place].step);
        let session = self.session(place);
        let waits = format!("step {}: {} <waiting ...>\n", step.name, step.sql);
        if !again && self.steps[place].markers.contains(&Marker::Waits) {
            self.say(&waits)?;
            return Ok(false);
        }
        let answered = self.database.wait(session + 1, patience)?;
        self.print_notices(session + 1, 0)?;
        if !answered && self.shows_result[session] {
            return Err(Trouble::Refused("a step that waits behind a notice behind a result".to_owned()));
        }
        if !answered || self.is_held(place) {
            if !again {
                self.say(&waits)?;
            }
            return Ok(false);
        }
        let completed = if again { "<... completed>" } else { &step.sql };
        let line = format!("step {}: {completed}\n", step.name);
        self.say(&line)?;
        let parts = self.database.answer(session + 1)?;
        let before = self.output.len();
        self.print(session, parts)?;
        let heading = format!("step {}:\n", step.name);
        self.told[session] += &heading;
        self.told[session] += &self.output[before..];
        self.active[session] = None;
        Ok(true)
    }

    fn print(&mut self, session: usize, parts: Vec<Part>) -> Result<(), Trouble> {
        for (place, part) in parts.into_iter().enumerate() {
            self.print_notices(session + 1, place)?;
            match part {
                Part::Done => {}
                Part::Rows(rows) => self.say(&table(&rows, self.left())?)?,
                Part::Error { severity, message } => {
                    let line = format!("{severity}:  {message}\n");
                    self.say(&line)?;
                }
                Part::Closed => self.say(&format!("{CLOSED}\n\n"))?,
            }
        }
        self.print_notices(session + 1, usize::MAX)?;
        for told in self.database.notifications(session + 1) {
            let sender = match told.sender {
                Ok(connection) => self.spec.sessions[connection - 1].name.clone(),
                Err(pid) => format!("PID {pid}"),
            };
            let (session, channel, payload) = (&self.spec.sessions[session].name, told.channel, told.payload);
            let line = format!("{session}: NOTIFY \"{channel}\" with payload \"{payload}\" from {sender}\n");
            self.say(&line)?;
        }
        Ok(())
    }

    /// Whether a marker keeps a step's answer back.
    fn is_held(&self, place: Place) -> bool {
        let markers = self.steps[place].markers.iter().zip(&self.targets[place]);
        let holds = |(marker, target): (&Marker, &u32)| match marker {
            Marker::Waits => false,
            Marker::After(other) => self.active[other.session].is_some_and(|active| self.steps[active].step == *other),
            Marker::Notices(other, _) => self.notices[other.session] < *target,
        };
        markers.into_iter().any(holds)
    }
}
