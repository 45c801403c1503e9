//! The command line as a user meets it: what is answered, what is refused, with which words and which exit code.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use expect_test::{Expect, expect};
use skiptrace_sim::cli::{self, Output};
use skiptrace_sim::exit::Exit;

/// What a command line came to.
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `skiptrace`, from this package's folder.
pub(crate) fn skiptrace(args: &[&str]) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = std::iter::once("skiptrace").chain(args.iter().copied()).map(OsString::from);
    let exit = cli::run(args, Output::to(&mut out), Output::to(&mut err));
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { exit, out: text(out), err: text(err) }
}

/// Refused as wrong usage, with these words on standard error and nothing on standard output.
#[track_caller]
fn check(args: &[&str], want: &Expect) {
    let ran = skiptrace(args);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{}", ran.err);
    want.assert_eq(&ran.err);
}

/// The same, of a file with this text; its folder is called DIR.
#[track_caller]
fn check_file(command: &str, text: &str, want: &Expect) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file.toml");
    fs::write(&path, text).expect("written");
    let ran = skiptrace(&[command, path.to_str().expect("text")]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{}", ran.err);
    want.assert_eq(&shorten(&ran.err.replace(folder.path().to_str().expect("text"), "DIR")));
}

/// Lists of all that there is grow; what they begin with is enough here.
fn shorten(text: &str) -> String {
    let short = |line: &str| match line.strip_prefix("expected one of: ") {
        Some(list) if list.split(", ").count() > 4 => "expected one of: ..".to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(|line| short(line) + "\n").collect()
}

#[test]
fn wrong_options_are_refused() {
    check(
        &["verify", "--seeds", "0"],
        &expect![[r#"
        error: invalid value '0' for '--seeds <N>': 0 is not in 1..=9223372036854775807

        For more information, try '--help'.
    "#]],
    );
    check(
        &["verify", "--seconds", "0"],
        &expect![[r#"
        error: invalid value '0' for '--seconds <S>': expected a number of seconds above 0, as in 60 or 0.5

        For more information, try '--help'.
    "#]],
    );
    check(
        &["verify", "--jobs", "0"],
        &expect![[r#"
        error: invalid value '0' for '--jobs <N>': expected a number from 1 to 1024

        For more information, try '--help'.
    "#]],
    );
    check(
        &["verify", "--on", "oracle"],
        &expect![[r#"
        error: invalid value 'oracle' for '--on <ON>'
          [possible values: model, postgres]

        For more information, try '--help'.
    "#]],
    );
    check(
        &["verfy"],
        &expect![[r#"
        error: unrecognized subcommand 'verfy'

          tip: a similar subcommand exists: 'verify'

        Usage: skiptrace [OPTIONS] <COMMAND>

        For more information, try '--help'.
    "#]],
    );
    check(
        &["run"],
        &expect![[r#"
        error: the following required arguments were not provided:
          <SCENARIO>

        Usage: skiptrace run <SCENARIO>

        For more information, try '--help'.
    "#]],
    );
    check(
        &["status", "--database-url", "postgresql://x@y/z", "--check", "max-depht=3"],
        &expect![[r#"
        error: invalid value 'max-depht=3' for '--check <max-depth=N,max-age=SECONDS>': expected max-depth=N or max-age=SECONDS

        For more information, try '--help'.
    "#]],
    );
}

#[test]
fn what_does_not_exist_is_refused_with_what_does() {
    let ran = skiptrace(&["verify", "standart"]);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.starts_with("error: unknown scenario \"standart\"\nexpected one of: "), "{}", ran.err);
    assert!(ran.err.ends_with("did you mean \"standard\"?\n"), "{}", ran.err);
    check(
        &["run", "nowhere/missing.toml"],
        &expect![[r#"
        error: cannot read nowhere/missing.toml: No such file or directory (os error 2)
    "#]],
    );
    check(
        &["replay", "missing.toml"],
        &expect![[r#"
        error: cannot read missing.toml: No such file or directory (os error 2)
    "#]],
    );
}

const SCENARIO: &str = r#"title = "T"
protocol = "naive"
expected = "holds"

[[actor]]
name = "a"
role = "appender"
appends = ["s"]
"#;

#[test]
fn malformed_scenarios_are_refused_in_their_place() {
    check_file(
        "run",
        "",
        &expect![[r#"
        error: DIR/file.toml:1:1: the scenario has no `title`
          1 | 
            | ^
        expected `title`: a line that says what it shows
    "#]],
    );
    check_file(
        "run",
        &SCENARIO.replace("naive", "naïve"),
        &expect![[r#"
            error: DIR/file.toml:2:12: unknown protocol "naïve"
              2 | protocol = "naïve"
                |            ^^^^^^^
            expected one of: ..
            did you mean "naive"?
        "#]],
    );
    check_file(
        "run",
        &SCENARIO.replace("appends", "append"),
        &expect![[r#"
        error: DIR/file.toml:8:1: unknown key `append` in an appender
          8 | append = ["s"]
            | ^^^^^^
        expected one of: name, role, appends
        did you mean `appends`?
    "#]],
    );
    check_file(
        "run",
        &SCENARIO[..SCENARIO.len() - 4],
        &expect![[r#"
        error: DIR/file.toml:8:13: unclosed array, expected `]`
          8 | appends = ["
            |             ^
    "#]],
    );
    check_file(
        "verify",
        &SCENARIO.replace("[\"s\"]", "7"),
        &expect![[r#"
        error: DIR/file.toml:8:11: `appends` is of a wrong type
          8 | appends = 7
            |           ^
        expected an array of 1 to 64 appends, found integer
    "#]],
    );
}

/// A schedule of `end-race-naive`.
fn schedule(change: impl Fn(&str) -> String) -> String {
    change(
        r#"format = 1
scenario = "end-race-naive"
protocol = "naive"
verdict = "violates no_loss"
step = 3
hash = "0123456789abcdef"

[schedule]
choices = """
rebuild append-1 append-2
"""
"#,
    )
}

#[test]
fn malformed_schedules_are_refused_in_their_place() {
    check_file(
        "replay",
        &schedule(|good| good.replace("append-2", "append-3")),
        &expect![[r#"
        error: DIR/file.toml:10:18: step 2: unknown actor "append-3"
         10 | rebuild append-1 append-3
            |                  ^^^^^^^^
        expected one of: append-1, append-2, rebuild
        did you mean "append-1"?
    "#]],
    );
    check_file(
        "replay",
        &schedule(|good| good.replace("end-race-naive", "end-rice")),
        &expect![[r#"
            error: DIR/file.toml:2:12: unknown scenario "end-rice"
              2 | scenario = "end-rice"
                |            ^^^^^^^^^^
            expected one of: ..
        "#]],
    );
    check_file(
        "replay",
        &schedule(|good| good[..good.len() - 3].to_owned()),
        &expect![[r#"
        error: DIR/file.toml:11:2: invalid multi-line basic string, expected `"`
         11 | "
            |  ^
    "#]],
    );
    check_file(
        "replay",
        &schedule(|good| good.replace("\"naive\"", "\"skip_record\"")),
        &expect![[r#"
        error: DIR/file.toml:3:12: the schedule does not fit its scenario any more: end-race-naive runs another protocol
          3 | protocol = "skip_record"
            |            ^^^^^^^^^^^^^
        expected "naive", found "skip_record"
    "#]],
    );
    check_file(
        "replay",
        "\u{0}\u{1}binary",
        &expect![[r#"
        error: DIR/file.toml:1:9: key with no value, expected `=`
          1 |   binary
            |         ^
    "#]],
    );
}

#[test]
fn a_schedule_that_does_not_fit_says_at_which_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file.toml");
    fs::write(&path, schedule(|good| good.replace("rebuild append-1", "rebuild rebuild!lose_answer")))
        .expect("written");
    let ran = skiptrace(&["replay", path.to_str().expect("text")]);
    assert_eq!(ran.exit, Exit::Usage, "{}", ran.err);
    expect![[r#"
        error: DIR/file.toml: the schedule does not fit its scenario any more, at step 1
        expected: rebuild!lose_answer; found ready: append-1, append-2, rebuild
    "#]]
    .assert_eq(&ran.err.replace(folder.path().to_str().expect("text"), "DIR"));
}

#[test]
fn help_teaches_with_examples() {
    for args in
        [&["--help"][..], &["verify", "--help"], &["run", "--help"], &["replay", "--help"], &["status", "--help"]]
    {
        let ran = skiptrace(args);
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Expected, ""), "{args:?}");
        assert!(ran.out.contains("Examples:\n  skiptrace "), "{args:?}: {}", ran.out);
        assert!(ran.out.lines().all(|line| line.chars().count() <= 120), "{args:?}: {}", ran.out);
    }
    let version = skiptrace(&["--version"]);
    assert_eq!((version.exit, version.out.as_str()), (Exit::Expected, "skiptrace 0.1.0\n"));
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = skiptrace(&["completions", shell]);
        assert_eq!(ran.exit, Exit::Expected);
        assert!(ran.out.contains("verify") && ran.out.contains("database-url"), "{shell}: {}", ran.out);
    }
}

#[test]
fn list_names_everything_that_a_scenario_can_name() {
    let ran = skiptrace(&["list"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Expected, ""));
    let protocols = skiptrace_sim::protocol::all().iter().map(|protocol| protocol.name());
    let invariants = skiptrace_sim::invariant::all().iter().map(|invariant| invariant.name);
    let milestones = skiptrace_sim::explore::milestone::all().iter().map(|milestone| milestone.name);
    for name in protocols.chain(invariants).chain(milestones) {
        assert!(ran.out.lines().any(|line| line.split_whitespace().next() == Some(name)), "{name}: {}", ran.out);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    for entry in fs::read_dir(folder).expect("the scenarios") {
        let name = entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(ran.out.lines().any(|line| line.split_whitespace().next() == Some(&name)), "{name}: {}", ran.out);
    }
}

#[test]
fn colours_are_there_when_asked_for_and_not_in_a_file() {
    assert!(skiptrace(&["list", "--color", "always"]).out.contains("\u{1b}["));
    for color in ["auto", "never"] {
        assert!(!skiptrace(&["list", "--color", color]).out.contains('\u{1b}'), "{color}");
    }
}
