//! Logs: to standard error, or to files of a directory that are exchanged each day or hour; filtered by RUST_LOG.
//!
//! Owns: the writer, a thread of its own, so that a slow terminal, pipe or disk never holds up a core.
//! Invariants: what does not fit into its queue is dropped and counted, and a line says how many lines are missing before the
//! next one that is written. On failure: a directory that cannot be written to is an error at the start; a line that
//! cannot be written later (a full disk) is counted like a dropped one, and the next ones are tried.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use chrono::{SecondsFormat, Utc};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::EnvFilter;

use crate::cli::{Logs, NewLog};

/// Lines that wait for the writer.
const LINES_MAX: usize = 16 * 1024;

/// Keep the guard until the end: dropping it writes what is queued. `role` begins the names of the files.
pub fn start(logs: &Logs, role: &str) -> Result<WorkerGuard> {
    let (writer, guard) = match &logs.log_dir {
        Some(dir) => not_blocking(files(dir, role, logs)?, LINES_MAX),
        None => not_blocking(io::stderr(), LINES_MAX),
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(logs.log_dir.is_none() && io::IsTerminal::is_terminal(&io::stderr()))
        .init();
    Ok(guard)
}

/// `DIR/ROLE.2026-11-28.log`; times are UTC. `DIR/ROLE.log` points to the present one.
fn files(dir: &Path, role: &str, logs: &Logs) -> Result<RollingFileAppender> {
    let rotation = match logs.log_rotation {
        NewLog::Daily => Rotation::DAILY,
        NewLog::Hourly => Rotation::HOURLY,
    };
    std::fs::create_dir_all(dir).with_context(|| format!("create {} for logs", dir.display()))?;
    // The link gets the path as it is: a relative one would lead from the link's own place, to nowhere.
    let dir = &dir.canonicalize().with_context(|| format!("find {} for logs", dir.display()))?;
    RollingFileAppender::builder()
        .rotation(rotation)
        .filename_prefix(role)
        .filename_suffix("log")
        .latest_symlink(format!("{role}.log"))
        .max_log_files(logs.log_keep as usize)
        .build(dir)
        .with_context(|| format!("write logs to {}", dir.display()))
}

fn not_blocking(inner: impl Write + Send + 'static, lines_max: usize) -> (NonBlocking, WorkerGuard) {
    let dropped = Arc::new(OnceLock::new());
    let writer = Honest { inner, dropped: dropped.clone(), told: 0, failed: 0 };
    let (writer, guard) = NonBlockingBuilder::default().buffered_lines_limit(lines_max).finish(writer);
    dropped.set(writer.error_counter()).expect("set once");
    (writer, guard)
}

/// Says what is missing. On the writer's thread; a drop finds lines in the queue, so there is always a next write.
struct Honest<W> {
    inner: W,
    dropped: Arc<OnceLock<ErrorCounter>>,
    /// Dropped lines that were told.
    told: usize,
    /// Lines that could not be written and were not told.
    failed: usize,
}

impl<W: Write> Honest<W> {
    fn tell_what_is_missing(&mut self) -> io::Result<()> {
        let dropped = self.dropped.get().map_or(0, ErrorCounter::dropped_lines);
        let missing = dropped - self.told + self.failed;
        if missing == 0 {
            return Ok(());
        }
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        let reason =
            if self.failed > 0 { "could not be written" } else { "came faster than they were written" };
        let line = format!("{now}  WARN ringmq::logging: {missing} log lines are missing: they {reason}\n");
        self.inner.write_all(line.as_bytes())?;
        (self.told, self.failed) = (dropped, 0);
        Ok(())
    }
}

impl<W: Write> Write for Honest<W> {
    /// A whole line, always taken: an error here would end nothing and tell nobody.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = self.tell_what_is_missing().and_then(|()| self.inner.write_all(line));
        if written.is_err() {
            self.failed += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::{Duration, Instant, SystemTime};

    use super::*;

    /// Writes when it is let, and fails when it is told to.
    struct Slow {
        written: Arc<Mutex<Vec<u8>>>,
        enters: Sender<()>,
        outcomes: Receiver<bool>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.enters.send(());
            // Nobody decides any more: all is well.
            if !self.outcomes.recv().unwrap_or(true) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Bench {
        log: NonBlocking,
        guard: WorkerGuard,
        written: Arc<Mutex<Vec<u8>>>,
        entered: Receiver<()>,
        outcomes: Sender<bool>,
    }

    fn bench(lines_max: usize) -> Bench {
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let ((enters, entered), (decide, outcomes)) = (channel(), channel());
        let slow = Slow { written: written.clone(), enters, outcomes };
        let (log, guard) = not_blocking(slow, lines_max);
        Bench { log, guard, written, entered, outcomes: decide }
    }

    fn text(bench: Bench) -> String {
        drop((bench.outcomes, bench.log));
        drop(bench.guard);
        String::from_utf8(bench.written.lock().expect("no panic").clone()).expect("text")
    }

    #[test]
    fn a_writer_that_hangs_holds_nobody_up_and_what_is_missing_is_told() {
        let mut bench = bench(4);
        bench.log.write_all(b"line 0\n").expect("queued");
        bench.entered.recv_timeout(Duration::from_secs(20)).expect("the writer is at work");
        // It hangs. Four lines fit into the queue, the others are dropped, and nobody waits.
        let began = Instant::now();
        for line in 1..=10 {
            bench.log.write_all(format!("line {line}\n").as_bytes()).expect("queued or dropped");
        }
        assert!(began.elapsed() < Duration::from_secs(5));
        let text = text(bench);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
        assert_eq!(lines[0], "line 0");
        assert!(
            lines[1].ends_with("6 log lines are missing: they came faster than they were written"),
            "{text}"
        );
        assert_eq!(lines[2..], ["line 1", "line 2", "line 3", "line 4"]);
    }

    #[test]
    fn a_full_disk_costs_the_lines_that_it_does_not_take() {
        let mut bench = bench(100);
        for line in 0..4 {
            bench.log.write_all(format!("line {line}\n").as_bytes()).expect("queued");
        }
        // The second line fails, and so does the word about it before the third; then there is room.
        for outcome in [true, false, false] {
            bench.outcomes.send(outcome).expect("the writer lives");
        }
        let text = text(bench);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0], "line 0");
        assert!(lines[1].ends_with("2 log lines are missing: they could not be written"), "{text}");
        assert_eq!(lines[2], "line 3");
    }

    fn made(file: &Path) -> Option<SystemTime> {
        std::fs::metadata(file).and_then(|data| data.created()).ok()
    }

    fn newer_than(dir: &Path, time: SystemTime) -> Option<SystemTime> {
        let probe = tempfile::NamedTempFile::new_in(dir).expect("a file");
        made(probe.path()).filter(|made_at| *made_at > time)
    }

    #[test]
    fn old_files_go_and_a_link_names_the_new_one() {
        let dir = tempfile::tempdir().expect("a directory");
        for day in 1..=5 {
            let old = dir.path().join(format!("ringmq-broker.2026-01-0{day}.log"));
            std::fs::write(&old, "old").expect("write");
            // Pruned by when they were made, oldest first: the next one has to be newer, on a clock that is coarse.
            while made(&old).is_some_and(|made_at| newer_than(dir.path(), made_at).is_none()) {}
        }
        std::fs::write(dir.path().join("ringmq-namesrv.2026-01-01.log"), "another's").expect("write");
        let logs = Logs { log_dir: Some(dir.path().to_owned()), log_keep: 3, log_rotation: NewLog::Daily };
        let mut appender = files(dir.path(), "ringmq-broker", &logs).expect("files");
        appender.write_all(b"new\n").expect("write");
        let mut names: Vec<String> = std::fs::read_dir(dir.path())
            .expect("list")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        let today = format!("ringmq-broker.{}.log", Utc::now().format("%Y-%m-%d"));
        let expected = [
            "ringmq-broker.2026-01-04.log",
            "ringmq-broker.2026-01-05.log",
            &today,
            "ringmq-broker.log",
            "ringmq-namesrv.2026-01-01.log",
        ];
        assert_eq!(names, expected);
        let linked = std::fs::read(dir.path().join("ringmq-broker.log")).expect("follow the link");
        assert_eq!(linked, b"new\n");
    }
}
