//! Who makes changes at the same time shares a group; who is alone waits for nobody.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringmq_io::{Class, Env};
use ringmq_simenv::{Faults, SimEnv, World};

use super::book::{Book, Journal, SharedBook, append, open};

const WRITERS: u64 = 8;
const ROUNDS: u64 = 40;
/// Of each operation of a quick disk; a sync takes two of them.
const LATENCY_US: u64 = 20;

/// Appends and waits, again and again, as a client does that makes one topic after the other.
async fn take_turns(env: SimEnv, log: Journal, book: SharedBook) {
    for _ in 0..ROUNDS {
        let lsn = append(&env, &log, &book, 20);
        log.wait_durable(lsn).await.expect("no fault");
        env.sleep(Duration::from_micros(20 + env.random() % 200)).await;
    }
}

#[test]
fn those_who_come_again_share_a_group() {
    for seed in 0..20 {
        let world = World::new(seed);
        let host = world.host("broker");
        let book = Book::shared();
        world.run(&host, |env| async move {
            let log = open(&env, &book).await.expect("opens");
            let done = Rc::new(Cell::new(0));
            for _ in 0..WRITERS {
                let (turns, done) = (take_turns(env.clone(), log.clone(), book.clone()), done.clone());
                env.spawn(Class::Foreground, async move {
                    turns.await;
                    done.set(done.get() + 1);
                });
            }
            let mut groups = 0;
            while log.durable().get() < WRITERS * ROUNDS {
                log.durable().moved().await;
                groups += 1;
            }
            // One by one they would make two groups of each round: of who came first, and of the others.
            assert!(groups <= ROUNDS + ROUNDS / 4, "seed {seed}: {groups} groups in {ROUNDS} rounds");
            while done.get() < WRITERS {
                env.sleep(Duration::from_millis(1)).await;
            }
        });
    }
}

#[test]
fn somebody_who_is_alone_waits_for_nobody() {
    for seed in 0..20 {
        let world = World::new(seed);
        let host = world.host("broker");
        let book = Book::shared();
        let mut quick = Faults::none();
        quick.disk.latency_us = 1..=LATENCY_US;
        host.set_faults(quick);
        world.run(&host, |env| async move {
            let log = open(&env, &book).await.expect("opens");
            // The journal makes a spare file first.
            env.sleep(Duration::from_secs(1)).await;
            for _ in 0..ROUNDS {
                let began = env.monotonic_ns();
                let lsn = append(&env, &log, &book, 20);
                log.wait_durable(lsn).await.expect("no fault");
                let took = Duration::from_nanos(env.monotonic_ns() - began);
                assert!(took <= Duration::from_micros(4 * LATENCY_US), "seed {seed}: {took:?}");
            }
        });
    }
}
