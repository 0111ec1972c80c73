//! Logs: to standard error, filtered by RUST_LOG, written by a thread of their own so that a slow
//! terminal or pipe never holds up a core. What does not fit into its queue is dropped and counted.

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

/// Lines that wait for the writer.
const LINES_MAX: usize = 16 * 1024;

/// Keep the guard until the end: dropping it writes what is queued.
pub fn start() -> WorkerGuard {
    let (writer, guard) = tracing_appender::non_blocking::NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .finish(std::io::stderr());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    guard
}
