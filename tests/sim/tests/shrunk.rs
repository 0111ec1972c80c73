//! What a failing seed is shrunk to.

use ringmq_simenv::{CrashKind, World};
use sim::{BrokerPlan, Fault, Plan, superfluous};

#[test]
fn what_a_failure_needs_is_what_is_left() {
    let needs = [Fault::SyncErrors, Fault::PowerLosses];
    let fails = |out: &[Fault]| Ok::<_, ()>(needs.iter().all(|fault| !out.contains(fault)));
    let out = superfluous(fails).unwrap();
    assert_eq!(out.len(), 19);
    assert!(needs.iter().all(|fault| !out.contains(fault)));
}

#[test]
fn a_plan_without_anything_is_calm() {
    let everything = <Fault as clap::ValueEnum>::value_variants();
    let mut eventful = 0;
    for seed in 0..50 {
        let mut plan = Plan::drawn(&World::new(seed).rng("plan"));
        eventful += usize::from(plan.lives.iter().any(|life| !life.calm()));
        plan.leave_out(everything);
        assert!(plan.lives.len() == 1 && plan.lives[0].calm() && plan.lives[0].end == CrashKind::Process);
    }
    assert!(eventful > 10);
}

#[test]
fn a_brokers_plan_without_anything_is_calm() {
    let everything = <Fault as clap::ValueEnum>::value_variants();
    let mut eventful = [0; 3];
    for seed in 0..100 {
        let world = World::new(seed);
        let mut plan = BrokerPlan::drawn(&world.rng("broker plan"));
        plan.add_losses(&world.rng("broker losses"));
        eventful[0] += plan.lives.iter().filter(|life| life.rot).count();
        eventful[1] += plan.lives.iter().filter(|life| life.room.is_some()).count();
        eventful[2] += plan.lives.iter().filter(|life| !life.loses_nothing()).count();
        plan.leave_out(everything);
        let [life] = &plan.lives[..] else { panic!("{} lives", plan.lives.len()) };
        assert!(life.calm() && life.loses_nothing() && life.cuts.is_empty(), "seed {seed}: {life:?}");
    }
    assert!(eventful.iter().all(|count| *count > 10), "{eventful:?}");
}
