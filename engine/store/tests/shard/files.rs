//! Real files through `UringEnv`: a store that is killed (its executor ends without a shutdown) and opened again.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::support::{
    LIMITS, Model, Promise, SharedModel, acknowledged, append, open, parts, read_all, small_config, stored,
    tagged, verify,
};
use futures_lite::FutureExt;
use ringmq_io::{Class, Env};
use ringmq_store::{Arrival, OpenError, ReadLimits, ReadOutcome, Shard, StoreConfig};
use ringmq_uring::UringEnv;
use ringmq_wire::message::records;

const QUEUE: crate::support::QueueName = ("smoke", 3);

/// A store of its own whose ring is beside it, so that nothing outside of the directory is left behind. How full the
/// disk of the machine is does not matter to it.
fn config(dir: &Path) -> StoreConfig {
    let mut config = StoreConfig { ring_dir: Some(dir.join("ring")), ..small_config(dir.join("data")) };
    config.retention.clean_forcibly = false;
    config.retention.refuse_ratio = 1.0;
    config
}

fn run<T: Send + 'static, F: Future<Output = T> + 'static>(
    main: impl Fn(UringEnv) -> F + Send + Clone + 'static,
) -> T {
    ringmq_uring::run(1, main).expect("io_uring is there").pop().expect("one core")
}

async fn send(shard: &Shard<UringEnv>, model: &SharedModel, bodies: std::ops::Range<u32>, sync: bool) {
    let queue = shard.queue(QUEUE.0, QUEUE.1);
    for number in bodies {
        let body = number.to_be_bytes().repeat(64);
        let record = parts(QUEUE.0, &body, "TAGS\u{1}t\u{2}");
        let appended =
            append(shard, queue, &[tagged(record, i64::from(number % 3))]).await.expect("appended");
        let bytes =
            stored(&record, QUEUE.1, appended.queue_offset, appended.physical, appended.store_time_ms);
        model.borrow_mut().promise(QUEUE, appended.queue_offset, Promise { bytes, durable: sync });
        if number.is_multiple_of(50) {
            assert!(acknowledged(shard, appended.end, sync).await);
        }
    }
    let end = shard.stats().log_end;
    assert!(acknowledged(shard, end, sync).await);
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().into();
    run(move |env| {
        let config = config(&path);
        async move {
            let (_handle, shard, report) = open(&env, &config).await.unwrap();
            assert_eq!((report.end, report.epoch), (0, 1));
            let model = Rc::new(RefCell::new(Model::default()));
            send(&shard, &model, 0..3000, false).await;
            send(&shard, &model, 3000..3050, true).await;
            assert!(shard.stats().segments >= 2, "{:?}", shard.stats());
            verify(&shard, &model).await.unwrap();
        }
    });
    let path: PathBuf = dir.path().into();
    run(move |env| {
        let config = config(&path);
        async move {
            let (_handle, shard, report) = open(&env, &config).await.unwrap();
            assert_eq!(report.epoch, 2);
            let found = read_all(&shard, QUEUE).await.unwrap();
            assert_eq!(found.len(), 3050);
            for (offset, bytes) in &found {
                let record = records(bytes).next().unwrap().unwrap();
                assert_eq!(record.body, (*offset as u32).to_be_bytes().repeat(64));
            }
            let model = Rc::new(RefCell::new(Model::default()));
            send(&shard, &model, 3050..3060, true).await;
            assert_eq!(shard.bounds(shard.queue(QUEUE.0, QUEUE.1)).max, 3060);
            shard.shutdown().await.unwrap();
        }
    });
}

#[test]
fn filters_limits_and_outcomes() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().into();
    run(move |env| {
        let config = config(&path);
        async move {
            let (_handle, shard, _) = open(&env, &config).await.unwrap();
            let queue = shard.queue(QUEUE.0, QUEUE.1);
            assert!(matches!(
                shard.read_legible(queue, 0, &LIMITS, |_| true).await.unwrap(),
                ReadOutcome::Empty
            ));
            let model = Rc::new(RefCell::new(Model::default()));
            send(&shard, &model, 0..300, false).await;
            let found = |offset, limits: &ReadLimits, tag: i64| match shard
                .read(queue, offset, limits, |t| t == tag)
            {
                ReadOutcome::Found(plan) => {
                    assert!(plan.is_hot());
                    (plan.messages, plan.next_offset)
                }
                _ => panic!("nothing at {offset}"),
            };
            assert_eq!(found(0, &LIMITS, 1), (32, 97), "tags 0, 1, 2 in turn: the 33rd match is at 97");
            let one_byte = ReadLimits { max_bytes_hot: 1, ..LIMITS };
            assert_eq!(found(0, &one_byte, 1), (1, 4), "one message whatever its size");
            let short = ReadLimits { scan_entries: 9, ..LIMITS };
            assert_eq!(found(0, &short, 2), (3, 9));
            let outcome = shard.read_legible(queue, 0, &short, |t| t == 9).await.unwrap();
            assert!(matches!(outcome, ReadOutcome::NoneMatched { next_offset: 9 }));
            assert!(matches!(
                shard.read_legible(queue, 300, &LIMITS, |_| true).await.unwrap(),
                ReadOutcome::AtEnd
            ));
            assert!(matches!(
                shard.read_legible(queue, 301, &LIMITS, |_| true).await.unwrap(),
                ReadOutcome::AfterEnd
            ));
            assert!(shard.is_young(queue));
            assert!(!shard.is_young(shard.queue("empty", 0)));
            let first = shard.store_time(queue, 0).await.unwrap().unwrap();
            assert_eq!(shard.offset_by_time(queue, first, false).await.unwrap(), 0);
            assert_eq!(shard.offset_by_time(queue, i64::MAX, false).await.unwrap(), 300);
            assert_eq!(shard.offset_by_time(queue, i64::MAX, true).await.unwrap(), 299);
            assert_eq!(shard.offset_by_time(queue, 0, true).await.unwrap(), 0);
            assert_eq!(shard.read_at(1).await.unwrap(), None, "no record begins there");
            assert_eq!(shard.read_at(u64::MAX).await.unwrap(), None);
            shard.shutdown().await.unwrap();
        }
    });
}

/// The number that `send` made a record's body of.
fn number_of(record: &[u8]) -> u32 {
    let view = records(record).next().expect("a record").expect("a whole one");
    u32::from_be_bytes(*view.body.first_chunk().expect("four bytes"))
}

#[test]
fn records_are_chosen_on_disk_and_in_the_ring() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().into();
    run(move |env| {
        let config = config(&path);
        async move {
            let (_handle, shard, _) = open(&env, &config).await.unwrap();
            let queue = shard.queue(QUEUE.0, QUEUE.1);
            let model = Rc::new(RefCell::new(Model::default()));
            send(&shard, &model, 0..3000, false).await;
            let wants = |record: &[u8]| number_of(record).is_multiple_of(7);
            let limits = ReadLimits { max_messages_cold: 9, max_bytes_cold: 64 * 1024, ..LIMITS };
            let (mut at, mut cold, mut hot, mut found) = (0, 0, 0, Vec::new());
            loop {
                match shard.read_chosen(queue, at, &limits, wants) {
                    ReadOutcome::Found(plan) if plan.is_chosen() => {
                        assert!(plan.is_hot() && plan.messages <= 32);
                        at = plan.next_offset;
                        for chunk in shard.fetch(plan).await.unwrap() {
                            found.extend(records(chunk.as_ref()).map(|r| number_of(r.unwrap().bytes)));
                        }
                        hot += 1;
                    }
                    ReadOutcome::Found(plan) => {
                        assert!(hot == 0 && !plan.is_hot());
                        let planned = plan.next_offset;
                        let chosen = shard.fetch_chosen(plan, &limits, wants).await.unwrap();
                        assert!(chosen.messages <= 9 && at < chosen.next_offset);
                        assert!(
                            chosen.next_offset == planned || chosen.messages == 9,
                            "full or all looked at"
                        );
                        at = chosen.next_offset;
                        let bytes: Vec<u8> = chosen.chunks.iter().flat_map(|c| c.as_ref().to_vec()).collect();
                        let numbers: Vec<_> = records(&bytes).map(|r| number_of(r.unwrap().bytes)).collect();
                        assert_eq!(numbers.len(), chosen.messages as usize);
                        found.extend(numbers);
                        cold += 1;
                    }
                    ReadOutcome::NoneMatched { next_offset } => at = next_offset,
                    ReadOutcome::AtEnd => break,
                    _ => panic!("at {at}"),
                }
            }
            assert_eq!(found, (0..3000).step_by(7).collect::<Vec<_>>());
            assert!(cold > 10 && hot > 1, "{cold} reads of segments, {hot} of the ring");
            // Nobody is wanted: each read ends after its share of entries, or where the ring begins.
            let short = ReadLimits { scan_entries: 100, ..limits };
            let ReadOutcome::Found(plan) = shard.read_chosen(queue, 0, &short, |_| false) else { panic!() };
            let none = shard.fetch_chosen(plan, &short, |_| false).await.unwrap();
            assert_eq!((none.next_offset, none.messages, none.chunks.len()), (100, 0, 0));
            let outcome = shard.read_chosen(queue, 2990, &short, |_| false);
            assert!(matches!(outcome, ReadOutcome::NoneMatched { next_offset: 3000 }));
            assert_eq!(shard.look_at(queue, 2999, number_of), Some(2999));
            assert_eq!(shard.look_at(queue, 0, number_of), None, "it is in a segment");
            assert_eq!(shard.look_at(queue, 3000, number_of), None);
            shard.shutdown().await.unwrap();
        }
    });
}

#[test]
fn the_listener_hears_of_each_record_once_and_a_drop_starts_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().into();
    run(move |env| {
        let config = config(&path);
        async move {
            let (_handle, shard, _) = open(&env, &config).await.unwrap();
            let heard = Rc::new(Cell::new(0));
            let queue = shard.queue(QUEUE.0, QUEUE.1);
            let (count, reader) = (heard.clone(), shard.clone());
            shard.set_append_listener(Rc::new(move |arrivals| {
                for &Arrival { queue: q, max_offset: max, .. } in arrivals {
                    assert_eq!((q, max), (queue, count.get() + 1));
                    // A listener may read at once what it hears of.
                    assert!(matches!(reader.read(q, max - 1, &LIMITS, |_| true), ReadOutcome::Found(_)));
                    count.set(max);
                }
            }));
            let model = Rc::new(RefCell::new(Model::default()));
            send(&shard, &model, 0..100, true).await;
            while heard.get() < 100 {
                env.yield_now().await;
            }
            shard.drop_queues(QUEUE.0).await.unwrap();
            assert_eq!(shard.bounds(queue).max, 0);
            heard.set(0);
            send(&shard, &Rc::new(RefCell::new(Model::default())), 0..7, true).await;
            assert_eq!(shard.bounds(queue).max, 7);
            // The listener has the shard, and the shard the listener: neither would ever go, nor the directory's lock.
            shard.set_append_listener(Rc::new(|_| {}));
        }
    });
    let path: PathBuf = dir.path().into();
    run(move |env| {
        let config = config(&path);
        async move {
            let (_handle, shard, _) = open(&env, &config).await.unwrap();
            assert_eq!(read_all(&shard, QUEUE).await.unwrap().len(), 7);
            shard.shutdown().await.unwrap();
        }
    });
}

#[test]
fn a_slow_consumer_keeps_its_bytes_and_appends_say_why_they_wait() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().into();
    run(move |env| {
        let config = config(&path);
        async move {
            let (_handle, shard, _) = open(&env, &config).await.unwrap();
            let model: SharedModel = Rc::new(RefCell::new(Model::default()));
            send(&shard, &model, 0..20, false).await;
            let queue = shard.queue(QUEUE.0, QUEUE.1);
            let ReadOutcome::Found(plan) = shard.read_legible(queue, 0, &LIMITS, |_| true).await.unwrap()
            else {
                panic!("found")
            };
            let chunks = shard.fetch(plan).await.unwrap();
            let before: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.as_ref().to_vec()).collect();
            // Appends go on until the ring comes round to what is being sent.
            let refused = Rc::new(Cell::new(false));
            let done = Rc::new(Cell::new(false));
            let (filler, told, ended) = (shard.clone(), refused.clone(), done.clone());
            env.spawn(Class::Foreground, async move {
                let body = vec![5; 4096];
                for _ in 0..200 {
                    let record = parts("other", &body, "");
                    let other = filler.queue("other", 0);
                    while let Err(error) = filler.append(other, &tagged(record, 0)) {
                        told.set(told.get() || error.to_string().contains("slow consumer"));
                        filler.room().await;
                    }
                }
                ended.set(true);
            });
            let waiting = async {
                while !refused.get() {
                    env.yield_now().await;
                }
                true
            };
            let timeout = async {
                env.sleep(Duration::from_secs(20)).await;
                false
            };
            assert!(waiting.or(timeout).await, "appends were never held up by the lease");
            let after: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.as_ref().to_vec()).collect();
            assert_eq!(before, after);
            drop(chunks);
            while !done.get() {
                shard.synced().moved().await;
            }
            // What left the ring is read from its segment.
            let ReadOutcome::Found(cold) = shard.read_legible(queue, 0, &LIMITS, |_| true).await.unwrap()
            else {
                panic!("found")
            };
            assert!(!cold.is_hot());
            let cold: Vec<u8> =
                shard.fetch(cold).await.unwrap().iter().flat_map(|chunk| chunk.as_ref().to_vec()).collect();
            assert_eq!(before, cold);
            shard.shutdown().await.unwrap();
        }
    });
}

#[test]
fn a_store_that_is_not_ours_is_refused_clearly() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().into();
    run(move |env| {
        let config = config(&path);
        async move {
            let (handle, shard, _) = open(&env, &config).await.unwrap();
            let Err(in_use) = open(&env, &config).await.map(|_| ()) else { panic!("locked") };
            assert!(matches!(in_use, OpenError::InUse(_)), "{in_use}");
            shard.shutdown().await.unwrap();
            drop(handle);
            let more = StoreConfig { shards: 3, ..config.clone() };
            let text = open(&env, &more).await.map(|_| ()).unwrap_err().to_string();
            assert!(
                text.contains("made for 1 shards")
                    && text.contains("3 are asked")
                    && text.contains("--shards 1"),
                "{text}"
            );
            let larger = StoreConfig { segment_bytes: 1 << 20, ..config.clone() };
            let text = open(&env, &larger).await.map(|_| ()).unwrap_err().to_string();
            assert!(text.contains("524288") && text.contains("1048576"), "{text}");
        }
    });
}

/// Other file systems than ours leave such files after a power loss, and so do people.
#[test]
fn a_small_file_that_was_cut_off_is_reported_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().into();
    run(move |env| {
        let config = config(&path);
        async move {
            let (handle, shard, _) = open(&env, &config).await.unwrap();
            shard.shutdown().await.unwrap();
            drop((handle, shard));
            for file in ["MANIFEST", "shard-00/STATE"] {
                let file = config.data.join(file);
                let good = std::fs::read(&file).unwrap();
                for len in [0, 100] {
                    std::fs::write(&file, &good[..len]).unwrap();
                    match open(&env, &config).await.map(|_| ()).unwrap_err() {
                        OpenError::Damaged { path, what } => {
                            assert_eq!(path, file);
                            assert!(what.contains(&format!("it has {len} bytes")), "{what}");
                        }
                        other => panic!("{other}"),
                    }
                }
                std::fs::write(&file, &good).unwrap();
            }
            assert!(open(&env, &config).await.is_ok());
        }
    });
}
