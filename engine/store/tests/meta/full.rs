//! A disk without room, which passes, and one that fails, which does not.

use std::io;
use std::time::Duration;

use ringmq_io::Env;
use ringmq_simenv::{CrashKind, Faults, SimEnv, World};
use ringmq_store::meta::{NotDurable, Unwilling};

use super::book::{Book, Journal, SharedBook, append, open};

async fn wait_until(env: &SimEnv, what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if done() {
            return;
        }
        env.sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

fn acknowledge(book: &SharedBook, lsn: u64) {
    book.borrow_mut().acknowledged = lsn as usize;
}

/// Appends until the journal stalls; gives the first entry that was refused.
async fn fill(env: &SimEnv, log: &Journal, book: &SharedBook) -> u64 {
    loop {
        log.willing().expect("not stalled yet");
        let lsn = append(env, log, book, 3000);
        match log.durable_or_stalled(lsn).await {
            Ok(()) => acknowledge(book, lsn),
            Err(NotDurable::Stalled(stalled)) => {
                assert!(stalled.reason.contains("No space left on device"), "{stalled}");
                return lsn;
            }
            Err(NotDurable::Latched(latched)) => panic!("{latched}"),
        }
    }
}

/// Refuses with the reason while there is no room; `room` waits, and does not fail.
async fn is_stalled(log: &Journal) {
    let Err(Unwilling::Stalled(refusal)) = log.willing() else { panic!("{:?}", log.willing()) };
    assert_eq!(log.stalled().as_ref(), Some(&refusal));
    let text = refusal.to_string();
    assert!(text.contains("no room") && text.contains("No space left on device"), "{text}");
    assert_eq!(log.latched(), None);
    assert!(futures_lite::future::poll_once(log.room()).await.is_none(), "there is no room");
}

#[test]
fn a_full_disk_is_refused_with_its_reason_and_passes() {
    for seed in 0..20 {
        let world = World::new(seed);
        let host = world.host("broker");
        let book = Book::shared();
        let (machine, pages) = (host.clone(), book.clone());
        world.run(&host, |env| async move {
            let log = open(&env, &pages).await.expect("opens");
            wait_until(&env, "a spare", || machine.files().iter().any(|(path, _)| path.ends_with("spare")))
                .await;
            for _ in 0..2 {
                machine.leave_room(0);
                let refused = fill(&env, &log, &pages).await;
                is_stalled(&log).await;
                let done = log.durable().get();
                assert!(done < refused, "acknowledged without room");
                // Some time of retries does not change that.
                env.sleep(Duration::from_secs(3)).await;
                is_stalled(&log).await;
                assert_eq!(log.durable().get(), done);
                machine.set_capacity(1 << 40);
                log.room().await.expect("no latch");
                log.wait_durable(refused).await.expect("written when there is room");
                acknowledge(&pages, refused);
                assert_eq!(log.stalled(), None);
                let lsn = append(&env, &log, &pages, 10);
                log.durable_or_stalled(lsn).await.expect("as before");
                acknowledge(&pages, lsn);
            }
        });
        host.crash(CrashKind::PowerLoss);
        world.run(&host, |env| async move {
            open(&env, &book).await.expect("opens again");
        });
    }
}

/// File systems that copy on write have no room for a block that is there already.
#[test]
fn an_overwrite_without_room_passes_too() {
    for seed in 0..20 {
        let world = World::new(seed);
        let host = world.host("broker");
        let book = Book::shared();
        let (machine, pages) = (host.clone(), book.clone());
        world.run(&host, |env| async move {
            let log = open(&env, &pages).await.expect("opens");
            let first = append(&env, &log, &pages, 100);
            log.wait_durable(first).await.expect("durable");
            acknowledge(&pages, first);
            let mut full = Faults::none();
            full.disk.no_space = 1.0;
            machine.set_faults(full);
            let mut last = 0;
            for _ in 0..5 {
                last = append(&env, &log, &pages, 2000);
            }
            let stalled = log.durable_or_stalled(last).await;
            assert!(matches!(stalled, Err(NotDurable::Stalled(_))), "{stalled:?}");
            is_stalled(&log).await;
            // What is appended all the same keeps its place.
            last = append(&env, &log, &pages, 300);
            assert_eq!(log.durable().get(), first);
            machine.set_faults(Faults::none());
            log.wait_durable(last).await.expect("written when there is room");
            acknowledge(&pages, last);
            log.willing().expect("as before");
        });
        host.crash(CrashKind::PowerLoss);
        world.run(&host, |env| async move {
            open(&env, &book).await.expect("opens again");
        });
    }
}

/// A crash in a stall loses only what was not acknowledged.
#[test]
fn a_crash_in_a_stall_loses_nothing_acknowledged() {
    for seed in 0..40 {
        let world = World::new(seed);
        let host = world.host("broker");
        let book = Book::shared();
        let (machine, pages) = (host.clone(), book.clone());
        host.start(1, move |env| {
            let (machine, pages) = (machine.clone(), pages.clone());
            async move {
                let log = open(&env, &pages).await.expect("opens");
                let mut full = Faults::none();
                full.disk.no_space = if seed % 2 == 0 { 0.3 } else { 0.0 };
                machine.set_faults(full);
                machine.leave_room(0);
                fill(&env, &log, &pages).await;
                std::future::pending::<()>().await;
            }
        });
        world.run_for(Duration::from_micros(2000 + 700 * seed));
        host.crash(if seed % 3 == 0 { CrashKind::Process } else { CrashKind::PowerLoss });
        host.set_faults(Faults::none());
        host.set_capacity(1 << 40);
        world.run(&host, |env| async move {
            open(&env, &book).await.expect("opens again");
        });
    }
}

#[test]
fn a_failed_write_or_sync_latches_for_good() {
    for seed in 0..20 {
        let world = World::new(seed);
        let host = world.host("broker");
        let book = Book::shared();
        let (machine, pages) = (host.clone(), book.clone());
        world.run(&host, |env| async move {
            let log = open(&env, &pages).await.expect("opens");
            let first = append(&env, &log, &pages, 100);
            log.wait_durable(first).await.expect("durable");
            acknowledge(&pages, first);
            let mut broken = Faults::none();
            let operation = match seed % 2 {
                0 => {
                    broken.disk.write_error = 1.0;
                    "group of entries"
                }
                _ => {
                    broken.disk.sync_error = 1.0;
                    "fsync"
                }
            };
            machine.set_faults(broken);
            let second = append(&env, &log, &pages, 100);
            let Err(NotDurable::Latched(latched)) = log.durable_or_stalled(second).await else {
                panic!("acknowledged after a failed {operation}");
            };
            assert_eq!(latched.operation, operation);
            assert!(latched.to_string().contains(&io::Error::from_raw_os_error(5).to_string()), "{latched}");
            // A disk that works again does not say what it did with the failed write.
            machine.set_faults(Faults::none());
            env.sleep(Duration::from_secs(5)).await;
            assert_eq!(log.willing(), Err(Unwilling::Latched(latched.clone())));
            assert_eq!(log.room().await, Err(latched.clone()));
            let third = append(&env, &log, &pages, 100);
            assert_eq!(log.wait_durable(third).await, Err(latched));
            assert_eq!(log.durable().get(), first);
        });
        host.crash(CrashKind::Process);
        world.run(&host, |env| async move {
            let log = open(&env, &book).await.expect("opens again");
            log.willing().expect("a restart recovers");
        });
    }
}
