//! The command line: `run(args, out, err)`, so that a test can be a user.
//!
//! Results go to standard output, complaints and progress to standard error. The exit code is the kind of the outcome ([`Exit`]).

mod args;
mod counterexample;
mod ground;
mod list;
mod output;
mod progress;
mod replay;
mod run;
mod spec;
mod spec_all;
mod status;
mod verify;

use std::env;
use std::ffi::OsString;
use std::path::Path;

use clap::{CommandFactory, Parser};

pub use output::Output;

use crate::backend::BackendError;
use crate::exit::Exit;
use crate::explore::RunEnd;
use crate::report::failure;
use crate::report::paint::Tone;
use crate::scenario::diagnostic::FileError;
use crate::scenario::library::{Library, LibraryError};
use args::{Cli, Command};

/// Runs a command line, its first word the program.
pub fn run<'w>(args: impl IntoIterator<Item = OsString>, mut out: Output<'w>, mut err: Output<'w>) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return explain(&error, &mut out, &mut err),
    };
    out.set_color(cli.color);
    err.set_color(cli.color);
    let program = args.first().map_or("skiptrace".into(), |program| program.to_string_lossy());
    let mut context = Context { out, err, program: program.into_owned() };
    let exit = dispatch(cli.command, &mut context).unwrap_or_else(|failure| context.complain(&failure));
    context.out.flush();
    exit
}

fn dispatch(command: Command, context: &mut Context<'_>) -> Result<Exit, Failure> {
    match command {
        Command::Verify(args) => verify::verify(&args, context),
        Command::Run(args) => run::run(&args, context),
        Command::Replay(args) => replay::replay(&args, context),
        Command::Spec(args) => spec::spec(&args, context),
        Command::List => list::list(context),
        Command::Status(args) => status::status(&args, context),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "skiptrace", &mut script);
            context.out.text(&String::from_utf8_lossy(&script));
            Ok(Exit::Expected)
        }
    }
}

/// Help and version are answers; anything else that clap says is a complaint.
fn explain<'o, 'w>(error: &clap::Error, out: &'o mut Output<'w>, err: &'o mut Output<'w>) -> Exit {
    let (output, exit) = if error.use_stderr() { (err, Exit::Usage) } else { (out, Exit::Expected) };
    output.set_color(args::Color::Auto);
    let text = error.render();
    let painted = output.paint() == crate::report::paint::Paint::Ansi;
    output.text(&if painted { text.ansi().to_string() } else { text.to_string() });
    output.flush();
    exit
}

/// Where a command writes, and what it was called.
struct Context<'w> {
    out: Output<'w>,
    err: Output<'w>,
    /// As the shell knows it: a line to run again begins with it.
    program: String,
}

impl Context<'_> {
    fn complain(&mut self, failure: &Failure) -> Exit {
        let label = self.err.paint().tone(Tone::Bad, "error:");
        self.err.line(&format!("{label} {}", failure.message));
        self.err.flush();
        failure.exit
    }
}

/// Why a command cannot do what it was asked to.
struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl From<LibraryError> for Failure {
    fn from(error: LibraryError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::new(exit_of(&RunEnd::Failed(error.clone())), failure(&error))
    }
}

/// The exit code of a run that ended so.
fn exit_of(end: &RunEnd) -> Exit {
    match end {
        RunEnd::Completed => Exit::Expected,
        RunEnd::Violated(_) => Exit::Violated,
        RunEnd::Stuck(_) => Exit::Stuck,
        RunEnd::Misfit { .. } => Exit::Usage,
        RunEnd::Nondeterministic(_) => Exit::Nondeterminism,
        RunEnd::Failed(BackendError::Environment(_)) => Exit::Environment,
        RunEnd::Failed(BackendError::Refused { .. }) => Exit::Refused,
    }
}

/// The scenarios that can be named from the current folder.
fn library() -> Result<Library, LibraryError> {
    let current = env::current_dir().map_err(|error| LibraryError::Io(Path::new(".").to_owned(), error))?;
    Library::find(&current)
}
