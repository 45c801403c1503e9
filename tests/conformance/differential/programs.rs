//! Programs of several sessions, stepped on both: rows, counts, SQLSTATEs and messages, who waits for whom, who goes on and in which order.
//!
//! A program that differs is shrunk to a spec, which `skiptrace spec --on model --on postgres` and isolationtester itself can run.
//!
//! Some things are left to chance by a server: which of several whose waits have ended goes on first, and who of those in a deadlock is the
//! victim ([`skiptrace_model::Server::script_chance`]). So where the model's first alternative is not what the server did, its others are tried; one
//! of them must be, and how many programs needed one is told. What no alternative gives is wrong, unless a second try on the server does
//! something else.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Write;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::test_runner::TestCaseError;
use skiptrace_sim::backend::BackendError;
use skiptrace_sim::backend::model::ModelDatabase;
use skiptrace_sim::backend::postgres::PostgresDatabase;
use skiptrace_sim::backend::testbed::{AcquireOptions, TestBed};
use skiptrace_sim::spec::Spec;

use super::program::{Schema, Step, steps};
use super::stepping::{Ground, Run};
use super::{check, watchdog};
use crate::runner::layout;

/// Programs of one schema: to set one up takes longer than to run ten.
const PROGRAMS: usize = 10;
const CASES: u32 = 30;
const ATTEMPTS_MAX: u32 = 8;
/// So many of a program's alternatives are tried.
const ALTERNATIVES_MAX: usize = 500;
const STEPS_MAX: usize = 48;

/// How they differ, and in which line.
struct Difference {
    message: String,
    line: usize,
}

/// The first line in which they differ; what the model refused ends the comparison.
fn difference(model: &Run, server: &Run) -> Option<Difference> {
    let mut pairs = model.lines.iter().zip(&server.lines);
    if let Some(line) = pairs.position(|(model, server)| model != server) {
        let message = format!("the model:  {}\nPostgreSQL: {}", model.lines[line], server.lines[line]);
        return Some(Difference { message, line });
    }
    let (here, there) = (model.lines.len(), server.lines.len());
    let is_whole = model.refused.is_some() || here == there;
    let message = || format!("the model has {here} lines, PostgreSQL {there}");
    (!is_whole).then(|| Difference { message: message(), line: here.min(there) })
}

/// A program as isolationtester's file.
fn spec(schema: &Schema, sessions: usize, sent: &[Step]) -> String {
    let mut text = String::from("setup\n{\n");
    let mut permutation = String::from("permutation");
    for sql in &schema.setup {
        writeln!(text, "    {sql};").expect("to a string");
    }
    text.push_str("}\n\nteardown { DROP SCHEMA public CASCADE; CREATE SCHEMA public; }\n");
    let mut steps = vec![String::new(); sessions];
    for (number, step) in sent.iter().enumerate() {
        let name = format!("s{}_{number}", step.session);
        writeln!(steps[step.session], "step {name} {{ {}; }}", step.sql).expect("to a string");
        write!(permutation, " {name}").expect("to a string");
    }
    for (session, steps) in steps.iter().enumerate().filter(|(_, steps)| !steps.is_empty()) {
        write!(text, "\nsession s{session}\nsetup {{ SET deadlock_timeout = '10ms'; }}\n{steps}").expect("to a string");
    }
    format!("{text}\n{permutation}\n")
}

#[derive(Default)]
struct Tally {
    programs: Cell<usize>,
    steps: Cell<usize>,
    waits: Cell<usize>,
    /// Programs in which somebody waited.
    contended: Cell<usize>,
    /// Programs that did on the server what is not the model's first alternative.
    by_chance: Cell<usize>,
    /// Programs that did on the server what is none of them, and in another run one.
    again: Cell<usize>,
    refused: RefCell<Vec<String>>,
}

impl Tally {
    fn add(&self, run: Run, by_chance: bool) {
        let waits = run.lines.iter().filter(|line| line.contains("waits for")).count();
        let add = |to: &Cell<usize>, count| to.set(to.get() + count);
        add(&self.programs, 1);
        add(&self.steps, run.sent.len());
        add(&self.waits, waits);
        add(&self.contended, usize::from(waits > 0));
        add(&self.by_chance, usize::from(by_chance));
        self.refused.borrow_mut().extend(run.refused);
        if self.programs.get().is_multiple_of(1000) {
            self.tell();
        }
    }

    fn tell(&self) {
        let (programs, steps, waits) = (self.programs.get(), self.steps.get(), self.waits.get());
        let (contended, by_chance, again) = (self.contended.get(), self.by_chance.get(), self.again.get());
        println!(
            "{programs} programs, {steps} steps, {waits} waits in {contended} programs; {by_chance} were another alternative of the model's, \
             {again} so in another run only; refused: {:?}",
            self.refused.borrow()
        );
    }
}

type Program = (u8, Vec<(u8, Vec<u16>)>);

/// The model's run that is the server's, and whether that was the first alternative; or how the one that came nearest differs.
fn alternative(
    model: &mut Ground<ModelDatabase>,
    (schema, sessions, steps): (&Schema, usize, &[Step]),
    server: &Run,
) -> Result<(Run, bool), Difference> {
    // Those that need the fewest other alternatives come first.
    let mut scripts = VecDeque::from([Vec::new()]);
    let mut nearest: Option<Difference> = None;
    for _ in 0..ALTERNATIVES_MAX {
        let Some(script) = scripts.pop_front() else { break };
        model.database.script_chance(script.clone());
        let run = model.run(schema, sessions, steps);
        let Some(difference) = difference(&run, server) else { return Ok((run, !script.is_empty())) };
        let alternatives = model.database.chances();
        // What came later cannot be why.
        let until = run.chances.get(difference.line).copied().unwrap_or(alternatives.len());
        for (place, count) in alternatives.iter().enumerate().take(until).skip(script.len()) {
            for other in 1..*count {
                let mut next = script.clone();
                next.resize(place, 0);
                next.push(other);
                scripts.push_back(next);
            }
        }
        if nearest.as_ref().is_none_or(|nearest| nearest.line < difference.line) {
            nearest = Some(difference);
        }
    }
    Err(nearest.expect("the first alternative was tried"))
}

/// Runs the programs of one schema on both.
fn compare(bed: &TestBed, schema: &Schema, programs: &[Program], tally: &Tally) -> Result<(), TestCaseError> {
    let layout = layout(&Spec { setups: vec![schema.setup.join(";\n")], ..Spec::default() });
    let mut model = match ModelDatabase::new(&layout) {
        Ok(model) => Ground::new(model, |model| model.chances().len()),
        Err(BackendError::Refused { construct, .. }) => {
            tally.refused.borrow_mut().push(construct);
            return Ok(());
        }
        Err(BackendError::Environment(message)) => panic!("{message}"),
    };
    let server = PostgresDatabase::open(bed, &layout);
    let mut server = Ground::new(server.unwrap_or_else(|error| panic!("{schema:?}: {error:?}")), |_| 0);
    for (shape, numbers) in programs {
        let (sessions, theme) = ([2, 3, 4, 3][usize::from(*shape) % 4], usize::from(*shape) / 4);
        let steps = steps(schema, sessions, theme, numbers);
        let alive = |result: Result<(), BackendError>| result.unwrap_or_else(|error| panic!("{error:?}"));
        alive(server.warm_up(sessions, &steps));
        let mut first = None;
        for attempt in 1.. {
            alive(model.database.align_with(&mut server.database));
            let found = server.run(schema, sessions, &steps);
            let difference = match alternative(&mut model, (schema, sessions, &steps), &found) {
                Ok((run, by_chance)) => {
                    tally.add(run, by_chance);
                    break;
                }
                Err(difference) => difference.message,
            };
            let (lines, spec) = (found.lines.join("\n"), spec(schema, sessions, &found.sent));
            let message = format!("{difference}\n\n{lines}\n\n{spec}");
            if attempt == ATTEMPTS_MAX {
                return Err(TestCaseError::fail(message));
            }
            if attempt == 1 {
                first = Some(message);
            }
        }
        if let Some(message) = first {
            tally.again.set(tally.again.get() + 1);
            println!("none of the model's alternatives, at first:\n{message}");
        }
    }
    Ok(())
}

#[test]
fn programs_do_what_they_do_on_a_server() {
    // A server of its own: transaction ids reach rows, and nobody else may take any.
    let bed = TestBed::acquire(AcquireOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    watchdog::start();
    let tally = Tally::default();
    let step = (any::<u8>(), vec(any::<u16>(), 12));
    let program = (any::<u8>(), vec(step, 1..STEPS_MAX));
    let case = (vec(any::<u16>(), 16).prop_map(|numbers| Schema::new(&numbers)), vec(program, PROGRAMS));
    check(CASES, &case, |(schema, programs)| compare(&bed, &schema, &programs, &tally));
    watchdog::done();
    tally.tell();
    let (programs, steps, waits) = (tally.programs.get(), tally.steps.get(), tally.waits.get());
    let (by_chance, again, refused) = (tally.by_chance.get(), tally.again.get(), tally.refused.into_inner());
    assert!(refused.len() * 5 < programs, "too much was refused: {refused:?}");
    assert!(waits * 50 > steps, "only {waits} of {steps} steps waited: too little is concurrent here");
    assert!(by_chance * 8 < programs, "{by_chance} of {programs} programs needed another alternative of the model's");
    assert!(again * 100 < programs, "{again} of {programs} programs differed at first: that is no race any more");
}
