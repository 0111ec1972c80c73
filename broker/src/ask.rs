//! Questions between cores, with answers.
//!
//! Owns: tickets of questions under way, and what can be asked. Invariants: each question is answered exactly once
//! (the core that is asked never forgets one); an answer finds its asker by ticket, or is dropped if the asker has
//! given up. On failure: an error on the asked core is part of the answer.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use hashbrown::HashMap;
use ringmq_store::{Indexed, QueueEnd, RecentKey};
use ringmq_transport::{ConnId, OwnedFrame};

use crate::client_call::{CallFailed, ClientCall};
use crate::control_plane::WantedTopic;
use crate::group_queue::GroupQueue;
use crate::lag_look::{Behind, Place};
use crate::once::{Earlier, Sought, Verdict};
use crate::own_message::{OwnMessage, StoredAt};
use crate::queue_look::{Look, Seen};
use crate::reply::Refusal;
use crate::snapshot::CoreSnapshot;
use crate::stats::CoreStats;
use crate::traffic::{Counted, Pulled};

/// What one core asks another.
#[derive(Clone, Debug)]
pub enum Question {
    /// Of the core of the queue's shard.
    Queue {
        topic: Box<str>,
        queue_id: u32,
    },
    /// Forget the topic's queues in all shards of the core that is asked.
    DropQueues {
        topic: Box<str>,
    },
    /// Retention shall look at all shards of the core that is asked, whatever the hour.
    Expire,
    /// Records by key in all shards of the core that is asked.
    Records {
        topic: Box<str>,
        key: Box<str>,
        begin_ms: i64,
        end_ms: i64,
        max: usize,
    },
    Stats,
    /// Of the core of the message's queue: store it, and answer when it is safe. Waits for room in the ring.
    Store(Box<OwnMessage>),
    /// Take a delayed message back, in all shards of the core that is asked.
    Recall {
        topic: Box<str>,
        key: Box<str>,
    },
    /// Of the home of a unique key with this hash: shall its message be stored?
    Claim {
        topic: Box<str>,
        window_ms: i64,
        hash: u64,
        not: Option<u64>,
    },
    /// Keys of the messages stored since a time in the shards of the core that is asked: of those at home on core `home`.
    RecentKeys {
        topic: Box<str>,
        since_ms: i64,
        home: usize,
        max: usize,
    },
    /// Of the core of the message's shard: is that what was sent?
    Earlier {
        physical: u64,
        sought: Box<Sought>,
    },
    /// Of the core of the shard.
    Record {
        shard: u16,
        physical: u64,
    },
    Snapshot,
    /// Rows of traffic, from a cursor on.
    Traffic {
        cursor: usize,
    },
    /// How far groups were given queues of the core that is asked, from a cursor on.
    Pulled {
        cursor: usize,
    },
    /// Where the queues of a shard of the core that is asked end, from a cursor on.
    QueueEnds {
        shard: u16,
        cursor: usize,
        most: usize,
    },
    /// When the oldest message of the shards of the core that is asked was stored.
    Earliest,
    /// Of the core of the queues' shards.
    LookAtQueues {
        topic: Box<str>,
        looks: Vec<Look>,
        /// Who has pulled how much of them is wanted too.
        group: Option<Box<str>>,
    },
    /// Of the core of the queues' shards: what a group is behind with that wants these tags codes, if not all.
    Lag {
        topic: Box<str>,
        places: Vec<Place>,
        tags: Option<Box<[i64]>>,
    },
    /// Of the core of the queue's shard: what its index has, from an offset on.
    Index {
        topic: Box<str>,
        queue_id: u32,
        from: u64,
        count: u32,
    },
    /// Of the core of the queue's shard: the first message at or after a time; negative: the queue's end.
    OffsetAt {
        topic: Box<str>,
        queue_id: u32,
        ms: i64,
    },
    /// Of the core of the queue's shard: the group's next pull is told this offset.
    SetReset {
        queue: GroupQueue,
        offset: u64,
    },
    /// Of the control core: a pull was told.
    ResetTold {
        queue: GroupQueue,
        offset: u64,
    },
    /// Of the control core.
    CreateTopic(WantedTopic),
    CreateGroup(Box<str>),
    /// A group's retry or dead letter topic.
    CreateGroupTopic {
        topic: Box<str>,
        queues: u32,
        unit_mode: bool,
    },
    /// The connection of a producer client.
    FindProducer {
        client_id: Box<str>,
    },
    /// Some connection of a producer group, another one each time.
    AnyProducer {
        group: Box<str>,
    },
    /// Of the connection's core.
    CallClient {
        conn: ConnId,
        call: Box<ClientCall>,
        timeout: Duration,
    },
    /// Does any client hold a lease on a queue for this group?
    HoldsLocks {
        group: Box<str>,
    },
}

/// State of one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    pub min: u64,
    pub max: u64,
    /// Message 0 is there and young (see `Shard::is_young`).
    pub young: bool,
}

#[derive(Clone, Debug)]
pub enum Answer {
    Queue(QueueState),
    Dropped(Result<(), String>),
    Records(Result<Vec<Vec<u8>>, String>),
    Stats(Box<CoreStats>),
    Snapshot(Box<CoreSnapshot>),
    /// With the cursor that goes on, if there are more.
    Traffic(Vec<Counted>, Option<usize>),
    Pulled(Vec<Pulled>, Option<usize>),
    QueueEnds(Vec<QueueEnd>, Option<usize>),
    Earliest(Result<Option<i64>, String>),
    Seen(Result<Vec<Seen>, String>),
    Lag(Result<Vec<Behind>, String>),
    /// With the queue's state; `None` if the queue never had a message.
    Index(Result<Option<(QueueState, Vec<Indexed>)>, String>),
    Created(Result<(), Refusal>),
    Offset(Result<u64, String>),
    Noted,
    Producer(Option<ConnId>),
    Called(Result<OwnedFrame, CallFailed>),
    Stored(Result<StoredAt, Refusal>),
    Record(Result<Option<Vec<u8>>, String>),
    HoldsLocks(bool),
    Recalled(Result<u64, Refusal>),
    Claimed(Result<Verdict, Refusal>),
    /// `None`: more than were asked for at most.
    RecentKeys(Result<Option<Vec<RecentKey>>, String>),
    Earlier(Result<Option<Earlier>, Refusal>),
}

#[derive(Default)]
struct Slot {
    answer: Cell<Option<Answer>>,
    waker: Cell<Option<Waker>>,
}

/// Questions of this core that wait for their answers. Numbers are never reused, so a late answer to a question that
/// was given up cannot answer another.
#[derive(Default)]
pub struct Tickets {
    slots: RefCell<HashMap<u64, Rc<Slot>>>,
    last: Cell<u64>,
}

impl Tickets {
    pub fn take(self: &Rc<Self>) -> Ticket {
        let slot = Rc::new(Slot::default());
        let number = self.last.get() + 1;
        self.last.set(number);
        self.slots.borrow_mut().insert(number, slot.clone());
        Ticket { tickets: self.clone(), slot, number }
    }

    pub fn answer(&self, number: u64, answer: Answer) {
        if let Some(slot) = self.slots.borrow().get(&number) {
            slot.answer.set(Some(answer));
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }
}

/// A question under way.
pub struct Ticket {
    tickets: Rc<Tickets>,
    slot: Rc<Slot>,
    pub number: u64,
}

impl Ticket {
    pub async fn answer(self) -> Answer {
        poll_fn(|cx| match self.slot.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                self.slot.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.tickets.slots.borrow_mut().remove(&self.number);
    }
}
