//! What is compared.
//!
//! Owns: the workloads, in groups that share a server: the first minute after a start, loads with ASYNC_FLUSH, loads with
//! SYNC_FLUSH, starts, many topics. Invariants: a group begins with an empty store; the loads of a group run in the order of
//! the list, since some read what others wrote.
//! On failure: the error goes to the row of the workload; a server that does not start fails its whole group.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::server::{Cores, Flush, Server, System};
use super::{CompareArgs, limits, start};
use crate::process::Process;
use crate::report::Report;

pub enum Outcome {
    Load(Box<Report>),
    Facts(Vec<(String, String)>),
}

type Facts = Vec<(String, String)>;
/// Told of each workload: its name, what was run, what came of it.
pub type Tell<'a> = dyn FnMut(&str, String, Result<Outcome>) -> Result<()> + 'a;

/// A closed or open loop: its name, the arguments behind `ringmq bench`, whether it runs on both cores too, and whether it
/// is open (then it takes six times as long).
struct Load(&'static str, &'static str, bool, bool);

const ASYNC: [Load; 8] = [
    Load("send 1 KiB", "send -t a1k", true, false),
    Load("send 128 B", "send -t a128 -s 128", false, false),
    Load("send 16 KiB", "send -t a16k -s 16384", true, false),
    Load("send batches of 32 x 128 B", "send -t abatch -s 128 -b 32 -i 16", true, false),
    Load("send 1 KiB, one in flight", "send -t aone -c 1 -i 1 --spin", false, false),
    Load("send 1 KiB, 10,000/s", "send -t aopen --rate 10000", false, true),
    Load("end to end, 1,000/s", "e2e -t ae2e --rate 1000 --spin", false, false),
    Load("pull 1 KiB, tail", "consume -t tail --no-create --repeat", true, false),
];
const SYNC: [Load; 2] = [
    Load("SYNC_FLUSH, one in flight", "send -t s1 -c 1 -i 1", false, false),
    Load("SYNC_FLUSH, 8 x 64 in flight", "send -t s64", false, false),
];
/// Messages that the tail's readers read again and again: they fit the hot ring.
const TAIL_MESSAGES: u32 = 20_000;
/// Sends a second that warm a JVM: half of what it does later, so that its compiler gets the other half.
const WARM_RATE: u32 = 10_000;

struct Run<'a> {
    args: &'a CompareArgs,
    data: &'a Path,
    system: System,
    cores: Cores,
}

pub fn run(args: &CompareArgs, data: &Path, system: System, cores: Cores, tell: &mut Tell<'_>) -> Result<()> {
    let run = Run { args, data, system, cores };
    // What keeps one group from running is a row of it, and the others run.
    let mut group = |name: &str, run: &dyn Fn(&mut Tell<'_>) -> Result<()>| match run(tell) {
        Ok(()) => Ok(()),
        Err(error) => tell(name, "its preparation".into(), Err(error)),
    };
    if !cores.both {
        group("the first minute", &|tell| run.first_minute(tell))?;
    }
    group("loads with ASYNC_FLUSH", &|tell| run.loads(&ASYNC, Flush::Async, tell))?;
    if !cores.both {
        group("loads with SYNC_FLUSH", &|tell| run.loads(&SYNC, Flush::Sync, tell))?;
        group("cold reads", &|tell| run.cold(tell))?;
        group("starts", &|tell| run.starts(tell))?;
        group("many topics", &|tell| run.topics(tell))?;
    }
    Ok(())
}

impl Run<'_> {
    fn wanted(&self, name: &str) -> bool {
        self.args.only.is_empty() || self.args.only.iter().any(|part| name.contains(part.as_str()))
    }

    /// Where the system's store is.
    fn dir(&self) -> PathBuf {
        self.data.join(format!("{:?}", self.system).to_lowercase())
    }

    fn empty_store(&self) -> Result<()> {
        let dir = self.dir();
        if dir.exists() {
            std::fs::remove_dir_all(&dir).with_context(|| format!("empty {}", dir.display()))?;
        }
        Ok(())
    }

    /// A server on the store as it is, on its cores; not ready yet.
    fn again(&self, flush: Flush) -> Result<Server> {
        Server::spawn(self.args, &self.dir(), self.system, &self.cores.of_server(), flush)
    }

    /// A server on the store as it is, ready, on its cores or, if it is going to be warmed, where it can be.
    fn ready(&self, flush: Flush) -> Result<Server> {
        let cpus = if self.system == System::Apache { self.cores.all() } else { self.cores.of_server() };
        let mut server = Server::spawn(self.args, &self.dir(), self.system, &cpus, flush)?;
        server.wait_ready()?;
        Ok(server)
    }

    /// The same with an empty store.
    fn fresh(&self, flush: Flush) -> Result<Server> {
        self.empty_store()?;
        self.ready(flush)
    }

    /// A JVM compiles what it runs often, if it is left time for it: a third of the warming is paced sends on all cores, a
    /// third is pulls, and a third is sends on the cores where it is measured then.
    fn warm(&self, server: &Server) -> Result<()> {
        if self.system != System::Apache {
            return Ok(());
        }
        let third = self.args.warm.div_ceil(3).max(1);
        self.bench(server, &format!("send -t warm --rate {WARM_RATE} -d {third}"), false)?;
        self.bench(server, &format!("consume -t warm --no-create --repeat -d {third}"), false)?;
        server.pin(&self.cores.of_server())?;
        self.bench(server, &format!("send -t warm -d {third}"), false)?;
        Ok(())
    }

    fn first_minute(&self, tell: &mut Tell<'_>) -> Result<()> {
        let name = "send 1 KiB, 10,000/s, from the start";
        if !self.wanted(name) {
            return Ok(());
        }
        let arguments = format!("send -t first --rate 10000 --warmup 0 -d {}", self.args.seconds * 6);
        let outcome = (|| {
            self.empty_store()?;
            let mut server = self.again(Flush::Async)?;
            server.wait_ready()?;
            self.load(&server, &arguments)
        })();
        tell(name, arguments, outcome)
    }

    fn loads(&self, loads: &[Load], flush: Flush, tell: &mut Tell<'_>) -> Result<()> {
        let loads: Vec<&Load> =
            loads.iter().filter(|load| self.wanted(load.0) && (load.2 || !self.cores.both)).collect();
        if loads.is_empty() {
            return Ok(());
        }
        let server = match self.fresh(flush) {
            Ok(server) => server,
            Err(error) => return tell("start", format!("{flush:?}"), Err(error)),
        };
        if flush == Flush::Async {
            let rss = Process::new(server.pid()).and_then(|process| process.memory());
            tell(
                "memory at start",
                "ready, nothing sent".into(),
                rss.map(|memory| {
                    Outcome::Facts(vec![
                        ("own memory".into(), mib(memory.anonymous_kib)),
                        ("shared (hot ring)".into(), mib(memory.shared_kib)),
                        ("mapped files".into(), mib(memory.file_kib)),
                    ])
                }),
            )?;
        }
        self.warm(&server)?;
        for Load(name, arguments, _, open) in loads {
            if arguments.contains("-t tail") {
                self.bench(&server, &format!("send -t tail --warmup 0 --count {TAIL_MESSAGES}"), false)?;
            }
            let seconds = if *open { self.args.seconds * 6 } else { self.args.seconds };
            let arguments = format!("{arguments} -d {seconds}");
            tell(name, arguments.clone(), self.load(&server, &arguments))?;
        }
        Ok(())
    }

    /// Reads of what neither a ring nor the page cache holds, alone and beside a producer.
    fn cold(&self, tell: &mut Tell<'_>) -> Result<()> {
        let (alone, beside, writer) = (
            "pull 4 KiB, cold",
            "pull 4 KiB, cold, beside 10,000/s",
            "send 1 KiB, 10,000/s, beside a cold reader",
        );
        if ![alone, beside, writer].iter().any(|name| self.wanted(name)) {
            return Ok(());
        }
        let mut server = self.fresh(Flush::Async)?;
        self.warm(&server)?;
        let count = u64::from(self.args.store_gib) << 30 >> 12;
        self.bench(&server, &format!("send -t cold -s 4096 --count {count}"), false)?;
        // Restarted: what was just written is still in its memory.
        drop(server);
        server = self.ready(Flush::Async)?;
        self.warm(&server)?;
        limits::drop_page_cache()?;
        let reader =
            format!("consume -t cold --no-create -d {} --count {count} --warmup 0.2", self.args.seconds);
        tell(alone, reader.clone(), self.load(&server, &reader))?;
        limits::drop_page_cache()?;
        let load = format!("send -t aside --rate 10000 -d {}", self.args.seconds);
        let reader = format!("consume -t cold --no-create -d {} --warmup 0.2", self.args.seconds);
        let reading = self.spawn(&server, &reader, true)?;
        let written = self.load(&server, &load);
        tell(writer, load, written)?;
        tell(beside, reader, finish(reading).map(|report| Outcome::Load(Box::new(report))))?;
        // The newest files: no reader has come to them.
        let read = log_files(&self.dir()).and_then(|files| limits::read_of(files.rev(), self.cores.server));
        let facts = read.map(|gb_s| vec![("the disk's own".to_owned(), format!("{gb_s:.2} GB/s"))]);
        tell("cold pulls", "sequential direct read of the same store".into(), facts.map(Outcome::Facts))
    }

    fn starts(&self, tell: &mut Tell<'_>) -> Result<()> {
        let empty = "start, empty store";
        if self.wanted(empty) {
            let outcome = (|| {
                self.empty_store()?;
                first_send(&mut self.again(Flush::Async)?)
            })();
            tell(empty, "until the first acknowledged message".into(), outcome)?;
        }
        let large = format!("start, {} GiB after kill -9", self.args.store_gib);
        if self.wanted(&large) {
            let outcome = (|| {
                let server = self.fresh(Flush::Async)?;
                self.warm(&server)?;
                let count = u64::from(self.args.store_gib) << 30 >> 14;
                self.bench(&server, &format!("send -t large -s 16384 --warmup 0 --count {count}"), false)?;
                server.crash()?;
                first_send(&mut self.again(Flush::Async)?)
            })();
            tell(&large, "until the first acknowledged message".into(), outcome)?;
        }
        Ok(())
    }

    fn topics(&self, tell: &mut Tell<'_>) -> Result<()> {
        let n = self.args.topics;
        let (create, write, start) = (
            format!("create {n} topics x 8 queues"),
            format!("send 1 KiB to {} topics", n / 5),
            format!("start, {n} topics"),
        );
        if ![&create, &write, &start].iter().any(|name| self.wanted(name)) {
            return Ok(());
        }
        let server = self.fresh(Flush::Async)?;
        self.warm(&server)?;
        let process = Process::new(server.pid())?;
        let (cpu, began) = (process.cpu_ns()?, Instant::now());
        let created =
            self.bench(&server, &format!("send -t many --topics {n} --warmup 0 --count {n}"), false);
        let outcome = created.and_then(|_| {
            let (wall, cpu) = (began.elapsed(), process.cpu_ns()? - cpu);
            let each = |ns: f64| format!("{:.3} ms", ns / 1e6 / f64::from(n));
            Ok(Outcome::Facts(vec![
                ("CPU a topic".into(), each(cpu as f64)),
                ("wall a topic, route and one message included".into(), each(wall.as_nanos() as f64)),
            ]))
        });
        tell(&create, format!("send --topics {n} --count {n}"), outcome)?;
        let arguments = format!("send -t many --topics {} --no-create -d {}", n / 5, self.args.seconds);
        tell(&write, arguments.clone(), self.load(&server, &arguments))?;
        let files = std::fs::read_dir(format!("/proc/{}/fd", server.pid()))?.count();
        let memory = process.memory()?;
        server.crash()?;
        let outcome = first_send(&mut self.again(Flush::Async)?).map(|found| match found {
            Outcome::Facts(mut facts) => {
                facts.push(("open files before".into(), files.to_string()));
                facts.push(("own memory before".into(), mib(memory.anonymous_kib)));
                Outcome::Facts(facts)
            }
            load => load,
        });
        tell(&start, "until the first acknowledged message, after kill -9".into(), outcome)
    }

    fn load(&self, server: &Server, arguments: &str) -> Result<Outcome> {
        self.bench(server, arguments, true).map(|report| Outcome::Load(Box::new(report)))
    }

    fn bench(&self, server: &Server, arguments: &str, measured: bool) -> Result<Report> {
        finish(self.spawn(server, arguments, measured)?)
    }

    /// `ringmq bench ARGUMENTS` on the load's core.
    fn spawn(&self, server: &Server, arguments: &str, measured: bool) -> Result<Child> {
        let mut command = Command::new("taskset");
        // What is only preparation may use both cores.
        let cpus = if measured { self.cores.of_load() } else { self.cores.all() };
        command.args(["-c", &cpus]).arg(std::env::current_exe()?).arg("bench");
        command.args(arguments.split(' ')).args(["--json", "--namesrv", &server.namesrv]);
        command.args(["--pid", &server.pid().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().context("start the load through taskset")
    }
}

fn finish(child: Child) -> Result<Report> {
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("the load failed: {}", text.lines().last().unwrap_or("no message"));
    }
    serde_json::from_slice(&output.stdout).context("read the load's figures")
}

/// The files of a store that hold messages, oldest first.
fn log_files(dir: &Path) -> Result<impl DoubleEndedIterator<Item = PathBuf> + use<>> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type()))?;
            let of_apache = || dir.ends_with("commitlog");
            match kind? {
                kind if kind.is_dir() => dirs.push(path),
                kind if kind.is_file()
                    && (of_apache() || path.extension().is_some_and(|end| end == "seg")) =>
                {
                    files.push(path);
                }
                _ => {}
            }
        }
    }
    files.sort();
    Ok(files.into_iter())
}

fn first_send(server: &mut Server) -> Result<Outcome> {
    let time = start::until_first_send(server)?;
    let facts: Facts =
        vec![("until the first acknowledged message".into(), format!("{:.2} s", time.as_secs_f64()))];
    Ok(Outcome::Facts(facts))
}

fn mib(kib: u64) -> String {
    format!("{:.0} MiB", kib as f64 / 1024.0)
}
