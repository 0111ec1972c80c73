//! The official clients' scenarios, as `tests/clients/{java,java49,go}/run.sh` runs and prints them.
//!
//! A suite whose tools are missing is skipped with a printed reason, except where CI=true or
//! RINGMQ_FORBID_SKIP=1: there it fails. A scenario that printed neither PASS nor an expected SKIP has failed,
//! whatever the exit status says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::Process;
use super::repository;

/// All scenarios take about a minute; see `LIMIT_SECONDS` of the programs for a single one that hangs.
const RUN: Duration = Duration::from_secs(600);
/// All of Apache's classes take a quarter of an hour.
const RUN_APACHE_IT: Duration = Duration::from_secs(3000);

#[derive(Clone, Copy)]
pub enum Suite {
    Java,
    /// Those of `Java` that a client of RocketMQ 4.9 can run.
    Java49,
    /// The subcommands of mqadmin, by the Java programs.
    Mqadmin,
    Go,
    /// Apache's own integration tests, class by class.
    ApacheIt,
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Self::Java => "java",
            Self::Java49 => "java49",
            Self::Mqadmin => "mqadmin",
            Self::Go => "go",
            Self::ApacheIt => "apache-it",
        }
    }

    fn tools(self) -> &'static [&'static str] {
        match self {
            Self::Java | Self::Java49 | Self::Mqadmin | Self::ApacheIt => &["java", "mvn"],
            Self::Go => &["go"],
        }
    }

    fn script(self) -> PathBuf {
        let project = match self {
            Self::Java | Self::Mqadmin => "clients/java",
            Self::Java49 => "clients/java49",
            Self::Go => "clients/go",
            Self::ApacheIt => "apache/it",
        };
        repository().join("tests").join(project).join("run.sh")
    }

    /// What says which program of the project is meant.
    fn program(self) -> &'static [&'static str] {
        match self {
            Self::Mqadmin => &["mqadmin"],
            Self::Java | Self::Java49 | Self::Go | Self::ApacheIt => &[],
        }
    }

    /// Builds the programs; false when the suite has to be skipped.
    pub fn prepare(self) -> bool {
        if !tools_present(self.tools()) {
            return false;
        }
        // Without a limit: the first build downloads the libraries.
        let built = Command::new(self.script()).arg("build").status().expect("run the build script");
        assert!(built.success(), "build of the {} programs: {built}", self.name());
        true
    }

    /// Every scenario's name.
    pub fn scenarios(self) -> BTreeSet<String> {
        self.listed(&[])
    }

    /// The names of a part of them.
    pub fn listed(self, part: &[&str]) -> BTreeSet<String> {
        let listed = Command::new(self.script())
            .args(self.program())
            .arg("list")
            .args(part)
            .output()
            .expect("list the scenarios");
        assert!(listed.status.success(), "list the scenarios: {}", listed.status);
        let names: BTreeSet<String> = String::from_utf8(listed.stdout)
            .expect("names are text")
            .lines()
            .map(ToOwned::to_owned)
            .collect();
        assert!(names.len() > 10, "the list of scenarios is too short to be right: {names:?}");
        names
    }

    /// Runs scenarios against a name server and insists that each of `expected` passed.
    pub fn run(self, namesrv: &str, arguments: &[&str], jvm: &str, expected: &BTreeSet<String>, dir: &Path) {
        let mut command = Command::new(self.script());
        command
            .args(self.program())
            .arg(namesrv)
            .args(arguments)
            .env("JAVA_OPTS", jvm)
            .env("CLIENTS_WORK", dir.join(format!("{}-client", self.name())));
        let mut program = Process::start(self.name(), &mut command, dir);
        let (lines, status) =
            program.finish(if matches!(self, Self::ApacheIt) { RUN_APACHE_IT } else { RUN });
        let outcomes = outcomes(&lines);
        let mut wrong = Vec::new();
        for name in expected {
            match outcomes.get(name.as_str()) {
                Some(line) if line.starts_with("PASS ") => {}
                Some(line) => wrong.push((*line).to_owned()),
                None => wrong.push(format!("no result of {name}")),
            }
        }
        if !wrong.is_empty() || !status.success() {
            program.fail(&format!(
                "{status}; {} of {} scenarios did not pass:\n{}\nall output:\n{}",
                wrong.len(),
                expected.len(),
                wrong.join("\n"),
                lines.join("\n")
            ));
        }
        println!("{}: {} scenarios passed", self.name(), expected.len());
    }
}

/// The line of each scenario: `PASS name …`, `FAIL name: …`, `SKIP name: …`.
fn outcomes(lines: &[String]) -> BTreeMap<&str, &str> {
    lines
        .iter()
        .filter_map(|line| {
            let (outcome, rest) = line.split_once(' ')?;
            matches!(outcome, "PASS" | "FAIL" | "SKIP")
                .then(|| (rest.split([' ', ':']).next().unwrap_or(rest), line.as_str()))
        })
        .collect()
}

/// One of the programs of `tests/clients/java` that keep books for crash tests.
pub fn stress(name: &str, namesrv: &str, arguments: &[&str], dir: &Path) -> Process {
    let mut command = Command::new(Suite::Java.script());
    command.args(["stress", namesrv]).args(arguments).env("CLIENTS_WORK", dir.join(format!("{name}-client")));
    Process::start(name, &mut command, dir)
}

/// False, with the reason printed, when a tool is missing and that is allowed.
pub fn tools_present(tools: &[&str]) -> bool {
    let missing: Vec<&str> = tools.iter().copied().filter(|tool| !on_path(tool)).collect();
    if missing.is_empty() {
        return true;
    }
    let forbidden = |name: &str, value: &str| std::env::var(name).is_ok_and(|set| set == value);
    let reason = format!("not installed: {}", missing.join(", "));
    assert!(
        !forbidden("CI", "true") && !forbidden("RINGMQ_FORBID_SKIP", "1"),
        "{reason}, and skipping is forbidden here"
    );
    println!("SKIPPED: {reason}");
    false
}

fn on_path(tool: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file()))
}
