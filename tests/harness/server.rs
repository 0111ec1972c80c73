//! Servers under test: `ringmq` in its roles, and Apache RocketMQ as the reference, each with its ready line.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::process::Process;
use super::repository;

/// Generous: the promise is 0.2 s, and this limit only has to tell a start from a hang on a loaded machine.
const RINGMQ_START: Duration = Duration::from_secs(30);
/// A JVM with a name server and a broker took up to a minute on two busy cores.
const APACHE_START: Duration = Duration::from_secs(180);
const STOP: Duration = Duration::from_secs(30);
const ADMIN_ANSWER: Duration = Duration::from_secs(60);

/// The binary under test: cargo's, or another build of it (`RINGMQ_BINARY`), for figures of a release without building the tests
/// in it.
fn ringmq() -> PathBuf {
    std::env::var_os("RINGMQ_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_ringmq").into(), PathBuf::from)
}

/// A running server and what its ready line said.
pub struct Server {
    pub process: Process,
    pub namesrv: Option<String>,
    pub broker: Option<String>,
    /// The port of metrics, unless that is switched off.
    pub admin: Option<String>,
}

/// `ringmq standalone` on one directory, which can be killed and started again on the same ports.
pub struct Standalone {
    dir: PathBuf,
    /// What starts it, if it is not started directly.
    launcher: Vec<String>,
    arguments: Vec<String>,
    ports: Option<(String, String)>,
    /// The broker's port is broker.conf's.
    configured_port: bool,
}

impl Standalone {
    /// `dir` gets `data` and the server's log.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            launcher: Vec::new(),
            arguments: Vec::new(),
            ports: None,
            configured_port: false,
        }
    }

    /// On ports of its own that survive a restart. Not ones that the system picks for outgoing connections: while the
    /// server is down, a client that tries again and again would get the server's port for its own end sooner or later
    /// and be connected with itself.
    pub fn restartable(mut self) -> Self {
        self.ports = Some((fixed_port().to_string(), fixed_port().to_string()));
        self
    }

    /// Lines of broker.conf.
    pub fn broker_conf(mut self, lines: &[&str]) -> Self {
        let file = self.dir.join("broker.conf");
        std::fs::write(&file, lines.join("\n") + "\n").expect("write broker.conf");
        self.arguments.extend(["-c".to_owned(), file.to_string_lossy().into_owned()]);
        self
    }

    /// A program that becomes the server: its words are followed by the server's.
    pub fn launched_by(mut self, words: &[&str]) -> Self {
        self.launcher = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// No port on the command line, where it would win over broker.conf's.
    pub fn listen_port_from_conf(mut self) -> Self {
        self.configured_port = true;
        self
    }

    pub fn shards(mut self, count: u16) -> Self {
        self.arguments.extend(["--shards".to_owned(), count.to_string()]);
        self
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// On free ports the first time, on the same ones ever after.
    pub fn start(&mut self) -> Server {
        let (namesrv_port, listen_port) = self.ports.clone().unwrap_or(("0".to_owned(), "0".to_owned()));
        let mut words: Vec<OsString> = self.launcher.iter().map(OsString::from).collect();
        words.push(ringmq().into_os_string());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(["standalone", "--namesrv-port", &namesrv_port, "--data"])
            .arg(self.data())
            .args(&self.arguments);
        if !self.configured_port {
            command.args(["--listen-port", &listen_port]);
        }
        let server = Server::ready(Process::start("ringmq", &mut command, &self.dir), RINGMQ_START);
        self.ports = Some((port(server.namesrv()), port(server.broker())));
        server
    }
}

impl Server {
    /// `ringmq` with any arguments that make it a server.
    pub fn ringmq(arguments: &[&str], dir: &Path) -> Self {
        let mut command = Command::new(ringmq());
        command.args(arguments).current_dir(dir);
        Self::ready(Process::start(&format!("ringmq-{}", arguments[0]), &mut command, dir), RINGMQ_START)
    }

    /// Apache's name server and broker in one JVM. Its hidden 200 ms queue time-out is lifted: on a loaded machine it
    /// would refuse sends that have nothing to do with what is tested.
    pub fn apache(dir: &Path, settings: &[&str]) -> Self {
        let mut command = Command::new(repository().join("tests/apache/run.sh"));
        command
            .args(["standalone", "--dir"])
            .arg(dir.join("apache"))
            .args(["waitTimeMillsInSendQueue=20000", "osPageCacheBusyTimeOutMills=20000"])
            .args(settings);
        Self::ready(Process::start("apache", &mut command, dir), APACHE_START)
    }

    pub fn apache_namesrv(dir: &Path) -> Self {
        let port = free_ports(&[0]).to_string();
        let mut command = Command::new(repository().join("tests/apache/run.sh"));
        command.args(["namesrv", "--port", &port, "--dir"]).arg(dir.join("apache-namesrv"));
        let mut process = Process::start("apache-namesrv", &mut command, dir);
        process.line_starting("The Name Server boot success", APACHE_START);
        Self { process, namesrv: Some(format!("127.0.0.1:{port}")), broker: None, admin: None }
    }

    /// Apache's broker alone, registered with a name server that runs already.
    pub fn apache_broker(dir: &Path, namesrv: &str) -> Self {
        // It listens on the ports before and after its own as well: VIP channel and replication.
        let port = free_ports(&[-2, 0, 1]).to_string();
        let mut command = Command::new(repository().join("tests/apache/run.sh"));
        command
            .args(["broker", "--port", &port, "--namesrv", namesrv, "--dir"])
            .arg(dir.join("apache-broker"))
            .args(["waitTimeMillsInSendQueue=20000", "osPageCacheBusyTimeOutMills=20000"]);
        let mut process = Process::start("apache-broker", &mut command, dir);
        process.line_starting("The broker[", APACHE_START);
        Self { process, namesrv: None, broker: Some(format!("127.0.0.1:{port}")), admin: None }
    }

    fn ready(mut process: Process, limit: Duration) -> Self {
        let line = process.line_starting("ready", limit);
        let address = |name: &str| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
                .map(ToOwned::to_owned)
        };
        Self { namesrv: address("namesrv"), broker: address("broker"), admin: address("admin"), process }
    }

    pub fn namesrv(&self) -> &str {
        self.namesrv.as_deref().unwrap_or_else(|| self.process.fail("no `namesrv=` in the ready line"))
    }

    pub fn broker(&self) -> &str {
        self.broker.as_deref().unwrap_or_else(|| self.process.fail("no `broker=` in the ready line"))
    }

    pub fn admin(&self) -> &str {
        self.admin.as_deref().unwrap_or_else(|| self.process.fail("no `admin=` in the ready line"))
    }

    /// What the admin port answers, head and body.
    pub fn ask_admin(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin()).expect("connect to the admin port");
        stream.set_read_timeout(Some(ADMIN_ANSWER)).expect("set a time-out");
        write!(stream, "GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n").expect("ask the admin port");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    /// SIGTERM; the exit status has to be 0.
    pub fn stop(mut self) {
        assert!(
            self.process.is_running(),
            "the server ended by itself; its log:\n{}",
            self.process.log_tail()
        );
        let status = self.process.terminate(STOP);
        assert!(
            status.success(),
            "exit status after SIGTERM: {status}; its log:\n{}",
            self.process.log_tail()
        );
    }

    /// SIGKILL. The ports may be taken for another moment: the kernel takes a dead process's io_uring apart in the
    /// background. A restart has to cope with that.
    pub fn crash(mut self) {
        assert!(
            self.process.is_running(),
            "the server ended by itself; its log:\n{}",
            self.process.log_tail()
        );
        self.process.kill();
    }
}

fn port(address: &str) -> String {
    address.rsplit_once(':').expect("an address has a port").1.to_owned()
}

/// A free port below the range of outgoing connections, another one at each call.
pub fn fixed_port() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let range =
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("read the port range");
    let end: u32 = range.split_whitespace().next().and_then(|low| low.parse().ok()).expect("a port range");
    let begin = end.saturating_sub(12_000).max(1024);
    // Test processes that run at the same time begin at different ports.
    let start = std::process::id().wrapping_mul(31);
    for _ in begin..end {
        // Not two below another: a broker listens there as well.
        let step = 3 * CALLS.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(begin + start.wrapping_add(step) % (end - begin)).expect("a port number");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port below {end} is free")
}

/// A port that is free together with its neighbours at the given distances. Apache's servers cannot pick one themselves.
fn free_ports(distances: &[i32]) -> u16 {
    for _ in 0..64 {
        let first = TcpListener::bind("127.0.0.1:0").expect("bind a free port");
        let port = first.local_addr().expect("a bound address").port();
        let free = |distance: i32| {
            u16::try_from(i32::from(port) + distance)
                .is_ok_and(|near| TcpListener::bind(("127.0.0.1", near)).is_ok())
        };
        if distances.iter().all(|distance| *distance == 0 || free(*distance)) {
            return port;
        }
    }
    panic!("found no port with free neighbours")
}
