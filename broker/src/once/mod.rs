//! Topics that take each message once: has a message with this unique key been stored a short while ago?
//!
//! A topic opts in with the attribute `ringmq.dedup.window`. A producer that did not hear of its send sends again, to another
//! queue, so perhaps to another shard; so each unique key has a home core, by its hash, which knows where a message with it was
//! stored, and grants the right to store one to one send at a time (`claim`). The send then goes its ordinary way.
//!
//! Owns: the windows of this core, the claims it has granted. Invariants: a claim ends exactly once; a key that is not granted
//! and not known was not stored within the window; the keys of all windows of a core are bounded by `dedupKeysPerCore`,
//! beyond which a new message is refused, and one that is known answered all the same.
//! What is known is only a hash and a place: the message there is looked at before a send is taken for a repetition.
//! On failure: windows die with the process. One that is opened reads what the log's index has of its time first; sends wait.

mod claim;
mod earlier;
mod window;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use hashbrown::HashMap;
use ringmq_io::limits::{APPEND_WAIT_MS_MAX, STORE_ITEMS_PER_TURN};
use ringmq_io::{Class, Env};
use ringmq_store::RecentKey;
use ringmq_wire::code::response_code;

use crate::ask::{Answer, Question};
use crate::core::Core;
use crate::hop::CoreMessage;
use crate::reply::Refusal;
pub use claim::{Claim, ClaimName};
pub use earlier::{Earlier, Sought};
use window::{Found, Keys, Reading, Window};

/// How often keys whose time is over are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// What the home of a key says to a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody has stored it: store it, and say so.
    Store(ClaimName),
    /// Look at the message there: it is the same, unless two keys have one hash.
    Look { physical: u64 },
}

/// The windows of one core.
#[derive(Default)]
pub struct Once {
    windows: RefCell<HashMap<Box<str>, Rc<Window>>>,
    /// Granted and not ended.
    claims: RefCell<HashMap<u64, (Rc<Window>, u64)>>,
    last: Cell<u64>,
    /// Keys of all windows.
    keys: Cell<usize>,
    forgetting: Cell<bool>,
}

impl Once {
    /// Every change of a window's keys goes this way, so that they are counted.
    fn change<R>(&self, window: &Window, change: impl FnOnce(&mut Keys) -> R) -> R {
        let mut keys = window.keys.borrow_mut();
        let before = keys.count();
        let outcome = change(&mut keys);
        if !window.gone.get() {
            self.keys.set(self.keys.get() + keys.count() - before);
        }
        outcome
    }

    fn grant(&self, window: &Rc<Window>, hash: u64) -> u64 {
        let number = self.last.get() + 1;
        self.last.set(number);
        self.claims.borrow_mut().insert(number, (window.clone(), hash));
        number
    }

    fn end(&self, number: u64, stored: Option<(u64, i64)>) {
        let claim = self.claims.borrow_mut().remove(&number);
        debug_assert!(claim.is_some(), "claim {number} ended twice");
        if let Some((window, hash)) = claim {
            self.change(&window, |keys| keys.end(hash, stored));
            window.moved.notify();
        }
    }

    /// Who needs the window again opens another.
    fn forget(&self, window: &Window) {
        if !window.gone.replace(true) {
            self.keys.set(self.keys.get() - window.keys.borrow().count());
            self.windows.borrow_mut().remove(&window.topic);
            window.moved.notify();
        }
    }
}

impl<E: Env> Core<E> {
    /// The core that knows a key of this hash.
    pub(crate) fn home_of_key(&self, hash: u64) -> usize {
        (hash % self.placement.cores() as u64) as usize
    }

    /// Asks the home of a key what to do with a message that has it. `not`: the message that was looked at is another.
    pub(crate) async fn claim(
        self: &Rc<Self>,
        topic: &str,
        window_ms: i64,
        hash: u64,
        not: Option<u64>,
    ) -> Result<Verdict, Refusal> {
        let question = Question::Claim { topic: topic.into(), window_ms, hash, not };
        match self.ask(self.home_of_key(hash), question).await {
            Answer::Claimed(verdict) => verdict,
            other => unreachable!("asked for a claim, was answered {other:?}"),
        }
    }

    /// This core is the key's home. Waits for a send with the same key that is under way.
    pub(crate) async fn claim_here(
        self: &Rc<Self>,
        topic: &str,
        window_ms: i64,
        hash: u64,
        not: Option<u64>,
    ) -> Result<Verdict, Refusal> {
        let busy = |what: String| Refusal::new(response_code::SYSTEM_BUSY, format!("[RINGMQ_BUSY] {what}"));
        let deadline = self.env.monotonic_ns() + APPEND_WAIT_MS_MAX * 1_000_000;
        loop {
            let window = self.window(topic, window_ms);
            let moved = window.moved.wait();
            let waits_for = match window.reading.get() {
                Reading::UnderWay => "the keys of the last messages are still being read from the log",
                Reading::TooMany => {
                    return Err(busy(format!(
                        "topic {topic} had more messages within its ringmq.dedup.window than one core remembers \
                         (dedupKeysPerCore {})",
                        self.once_keys_max()
                    )));
                }
                Reading::Done => {
                    let count = self.once.keys.get();
                    let room = count < self.once_keys_max();
                    match self.once.change(&window, |keys| keys.claim(hash, not, room)) {
                        Found::Full => {
                            return Err(busy(format!(
                                "this core remembers {count} unique keys already (dedupKeysPerCore): shorten \
                                 ringmq.dedup.window of topic {topic} or others"
                            )));
                        }
                        Found::New => {
                            let number = self.once.grant(&window, hash);
                            return Ok(Verdict::Store(ClaimName { home: self.env.core() as u16, number }));
                        }
                        Found::Stored { physical } => return Ok(Verdict::Look { physical }),
                        Found::UnderWay => "a send with the same unique key is still under way",
                    }
                }
            };
            let left = deadline.saturating_sub(self.env.monotonic_ns());
            if left == 0 {
                return Err(busy(format!("{waits_for}, for {APPEND_WAIT_MS_MAX} ms")));
            }
            moved.or(self.env.sleep(Duration::from_nanos(left))).await;
        }
    }

    fn once_keys_max(&self) -> usize {
        usize::try_from(self.config.dedup_keys_per_core).unwrap_or(usize::MAX)
    }

    /// Tells the home of a claim how it ended.
    pub(crate) fn tell_claim(&self, claim: ClaimName, stored: Option<u64>) {
        let home = usize::from(claim.home);
        if home == self.env.core() {
            self.end_claim(claim.number, stored);
        } else {
            self.hop.send(home, CoreMessage::ClaimEnded { number: claim.number, stored });
        }
    }

    pub(crate) fn end_claim(&self, number: u64, stored: Option<u64>) {
        let now = self.env.now_ms();
        self.once.end(number, stored.map(|physical| (physical, now)));
    }

    /// The window of a topic, opened if it is not open.
    fn window(self: &Rc<Self>, topic: &str, asked_ms: i64) -> Rc<Window> {
        // Who asks may know less than this core of a change.
        let known = self.tables.topic(topic).map(|topic| topic.settings.once_ms).filter(|ms| *ms > 0);
        let length_ms = known.unwrap_or(asked_ms);
        let mut windows = self.once.windows.borrow_mut();
        if let Some(window) = windows.get(topic) {
            let before = window.length_ms.replace(length_ms);
            if length_ms > before && window.reading.get() == Reading::Done {
                window.reading.set(Reading::UnderWay);
                self.env.spawn(Class::Background, self.clone().read_window(window.clone()));
            }
            return window.clone();
        }
        let window = Rc::new(Window::new(topic, length_ms));
        windows.insert(topic.into(), window.clone());
        self.env.spawn(Class::Background, self.clone().read_window(window.clone()));
        if !self.once.forgetting.replace(true) {
            self.env.spawn(Class::Background, self.clone().forget_keys());
        }
        window
    }

    /// Reads the keys of the window's time from the index of all shards.
    async fn read_window(self: Rc<Self>, window: Rc<Window>) {
        let mut reading = Reading::Done;
        loop {
            let length_ms = window.length_ms.get();
            let since_ms = self.env.now_ms() - length_ms;
            for core in 0..self.placement.cores() {
                let found = loop {
                    let question = Question::RecentKeys {
                        topic: window.topic.clone(),
                        since_ms,
                        home: self.env.core(),
                        max: self.once_keys_max().saturating_sub(self.once.keys.get()),
                    };
                    match self.ask(core, question).await {
                        Answer::RecentKeys(Ok(found)) => break found,
                        Answer::RecentKeys(Err(error)) => {
                            tracing::error!(topic = window.topic, %error, "keys of the last messages cannot be read");
                        }
                        other => unreachable!("asked for keys, was answered {other:?}"),
                    }
                    self.env.sleep(FORGET_EVERY).await;
                };
                match found {
                    Some(found) => {
                        for some in found.chunks(STORE_ITEMS_PER_TURN) {
                            self.once.change(&window, |keys| {
                                some.iter()
                                    .for_each(|key| keys.restore(key.hash, key.physical, key.store_time_ms));
                            });
                            self.env.yield_now().await;
                        }
                    }
                    None => reading = Reading::TooMany,
                }
            }
            // It may have been made longer meanwhile.
            if window.length_ms.get() <= length_ms {
                break;
            }
        }
        window.reading.set(reading);
        window.moved.notify();
        if reading == Reading::TooMany {
            tracing::warn!(topic = window.topic, "too many messages for the ringmq.dedup.window");
            // Looked at again when some of them are too old.
            self.env.sleep(FORGET_EVERY).await;
            self.once.forget(&window);
        }
    }

    /// Keys of the shards of this core that are at home on core `home`.
    pub(crate) async fn recent_keys_here(
        &self,
        topic: &str,
        since_ms: i64,
        home: usize,
        max: usize,
    ) -> std::io::Result<Option<Vec<RecentKey>>> {
        let mut found = Vec::new();
        // Of all messages a share is at home there; the bound is checked again below.
        let most = max.saturating_mul(self.placement.cores());
        for local in self.local_shards() {
            let Some(keys) = local.shard.recent_keys(topic, since_ms, most).await? else { return Ok(None) };
            for some in keys.chunks(STORE_ITEMS_PER_TURN) {
                found.extend(some.iter().filter(|key| self.home_of_key(key.hash) == home));
                self.env.yield_now().await;
            }
        }
        Ok((found.len() <= max).then_some(found))
    }

    /// Forgets what is older than its window, as long as there are windows.
    async fn forget_keys(self: Rc<Self>) {
        loop {
            self.env.sleep(FORGET_EVERY).await;
            let windows: Vec<Rc<Window>> = self.once.windows.borrow().values().cloned().collect();
            if windows.is_empty() {
                self.once.forgetting.set(false);
                return;
            }
            for window in windows {
                let topic = self.tables.topic(&window.topic);
                if topic.is_none_or(|topic| topic.settings.once_ms == 0) {
                    self.once.forget(&window);
                    continue;
                }
                let ms = self.env.now_ms() - window.length_ms.get();
                while self.once.change(&window, |keys| keys.forget_before(ms, STORE_ITEMS_PER_TURN)) {
                    self.env.yield_now().await;
                }
            }
        }
    }
}
