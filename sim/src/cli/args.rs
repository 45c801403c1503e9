//! The command line's grammar and its help.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::explore::schedule_file::SEED_MAX;

const LONG_ABOUT: &str = "\
An event store that rebuilds its read models while appends go on can lose an event without anybody noticing. skiptrace \
runs such stores, one statement at a time, through thousands of interleavings of appenders, rebuilders and drainers: on a \
deterministic model of PostgreSQL, which needs no server, or on a real PostgreSQL. What breaks a promise is made small, shown as a \
timeline, and kept as a file that makes it happen again.";

const EXAMPLES: &str = "\
Examples:
  skiptrace verify                           every scenario, 10,000 schedules each, on the model
  skiptrace verify standard --seconds 60     one scenario for a minute
  skiptrace verify --on postgres             the same on a real server
  skiptrace run end-race-naive --seed 7      one run, its timeline
  skiptrace replay target/skiptrace/end-race-naive.no_loss.toml --on postgres
                                             a counterexample of the model, confirmed on a server

Exit codes:
  0  all as expected         3  a run made no progress        6  a schedule gave two histories
  1  an invariant violated   4  vacuous: milestones missed    7  the model refused a statement
  2  wrong usage or file     5  no server, or it died";

/// See `--help`.
#[derive(Debug, Parser)]
#[command(
    name = "skiptrace",
    version,
    about = "Verifies that rebuilding a read model loses no event",
    max_term_width = 110
)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES, after_help = "`--help` says more, with examples.")]
#[command(propagate_version = true, disable_help_subcommand = true, infer_subcommands = false)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// When to use colours; `auto` heeds `NO_COLOR` and whether a terminal reads
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Explore scenarios and compare what is found with what their files expect
    #[command(long_about = VERIFY_ABOUT, after_long_help = VERIFY_EXAMPLES)]
    Verify(Verify),
    /// Make one run and show its timeline
    #[command(long_about = RUN_ABOUT, after_long_help = RUN_EXAMPLES)]
    Run(Run),
    /// Make the run of a schedule file again and show its timeline
    #[command(long_about = REPLAY_ABOUT, after_long_help = REPLAY_EXAMPLES)]
    Replay(Replay),
    /// Run isolation specs, PostgreSQL's own format for schedules of SQL
    #[command(long_about = SPEC_ABOUT, after_long_help = SPEC_EXAMPLES)]
    Spec(Spec),
    /// List scenarios, protocols, invariants and milestones
    List,
    /// Show the skip records and generations of a real event store
    #[command(long_about = STATUS_ABOUT, after_long_help = STATUS_EXAMPLES)]
    Status(Status),
    /// Print a completion script
    Completions {
        /// For which shell
        shell: Shell,
    },
}

/// Where schedules are run
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum On {
    /// The model of PostgreSQL, in memory
    Model,
    /// A real server: that of `SKIPTRACE_DATABASE_URL`, else one started from local binaries, else a container
    Postgres,
}

impl On {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Postgres => "postgres",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StrategyName {
    /// Whoever can go on is equally likely to
    Random,
}

impl StrategyName {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs: lines of JSON
    Json,
}

const VERIFY_ABOUT: &str = "\
Explores each scenario over many seeds, then says for each whether it came out as its file expects: `holds`, or \
`violates` an invariant. All seeds are run, also after a violation; that of the lowest seed is shrunk and saved.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  skiptrace verify
  skiptrace verify end-race-naive end-race-skip-records --seeds 100000
  skiptrace verify scenarios/standard.toml --seconds 60 --jobs 1
  skiptrace verify --on postgres --seeds 50
  skiptrace verify --format json | jq -r 'select(.as_expected | not) | .scenario'

The same seeds give the same verdicts, counts and history_hash on the model, whatever --jobs is and on every machine. With \
--seconds, how many seeds are run depends on time; they are always the first ones, without a gap. On a server, transaction ids go \
on from run to run, so the history_hash differs each time.";

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Names (see `list`) or paths of scenarios; all of them, if none is given
    pub(crate) scenario: Vec<String>,
    /// Where to run
    #[arg(long, default_value = "model")]
    pub(crate) on: On,
    /// How many seeds a scenario [default: 10000 on the model, 500 on postgres; no limit if --seconds is given]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=SEED_MAX))]
    pub(crate) seeds: Option<u64>,
    /// Take no more seeds of a scenario after this time
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// How schedules are made from seeds
    #[arg(long, default_value = "random")]
    pub(crate) strategy: StrategyName,
    /// Worker threads, at most [default: one a core]. On postgres each has a server of its own, and there is one where none can
    /// be started here: transaction ids are the server's, so that runs side by side would see each other
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// How to print the results
    #[arg(long, default_value = "text")]
    pub(crate) format: Format,
    /// Folder for the schedules and timelines of what is found; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "target/skiptrace")]
    pub(crate) save: PathBuf,
}

const RUN_ABOUT: &str = "\
Makes the run of one seed and shows its timeline: a lane a session, a row a step. Ends with 1 if the run violates an \
invariant, also where its scenario expects that.";

const RUN_EXAMPLES: &str = "\
Examples:
  skiptrace run end-race-skip-records
  skiptrace run end-race-naive --seed 7 --save lost.toml
  skiptrace run standard --seed 42 --on postgres";

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Name (see `list`) or path of a scenario
    pub(crate) scenario: String,
    /// The seed that decides everything
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=SEED_MAX))]
    pub(crate) seed: u64,
    /// Where to run
    #[arg(long, default_value = "model")]
    pub(crate) on: On,
    /// Save the run's schedule in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
}

const REPLAY_ABOUT: &str = "\
Makes the choices of a schedule file again, shows the timeline, and says whether the run came out as the file says. \
Ends with 1 if the run violates an invariant, 2 if the schedule does not fit its scenario any more.";

const REPLAY_EXAMPLES: &str = "\
Examples:
  skiptrace replay target/skiptrace/end-race-naive.no_loss.toml
  skiptrace replay target/skiptrace/end-race-naive.no_loss.toml --on postgres";

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// A schedule file, as `verify` saves them
    pub(crate) file: PathBuf,
    /// Where to run
    #[arg(long, default_value = "model")]
    pub(crate) on: On,
}

const SPEC_ABOUT: &str = "\
Runs files in the format of PostgreSQL's isolationtester: sessions, their steps, and the orders in which the steps are taken. Prints byte for byte \
what isolationtester prints, on the model without a server, about a hundred times as fast, and more where sessions wait. What the model does not support it refuses by name; it \
never guesses.";

const SPEC_EXAMPLES: &str = "\
Examples:
  skiptrace spec lost-update.spec                             what each order of the steps comes to
  skiptrace spec lost-update.spec --on postgres               the same on a real server
  skiptrace spec lost-update.spec --on model --on postgres    both, and the difference if there is one
  skiptrace spec nowait-4.spec --expect nowait-4.out --expect nowait-4_1.out
                                                              the difference from the nearest of two outputs
  skiptrace spec lost-update.spec --all-permutations          every order, and the outcomes that they have
  PGDATESTYLE='Postgres, MDY' PGTZ=PST8PDT skiptrace spec receipt-report.spec --on postgres
                                                              dates as in the expected outputs of PostgreSQL's suite

A spec file:
  setup    { CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0); }
  teardown { DROP TABLE t; }
  session a
  step a1  { BEGIN; }
  step a2  { UPDATE t SET n = n + 1 WHERE id = 1; }
  step a3  { COMMIT; }
  session b
  step b1  { UPDATE t SET n = n + 1 WHERE id = 1; }
  permutation a1 a2 b1 a3
Without permutations every order is run. A step may hold several statements; they are one message, and one transaction unless they say otherwise.

Exit codes:
  0  all ran, and came out as expected
  1  another output than expected, or than on the other database
  2  a file that cannot be read: file:line:column says where; a setup that fails
  3  stuck: a step that never comes back
  7  the model refused a construct: which, and in which permutations, stands on standard error";

#[derive(Debug, Args)]
pub(crate) struct Spec {
    /// Spec files
    #[arg(required = true)]
    pub(crate) file: Vec<PathBuf>,
    /// Where to run; both, to compare them
    #[arg(long, value_name = "ON", default_value = "model")]
    pub(crate) on: Vec<On>,
    /// Take every order of the steps, not those that the file lists, and show what they come to. Orders that cannot come to
    /// anything new are left out on the model
    #[arg(long, conflicts_with = "expect")]
    pub(crate) all_permutations: bool,
    /// Run at most so many permutations of a file that lists none: more are an error; with --all-permutations, the search is ended
    #[arg(long, value_name = "N", default_value = "1000000", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_permutations: u64,
    /// Print how the output differs from this file's; given several times, from the nearest of them
    #[arg(long, value_name = "FILE")]
    pub(crate) expect: Vec<PathBuf>,
    /// How to print: text is isolationtester's; json has a line a permutation
    #[arg(long, default_value = "text")]
    pub(crate) format: Format,
}

const STATUS_ABOUT: &str = "\
Shows the generations of each projection and the skip records that wait to be drained, by projection and reason, with \
the age of the oldest.";

const STATUS_EXAMPLES: &str = "\
Examples:
  skiptrace status --database-url postgresql://app@db/shop
  skiptrace status --database-url \"$DATABASE_URL\" --schema events --check max-depth=1000,max-age=60

A skip record is an apply left for later. They are harmless while somebody drains them: a health probe should watch how many \
there are, and how old the oldest is. --check ends with 1 when a bound is passed, 5 when the store cannot be read.";

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// postgresql://user:password@host:port/database
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: String,
    /// The schema of the store's tables
    #[arg(long, value_name = "SCHEMA", default_value = "skiptrace")]
    pub(crate) schema: String,
    /// End with 1 where there are more skip records than N, or one is older than SECONDS
    #[arg(long, value_name = "max-depth=N,max-age=SECONDS", value_delimiter = ',', value_parser = bound)]
    pub(crate) check: Vec<Bound>,
}

/// A bound that `--check` watches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    /// At most so many skip records.
    Depth(u64),
    /// None older than this.
    Age(Duration),
}

fn bound(text: &str) -> Result<Bound, String> {
    let expected = "expected max-depth=N or max-age=SECONDS";
    match text.split_once('=') {
        Some(("max-depth", number)) => {
            number.parse().map(Bound::Depth).map_err(|_| format!("{number:?} is no number of skip records; {expected}"))
        }
        Some(("max-age", number)) => {
            duration(number).map(Bound::Age).ok_or_else(|| format!("{number:?} is no number of seconds; {expected}"))
        }
        _ => Err(expected.to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let expected = "expected a number of seconds above 0, as in 60 or 0.5";
    duration(text).filter(|duration| !duration.is_zero()).ok_or_else(|| expected.to_owned())
}

fn duration(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

const JOBS_MAX: usize = 1024;

fn jobs(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse().ok().filter(|jobs: &NonZeroUsize| jobs.get() <= JOBS_MAX);
    number.ok_or_else(|| format!("expected a number from 1 to {JOBS_MAX}"))
}
