//! Pulls that wait for a message (long polling).
//!
//! Owns: the waiting pulls of this core's queues. One is answered by the first message that it wants, in the turn in
//! which that message's batch closed; or when its time is up; or never, when its connection is gone.
//! Layout: one slab; each hold is a link in three doubly linked lists: of its queue, of its connection, and of its
//! deadline's tick, so that a wake-up, a lost connection and a time-out each touch only their own, and 100,000 holds cost
//! memory only. Ticks are coarse (`TICK`), sorted in a map.
//! Invariants: a hold is in all three lists or in none; bounded by `HOLDS_PER_CORE_MAX`.
//! On failure: when full, the pull is answered at once with "not found", which the client takes as an empty poll.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashMap;
use ringmq_io::limits::{HOLDS_PER_CORE_MAX, HOLDS_PER_TURN};
use ringmq_io::sync::Event;
use ringmq_io::{Class, Env};
use ringmq_store::{Arrival, QueueRef, Shard};
use ringmq_transport::ConnId;
use slab::Slab;

use crate::core::Core;
use crate::handlers::pull_message::{Pull, answer_again};
use crate::reply::Responder;
use crate::stats::add;

/// Deadlines are rounded up to it. RocketMQ looks every 5 s.
const TICK: Duration = Duration::from_millis(250);

const NONE: u32 = u32::MAX;
const _: () = assert!(HOLDS_PER_CORE_MAX < NONE as usize);

#[derive(Clone, Copy)]
enum List {
    Queue = 0,
    Connection = 1,
    Tick = 2,
}

#[derive(Clone, Copy)]
struct Link {
    previous: u32,
    next: u32,
}

struct Hold<E: Env> {
    pull: Pull,
    responder: Responder<E>,
    conn: ConnId,
    tick: u64,
    links: [Link; 3],
}

struct Inner<E: Env> {
    holds: Slab<Hold<E>>,
    /// First hold of each queue, by shard and `QueueRef`; `NONE` without one.
    by_queue: Box<[Vec<u32>]>,
    by_connection: HashMap<ConnId, u32>,
    by_tick: BTreeMap<u64, u32>,
}

/// See the module.
pub struct Holds<E: Env> {
    inner: RefCell<Inner<E>>,
    /// Holds taken out and not yet answered, when one message wakes many.
    woken: RefCell<Vec<(Pull, Responder<E>)>>,
    answering: Cell<bool>,
    /// The first hold came in.
    some: Event,
}

impl<E: Env> Holds<E> {
    pub fn new(shards: u16) -> Self {
        Self {
            inner: RefCell::new(Inner {
                holds: Slab::new(),
                by_queue: (0..shards).map(|_| Vec::new()).collect(),
                by_connection: HashMap::new(),
                by_tick: BTreeMap::new(),
            }),
            woken: RefCell::default(),
            answering: Cell::new(false),
            some: Event::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.inner.borrow().holds.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Holds a pull until `deadline_ns`. Gives it back when there are too many.
    pub fn hold(
        &self,
        pull: Pull,
        responder: Responder<E>,
        deadline_ns: u64,
    ) -> Result<(), (Pull, Responder<E>)> {
        let mut inner = self.inner.borrow_mut();
        if inner.holds.len() >= HOLDS_PER_CORE_MAX {
            return Err((pull, responder));
        }
        inner.insert(pull, responder, deadline_ns.div_ceil(TICK.as_nanos() as u64));
        if inner.holds.len() == 1 {
            self.some.notify();
        }
        Ok(())
    }

    /// Takes out the holds of a queue that want its newest message, which has this tags code.
    fn take_matching(&self, shard: &Shard<E>, arrival: &Arrival) {
        let Arrival { queue, max_offset, tags_code } = *arrival;
        let mut inner = self.inner.borrow_mut();
        let head = inner.by_queue[usize::from(shard.id())].get(queue.index()).copied().unwrap_or(NONE);
        if head == NONE {
            return;
        }
        let mut woken = self.woken.borrow_mut();
        let mut at = head;
        while at != NONE {
            let hold = &inner.holds[at as usize];
            let next = hold.links[List::Queue as usize].next;
            if hold.pull.offset < max_offset && hold.pull.wants(shard, max_offset - 1, tags_code) {
                let hold = inner.remove(at);
                woken.push((hold.pull, hold.responder));
            }
            at = next;
        }
    }

    /// Takes out the holds of a group in a queue.
    pub fn take_group(&self, shard: u16, queue: QueueRef, group: &str) -> Vec<(Pull, Responder<E>)> {
        let mut inner = self.inner.borrow_mut();
        let mut at = inner.by_queue[usize::from(shard)].get(queue.index()).copied().unwrap_or(NONE);
        let mut taken = Vec::new();
        while at != NONE {
            let hold = &inner.holds[at as usize];
            let next = hold.links[List::Queue as usize].next;
            if *hold.pull.group.name == *group {
                let hold = inner.remove(at);
                taken.push((hold.pull, hold.responder));
            }
            at = next;
        }
        taken
    }

    /// Takes out the holds whose time is up.
    fn take_expired(&self, now_ns: u64) -> Vec<(Pull, Responder<E>)> {
        let now = now_ns / TICK.as_nanos() as u64;
        let mut expired = Vec::new();
        let mut inner = self.inner.borrow_mut();
        while let Some((tick, at)) = inner.by_tick.first_key_value().map(|(tick, at)| (*tick, *at)) {
            if tick > now || expired.len() == HOLDS_PER_TURN {
                break;
            }
            let hold = inner.remove(at);
            expired.push((hold.pull, hold.responder));
        }
        expired
    }

    /// Forgets the holds of a connection that is gone.
    pub fn drop_connection(&self, conn: ConnId) {
        loop {
            let mut inner = self.inner.borrow_mut();
            let Some(at) = inner.by_connection.get(&conn).copied() else { return };
            let hold = inner.remove(at);
            drop(inner);
            hold.responder.abandon();
        }
    }

    /// Forgets all holds: the broker ends, and clients see their connections close.
    pub fn abandon_all(&self) {
        let mut inner = self.inner.borrow_mut();
        let all: Vec<u32> = inner.holds.iter().map(|(at, _)| at as u32).collect();
        for at in all {
            inner.remove(at).responder.abandon();
        }
    }
}

impl<E: Env> Inner<E> {
    fn head(&mut self, list: List, hold: u32) -> u32 {
        let hold = &self.holds[hold as usize];
        match list {
            List::Queue => {
                let heads = &self.by_queue[usize::from(hold.pull.shard)];
                heads.get(hold.pull.queue.index()).copied().unwrap_or(NONE)
            }
            List::Connection => self.by_connection.get(&hold.conn).copied().unwrap_or(NONE),
            List::Tick => self.by_tick.get(&hold.tick).copied().unwrap_or(NONE),
        }
    }

    fn set_head(&mut self, list: List, hold: u32, head: u32) {
        let hold = &self.holds[hold as usize];
        match list {
            List::Queue => {
                let heads = &mut self.by_queue[usize::from(hold.pull.shard)];
                let queue = hold.pull.queue.index();
                if heads.len() <= queue {
                    heads.resize(queue + 1, NONE);
                }
                heads[queue] = head;
            }
            List::Connection if head == NONE => {
                self.by_connection.remove(&hold.conn);
            }
            List::Connection => {
                self.by_connection.insert(hold.conn, head);
            }
            List::Tick if head == NONE => {
                self.by_tick.remove(&hold.tick);
            }
            List::Tick => {
                self.by_tick.insert(hold.tick, head);
            }
        }
    }

    fn insert(&mut self, pull: Pull, responder: Responder<E>, tick: u64) {
        let conn = responder.conn();
        let nowhere = Link { previous: NONE, next: NONE };
        let hold = Hold { pull, responder, conn, tick, links: [nowhere; 3] };
        let at = self.holds.insert(hold) as u32;
        for list in [List::Queue, List::Connection, List::Tick] {
            let head = self.head(list, at);
            self.holds[at as usize].links[list as usize] = Link { previous: NONE, next: head };
            if head != NONE {
                self.holds[head as usize].links[list as usize].previous = at;
            }
            self.set_head(list, at, at);
        }
    }

    fn remove(&mut self, at: u32) -> Hold<E> {
        for list in [List::Queue, List::Connection, List::Tick] {
            let Link { previous, next } = self.holds[at as usize].links[list as usize];
            if next != NONE {
                self.holds[next as usize].links[list as usize].previous = previous;
            }
            if previous == NONE {
                self.set_head(list, at, next);
            } else {
                self.holds[previous as usize].links[list as usize].next = next;
            }
        }
        self.holds.remove(at as usize)
    }
}

impl<E: Env> Core<E> {
    /// Listens to the shards and starts the time-outs.
    pub(crate) fn start_holds(self: &Rc<Self>) {
        for local in self.local_shards() {
            let (core, shard) = (Rc::downgrade(self), local.shard.id());
            local.shard.set_append_listener(Rc::new(move |arrivals| {
                // Most of the time nobody waits; who begins to wait now knows of all these messages.
                if let Some(core) = core.upgrade()
                    && !core.holds.is_empty()
                    && let Some(local) = core.local(shard)
                {
                    for arrival in arrivals {
                        core.holds.take_matching(&local.shard, arrival);
                        core.answer_woken();
                    }
                }
            }));
        }
        self.env.spawn(Class::Foreground, self.clone().time_out_holds());
    }

    /// Answers what a message has woken: here and now if it is few, else in a task that lets others run in between.
    fn answer_woken(self: &Rc<Self>) {
        if self.answering_woken() {
            return;
        }
        let many = self.holds.woken.borrow().len() > HOLDS_PER_TURN;
        if many {
            self.holds.answering.set(true);
            let core = self.clone();
            self.env.spawn(Class::Foreground, async move {
                while core.answer_some_woken() {
                    core.env.yield_now().await;
                }
                core.holds.answering.set(false);
            });
        } else {
            self.answer_some_woken();
        }
    }

    /// A task works on it already.
    fn answering_woken(&self) -> bool {
        self.holds.answering.get() || self.holds.woken.borrow().is_empty()
    }

    /// `true`: there are more.
    fn answer_some_woken(self: &Rc<Self>) -> bool {
        for _ in 0..HOLDS_PER_TURN {
            let Some((pull, responder)) = self.holds.woken.borrow_mut().pop() else { return false };
            add(&self.counters.holds_woken, 1);
            answer_again(self, pull, responder);
        }
        true
    }

    async fn time_out_holds(self: Rc<Self>) {
        loop {
            while self.holds.is_empty() {
                self.holds.some.wait().await;
            }
            self.env.sleep(TICK).await;
            loop {
                let expired = self.holds.take_expired(self.env.monotonic_ns());
                if expired.is_empty() {
                    break;
                }
                for (pull, responder) in expired {
                    add(&self.counters.holds_timed_out, 1);
                    answer_again(&self, pull, responder);
                }
                self.env.yield_now().await;
            }
        }
    }
}
