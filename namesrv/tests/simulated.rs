//! The cases over the simulated world, and what a crash or a broken disk does to the KV configuration.

mod common;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use common::{Asker, Running, cases, until};
use ringmq_io::Env;
use ringmq_io::sync::Stop;
use ringmq_namesrv::{NamesrvConfig, start};
use ringmq_simenv::{CrashKind, Cut, World};

macro_rules! cases {
    ($($name:ident $(($($arg:expr),*))?;)*) => {$(
        #[test]
        fn $name() {
            for seed in 0..6 {
                let world = World::new(seed);
                let host = world.host("one");
                let mut faults = host.faults();
                faults.net.cut = if seed % 2 == 0 { Cut::Whole } else { Cut::Random };
                host.set_faults(faults);
                world.run(&host, |env| cases::$name(env, "/data".into() $(, $($arg),*)?));
            }
        }
    )*};
}

cases! {
    captured_requests_get_the_captured_answers;
    brokers_come_and_go_with_their_connections;
    silent_brokers_are_forgotten(60_000);
    bad_requests_are_refused_with_a_reason;
    long_lists_are_told_whole;
    topics_and_permissions_are_administered;
    kv_configuration_outlives_a_restart;
    settings_change_at_run_time_and_stay;
    a_taken_port_is_named;
}

const ADDR: &str = "0.0.0.0:9876";

async fn put<E: Env>(client: &Asker<E>, n: u32) -> (i32, String) {
    let (key, value) = (n.to_string(), format!("value {n}"));
    let answer = client.ask(100, &[("namespace", "n"), ("key", &key), ("value", &value)], &[]).await;
    (answer.code(), answer.remark())
}

/// What was acknowledged is there after any crash, at any point.
#[test]
fn acknowledged_entries_survive_a_crash() {
    let mut interrupted = 0;
    for seed in 0..60 {
        let world = World::new(seed);
        let (server, client) = (world.host("server"), world.host("client"));
        let serve = |server: &ringmq_simenv::Host| {
            server.start(1, |env| async move {
                let config = NamesrvConfig::new("/data");
                let handle = start(&env, config, ADDR.parse().unwrap(), Stop::new()).await.unwrap();
                handle.stopped().await;
            });
        };
        serve(&server);
        let acknowledged = Rc::new(Cell::new(0));
        let addr = (server.ip(), 9876).into();
        let counted = acknowledged.clone();
        client.start(1, move |env| {
            let counted = counted.clone();
            async move {
                let client = Asker::new(&env, addr);
                until(&env, "up", async || client.0.connection(Duration::from_secs(5)).await.is_ok()).await;
                for n in 1..100 {
                    assert_eq!(put(&client, n).await.0, 0);
                    counted.set(n);
                }
            }
        });
        let goal = world.rng("when").below(60) as u32;
        world.run_until(|| acknowledged.get() >= goal, Duration::from_secs(60));
        world.run_steps(world.rng("within").below(40));
        let known = acknowledged.get();
        let kind = if seed % 3 == 0 { CrashKind::Process } else { CrashKind::PowerLoss };
        server.crash(kind);
        client.crash(CrashKind::Process);
        interrupted += u32::from(known < 99);
        serve(&server);
        let seen = Rc::new(RefCell::new(String::new()));
        let slot = seen.clone();
        world.run(&client, move |env| async move {
            let client = Asker::new(&env, addr);
            until(&env, "up again", async || client.0.connection(Duration::from_secs(5)).await.is_ok()).await;
            let answer = client.ask(219, &[("namespace", "n")], &[]).await;
            *slot.borrow_mut() =
                if known == 0 && answer.code() == 22 { String::new() } else { answer.ok().text() };
        });
        for n in 1..=known {
            let entry = format!(r#""{n}":"value {n}""#);
            assert!(seen.borrow().contains(&entry), "seed {seed}: {n} of {known} lost: {}", seen.borrow());
        }
    }
    assert!(interrupted > 50, "only {interrupted} crashes came in the middle");
}

/// A change that is not on disk is not acknowledged, and the next one that can be written takes it along.
#[test]
fn a_broken_disk_refuses_changes_until_it_works_again() {
    let world = World::new(7);
    let host = world.host("one");
    let (at, broken) = (host.clone(), host.faults());
    world.run(&host, |env| async move {
        let running = Running::start(&env, Path::new("/data"), "").await;
        let client = running.client();
        assert_eq!(put(&client, 1).await.0, 0);
        let working = broken.clone();
        let mut broken = broken;
        broken.disk.no_space = 1.0;
        at.set_faults(broken);
        let (code, remark) = put(&client, 2).await;
        assert!(
            code == 1 && remark.contains("changed in memory but not on disk: /data/namesrv/kvConfig.json"),
            "{remark}"
        );
        at.set_faults(working);
        assert_eq!(put(&client, 3).await.0, 0);
        running.stop().await;
        let running = Running::start(&env, Path::new("/data"), "").await;
        let table = running.client().ask(219, &[("namespace", "n")], &[]).await.ok().text();
        assert_eq!(table, r#"{"table":{"1":"value 1","2":"value 2","3":"value 3"}}"#);
        running.stop().await;
    });
}

#[test]
fn a_damaged_file_stops_the_start() {
    let world = World::new(8);
    let host = world.host("one");
    world.run(&host, |env| async move {
        let running = Running::start(&env, Path::new("/data"), "").await;
        assert_eq!(put(&running.client(), 1).await.0, 0);
        running.stop().await;
    });
    // No JSON, no text, and no table.
    for damage in [b"\0\0", b"\xc3(", b"mm"] {
        host.damage_file("/data/namesrv/kvConfig.json", 3, damage);
        world.run(&host, |env| async move {
            let result = start(&env, NamesrvConfig::new("/data"), ADDR.parse().unwrap(), Stop::new()).await;
            let message = result.err().expect("no start").to_string();
            assert!(
                message.starts_with("name server cannot read its files: /data/namesrv/kvConfig.json: "),
                "{message}"
            );
            assert!(message.ends_with("; repair the file or move it away"), "{message}");
        });
    }
}
