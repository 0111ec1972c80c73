//! The heart of a core: submits what the tasks of this turn started, reaps what is done, wakes tasks.
//!
//! A turn: the ready foreground tasks run and push entries; then the driver task, last in the same
//! queue, makes one io_uring_enter for all of them, wakes the tasks whose operations completed, and
//! yields its queue so that other queues get their share. With nothing to do it sleeps: completions
//! and other threads signal the bell's eventfd, which a glommio task reads ([`crate::bell`]).
//!
//! Invariants: no `RefCell` of the driver is borrowed while foreign code runs (wakers, drops);
//! before it sleeps it has asked the kernel that nothing is left. A failing io_uring_enter is a bug
//! or a broken kernel: it panics, which aborts the process.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, types};

use ringmq_io::VitalSigns;
use ringmq_io::limits::LOCKS_PER_CORE_MAX;

use crate::buf_ring::BufRing;
use crate::doorbell::Doorbell;
use crate::op::{Flight, Flights, Op, Phase, Token, UNWATCHED};
use crate::region::PARTS_MAX;
use crate::ring::{Completion, Ring};
use crate::stats::{Counters, bump};
use crate::stream::StreamState;
use crate::watch::Watch;

/// How long a core that never runs dry keeps glommio from polling: how late a timer may be there. A
/// poll costs some system calls, about 1 % of this.
pub(crate) const POLL_EVERY: Duration = Duration::from_micros(250);

/// How long a core that ran dry looks for more work before it sleeps. Sleep and wake-up through two
/// rings and an eventfd cost about as much CPU time, so lingering at most doubles what an idle
/// moment costs, and a client with one request in flight is answered without a wake-up.
pub(crate) const LINGER: Duration = Duration::from_micros(50);

/// Something another thread puts messages into; looked at after the bell was rung.
pub(crate) trait Inbox {
    fn look(&self);
}

pub(crate) struct Driver {
    /// Dropped before the buffers that it knows.
    ring: ManuallyDrop<RefCell<Ring>>,
    flights: ManuallyDrop<RefCell<Flights>>,
    pub(crate) bufs: ManuallyDrop<BufRing>,
    pub(crate) bell: Arc<Doorbell>,
    inboxes: RefCell<Vec<Weak<dyn Inbox>>>,
    /// Streams whose receive found the pool empty, in order.
    starved: RefCell<VecDeque<Weak<StreamState>>>,
    parked: RefCell<Option<Waker>>,
    /// The last turn's end while the driver stays awake: what comes until the next one is a turn.
    turn_began: Cell<Option<Instant>>,
    /// It submitted or reaped something, so that tasks became ready.
    turn_worked: Cell<bool>,
    pub(crate) watch: Rc<Watch>,
    glommio_polled: Cell<Instant>,
    /// The kernel said that it has work for us which the ring's flags do not show.
    left_over: Cell<bool>,
    /// Registered buffers handed out to regions.
    buffer_slots: Cell<u32>,
    /// Registered files that are free again, and how many were ever used.
    free_files: RefCell<Vec<u32>>,
    files: Cell<u32>,
    stopping: Cell<bool>,
    stopped: Cell<bool>,
    pub(crate) counters: Counters,
}

pub(crate) fn close_now(fd: RawFd) {
    // SAFETY: the caller owned the descriptor and gives it up.
    unsafe { libc::close(fd) };
}

impl Driver {
    pub(crate) fn new(core: usize, bell: Arc<Doorbell>) -> io::Result<Rc<Self>> {
        let mut ring = Ring::new()?;
        ring.uring().submitter().register_eventfd(bell.raw_fd())?;
        ring.signal_completions(false);
        let bufs = BufRing::register(&ring)?;
        Ok(Rc::new(Self {
            ring: ManuallyDrop::new(RefCell::new(ring)),
            flights: ManuallyDrop::new(RefCell::new(Flights::new())),
            bufs: ManuallyDrop::new(bufs),
            bell,
            inboxes: RefCell::default(),
            starved: RefCell::default(),
            parked: RefCell::default(),
            turn_began: Cell::new(None),
            turn_worked: Cell::new(false),
            watch: Rc::new(Watch::new(core)),
            glommio_polled: Cell::new(Instant::now()),
            left_over: Cell::new(false),
            buffer_slots: Cell::new(0),
            free_files: RefCell::default(),
            files: Cell::new(0),
            stopping: Cell::new(false),
            stopped: Cell::new(false),
            counters: Counters::default(),
        }))
    }

    /// Queues an operation; it is submitted with everything else of this turn.
    pub(crate) fn start(&self, op: Op, phase: Phase) -> Token {
        let token = self.flights.borrow_mut().add(op, phase);
        self.push(token);
        token
    }

    fn push(&self, token: Token) {
        let entry = self.flights.borrow_mut().get(token).op.entry().user_data(token.raw());
        // SAFETY: the entry points only to memory that the operation owns on the heap (`Op::entry`),
        // and the operation stays in `flights` until its completion.
        unsafe { self.ring.borrow_mut().push(entry) };
        self.kick();
    }

    /// Starts an operation with one completion.
    pub(crate) fn run(self: &Rc<Self>, op: Op) -> InFlight {
        let token = self.start(op, Phase::Waiting(None));
        InFlight { driver: self.clone(), token, finished: false }
    }

    /// Asks the kernel to end an operation early; its completion comes all the same.
    pub(crate) fn cancel(&self, token: Token) {
        let entry = opcode::AsyncCancel::new(token.raw()).build().user_data(UNWATCHED);
        // SAFETY: the entry points to no memory.
        unsafe { self.ring.borrow_mut().push(entry) };
        self.kick();
    }

    /// Closes a descriptor after everything already queued for it.
    pub(crate) fn close(&self, fd: RawFd) {
        if self.stopped.get() {
            close_now(fd);
            return;
        }
        let entry = opcode::Close::new(types::Fd(fd)).build().user_data(UNWATCHED);
        // SAFETY: the entry points to no memory.
        unsafe { self.ring.borrow_mut().push(entry) };
        self.kick();
    }

    pub(crate) fn add_inbox(&self, inbox: Weak<dyn Inbox>) {
        let mut inboxes = self.inboxes.borrow_mut();
        inboxes.retain(|known| known.strong_count() > 0);
        inboxes.push(inbox);
    }

    /// `stream` goes on receiving once buffers are back.
    pub(crate) fn starve(&self, stream: Weak<StreamState>) {
        bump(&self.counters.pool_empty, 1);
        self.starved.borrow_mut().push_back(stream);
    }

    pub(crate) fn give_back(&self, buffer: u16) {
        self.bufs.give_back(buffer);
        if !self.starved.borrow().is_empty() {
            self.kick();
        }
    }

    /// Runs `with` on the ring, for registrations.
    pub(crate) fn with_ring<R>(&self, with: impl FnOnce(&Ring) -> R) -> R {
        with(&self.ring.borrow())
    }

    /// The first of `count` free registered-buffer slots. Never given back: regions live as long as
    /// the process.
    pub(crate) fn take_buffer_slots(&self, count: usize) -> io::Result<u16> {
        let first = self.buffer_slots.get();
        if first == 0 {
            self.with_ring(|ring| ring.uring().submitter().register_buffers_sparse(PARTS_MAX))?;
        }
        let next = first + count as u32;
        if next > PARTS_MAX {
            return Err(io::Error::other(format!(
                "more than {PARTS_MAX} GiB of registered memory on one core"
            )));
        }
        self.buffer_slots.set(next);
        Ok(first as u16)
    }

    /// Has the ring keep a file open until it is itself gone, which is after its last operation. Gives the slot.
    pub(crate) fn hold_on(&self, fd: RawFd) -> io::Result<u32> {
        if self.files.get() == 0 {
            self.with_ring(|ring| ring.uring().submitter().register_files_sparse(LOCKS_PER_CORE_MAX))?;
        }
        let slot = match self.free_files.borrow_mut().pop() {
            Some(slot) => slot,
            None if self.files.get() < LOCKS_PER_CORE_MAX => self.files.replace(self.files.get() + 1),
            None => {
                return Err(io::Error::other(format!("more than {LOCKS_PER_CORE_MAX} locks on one core")));
            }
        };
        self.with_ring(|ring| ring.uring().submitter().register_files_update(slot, &[fd]))?;
        Ok(slot)
    }

    /// Ends [`Driver::hold_on`].
    pub(crate) fn let_go(&self, slot: u32) {
        // Fails only where the slot was never taken.
        match self.with_ring(|ring| ring.uring().submitter().register_files_update(slot, &[-1])) {
            Ok(_) => self.free_files.borrow_mut().push(slot),
            Err(error) => tracing::error!(slot, %error, "a ring did not let go of a file"),
        }
    }

    /// Wakes the driver task if it sleeps.
    pub(crate) fn kick(&self) {
        if self.parked.borrow().is_some() {
            let waker = self.parked.borrow_mut().take();
            if let Some(waker) = waker {
                self.turn_began.set(Some(Instant::now()));
                self.watch.driver_sleeps(false);
                waker.wake();
            }
        }
    }

    /// The driver task.
    pub(crate) async fn drive(self: Rc<Self>) {
        let mut last_work = Instant::now();
        loop {
            let worked = self.turn();
            if worked {
                last_work = Instant::now();
            }
            if self.stopping.get() && !worked && self.flights.borrow().in_kernel() == 0 {
                break;
            }
            if worked || last_work.elapsed() < LINGER || !self.fall_asleep() {
                self.make_way().await;
                continue;
            }
            bump(&self.counters.sleeps, 1);
            let mut waiting = false;
            poll_fn(|cx| {
                if waiting && self.parked.borrow().is_none() {
                    return Poll::Ready(());
                }
                waiting = true;
                self.watch.driver_sleeps(true);
                *self.parked.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
            self.bell.wake_up();
            self.watch.look_at_usage();
            self.ring.borrow_mut().signal_completions(false);
        }
        self.stopped.set(true);
    }

    /// Lets all other ready tasks run, the driver among them if I/O is due, and glommio poll its rings,
    /// timers and foreign wakes if it has not for a while: it does so only when nothing is ready, so
    /// everybody who yields must wait for a timer then.
    pub(crate) async fn make_way(&self) {
        if self.parked.borrow().is_some() && (self.ring.borrow_mut().is_ready() || self.bell.is_rung()) {
            self.kick();
        }
        let now = Instant::now();
        if now - self.glommio_polled.get() >= POLL_EVERY && wait_for_a_poll().await {
            self.glommio_polled.set(Instant::now());
            self.watch.was_away(now.elapsed());
            self.watch.look_at_usage();
        } else {
            glommio::executor().yield_task_queue_now().await;
        }
    }

    /// True if anything happened, so that tasks may have become ready.
    fn turn(self: &Rc<Self>) -> bool {
        let now = Instant::now();
        let took = self.turn_began.replace(Some(now)).map(|began| now - began);
        self.watch.turn_ended(took, self.turn_worked.take());
        bump(&self.counters.turns, 1);
        self.feed_starved();
        let mut submitted = 0;
        if self.ring.borrow_mut().has_work() || self.left_over.take() {
            bump(&self.counters.enters, 1);
            submitted = self.ring.borrow_mut().enter().expect("io_uring_enter");
            self.watch.entered(now.elapsed());
        }
        let completed = self.reap();
        let rung = self.bell.take();
        if rung {
            self.look_at_inboxes();
        }
        let worked = submitted + completed > 0 || rung;
        self.turn_worked.set(worked);
        worked
    }

    pub(crate) fn vital_signs(&self) -> VitalSigns {
        VitalSigns {
            turns: self.counters.turns.get(),
            enters: self.counters.enters.get(),
            completions: self.counters.completions.get(),
            sleeps: self.counters.sleeps.get(),
            stalls: self.watch.stalls(),
            preempted: self.watch.preempted(),
            longest_turn: self.watch.longest_turn(),
            pool_empty: self.counters.pool_empty.get(),
            turn_ns: self.watch.turn_ns(),
        }
    }

    fn feed_starved(&self) {
        // Not in the loop's head: what is borrowed there stays borrowed in the loop.
        let waiting = self.starved.borrow().len();
        for _ in 0..waiting {
            if self.bufs.posted() == 0 {
                break;
            }
            let next = self.starved.borrow_mut().pop_front();
            if let Some(stream) = next.and_then(|stream| stream.upgrade()) {
                stream.receive_again();
            }
        }
    }

    fn look_at_inboxes(&self) {
        let inboxes = self.inboxes.borrow().clone();
        for inbox in inboxes.iter().filter_map(Weak::upgrade) {
            inbox.look();
        }
    }

    fn reap(self: &Rc<Self>) -> usize {
        const BATCH: usize = 64;
        let mut batch = [Completion { token: 0, result: 0, flags: 0 }; BATCH];
        let mut total = 0;
        loop {
            let taken = self.ring.borrow_mut().take(&mut batch);
            for completion in &batch[..taken] {
                self.complete(*completion);
            }
            total += taken;
            if taken < BATCH {
                bump(&self.counters.completions, total as u64);
                return total;
            }
        }
    }

    fn complete(self: &Rc<Self>, completion: Completion) {
        if completion.token == UNWATCHED {
            return;
        }
        let token = Token::from_raw(completion.token);
        let more = cqueue::more(completion.flags);
        let mut flights = self.flights.borrow_mut();
        let flight = flights.get(token);
        match &mut flight.op {
            Op::Accept { listener, .. } => {
                let listener = listener.upgrade();
                if !more {
                    flights.remove(token);
                }
                drop(flights);
                crate::accept::completed(listener, completion.result, more);
            }
            Op::Recv { stream, .. } => {
                let stream = stream.upgrade();
                let ended = if more { None } else { Some(flights.remove(token)) };
                drop(flights);
                let buffer = cqueue::buffer_select(completion.flags);
                crate::stream::completed(self, stream, completion.result, buffer, more);
                drop(ended);
            }
            Op::Send(send) => {
                // A stream sends again only while somebody waits for it; see `send.rs`.
                let again = matches!(flight.phase, Phase::Waiting(_)) && send.goes_on(completion.result);
                let result = send.result(completion.result);
                drop(flights);
                if again { self.push(token) } else { self.finish(token, result) }
            }
            _ => {
                drop(flights);
                self.finish(token, completion.result);
            }
        }
    }

    fn finish(&self, token: Token, result: i32) {
        let mut flights = self.flights.borrow_mut();
        match std::mem::replace(&mut flights.get(token).phase, Phase::Done(result)) {
            Phase::Waiting(waker) => {
                drop(flights);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Phase::Detached => {
                let ended = flights.remove(token);
                drop(flights);
                drop(ended);
            }
            Phase::Done(_) | Phase::Streaming => unreachable!("one completion for a single operation"),
        }
    }

    /// Sleep is safe: from here on completions and other threads signal the eventfd, and nothing was
    /// left before.
    fn fall_asleep(&self) -> bool {
        self.turn_began.set(None);
        let mut ring = self.ring.borrow_mut();
        ring.signal_completions(true);
        if self.bell.fall_asleep() {
            if !ring.has_work() && ring.is_quiet().expect("poll of the ring") {
                return true;
            }
            self.left_over.set(true);
            self.bell.wake_up();
        }
        ring.signal_completions(false);
        false
    }

    /// Ends all operations and then the driver task. True when the kernel is done with all memory.
    pub(crate) async fn stop(&self) -> bool {
        self.stopping.set(true);
        let tokens = self.flights.borrow().tokens();
        for token in tokens {
            self.cancel(token);
        }
        self.kick();
        let began = Instant::now();
        while !self.stopped.get() && began.elapsed() < Duration::from_secs(5) {
            glommio::timer::sleep(Duration::from_micros(200)).await;
            self.kick();
        }
        self.stopped.get()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.stopped.get() && self.flights.borrow().in_kernel() > 0 {
            // The kernel may still write to these buffers: the memory is given up, not freed.
            tracing::warn!("operations outlived their core; their memory is leaked");
            return;
        }
        // SAFETY: dropped once, here, and not used afterwards; nothing is in flight.
        unsafe {
            ManuallyDrop::drop(&mut self.ring);
            ManuallyDrop::drop(&mut self.flights);
            ManuallyDrop::drop(&mut self.bufs);
        }
    }
}

/// Waits until glommio has processed its timers. False if it did not wait: a timer that is due when it
/// is first looked at never gets there.
async fn wait_for_a_poll() -> bool {
    let mut timer = glommio::timer::Timer::new(Duration::from_micros(1));
    let mut waited = false;
    poll_fn(|cx| {
        let due = Pin::new(&mut timer).poll(cx);
        waited |= due.is_pending();
        due
    })
    .await;
    waited
}

/// An operation with one completion. Dropped early, the operation runs on, detached.
pub(crate) struct InFlight {
    driver: Rc<Driver>,
    token: Token,
    finished: bool,
}

impl Future for InFlight {
    /// The kernel's result and the operation, with its memory.
    type Output = (i32, Op);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.finished, "polled after its end");
        let mut flights = self.driver.flights.borrow_mut();
        match &mut flights.get(self.token).phase {
            Phase::Done(result) => {
                let result = *result;
                let Flight { op, .. } = flights.remove(self.token);
                drop(flights);
                self.finished = true;
                Poll::Ready((result, op))
            }
            Phase::Waiting(waker) => {
                match waker {
                    Some(known) if known.will_wake(cx.waker()) => {}
                    _ => *waker = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            Phase::Detached | Phase::Streaming => unreachable!("its future is here"),
        }
    }
}

impl InFlight {
    pub(crate) fn token(&self) -> Token {
        self.token
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let mut flights = self.driver.flights.borrow_mut();
        let flight = flights.get(self.token);
        if matches!(flight.phase, Phase::Done(_)) {
            let ended = flights.remove(self.token);
            drop(flights);
            drop(ended);
            return;
        }
        let waker = std::mem::replace(&mut flight.phase, Phase::Detached);
        let cancel = matches!(flight.op, Op::Connect { .. } | Op::ReadCounter { .. });
        drop(flights);
        drop(waker);
        if cancel {
            self.driver.cancel(self.token);
        }
    }
}

/// A negative result is an errno.
pub(crate) fn check(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
