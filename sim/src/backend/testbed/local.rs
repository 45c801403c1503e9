//! A server of PostgreSQL's own binaries, in a private folder, reached through a unix socket in that folder.
//!
//! It must end with the process that wanted it, however that process ends. So a shell starts it, in a process group of its own (Ctrl-C
//! does not reach it), and reads from a pipe whose other end only the wanting process holds: the kernel closes it when the process is
//! gone, killed with SIGKILL or not. Then the shell stops the server and removes the folder. (PDEATHSIG would follow the thread that
//! started the server, and leave the folder.)
//!
//! PostgreSQL refuses to run as root; there the shell runs as user postgres or nobody.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use super::url::DatabaseUrl;
use super::{AcquireOptions, MAJOR_MIN, TestBedError};

/// From the start of initdb until connections are accepted.
const START_MAX: Duration = Duration::from_secs(60);
/// From the end of the pipe until the folder is gone.
const STOP_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
/// What a server may come to take in memory, in bytes.
const ROOM: u64 = 512 << 20;
/// A path of a unix socket has at most 107 bytes on Linux, 103 on macOS.
const FOLDER_MAX: usize = 103 - "/.s.PGSQL.5432".len();

/// What the shell does. `$1` is the folder, `$2` that of the binaries; the rest are the server's arguments.
const KEEPER: &str = r#"
dir=$1; bin=$2; shift 2
trap '' HUP INT TERM
exec 3<&0 </dev/null >>"$dir/log" 2>&1
cd "$dir" || exit
if "$bin/initdb" -D "$dir/data" -N -A trust -U postgres -E UTF8 --locale=C --no-instructions; then
    "$bin/postgres" -D "$dir/data" "$@" 3<&- &
    server=$!
    (cat <&3 >/dev/null; test -e "$dir/ended" || kill -QUIT $server) &
    wait $server
fi
echo "$?" >"$dir/ended"
cat <&3 >/dev/null
cd /
rm -rf "$dir"
"#;

/// Where binaries usually are.
pub(super) fn usual_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.filter_map(Result::ok).map(|version| version.path().join("bin")));
    }
    folders
}

/// PostgreSQL's binaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    folder: PathBuf,
    version: (u32, u32),
}

impl Binaries {
    /// The newest that are new enough; errs with where it looked and what it found.
    pub(super) fn find(folders: &[PathBuf]) -> Result<Self, String> {
        let found = folders.iter().filter_map(|folder| Self::in_folder(folder));
        let newest = found.max_by_key(|binaries| binaries.version);
        match newest {
            Some(binaries) if binaries.version.0 >= MAJOR_MIN => Ok(binaries),
            Some(Self { folder, version: (major, minor) }) => Err(format!(
                "the newest local PostgreSQL is {major}.{minor} in {}, expected {MAJOR_MIN} or newer",
                folder.display()
            )),
            None => Err("no folder on PATH nor /usr/lib/postgresql/*/bin holds initdb and postgres".to_owned()),
        }
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        if !folder.join("initdb").is_file() || !folder.join("postgres").is_file() {
            return None;
        }
        let output = Command::new(folder.join("postgres")).arg("--version").stdin(Stdio::null()).output().ok()?;
        let version = parse_version(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { folder: fs::canonicalize(folder).ok()?, version })
    }
}

/// (15, 18) of `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, (16, 0) of `postgres (PostgreSQL) 16beta1`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_whitespace().nth(2)?;
    let (major, rest) = number.split_at(number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len()));
    let minor = rest.strip_prefix('.').and_then(|minor| minor.parse().ok()).unwrap_or(0);
    Some((major.parse().ok()?, minor))
}

/// The server; dropping it ends it.
#[derive(Debug)]
pub(super) struct LocalServer {
    keeper: Child,
    /// The pipe whose end ends the server.
    alive: Option<ChildStdin>,
    folder: PathBuf,
    binaries: Binaries,
    options: AcquireOptions,
}

impl LocalServer {
    /// Returns when connections are accepted.
    pub(super) fn start(binaries: &Binaries, options: AcquireOptions) -> Result<Self, TestBedError> {
        let started = Self::spawn(binaries, options).map_err(|e| {
            TestBedError::new(format!("cannot start PostgreSQL from {}: {e}", binaries.folder.display()))
        })?;
        started.wait_until_ready()?;
        Ok(started)
    }

    fn spawn(binaries: &Binaries, options: AcquireOptions) -> io::Result<Self> {
        let user = other_user_than_root()?;
        let folder = private_folder(options)?;
        let mut keeper = Command::new("/bin/sh");
        keeper.arg("-c").arg(KEEPER).arg("skiptrace-keeper").arg(&folder).arg(&binaries.folder);
        keeper.args(server_arguments(&folder, options));
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        // The caller's locale, and libpq's PG* variables, which initdb reads.
        keeper.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C");
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(&folder, Some(uid), Some(gid))?;
            keeper.uid(uid).gid(gid);
        }
        let mut keeper = keeper.spawn().inspect_err(|_| drop(fs::remove_dir_all(&folder)))?;
        Ok(Self { alive: keeper.stdin.take(), keeper, folder, binaries: binaries.clone(), options })
    }

    /// Starts one more of the same kind.
    pub(super) fn another(&self) -> Result<Self, TestBedError> {
        Self::start(&self.binaries, self.options)
    }

    fn wait_until_ready(&self) -> Result<(), TestBedError> {
        let ready = poll_until(START_MAX, || self.is_ready() || self.has_ended());
        if ready && !self.has_ended() {
            return Ok(());
        }
        let what = if ready { "has ended".to_owned() } else { format!("is not ready after {} s", START_MAX.as_secs()) };
        Err(TestBedError::new(format!("a server that was started here {what}\n{}", self.log_tail())))
    }

    /// Line 8 of the pid file is the server's state. Source: PostgreSQL, src/include/utils/pidfile.h.
    fn is_ready(&self) -> bool {
        let pid_file = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
        pid_file.lines().nth(7).is_some_and(|state| state.trim() == "ready")
    }

    fn has_ended(&self) -> bool {
        self.folder.join("ended").exists() || !self.folder.exists()
    }

    /// If the server has died, the end of its log.
    pub(super) fn post_mortem(&self) -> Option<String> {
        // A backend's crash makes the server restart all of them: its clients see the connection break before the log says so.
        let ended = poll_until(Duration::from_millis(500), || self.has_ended() || !self.is_ready());
        ended.then(|| self.log_tail())
    }

    fn log_tail(&self) -> String {
        let log = self.folder.join("log");
        let text = fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(15)..].join("\n  ");
        format!("the end of its log:\n  {tail}")
    }

    pub(super) fn url(&self) -> DatabaseUrl {
        let host = self.folder.to_string_lossy().replace('%', "%25").replace('/', "%2F");
        DatabaseUrl::parse(&format!("postgresql://postgres@{host}:5432/postgres")).expect("made here")
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        self.alive = None;
        // Should the keeper not end in time, it still ends later: it needs nobody.
        poll_until(STOP_MAX, || matches!(self.keeper.try_wait(), Ok(Some(_)) | Err(_)));
    }
}

/// As root, the one to run as.
fn other_user_than_root() -> io::Result<Option<(u32, u32)>> {
    use std::os::unix::fs::MetadataExt;
    // Without a system call of our own: a process's folder in /proc is its user's, and so is a file that it makes.
    let me = tempfile::NamedTempFile::new()?.as_file().metadata()?.uid();
    if me != 0 {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        let mut fields = accounts.lines().map(|line| line.split(':')).find(|line| line.clone().next() == Some(name))?;
        let uid = fields.nth(2)?.parse().ok()?;
        Some((uid, fields.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody")).map(Some).ok_or_else(|| {
        io::Error::other("PostgreSQL refuses to run as root, and /etc/passwd has neither postgres nor nobody")
    })
}

/// In memory where nothing has to last; on a disk where the disk is what is measured.
fn private_folder(options: AcquireOptions) -> io::Result<PathBuf> {
    let temp = std::env::temp_dir();
    let shm = Path::new("/dev/shm");
    let candidates: [&Path; 3] =
        if options.fsync { [&temp, Path::new("/var/tmp"), shm] } else { [shm, &temp, Path::new("/tmp")] };
    let mut refusals = Vec::new();
    for parent in candidates {
        if parent == shm && !options.fsync && !has_room(shm) {
            // A container's is often only 64 MB.
            refusals.push(format!("{}: less than {} MB free", shm.display(), ROOM >> 20));
            continue;
        }
        match tempfile::Builder::new().prefix("skiptrace-pg-").tempdir_in(parent) {
            Ok(folder) if folder.path().as_os_str().len() <= FOLDER_MAX => return Ok(folder.keep()),
            Ok(_) => refusals.push(format!("{}: too long for the path of a socket", parent.display())),
            Err(e) => refusals.push(format!("{}: {e}", parent.display())),
        }
    }
    Err(io::Error::other(format!("no folder to put it in: {}", refusals.join("; "))))
}

fn has_room(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|it| it.f_bavail.saturating_mul(it.f_frsize) >= ROOM)
}

fn server_arguments(folder: &Path, options: AcquireOptions) -> Vec<OsString> {
    let mut settings: Vec<OsString> = [
        "listen_addresses=",
        "port=5432",
        "max_connections=100",
        "max_prepared_transactions=20",
        // Errors are answers here, not news.
        "log_min_messages=log",
    ]
    .map(OsString::from)
    .into();
    if !options.fsync {
        // It would take transaction ids and locks when nobody expects it. A benchmark without it would measure dead rows.
        settings.push("autovacuum=off".into());
        // A commit need not write its log either; and TRUNCATE looks through all shared buffers.
        let hasty = [
            "fsync=off",
            "full_page_writes=off",
            "synchronous_commit=off",
            "shared_buffers=16MB",
            "max_wal_size=128MB",
        ];
        settings.extend(hasty.map(OsString::from));
    }
    let mut socket = OsString::from("unix_socket_directories=");
    socket.push(folder);
    settings.push(socket);
    settings.into_iter().flat_map(|setting| ["-c".into(), setting]).collect()
}

/// Whether `done` came true in time.
#[expect(clippy::disallowed_methods, reason = "waits for another process, outside every run")]
fn poll_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let begin = std::time::Instant::now();
    loop {
        if done() {
            return true;
        }
        if begin.elapsed() > limit {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_postgres_prints() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some((15, 18)));
        assert_eq!(parse_version("postgres (PostgreSQL) 16beta1\n"), Some((16, 0)));
        assert_eq!(parse_version("postgres (PostgreSQL) 17\n"), Some((17, 0)));
        assert_eq!(parse_version("something else"), None);
    }
}
