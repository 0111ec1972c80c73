//! A child process: its standard output as lines, its standard error in a file, its end in our hands.
//!
//! Dropping it kills it (SIGKILL, by its own id) and reaps it, so a panicking test leaves nothing behind.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it writes to standard error goes to `NAME.log` in `logs`, after what is there already.
    pub fn start(name: &str, command: &mut Command, logs: &Path) -> Self {
        let log = logs.join(format!("{name}.log"));
        let stderr = File::options().create(true).append(true).open(&log).expect("open the log of a child");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("start {name} ({command:?}): {error}"));
        let stdout = child.stdout.take().expect("standard output is piped");
        let (sender, lines) = channel();
        // Ends at the end of the child's output; read to the end, because a full pipe would stop the child.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { name: name.to_owned(), child, lines, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that begins with `prefix`; lines before it are dropped.
    pub fn line_starting(&mut self, prefix: &str, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with(prefix) => return line,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("no line `{prefix}` within {limit:?}")),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait().expect("wait for a child");
                    self.fail(&format!("ended ({status}) before it printed `{prefix}`"))
                }
            }
        }
    }

    /// Waits until the log has the text.
    pub fn logged(&mut self, text: &str, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !std::fs::read_to_string(&self.log).unwrap_or_default().contains(text) {
            if Instant::now() >= deadline || !self.is_running() {
                self.fail(&format!("no {text:?} in its log within {limit:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// All lines up to the end of the output, and the exit status.
    pub fn finish(&mut self, limit: Duration) -> (Vec<String>, ExitStatus) {
        let deadline = Instant::now() + limit;
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self
                    .fail(&format!("still running after {limit:?}, having printed:\n{}", lines.join("\n"))),
            }
        }
        (lines, self.wait(deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1))))
    }

    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for a child") {
                return status;
            }
            if Instant::now() >= deadline {
                self.fail(&format!("still running after {limit:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait for a child").is_none()
    }

    /// SIGKILL, the crash of the crash tests.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, an operator's stop. The standard library sends SIGKILL only, hence the program.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        let sent = Command::new("kill").args(["-TERM", &self.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -TERM {}", self.name);
        self.wait(limit)
    }

    /// Panics with the reason and the end of the child's log.
    pub fn fail(&self, reason: &str) -> ! {
        panic!("{}: {reason}\nend of its log:\n{}", self.name, self.log_tail())
    }

    pub fn log_tail(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
