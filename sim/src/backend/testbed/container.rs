//! A server in a container.
//!
//! Dropping the guard removes the container. For the process that is killed, or that ends without dropping anything, a shell waits at
//! the end of a pipe, as for a local server (see [`super::local`]), and removes the container by its name through the `docker` client, or
//! `curl` where there is none. Where there is neither, a killed process leaves its container behind: there is nobody to remove it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt, TestcontainersError};
use tokio::runtime::Runtime;

use super::name::unique;
use super::url::{DatabaseUrl, chain};
use super::{AcquireOptions, MAJOR_MIN, TestBedError};

/// An engine that accepts and never answers would cost its client two minutes.
const PING_MAX: Duration = Duration::from_secs(2);
/// Until connections are accepted, once the image is there.
const START_MAX: Duration = Duration::from_secs(90);
const PORT: u16 = 5432;
const IMAGE: &str = "postgres:15-alpine";

/// What the shell does. `$1` is the container's name, `$2` the engine's socket. It tries twice: the container may only just be made.
const KEEPER: &str = r#"
trap '' HUP INT TERM
cat >/dev/null
for pause in 3 0; do
    if command -v docker; then docker rm --force --volumes "$1"
    else curl --silent --unix-socket "$2" --request DELETE "http://engine/containers/$1?force=1&v=1"
    fi
    sleep $pause
done
"#;

/// The server; dropping it removes it.
#[derive(Debug)]
pub(super) struct ContainerServer {
    /// Both are there until the drop.
    running: Option<(Runtime, ContainerAsync<GenericImage>)>,
    keeper: Child,
    url: DatabaseUrl,
}

impl ContainerServer {
    /// The inner error: no engine answers. The outer one: it does, and the server did not come up.
    pub(super) fn start(engine: Option<&str>, options: AcquireOptions) -> Result<Result<Self, String>, TestBedError> {
        let engine = Engine::find(engine);
        if let Err(e) = engine.ping() {
            return Ok(Err(format!("no container engine answers at {}: {e}", engine.address)));
        }
        on_a_thread(|| Self::start_on(&engine, options)).map(Ok)
    }

    fn start_on(engine: &Engine, options: AcquireOptions) -> Result<Self, TestBedError> {
        let image = std::env::var("SKIPTRACE_POSTGRES_IMAGE").unwrap_or_else(|_| engine.local_image());
        let failed = |e: TestcontainersError| TestBedError::new(format!("a container of {image}: {}", chain(&e)));
        let (repository, tag) = image.rsplit_once(':').unwrap_or((&image, "latest"));
        let name = format!("skiptrace-pg-{}-{:08x}", std::process::id(), unique());
        let mut settings = vec!["postgres", "-c", "max_prepared_transactions=20"];
        if !options.fsync {
            settings.extend([
                "-c",
                "autovacuum=off",
                "-c",
                "fsync=off",
                "-c",
                "full_page_writes=off",
                "-c",
                "synchronous_commit=off",
            ]);
        }
        let request = GenericImage::new(repository, tag)
            .with_exposed_port(PORT.tcp())
            // On standard error it is said once, by the server that stays: the one that runs the image's set-up says it elsewhere.
            .with_wait_for(WaitFor::message_on_stderr("database system is ready to accept connections"))
            .with_env_var("POSTGRES_PASSWORD", "skiptrace")
            .with_container_name(&name)
            .with_startup_timeout(START_MAX)
            .with_cmd(settings);
        let keeper = keeper(&name, engine).map_err(|e| TestBedError::new(format!("/bin/sh: {e}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let started = runtime.block_on(async {
            let container = request.start().await?;
            let host = container.get_host().await?;
            let port = container.get_host_port_ipv4(PORT.tcp()).await?;
            Ok((container, host, port))
        });
        let (container, host, port) = started.map_err(failed)?;
        let url = DatabaseUrl::parse(&format!("postgresql://postgres:skiptrace@{host}:{port}/postgres"))
            .expect("made here, of a host and a port");
        Ok(Self { running: Some((runtime, container)), keeper, url })
    }

    pub(super) fn url(&self) -> DatabaseUrl {
        self.url.clone()
    }

    /// If the server has died, the end of its log.
    pub(super) fn post_mortem(&self) -> Option<String> {
        let (runtime, container) = self.running.as_ref().expect("there until the drop");
        on_a_thread(|| {
            runtime.block_on(async {
                if container.is_running().await.unwrap_or(false) {
                    return None;
                }
                let log = container.stderr_to_vec().await.unwrap_or_default();
                let log = String::from_utf8_lossy(&log).into_owned();
                let lines: Vec<&str> = log.lines().collect();
                Some(format!("the end of its log:\n  {}", lines[lines.len().saturating_sub(15)..].join("\n  ")))
            })
        })
    }
}

impl Drop for ContainerServer {
    fn drop(&mut self) {
        let (runtime, container) = self.running.take().expect("dropped once");
        let removed = on_a_thread(|| {
            let removed = runtime.block_on(container.rm());
            drop(runtime);
            removed
        });
        if removed.is_ok() {
            // It has nothing left to do; otherwise it tries again, since its pipe ends here.
            let _ = self.keeper.kill();
            let _ = self.keeper.wait();
        }
    }
}

/// The caller may stand inside a runtime, where no other may be entered or dropped.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().expect("the thread does not panic"))
}

/// Holds the pipe's end as its standard input until the guard is dropped or the process is gone.
fn keeper(name: &str, engine: &Engine) -> io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", KEEPER, "skiptrace-keeper", name, engine.socket().unwrap_or_default()])
        .env("DOCKER_HOST", &engine.address)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Where a container engine may listen.
#[derive(Debug)]
struct Engine {
    address: String,
}

impl Engine {
    /// `given`, or the first usual socket that exists: where testcontainers looks too.
    fn find(given: Option<&str>) -> Self {
        if let Some(address) = given {
            return Self { address: address.to_owned() };
        }
        let below = |variable: &str, path: &str| std::env::var(variable).ok().map(|folder| format!("{folder}/{path}"));
        let sockets = [
            Some("/var/run/docker.sock".to_owned()),
            below("XDG_RUNTIME_DIR", ".docker/run/docker.sock"),
            below("HOME", ".docker/run/docker.sock"),
            below("HOME", ".docker/desktop/docker.sock"),
        ];
        let socket = sockets.iter().flatten().find(|socket| Path::new(socket).exists());
        Self { address: format!("unix://{}", socket.map_or("/var/run/docker.sock", String::as_str)) }
    }

    fn socket(&self) -> Option<&str> {
        self.address.strip_prefix("unix://")
    }

    fn ping(&self) -> io::Result<()> {
        if self.address.starts_with("https:") || std::env::var_os("DOCKER_TLS_VERIFY").is_some() {
            // Without TLS of our own all that can be asked is whether somebody listens.
            return self.connect_tcp().map(drop);
        }
        self.get("/_ping").map(drop)
    }

    /// The tag of an image of PostgreSQL that is already here, or the one that is pulled.
    fn local_image(&self) -> String {
        let images: serde_json::Value =
            self.get("/images/json").ok().and_then(|body| serde_json::from_str(&body).ok()).unwrap_or_default();
        let tags = images.as_array().into_iter().flatten().filter_map(|image| image["RepoTags"].as_array()).flatten();
        let mut fit: Vec<&str> = tags.filter_map(serde_json::Value::as_str).filter(|tag| is_fit(tag)).collect();
        fit.sort_unstable();
        let best = if fit.contains(&IMAGE) { IMAGE } else { fit.last().copied().unwrap_or(IMAGE) };
        best.to_owned()
    }

    fn get(&self, path: &str) -> io::Result<String> {
        let response = if let Some(socket) = self.socket() {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(PING_MAX))?;
            ask(stream, path)?
        } else {
            let stream = self.connect_tcp()?;
            stream.set_read_timeout(Some(PING_MAX))?;
            ask(stream, path)?
        };
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
        let status = head.lines().next().unwrap_or("");
        if status.contains(" 200") {
            Ok(body.to_owned())
        } else {
            Err(io::Error::other(format!("expected HTTP status 200, found {status:?}")))
        }
    }

    fn connect_tcp(&self) -> io::Result<TcpStream> {
        use std::net::ToSocketAddrs;
        let (_, host) = self.address.split_once("://").unwrap_or(("", &self.address));
        let host = host.trim_end_matches('/');
        let mut addresses =
            host.to_socket_addrs().map_err(|e| io::Error::other(format!("expected tcp://host:port: {e}")))?;
        let address = addresses.next().ok_or_else(|| io::Error::other("a host without an address"))?;
        TcpStream::connect_timeout(&address, PING_MAX)
    }
}

/// HTTP/1.0, so that the answer is not chunked and ends with the connection.
fn ask(mut stream: impl Read + Write, path: &str) -> io::Result<String> {
    write!(stream, "GET {path} HTTP/1.0\r\nHost: engine\r\n\r\n")?;
    let mut response = String::new();
    match stream.read_to_string(&mut response) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            Err(io::Error::other(format!("no answer within {} s", PING_MAX.as_secs())))
        }
        other => other.map(|_| response),
    }
}

/// `postgres:15-alpine`, `postgres:16`: new enough, and the official one's name.
fn is_fit(tag: &str) -> bool {
    let Some(version) = tag.strip_prefix("postgres:") else { return false };
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<u32>().is_ok_and(|major| major >= MAJOR_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_accepts_and_never_answers_is_given_up_soon() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("docker.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        let engine = Engine { address: format!("unix://{}", socket.display()) };
        let error = engine.ping().expect_err("no answer").to_string();
        assert!(error.contains("no answer within 2 s"), "{error}");
    }

    #[test]
    fn only_official_images_that_are_new_enough_are_fit() {
        assert!(is_fit("postgres:15-alpine") && is_fit("postgres:14.3"));
        assert!(!is_fit("postgres:13") && !is_fit("postgres:latest") && !is_fit("other/postgres:15"));
    }
}
