//! Lanes between the cores: one bounded queue for every ordered pair.
//!
//! Not glommio's channel mesh: its receivers are woken only when the executor polls its rings, which a
//! busy core does every half millisecond; these are looked at every turn, and a full or empty lane
//! costs no allocation. Invariants: per lane the order is kept; a lane holds exactly `depth` messages;
//! a message that does not fit goes back to the sender. When a core ends, its lanes end with it.

use std::any::{Any, TypeId, type_name};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use crossbeam_queue::ArrayQueue;
use ringmq_io::{Lanes, Mesh};

use crate::doorbell::Doorbell;
use crate::driver::{Driver, Inbox};

struct Lane<T> {
    queue: ArrayQueue<T>,
    sender_gone: AtomicBool,
    receiver_gone: AtomicBool,
}

impl<T> Lane<T> {
    fn new(depth: usize) -> Self {
        Self {
            queue: ArrayQueue::new(depth),
            sender_gone: AtomicBool::new(false),
            receiver_gone: AtomicBool::new(false),
        }
    }
}

/// All lanes of one join: `lanes[from][to]`.
type Table<T> = Vec<Vec<Arc<Lane<T>>>>;

struct Joining {
    name: &'static str,
    depth: usize,
    kind: (TypeId, &'static str),
    /// `Arc<Table<T>>` of the kind.
    table: Arc<dyn Any + Send + Sync>,
    joined: Vec<bool>,
}

#[derive(Default)]
struct Board {
    /// By the order of the calls, the same on every core.
    joinings: Vec<Joining>,
    /// Cores that ended: nobody waits for them.
    gone: Vec<bool>,
}

/// What the cores of one `run` share.
pub(crate) struct MeshBoard {
    board: Mutex<Board>,
    bells: Vec<Arc<Doorbell>>,
}

impl MeshBoard {
    pub(crate) fn new(bells: Vec<Arc<Doorbell>>) -> Arc<Self> {
        let gone = vec![false; bells.len()];
        Arc::new(Self { board: Mutex::new(Board { joinings: Vec::new(), gone }), bells })
    }

    fn with<R>(&self, with: impl FnOnce(&mut Board) -> R) -> R {
        with(&mut self.board.lock().expect("never poisoned: a panic aborts"))
    }

    fn ring_others(&self, me: usize) {
        for (_, bell) in self.bells.iter().enumerate().filter(|(core, _)| *core != me) {
            bell.ring();
        }
    }

    /// Core `me` ends: peers that wait for it to join go on without it.
    pub(crate) fn leave(&self, me: usize) {
        self.with(|board| board.gone[me] = true);
        self.ring_others(me);
    }

    fn join<T: Send + 'static>(
        &self,
        me: usize,
        round: usize,
        name: &'static str,
        depth: usize,
    ) -> Arc<Table<T>> {
        let cores = self.bells.len();
        let kind = (TypeId::of::<T>(), type_name::<T>());
        let table = self.with(|board| {
            if board.joinings.len() == round {
                let lanes: Table<T> =
                    (0..cores).map(|_| (0..cores).map(|_| Arc::new(Lane::new(depth))).collect()).collect();
                let table = Arc::new(lanes);
                board.joinings.push(Joining { name, depth, kind, table, joined: vec![false; cores] });
            }
            let joining = &mut board.joinings[round];
            assert_eq!(
                (joining.name, joining.depth, joining.kind),
                (name, depth, kind),
                "all cores join the same lanes in the same order"
            );
            assert!(!std::mem::replace(&mut joining.joined[me], true), "core {me} joined {name} twice");
            joining.table.clone()
        });
        self.ring_others(me);
        table.downcast().expect("the kind was compared")
    }

    fn all_joined(&self, round: usize) -> bool {
        self.with(|board| {
            board.joinings[round].joined.iter().zip(&board.gone).all(|(joined, gone)| *joined || *gone)
        })
    }

    fn is_gone(&self, core: usize) -> bool {
        self.with(|board| board.gone[core])
    }
}

#[derive(Clone)]
pub struct UringMesh {
    pub(crate) driver: Rc<Driver>,
    pub(crate) board: Arc<MeshBoard>,
    pub(crate) me: usize,
    pub(crate) rounds: Rc<Cell<usize>>,
}

/// Wakes its task at every look.
#[derive(Default)]
struct Waiter(RefCell<Option<Waker>>);

impl Inbox for Waiter {
    fn look(&self) {
        let waker = self.0.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Mesh for UringMesh {
    type Lanes<T: Send + 'static> = UringLanes<T>;

    async fn join<T: Send + 'static>(&self, name: &'static str, depth: usize) -> UringLanes<T> {
        let round = self.rounds.replace(self.rounds.get() + 1);
        let table = self.board.join::<T>(self.me, round, name, depth);
        let waiter = Rc::new(Waiter::default());
        let inbox: Weak<dyn Inbox> = Rc::downgrade(&(waiter.clone() as Rc<dyn Inbox>));
        self.driver.add_inbox(inbox);
        let lanes = UringLanes(Rc::new(Ends {
            me: self.me,
            board: self.board.clone(),
            out: table[self.me].clone(),
            incoming: table.iter().map(|row| row[self.me].clone()).collect(),
            next: Cell::new(0),
            waiter: waiter.clone(),
        }));
        poll_fn(|cx| {
            // Stored before the look, so that a ring in between is not missed.
            *waiter.0.borrow_mut() = Some(cx.waker().clone());
            if self.board.all_joined(round) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        lanes
    }
}

struct Ends<T> {
    me: usize,
    board: Arc<MeshBoard>,
    out: Vec<Arc<Lane<T>>>,
    incoming: Vec<Arc<Lane<T>>>,
    /// Where the next receive begins to look, so that no peer is preferred.
    next: Cell<usize>,
    waiter: Rc<Waiter>,
}

/// This core's ends.
pub struct UringLanes<T>(Rc<Ends<T>>);

impl<T> Clone for UringLanes<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Ends<T> {
    fn pop(&self) -> Option<(usize, T)> {
        let peers = self.incoming.len();
        for step in 0..peers {
            let from = (self.next.get() + step) % peers;
            if from != self.me
                && let Some(message) = self.incoming[from].queue.pop()
            {
                self.next.set((from + 1) % peers);
                return Some((from, message));
            }
        }
        None
    }

    fn all_gone(&self) -> bool {
        let gone =
            |from: usize| self.incoming[from].sender_gone.load(Ordering::Acquire) || self.board.is_gone(from);
        (0..self.incoming.len()).all(|from| from == self.me || gone(from))
    }
}

impl<T: Send + 'static> Lanes<T> for UringLanes<T> {
    fn peers(&self) -> usize {
        self.0.out.len()
    }

    fn try_send(&self, to: usize, message: T) -> Result<(), T> {
        assert_ne!(to, self.0.me, "no lane leads to the own core");
        let lane = &self.0.out[to];
        if lane.receiver_gone.load(Ordering::Acquire) {
            return Err(message);
        }
        lane.queue.push(message)?;
        self.0.board.bells[to].ring();
        Ok(())
    }

    fn waiting(&self, to: usize) -> usize {
        self.0.out[to].queue.len()
    }

    async fn recv(&self) -> Option<(usize, T)> {
        poll_fn(|cx| {
            if let Some(found) = self.0.pop() {
                return Poll::Ready(Some(found));
            }
            *self.0.waiter.0.borrow_mut() = Some(cx.waker().clone());
            // Whoever is gone sent nothing after that: look at `gone` first, then once more at the lanes.
            let all_gone = self.0.all_gone();
            match self.0.pop() {
                Some(found) => Poll::Ready(Some(found)),
                None if all_gone => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
        .await
    }
}

impl<T> Drop for Ends<T> {
    fn drop(&mut self) {
        for lane in &self.out {
            lane.sender_gone.store(true, Ordering::Release);
        }
        for lane in &self.incoming {
            lane.receiver_gone.store(true, Ordering::Release);
            while lane.queue.pop().is_some() {}
        }
        self.board.ring_others(self.me);
    }
}
