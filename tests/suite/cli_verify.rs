//! `skiptrace verify`, `run` and `replay` on the model: verdicts, files, exit codes, and that results depend on the seeds alone.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use serde_json::Value;
use skiptrace_sim::cli::{self, Output};
use skiptrace_sim::exit::Exit;

use crate::cli_usage::{Ran, skiptrace};

/// `verify --format json` into a folder of its own: the exit code and the lines.
fn verify(folder: &Path, args: &[&str]) -> (Exit, Vec<Value>) {
    let save = folder.to_str().expect("text");
    let ran = skiptrace(&[&["verify", "--format", "json", "--save", save], args].concat());
    assert_eq!(ran.err, "");
    let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    (ran.exit, ran.out.lines().map(line).collect())
}

fn scenario(folder: &Path, name: &str, from: &str, changes: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{from}.toml"));
    let mut text = fs::read_to_string(path).expect("a scenario");
    for (old, new) in changes {
        assert!(text.contains(old), "{from} has no {old:?}");
        text = text.replace(old, new);
    }
    let path = folder.join(format!("{name}.toml"));
    fs::write(&path, text).expect("written");
    path.to_str().expect("text").to_owned()
}

const KEYS: [&str; 17] = [
    "scenario",
    "protocol",
    "on",
    "strategy",
    "schedules",
    "statements",
    "verdict",
    "expected",
    "as_expected",
    "invariant",
    "seed",
    "schedule_file",
    "milestones",
    "seconds",
    "schedules_per_second",
    "statements_per_second",
    "history_hash",
];

#[test]
fn json_has_the_keys_that_others_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let (exit, lines) = verify(folder.path(), &["end-race-naive", "end-race-skip-records", "--seeds", "3000"]);
    assert_eq!((exit, lines.len()), (Exit::Expected, 2));
    let mut keys = KEYS.to_vec();
    keys.sort_unstable();
    for line in &lines {
        let mut found: Vec<&String> = line.as_object().expect("an object").keys().collect();
        found.sort_unstable();
        assert_eq!(found, keys);
        assert_eq!(
            (&line["on"], &line["strategy"], &line["schedules"]),
            (&"model".into(), &"random".into(), &3000.into())
        );
        assert_eq!(line["as_expected"], true);
        assert!(line["milestones"].as_object().expect("an object").values().all(|count| count.as_u64() > Some(0)));
        assert_eq!(line["history_hash"].as_str().map(str::len), Some(16));
    }
    let [naive, records] = &lines[..] else { panic!("two lines") };
    assert_eq!(
        (&naive["verdict"], &naive["expected"], &naive["invariant"]),
        (&"violated".into(), &"violated".into(), &"no_loss".into())
    );
    assert!(naive["seed"].is_u64() && naive["schedule_file"].is_string());
    assert_eq!((&records["verdict"], &records["expected"]), (&"holds".into(), &"holds".into()));
    assert!(records["invariant"].is_null() && records["seed"].is_null() && records["schedule_file"].is_null());
}

#[test]
fn results_do_not_depend_on_the_number_of_workers() {
    let folder = tempfile::tempdir().expect("a folder");
    let facts = |jobs: &str| {
        let (exit, mut lines) = verify(folder.path(), &["--seeds", "200", "--jobs", jobs]);
        for line in &mut lines {
            for key in ["seconds", "schedules_per_second", "statements_per_second"] {
                line.as_object_mut().expect("an object").remove(key);
            }
        }
        (exit, lines)
    };
    let one = facts("1");
    assert_eq!(one, facts("2"));
    assert_eq!(one, facts("7"));
}

#[test]
fn nor_do_they_on_servers() {
    let folder = tempfile::tempdir().expect("a folder");
    let facts = |jobs: &str| {
        let on_servers = ["end-race-skip-records", "--on", "postgres", "--seeds", "200", "--jobs", jobs];
        let (exit, lines) = verify(folder.path(), &on_servers);
        let of = |key: &str| lines.iter().map(|line| line[key].clone()).collect::<Vec<_>>();
        (exit, ["schedules", "statements", "verdict", "milestones"].map(of))
    };
    assert_eq!(facts("1"), facts("2"));
}

/// What stands behind `label` in a text.
fn behind<'t>(text: &'t str, label: &str) -> &'t str {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(label));
    line.unwrap_or_else(|| panic!("no {label:?} in {text}")).trim()
}

#[test]
fn a_violation_is_kept_and_its_line_replays_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let save = folder.path().to_str().expect("text");
    let ran = skiptrace(&["verify", "end-race-naive", "--save", save]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Expected, ""), "{}", ran.out);
    assert!(
        ran.out.contains("✓ violated no_loss") && ran.out.ends_with("1 scenario, all as expected\n"),
        "{}",
        ran.out
    );
    let file = folder.path().join("end-race-naive.no_loss.toml");
    assert_eq!(behind(&ran.out, "replay "), format!("skiptrace replay {}", file.display()));
    let replayed = skiptrace(&["replay", file.to_str().expect("text")]);
    assert_eq!((replayed.exit, replayed.err.as_str()), (Exit::Violated, ""), "{}", replayed.out);
    let text = fs::read_to_string(&file).expect("the schedule");
    let hash = behind(&text, "hash = ").trim_matches('"');
    assert!(behind(&replayed.out, "reproduced: no_loss is violated").contains(hash), "{}", replayed.out);
    let timeline = fs::read_to_string(file.with_extension("txt")).expect("the timeline");
    assert!(replayed.out.contains(&timeline), "{timeline}");
}

/// Of a scenario that has no name here, but a file.
#[test]
fn a_stuck_run_is_made_small_and_its_line_replays_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let changes = [("expected = \"violates no_loss\"", "expected = \"holds\""), ("steps_max = 300", "steps_max = 5")];
    let path = scenario(folder.path(), "too short", "end-race-naive", &changes);
    let ran = skiptrace(&["verify", &path, "--seeds", "20", "--save", folder.path().to_str().expect("text")]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Stuck, ""), "{}", ran.out);
    let file = folder.path().join("too short.stuck.toml");
    assert_eq!(behind(&ran.out, "replay "), format!("skiptrace replay '{}'", file.display()));
    let text = fs::read_to_string(&file).expect("the schedule");
    assert_eq!(text.matches("[[actor]]").count(), 1, "one actor alone needs more than 5 steps: {text}");
    for on in ["model", "postgres"] {
        let replayed = skiptrace(&["replay", file.to_str().expect("text"), "--on", on]);
        assert_eq!((replayed.exit, replayed.err.as_str()), (Exit::Stuck, ""), "{}", replayed.out);
        assert!(replayed.out.contains(": the run is stuck"), "{}", replayed.out);
        assert!(!replayed.out.contains("not reproduced"), "{}", replayed.out);
    }
}

#[test]
fn a_replay_that_comes_out_differently_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lost.toml");
    let path = file.to_str().expect("text");
    let seed = verify(folder.path(), &["end-race-naive"]).1[0]["seed"].to_string();
    let ran = skiptrace(&["run", "end-race-naive", "--seed", &seed, "--save", path]);
    assert_eq!(ran.exit, Exit::Violated, "{}{}", ran.out, ran.err);
    let good = fs::read_to_string(&file).expect("the schedule");
    let replay = |text: &str| -> Ran {
        fs::write(&file, text).expect("written");
        skiptrace(&["replay", path])
    };
    let ran = replay(&good.replace("violates no_loss", "violates no_phantom"));
    assert!(behind(&ran.out, "not reproduced on").contains("expected no_phantom is violated"), "{}", ran.out);
    let hash = behind(&good, "hash = ").trim_matches('"').to_owned();
    let ran = replay(&good.replace(&hash, "0000000000000000"));
    assert!(behind(&ran.out, "reproduced:").contains("the history has changed"), "{}", ran.out);
}

#[test]
fn the_exit_code_is_the_kind_of_the_surprise() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let holds = ("expected = \"violates no_loss\"", "expected = \"holds\"");
    let unexpected = scenario(dir, "unexpected", "end-race-naive", &[holds]);
    let steps = ("steps_max = 300", "steps_max = 5");
    let stuck = scenario(dir, "stuck", "end-race-naive", &[holds, steps]);
    let missed = ("\"rebuild_finished\"", "\"rebuild_finished\", \"commit_answer_lost\"");
    let vacuous = scenario(dir, "vacuous", "end-race-skip-records", &[missed]);
    let violates = ("expected = \"holds\"", "expected = \"violates no_loss\"");
    let unfound = scenario(dir, "unfound", "end-race-skip-records", &[violates]);
    for (path, exit, verdict) in [
        (&unexpected, Exit::Violated, "violated"),
        (&stuck, Exit::Stuck, "stuck"),
        (&vacuous, Exit::Vacuous, "vacuous"),
        (&unfound, Exit::Violated, "holds"),
    ] {
        let (found, lines) = verify(dir, &[path, "--seeds", "2000"]);
        assert_eq!(
            (found, &lines[0]["verdict"], &lines[0]["as_expected"]),
            (exit, &verdict.into(), &false.into()),
            "{path}"
        );
    }
    let (all, _) = verify(dir, &[&stuck, &vacuous, &unexpected, "--seeds", "2000"]);
    assert_eq!(all, Exit::Violated, "the worst of them");
}

#[test]
fn a_time_limit_ends_the_search_with_a_prefix_of_the_seeds() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, timed) = verify(folder.path(), &["end-race-naive", "--seconds", "0.2"]);
    let runs = timed[0]["schedules"].to_string();
    let (_, counted) = verify(folder.path(), &["end-race-naive", "--seeds", &runs]);
    assert_eq!(timed[0]["history_hash"], counted[0]["history_hash"]);
}

/// A reader that goes away after some bytes.
struct Pipe {
    left: usize,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(self.left);
        self.left -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    for args in [&["list"][..], &["run", "end-race-skip-records"], &["verify", "--seeds", "20", "--format", "json"]] {
        let mut err = Vec::new();
        let folder = tempfile::tempdir().expect("a folder");
        let save = format!("--save={}", folder.path().join("s").display());
        let mut args: Vec<OsString> = ["skiptrace"].iter().chain(args).map(OsString::from).collect();
        if args[1] == "verify" {
            args.push(save.into());
        }
        cli::run(args, Output::to(Pipe { left: 10 }), Output::to(&mut err));
        assert_eq!(String::from_utf8(err).expect("text"), "");
    }
}
