//! The test bed: every way to come by a server, and that nothing is left of one.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use skiptrace_sim::backend::testbed::{AcquireOptions, Settings, Source, TestBed, TestBedError};
use tokio_postgres::NoTls;

/// Set in a child process: it then keeps its server until its standard input ends. The URL of a server, where it is to use that.
const CHILD: &str = "SKIPTRACE_TEST_CHILD";

fn acquire(settings: &Settings) -> Result<TestBed, TestBedError> {
    TestBed::acquire_with(settings, AcquireOptions::default())
}

fn local() -> Settings {
    Settings { forced: Some("local".to_owned()), ..Settings::from_env() }
}

/// The first column of the only row, as text.
fn ask(url: &str, sql: &str) -> Result<String, tokio_postgres::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        Ok(client.query_one(&format!("SELECT ({sql})::text"), &[]).await?.get(0))
    })
}

/// Polls: what another process does is done when it is done.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "waits for another process, outside every run")]
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The folder that a local server's URL names as its host.
fn folder(bed: &TestBed) -> PathBuf {
    folder_in(&bed.url("postgres"))
}

fn folder_in(url: &str) -> PathBuf {
    let host = url.split_once('@').and_then(|(_, rest)| rest.split_once(':')).expect("user@host:port").0;
    host.replace("%2F", "/").into()
}

fn server_pid(folder: &Path) -> String {
    let file = fs::read_to_string(folder.join("data/postmaster.pid")).expect("a running server's pid file");
    file.lines().next().expect("a pid").to_owned()
}

fn signal(name: &str, target: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), "--", target]).status().expect("kill");
    assert!(status.success(), "kill -{name} {target}");
}

/// The server of a local bed ends at once, and nobody cleans up behind it yet.
pub(crate) fn kill_server(bed: &TestBed) {
    let pid = server_pid(&folder(bed));
    signal("QUIT", &pid);
    eventually("the server has ended", || !is_running(&pid));
}

fn is_running(pid: &str) -> bool {
    Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().expect("kill").success()
}

/// Runs as a test of its own, and as the child process of the tests below.
#[test]
fn a_local_server_answers() {
    let bed = acquire(&local()).expect("a server of local binaries");
    assert_eq!(bed.source(), Source::Local);
    let version = ask(&bed.url("postgres"), "current_setting('server_version')").expect("an answer");
    assert_eq!(version, bed.version());
    keep_if_child(&bed.url("postgres"));
}

/// In a child process: tells its parent where the server is, and keeps it.
fn keep_if_child(url: &str) {
    if std::env::var_os(CHILD).is_some() {
        println!("\nready {url}");
        let _ = std::io::stdin().read(&mut [0]);
    }
}

/// A process that holds the server of `test`, and the server's URL.
fn child_with(test: &str, server: &str) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().expect("this test binary"))
        .args(["--exact", &format!("testbed::{test}"), "--nocapture"])
        .env(CHILD, server)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("this test binary, again");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let url = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("ready ").map(str::to_owned));
    (child, url.expect("the child's server"))
}

fn child_with_local_server() -> (Child, PathBuf) {
    let (child, url) = child_with("a_local_server_answers", "");
    (child, folder_in(&url))
}

#[track_caller]
fn nothing_is_left(folder: &Path, pid: &str) {
    eventually("the server has ended", || !is_running(pid));
    eventually("its folder is gone", || !folder.exists());
}

#[test]
fn another_server_counts_its_own_transactions() {
    let one = acquire(&local()).expect("a local server");
    let other = one.another().expect("a local server can have another").expect("one more");
    let id = |bed: &TestBed| ask(&bed.url("postgres"), "pg_current_xact_id()").expect("an answer");
    let before = id(&one);
    assert_ne!(folder(&one), folder(&other));
    for _ in 0..20 {
        id(&other);
    }
    let next = before.parse::<u64>().expect("a number") + 1;
    assert_eq!(id(&one), next.to_string(), "the other's transactions are none of this one's");
}

#[test]
fn a_dropped_server_leaves_nothing() {
    let bed = acquire(&local()).expect("a server of local binaries");
    let (folder, pid) = (folder(&bed), server_pid(&folder(&bed)));
    assert!(is_running(&pid) && folder.exists());
    drop(bed);
    assert!(!is_running(&pid), "the server has ended with its guard");
    assert!(!folder.exists(), "the folder has gone with its guard");
}

#[test]
fn a_killed_process_leaves_nothing() {
    let (mut child, folder) = child_with_local_server();
    let pid = server_pid(&folder);
    assert!(is_running(&pid));
    child.kill().expect("SIGKILL");
    child.wait().expect("its end");
    nothing_is_left(&folder, &pid);
}

#[test]
fn an_interrupted_process_leaves_nothing() {
    let (mut child, folder) = child_with_local_server();
    let pid = server_pid(&folder);
    // As Ctrl-C does: to the whole process group.
    signal("INT", &format!("-{}", child.id()));
    child.wait().expect("its end");
    nothing_is_left(&folder, &pid);
}

#[test]
fn a_database_is_private_and_dropped() {
    let bed = TestBed::shared().expect("a server");
    let first = bed.create_database("suite").expect("a database");
    let second = bed.create_database("suite").expect("another database");
    assert_ne!(first.name(), second.name());
    let made = ask(&first.url(), "SELECT current_database()").expect("an answer");
    assert_eq!(made, first.name());
    let name = second.name().to_owned();
    drop(second);
    let left = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(ask(&first.url(), &left).expect("an answer"), "0");
}

#[test]
fn a_database_is_copied_with_all_that_it_holds() {
    let bed = TestBed::shared().expect("a server");
    let template = bed.create_database("suite").expect("a database");
    ask(&template.url(), "SELECT lo_create(4711)").expect("a large object");
    let copy = bed.copy_database("suite", &template).expect("a copy");
    let count = ask(&copy.url(), "SELECT count(*) FROM pg_largeobject_metadata").expect("an answer");
    assert_eq!(count, "1");
}

#[test]
fn a_url_server_is_used_and_left_as_it_was() {
    const DATABASES: &str = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database";
    let other = acquire(&local()).expect("a server that stands for somebody's");
    let before = ask(&other.url("postgres"), DATABASES).expect("an answer");
    for forced in [None, Some("url".to_owned())] {
        let settings = Settings { database_url: Some(other.url("postgres")), forced, ..Settings::from_env() };
        let bed = acquire(&settings).expect("the server that the URL names");
        assert_eq!(bed.source(), Source::Url);
        let database = bed.create_database("suite").expect("a database");
        assert_ne!(ask(&database.url(), DATABASES).expect("an answer"), before);
    }
    assert_eq!(ask(&other.url("postgres"), DATABASES).expect("it still answers"), before);
}

/// Runs as a test of its own, and as the child process of the test below.
#[test]
fn a_database_on_a_url_server_is_dropped_with_its_guard() {
    let own = acquire(&local()).expect("a server that stands for somebody's");
    let url = std::env::var(CHILD).unwrap_or_else(|_| own.url("postgres"));
    let settings = Settings { database_url: Some(url.clone()), forced: Some("url".to_owned()), ..Settings::from_env() };
    let bed = acquire(&settings).expect("the server that the URL names");
    let database = bed.create_database("suite").expect("a database");
    keep_if_child(database.name());
    let count = format!("SELECT count(*) FROM pg_database WHERE datname = '{}'", database.name());
    assert_eq!(ask(&url, &count).expect("an answer"), "1");
    drop(database);
    assert_eq!(ask(&url, &count).expect("an answer"), "0");
}

#[test]
fn what_a_killed_process_left_on_a_url_server_is_dropped_by_the_next_and_nothing_else() {
    const TEST: &str = "a_database_on_a_url_server_is_dropped_with_its_guard";
    let server = acquire(&local()).expect("a server that stands for somebody's");
    let url = server.url("postgres");
    let like_ours = format!("{}0", server.create_database("somebody").expect("a database").name());
    for somebody in ["skiptrace_notes", "\"skiptrace notes\"", "skiptrace_1_0123abcd_suite_0", &like_ours] {
        batch(&url, &format!("CREATE DATABASE {somebody}"));
    }
    let names = || ask(&url, "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database").expect("an answer");
    let of_others = names();
    let (mut killed, left) = child_with(TEST, &url);
    let (mut living, kept) = child_with(TEST, &url);
    let before = names();
    assert!(before.contains(&left) && before.contains(&kept), "{before}");
    let next = || {
        let url = Some(url.clone());
        drop(acquire(&Settings { database_url: url, forced: None, ..Settings::from_env() }).expect("the server"));
        names()
    };
    assert_eq!(next(), before, "both live");
    killed.kill().expect("SIGKILL");
    killed.wait().expect("its end");
    eventually("the killed one's database is dropped", || !next().contains(&left));
    let after: Vec<&str> = before.split(' ').filter(|name| *name != left).collect();
    assert_eq!(next(), after.join(" "), "all others are kept, though nobody is connected to them");
    drop(living.stdin.take());
    living.wait().expect("its end");
    assert_eq!(names(), of_others, "who ends unforced drops its own");
}

/// A process may be killed between any two things that it does: its database has nothing yet but its name.
#[test]
fn a_database_that_was_just_created_is_its_owners_as_long_as_that_lives() {
    let server = acquire(&local()).expect("a server that stands for somebody's");
    let url = server.url("postgres");
    let name = server.create_database("suite").expect("a database").name().to_owned();
    batch(&url, &format!("CREATE DATABASE {name}"));
    let is_kept = || {
        let url = Some(url.clone());
        drop(acquire(&Settings { database_url: url, forced: None, ..Settings::from_env() }).expect("the server"));
        let count = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
        ask(&server.url("postgres"), &count).expect("an answer") == "1"
    };
    let owner: Vec<&str> = name.split('_').take(3).collect();
    let holder = format!("{url}&application_name={}", owner.join("_"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let (client, connection) = runtime.block_on(tokio_postgres::connect(&holder, NoTls)).expect("a connection");
    let connection = runtime.spawn(connection);
    assert!(is_kept(), "its owner holds a connection");
    drop(client);
    runtime.block_on(connection).expect("no panic").expect("it ends");
    eventually("the database is dropped", || !is_kept());
}

fn batch(url: &str, sql: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
        tokio::spawn(connection);
        client.batch_execute(sql).await.expect(sql);
    });
}

#[track_caller]
fn refused(settings: &Settings, wanted: &[&str]) {
    let error = acquire(settings).expect_err("no server").to_string();
    for part in wanted {
        assert!(error.contains(part), "expected {part:?} in: {error}");
    }
}

const THREE_WAYS: [&str; 3] = ["SKIPTRACE_DATABASE_URL=", "apt-get install postgresql", "Docker"];

fn nowhere() -> Settings {
    Settings { engine: Some("unix:///nowhere/docker.sock".to_owned()), ..Settings::default() }
}

#[test]
fn no_server_anywhere_names_the_three_ways() {
    refused(&nowhere(), &THREE_WAYS);
}

#[test]
fn a_forced_way_never_falls_back() {
    let forced = |way: &str| Settings { forced: Some(way.to_owned()), ..local() };
    refused(&Settings { database_url: None, ..forced("url") }, &["SKIPTRACE_DATABASE_URL is not set"]);
    refused(&Settings { binaries: Vec::new(), ..forced("local") }, &["SKIPTRACE_TESTBED=local", THREE_WAYS[1]]);
    refused(
        &Settings { engine: nowhere().engine, ..forced("container") },
        &["SKIPTRACE_TESTBED=container", "/nowhere/docker.sock", THREE_WAYS[2]],
    );
    refused(&forced("somewhere"), &["url, local or container"]);
}

#[test]
fn a_url_that_leads_nowhere_is_an_error_and_no_reason_to_look_elsewhere() {
    let with = |url: &str| Settings { database_url: Some(url.to_owned()), ..Settings::from_env() };
    refused(&with("postgresql://u@127.0.0.1:1/d"), &["the server that SKIPTRACE_DATABASE_URL names"]);
    refused(&with("nonsense"), &["SKIPTRACE_DATABASE_URL", "expected postgresql://"]);
}

#[test]
fn a_server_that_dies_is_an_error_with_the_end_of_its_log() {
    let bed = acquire(&local()).expect("a server of local binaries");
    kill_server(&bed);
    let error = bed.create_database("suite").expect_err("no server").to_string();
    assert!(error.contains("has died") && error.contains("database system"), "expected the log's end in: {error}");
}

fn container() -> Settings {
    Settings { forced: Some("container".to_owned()), ..Settings::from_env() }
}

/// Runs as a test of its own, and as the child process of the test below.
#[test]
fn a_server_in_a_container_answers_and_is_removed() {
    let bed = acquire(&container()).expect("a server in a container");
    assert_eq!(bed.source(), Source::Container);
    let url = bed.url("postgres");
    let version = ask(&url, "current_setting('server_version')").expect("an answer");
    assert_eq!(version, bed.version());
    let database = bed.create_database("suite").expect("a database");
    assert_eq!(ask(&database.url(), "SELECT current_database()").expect("an answer"), database.name());
    drop(database);
    keep_if_child(&url);
    drop(bed);
    ask(&url, "1").expect_err("the container is gone");
}

#[test]
fn a_killed_process_leaves_no_container() {
    let (mut child, url) = child_with("a_server_in_a_container_answers_and_is_removed", "");
    ask(&url, "1").expect("it answers");
    child.kill().expect("SIGKILL");
    child.wait().expect("its end");
    eventually("the container is gone", || ask(&url, "1").is_err());
}
