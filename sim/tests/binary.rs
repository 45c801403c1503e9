//! The binary itself: exit codes as a shell sees them, the environment, and that two processes find the same.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use skiptrace_sim::backend::testbed::{AcquireOptions, Settings, TestBed};

/// `skiptrace`, in this repository, without the environment's opinion about servers and colours.
fn skiptrace(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skiptrace"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).args(args).stdin(Stdio::null());
    for name in ["SKIPTRACE_DATABASE_URL", "SKIPTRACE_TESTBED", "NO_COLOR", "DOCKER_HOST"] {
        command.env_remove(name);
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[track_caller]
fn check(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn two_processes_find_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let facts = |jobs: &str| {
        let save = folder.path().to_str().expect("text");
        let args = ["verify", "--seeds", "300", "--format", "json", "--jobs", jobs, "--save", save];
        let output = skiptrace(&args).output().expect("it runs");
        let line = |line: &str| {
            let mut line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_ne!(line["verdict"], "error", "{line}");
            let hash = line["history_hash"].take();
            (line["scenario"].take(), line["verdict"].take(), line["seed"].take(), line["milestones"].take(), hash)
        };
        (output.status.code(), text(&output.stdout).lines().map(line).collect::<Vec<_>>())
    };
    let one = facts("1");
    assert!(!one.1.is_empty());
    assert_eq!(one, facts("2"));
}

#[test]
fn a_shell_sees_the_exit_codes() {
    check(&skiptrace(&["list"]).output().expect("it runs"), 0);
    check(&skiptrace(&["--help"]).output().expect("it runs"), 0);
    check(&skiptrace(&[]).output().expect("it runs"), 2);
    check(&skiptrace(&["verify", "--seeds", "0"]).output().expect("it runs"), 2);
}

#[test]
fn without_a_server_it_says_how_to_provide_one() {
    let output = skiptrace(&["run", "end-race-naive", "--on", "postgres"]).env("SKIPTRACE_TESTBED", "url").output();
    let output = output.expect("it runs");
    check(&output, 5);
    assert!(text(&output.stderr).starts_with("error: SKIPTRACE_TESTBED=url"), "{}", text(&output.stderr));
    let nowhere = "postgresql://nobody@127.0.0.1:1/nothing";
    let output = skiptrace(&["verify", "--on", "postgres"]).env("SKIPTRACE_DATABASE_URL", nowhere).output();
    check(&output.expect("it runs"), 5);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "waits for another process, outside every run")]
fn a_server_that_dies_mid_run_is_named_and_nothing_panics() {
    let local = Settings { forced: Some("local".to_owned()), ..Settings::from_env() };
    let bed = TestBed::acquire_with(&local, AcquireOptions::default()).unwrap_or_else(|error| panic!("{error:?}"));
    let folder = tempfile::tempdir().expect("a folder");
    let save = folder.path().to_str().expect("text");
    let args = ["verify", "end-race-skip-records", "--on", "postgres", "--seconds", "60", "--save", save];
    let child = skiptrace(&args)
        .env("SKIPTRACE_DATABASE_URL", bed.url("postgres"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    std::thread::sleep(Duration::from_secs(3));
    let died = Instant::now();
    drop(bed);
    let output = child.wait_with_output().expect("it ends");
    assert!(died.elapsed() < Duration::from_secs(30), "it ends soon after its server");
    check(&output, 5);
    let all = text(&output.stdout) + &text(&output.stderr);
    assert!(!all.contains("panicked") && all.contains("error"), "{all}");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let program = env!("CARGO_BIN_EXE_skiptrace");
    let script = format!("'{program}' completions bash | head -1; echo ${{PIPESTATUS[0]}}");
    let output = Command::new("bash").args(["-c", &script]).output().expect("bash");
    assert_eq!((text(&output.stderr).as_str(), text(&output.stdout).lines().last()), ("", Some("0")));
}

#[test]
fn no_color_is_heeded_and_a_file_has_no_colours() {
    let output = skiptrace(&["list"]).env("CLICOLOR_FORCE", "1").output().expect("it runs");
    assert!(!text(&output.stdout).contains('\u{1b}'));
    let output = skiptrace(&["list", "--color", "always"]).env("NO_COLOR", "1").output().expect("it runs");
    assert!(text(&output.stdout).contains('\u{1b}'), "what is asked for on the command line counts more");
}
