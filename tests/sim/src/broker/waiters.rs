//! Clients whose messages are not seen at once: producers of delayed messages, and of transactions.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::{Class, Env};
use ringmq_simenv::SimEnv;
use ringmq_transport::Client;
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::message::sys_flag;
use ringmq_wire::message_id::decode_offset_id;

use super::books::body;
use super::clients::{SEND_TIMEOUT, connect, now, read_all};
use super::plan::QUEUES;
use super::waits::{Kind, Waits};
use super::wire::{self, Message, property};

pub type SharedWaits = Rc<RefCell<Waits>>;

const PRODUCERS: usize = 2;
/// A producer sends a delayed message so often if it hears nothing.
const SEND_TRIES: u32 = 2;
/// Longest delay.
const DELAY_MAX_MS: u64 = 1500;

/// Sends for as long as the process lives.
pub fn run(env: &SimEnv, addr: SocketAddr, waits: &SharedWaits) {
    let client = connect(env, addr, &Rc::default());
    for _ in 0..PRODUCERS {
        env.spawn(Class::Foreground, delay(env.clone(), client.clone(), waits.clone()));
        env.spawn(Class::Foreground, transact(env.clone(), client.clone(), waits.clone()));
    }
}

async fn delay(env: SimEnv, client: Rc<Client<SimEnv>>, waits: SharedWaits) {
    loop {
        env.sleep(Duration::from_micros(env.random() % 60_000)).await;
        let number = waits.borrow_mut().new_message(Kind::Delayed);
        let bytes = body(number);
        let properties = match env.random() % 3 {
            0 => property("DELAY", "1"),
            1 => property("TIMER_DELAY_MS", &(1 + env.random() % DELAY_MAX_MS).to_string()),
            _ => {
                let due = env.now_ms() + (env.random() % DELAY_MAX_MS) as i64;
                property("TIMER_DELIVER_MS", &due.to_string())
            }
        };
        for _ in 0..SEND_TRIES {
            let message = Message {
                topic: Kind::Delayed.topic(),
                queue: env.random() as usize % QUEUES,
                properties: &properties,
                sys_flag: 0,
                body: &bytes,
            };
            let since = waits.borrow_mut().asking(Kind::Delayed, number);
            let Ok(answer) = wire::send(&client, &message, SEND_TIMEOUT).await else { continue };
            if answer.command().code == response_code::SUCCESS {
                waits.borrow_mut().promised(Kind::Delayed, number, since, now(&env));
                break;
            }
        }
    }
}

/// Begins transactions, and commits some, takes some back, and forgets some.
async fn transact(env: SimEnv, client: Rc<Client<SimEnv>>, waits: SharedWaits) {
    loop {
        env.sleep(Duration::from_micros(env.random() % 60_000)).await;
        let number = waits.borrow_mut().new_message(Kind::Transaction);
        let message = Message {
            topic: Kind::Transaction.topic(),
            queue: env.random() as usize % QUEUES,
            properties: &(property("TRAN_MSG", "true") + &property("PGROUP", wire::PRODUCERS)),
            sys_flag: sys_flag::TRANSACTION_PREPARED,
            body: &body(number),
        };
        let Ok(half) = wire::send(&client, &message, SEND_TIMEOUT).await else { continue };
        let half = half.command();
        let fate = match env.random() % 3 {
            0 => sys_flag::TRANSACTION_ROLLBACK,
            _ => sys_flag::TRANSACTION_COMMIT,
        };
        if half.code != response_code::SUCCESS || env.random().is_multiple_of(4) {
            continue;
        }
        let place =
            half.ext.get("msgId").and_then(|id| decode_offset_id(id).ok()).expect("the id of a place");
        let (offset, physical) = (half.ext.get("queueOffset").expect("an offset"), place.1.to_string());
        let fields = [
            ("producerGroup", wire::PRODUCERS),
            ("tranStateTableOffset", offset),
            ("commitLogOffset", &physical),
            ("commitOrRollback", &fate.to_string()),
            ("fromTransactionCheck", "false"),
        ];
        let since = (fate == sys_flag::TRANSACTION_COMMIT)
            .then(|| waits.borrow_mut().asking(Kind::Transaction, number));
        let ended = wire::ask(&client, request_code::END_TRANSACTION, &fields, &[], SEND_TIMEOUT).await;
        let is_ended = ended.is_ok_and(|answer| answer.command().code == response_code::SUCCESS);
        if let Some(since) = since.filter(|_| is_ended) {
            waits.borrow_mut().promised(Kind::Transaction, number, since, now(&env));
        }
    }
}

/// Everything that is seen so far, compared. Gives those of a kind that were promised and are not there yet, or what the broker
/// refuses.
pub async fn look(client: &Client<SimEnv>, waits: &SharedWaits, kind: Kind) -> Result<Vec<u64>, String> {
    let (mut seen, mut is_cut) = (Vec::new(), false);
    for queue in 0..QUEUES {
        let found = read_all(client, kind.topic(), queue, wire::seen).await?;
        is_cut |= found.min > 0;
        seen.extend(found.messages.into_values());
    }
    Ok(waits.borrow_mut().audit(kind, &seen, is_cut))
}

/// A broker that nothing disturbs, and by whose clock everything that was sent is due, delivers it within so many seconds.
pub async fn all_come(env: SimEnv, addr: SocketAddr, waits: SharedWaits, patience: u32) {
    let client = connect(&env, addr, &Rc::default());
    // Meanwhile clients go on.
    let counts = Kind::ALL.map(|kind| waits.borrow().count(kind));
    let mut missing = BTreeMap::new();
    for _ in 0..patience {
        env.sleep(Duration::from_secs(1)).await;
        for (kind, count) in Kind::ALL.into_iter().zip(counts) {
            let mut of_kind = look(&client, &waits, kind).await.unwrap_or_else(|refused| panic!("{refused}"));
            of_kind.retain(|number| *number < count);
            missing.insert(kind.topic(), of_kind);
        }
        if missing.values().all(Vec::is_empty) {
            return;
        }
    }
    panic!("promised, and lost: {missing:?}");
}
