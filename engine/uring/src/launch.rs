//! Starts one executor a core and joins them.
//!
//! Order: probe, blocking threads (before anything is pinned), one warm executor (glommio's first
//! sleep in a process is late), then the cores in ascending order. A core whose main future returns
//! drops its tasks, leaves the mesh, drains its ring and ends. A panic on any core aborts the process:
//! the other cores would wait for lanes that nobody serves.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd};
use std::rc::Rc;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use glommio::io::BufferedFile;
use glommio::{LocalExecutorBuilder, Placement};
use ringmq_io::Class;

use crate::blocking::{Blocking, BlockingThread};
use crate::disk::UringDisk;
use crate::doorbell::Doorbell;
use crate::driver::{Driver, Inbox};
use crate::env::{Core, UringEnv, seeded};
use crate::mesh::{MeshBoard, UringMesh};
use crate::net::UringNet;
use crate::probe::{ProbeError, probe};
use crate::tasks::{PREEMPT, Tasks, watched};

#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error("{asked} cores were asked for, this process may use {usable} (CPU affinity)")]
    Cores { asked: usize, usable: usize },
    #[error("core {core} cannot start: {reason}")]
    Core { core: usize, reason: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Memory that glommio registers for its own file I/O; it reads only eventfds here.
const GLOMMIO_IO_MEMORY: usize = 64 * 1024;
const GLOMMIO_RING_DEPTH: usize = 64;

/// Ten wake-ups a second cost an idle core about 0.03 % of its time.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// Runs `main` on `cores` cores, each pinned to one CPU of the process's affinity mask, and returns
/// what each returned, by core.
pub fn run<F, Fut, T>(cores: usize, main: F) -> Result<Vec<T>, LaunchError>
where
    F: Fn(UringEnv) -> Fut + Send + Clone + 'static,
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let cpus = crate::cpu::usable()?;
    if cores == 0 || cores > cpus.len() {
        return Err(LaunchError::Cores { asked: cores, usable: cpus.len() });
    }
    probe()?;
    warm_up()?;
    let bells = (0..cores).map(|_| Doorbell::new().map(Arc::new)).collect::<io::Result<Vec<_>>>()?;
    let board = MeshBoard::new(bells.clone());
    let threads = (0..cores).map(BlockingThread::start).collect::<io::Result<Vec<_>>>()?;
    let started = Instant::now();
    let mut handles = Vec::with_capacity(cores);
    for (core, (thread, bell)) in threads.into_iter().zip(bells).enumerate() {
        let (board, main) = (board.clone(), main.clone());
        let seat = Seat { core, cores, started, thread, bell, board };
        let handle = LocalExecutorBuilder::new(Placement::Fixed(cpus[core]))
            .name("ringmq-core")
            .io_memory(GLOMMIO_IO_MEMORY)
            .ring_depth(GLOMMIO_RING_DEPTH)
            .preempt_timer(PREEMPT)
            .spawn(move || {
                abort_on_panic_here();
                seat.occupy(main)
            });
        handles.push(handle.map_err(|e| LaunchError::Core { core, reason: e.to_string() })?);
    }
    let mut results = Vec::with_capacity(cores);
    for (core, handle) in handles.into_iter().enumerate() {
        let ended = handle.join().map_err(|e| LaunchError::Core { core, reason: e.to_string() });
        results.push(
            ended.and_then(|result| result.map_err(|e| LaunchError::Core { core, reason: e.to_string() })),
        );
    }
    results.into_iter().collect()
}

/// glommio sets up process-wide state at the first executor's first sleep, which makes it late.
fn warm_up() -> Result<(), LaunchError> {
    static WARM: Once = Once::new();
    let mut result = Ok(());
    WARM.call_once(|| {
        let warm = LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(GLOMMIO_IO_MEMORY)
            .ring_depth(GLOMMIO_RING_DEPTH)
            .spawn(|| async { glommio::timer::sleep(Duration::from_millis(1)).await })
            .and_then(|handle| handle.join());
        result = warm.map_err(|e| LaunchError::Core { core: 0, reason: e.to_string() });
    });
    result
}

/// What one core's thread starts with.
struct Seat {
    core: usize,
    cores: usize,
    started: Instant,
    thread: BlockingThread,
    bell: Arc<Doorbell>,
    board: Arc<MeshBoard>,
}

impl Seat {
    async fn occupy<F, Fut, T>(self, main: F) -> io::Result<T>
    where
        F: Fn(UringEnv) -> Fut,
        Fut: Future<Output = T> + 'static,
        T: 'static,
    {
        let Seat { core, cores, started, thread, bell, board } = self;
        let result = match Driver::new(core, bell.clone()) {
            Ok(driver) => {
                let tasks = Tasks::new(driver.watch.clone());
                let foreground = tasks.queue(Class::Foreground);
                let spawn = |task| glommio::spawn_local_into(task, foreground).expect("the queue exists");
                let bell_task =
                    spawn(Box::pin(listen(driver.clone())) as std::pin::Pin<Box<dyn Future<Output = ()>>>);
                let driver_task = spawn(Box::pin(driver.clone().drive()));
                let beat_task = spawn(Box::pin(beat()));
                let blocking = Blocking::new(thread, bell.clone());
                let inbox = Rc::downgrade(&(blocking.clone() as Rc<dyn Inbox>));
                driver.add_inbox(inbox);
                let env = UringEnv(Rc::new(Core {
                    disk: UringDisk { driver: driver.clone(), blocking: blocking.clone() },
                    net: UringNet { driver: driver.clone() },
                    mesh: UringMesh {
                        driver: driver.clone(),
                        board: board.clone(),
                        me: core,
                        rounds: Rc::default(),
                    },
                    tasks: tasks.clone(),
                    core,
                    cores,
                    started,
                    random: seeded(),
                }));
                // In the foreground queue like everything it starts, not in glommio's default one.
                let value = Rc::new(RefCell::new(None));
                let (slot, work) = (value.clone(), main(env));
                let work = watched(driver.watch.clone(), Class::Foreground, work);
                spawn(Box::pin(async move {
                    let result = work.await;
                    *slot.borrow_mut() = Some(result);
                }))
                .await;
                tasks.end().await;
                blocking.stop();
                if driver.stop().await {
                    driver_task.await;
                }
                bell.signal();
                bell_task.await;
                beat_task.cancel().await;
                let value = value.borrow_mut().take();
                Ok(value.expect("main has returned"))
            }
            Err(e) => Err(e),
        };
        board.leave(core);
        result
    }
}

/// Reads the bell's eventfd through glommio's ring, which is where an idle executor sleeps.
async fn listen(driver: Rc<Driver>) {
    let fd = driver.bell.fd().as_fd().try_clone_to_owned().expect("a free descriptor at start");
    // SAFETY: a descriptor of our own, given up here.
    let event = unsafe { BufferedFile::from_raw_fd(fd.into_raw_fd()) };
    while !driver.is_stopped() {
        event.read_at(0, 8).await.expect("an eventfd can be read");
        driver.kick();
    }
    let _ = event.close().await;
}

/// Bounds a sleep of the executor, should it ever sleep on a ready task (see [`PREEMPT`]).
async fn beat() {
    loop {
        glommio::timer::sleep(HEARTBEAT).await;
    }
}

thread_local! {
    static ABORTS: Cell<bool> = const { Cell::new(false) };
}

/// From now on a panic of this thread ends the process, after the message, which goes past any output
/// capture.
pub(crate) fn abort_on_panic_here() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !ABORTS.get() {
                return earlier(info);
            }
            let thread = std::thread::current();
            let trace = std::backtrace::Backtrace::capture();
            let text = format!("{} {info}\n{trace}\naborting\n", thread.name().unwrap_or("a core"));
            let _ = nix::unistd::write(std::io::stderr(), text.as_bytes());
            std::process::abort();
        }));
    });
    ABORTS.set(true);
}
