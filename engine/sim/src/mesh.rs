//! Lanes between the cores of one process. Lanes of one process are separate; a message is seen by its
//! receiver as soon as that runs, and the seed decides which lane is served first.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use ringmq_io::{Lanes, Mesh};

use crate::process::Process;

#[derive(Clone)]
pub struct SimMesh {
    process: Rc<Process>,
    core: usize,
    joins: Rc<Cell<usize>>,
}

impl SimMesh {
    pub(crate) fn new(process: Rc<Process>, core: usize) -> Self {
        Self { process, core, joins: Rc::default() }
    }
}

/// All lanes of one join.
struct Shared<T> {
    name: &'static str,
    depth: usize,
    /// `lanes[to][from]`.
    lanes: Vec<Vec<RefCell<VecDeque<T>>>>,
    ends: Vec<CoreEnd>,
    joined: Cell<usize>,
}

#[derive(Default)]
struct CoreEnd {
    gone: Cell<bool>,
    receiver: RefCell<Option<Waker>>,
}

impl CoreEnd {
    fn wake(&self) {
        if let Some(waker) = self.receiver.take() {
            waker.wake();
        }
    }
}

impl Mesh for SimMesh {
    type Lanes<T: Send + 'static> = SimLanes<T>;

    async fn join<T: Send + 'static>(&self, name: &'static str, depth: usize) -> SimLanes<T> {
        let cores = self.process.cores;
        let turn = self.joins.get();
        self.joins.set(turn + 1);
        let fresh = || Shared::<T> {
            name,
            depth,
            lanes: (0..cores).map(|_| (0..cores).map(|_| RefCell::default()).collect()).collect(),
            ends: (0..cores).map(|_| CoreEnd::default()).collect(),
            joined: Cell::new(0),
        };
        let shared: Rc<Shared<T>> = {
            let mut meshes = self.process.meshes.borrow_mut();
            assert!(turn <= meshes.len(), "joins of a core are numbered without a gap");
            if turn == meshes.len() {
                meshes.push(Rc::new(fresh()));
            }
            let of_another_type = "every core joins the same meshes in the same order";
            meshes[turn].clone().downcast().unwrap_or_else(|_| panic!("{of_another_type}"))
        };
        assert_eq!((shared.name, shared.depth), (name, depth), "every core joins the same meshes in order");
        shared.joined.set(shared.joined.get() + 1);
        self.process.mesh_joined.notify();
        let lanes = SimLanes {
            end: Rc::new(End { shared, core: self.core }),
            process: self.process.clone(),
            receiving: Rc::default(),
        };
        while lanes.end.shared.joined.get() < cores {
            self.process.mesh_joined.wait().await;
        }
        lanes
    }
}

/// Shared by the clones of one core's ends; its drop tells the peers.
struct End<T> {
    shared: Rc<Shared<T>>,
    core: usize,
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        self.shared.ends[self.core].gone.set(true);
        for end in &self.shared.ends {
            end.wake();
        }
    }
}

pub struct SimLanes<T> {
    end: Rc<End<T>>,
    process: Rc<Process>,
    receiving: Rc<Cell<bool>>,
}

impl<T> Clone for SimLanes<T> {
    fn clone(&self) -> Self {
        Self { end: self.end.clone(), process: self.process.clone(), receiving: self.receiving.clone() }
    }
}

impl<T: Send + 'static> Lanes<T> for SimLanes<T> {
    fn peers(&self) -> usize {
        self.process.cores
    }

    fn try_send(&self, to: usize, message: T) -> Result<(), T> {
        let (shared, from) = (&self.end.shared, self.end.core);
        assert_ne!(to, from, "a core has no lane to itself");
        if shared.ends[to].gone.get() || !self.process.runs() {
            return Err(message);
        }
        let mut lane = shared.lanes[to][from].borrow_mut();
        if lane.len() >= shared.depth {
            return Err(message);
        }
        lane.push_back(message);
        shared.ends[to].wake();
        Ok(())
    }

    fn waiting(&self, to: usize) -> usize {
        self.end.shared.lanes[to][self.end.core].borrow().len()
    }

    async fn recv(&self) -> Option<(usize, T)> {
        let busy = Busy::start(&self.receiving, "two tasks receive from one core's lanes");
        let (shared, me) = (&self.end.shared, self.end.core);
        let received = poll_fn(|cx| {
            let full: Vec<usize> =
                (0..self.process.cores).filter(|from| !shared.lanes[me][*from].borrow().is_empty()).collect();
            if !full.is_empty() {
                let from = full[self.process.inner.order.index(full.len())];
                let message = shared.lanes[me][from].borrow_mut().pop_front();
                return Poll::Ready(message.map(|message| (from, message)));
            }
            if (0..self.process.cores).all(|peer| peer == me || shared.ends[peer].gone.get()) {
                return Poll::Ready(None);
            }
            shared.ends[me].receiver.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        drop(busy);
        received
    }
}

/// Holds a flag while an operation that may not run twice at a time is under way.
pub(crate) struct Busy(Rc<Cell<bool>>);

impl Busy {
    pub fn start(flag: &Rc<Cell<bool>>, twice: &'static str) -> Self {
        assert!(!flag.replace(true), "{twice}");
        Self(flag.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
