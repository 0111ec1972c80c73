//! SIGTERM and SIGINT as something to await.
//!
//! A handler that only writes to an eventfd; the waiting core reads it through its ring. Invariants:
//! installed once a process; a signal that came before the wait is not lost; a second signal while the
//! first is being served ends the process at once, as without a handler.

use std::io;
use std::os::fd::AsRawFd;
use std::os::raw::c_int;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::driver::check;
use crate::env::UringEnv;
use crate::op::Op;

static EVENT: OnceLock<EventFd> = OnceLock::new();
/// The handler's copy of the descriptor: nothing in a handler may lock.
static EVENT_FD: AtomicI32 = AtomicI32::new(-1);
static RECEIVED: AtomicI32 = AtomicI32::new(0);

extern "C" fn on_signal(signal: c_int) {
    if RECEIVED.swap(signal, Ordering::SeqCst) != 0 {
        // SAFETY: both calls are async-signal-safe.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
    let one = 1u64;
    let fd = EVENT_FD.load(Ordering::SeqCst);
    // SAFETY: write(2) is async-signal-safe; the eventfd is never closed.
    unsafe { libc::write(fd, (&raw const one).cast(), 8) };
}

/// Installs the handler; call it before the first signal may come, so before `ready` is printed.
pub fn install() -> io::Result<()> {
    if EVENT.get().is_some() {
        return Ok(());
    }
    let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC).map_err(io::Error::from)?;
    let event = EVENT.get_or_init(|| event);
    EVENT_FD.store(event.as_raw_fd(), Ordering::SeqCst);
    let action = SigAction::new(SigHandler::Handler(on_signal), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        // SAFETY: the handler makes only async-signal-safe calls.
        unsafe { sigaction(signal, &action) }.map_err(io::Error::from)?;
    }
    Ok(())
}

/// The first SIGTERM or SIGINT since [`install`], its name. One task of the process waits.
pub async fn stop_requested(env: &UringEnv) -> io::Result<&'static str> {
    install()?;
    let fd = EVENT_FD.load(Ordering::SeqCst);
    while RECEIVED.load(Ordering::SeqCst) == 0 {
        let (result, _) = env.0.net.driver.run(Op::ReadCounter { fd, value: Box::new(0) }).await;
        check(result)?;
    }
    let signal = Signal::try_from(RECEIVED.load(Ordering::SeqCst)).map_err(io::Error::from)?;
    Ok(signal.as_str())
}
