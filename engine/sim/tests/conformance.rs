//! The simulated `Env` keeps every promise of the seam, whatever order the seed draws.

use std::time::Duration;

use ringmq_io::Disk;
use ringmq_io::Env;
use ringmq_io::conformance;
use ringmq_simenv::{Cut, Faults, World};

const SEEDS: u64 = 12;

#[test]
fn tasks_and_time() {
    for seed in 0..SEEDS * 10 {
        World::simulate(seed, |env| async move { conformance::tasks::all(&env).await });
    }
}

#[test]
fn disk_and_region() {
    for seed in 0..SEEDS * 4 {
        World::simulate(seed, |env| async move {
            env.disk().create_dir_all("/data".as_ref()).await.expect("a directory");
            conformance::disk::all(&env, "/data".as_ref()).await;
            conformance::region::all(&env, "/data".as_ref()).await;
        });
    }
}

#[test]
fn net() {
    for (seed, cut) in [(1, Cut::Whole), (2, Cut::Random), (3, Cut::Whole)] {
        let world = World::new(seed);
        let host = world.host("machine");
        let mut faults = Faults::none();
        faults.net.cut = cut;
        host.set_faults(faults);
        world.run(&host, |env| async move { conformance::net::all(&env).await });
    }
}

#[test]
fn mesh() {
    for seed in 0..SEEDS * 4 {
        for cores in [1, 2, 5] {
            let world = World::new(seed);
            let host = world.host("machine");
            host.start(cores, |env| async move { conformance::mesh::all(&env).await });
            assert!(world.run_until(|| !host.is_up(), Duration::from_secs(60)), "seed {seed}, {cores} cores");
        }
    }
}
