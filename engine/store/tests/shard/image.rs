//! Recovery on a store image that was tampered with: one check for any bytes, for tests and for a fuzzer.
//!
//! The image is what a real shard leaves on a simulated disk: sealed and open segments, indexes, the small files, the ring.
//! The bytes say how it ended and what is then done to its files. Whatever that is:
//! - nothing panics; the shard opens, or refuses and names a file that was touched;
//! - nothing is served that was not stored at that offset, and every served record is whole;
//! - a promised message is missing only if its segment, its index, or (if it was not synced) the ring was touched;
//! - a second open gives the same as the first, sets nothing aside, and the log goes on where it ends.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::support::{
    LIMITS, Model, QueueName, SharedModel, acknowledged, append, flushed, open, parts, produce, small_config,
    tagged,
};
use ringmq_io::{Class, Env};
use ringmq_simenv::{CrashKind, DiskImage, Host, SimEnv, World};
use ringmq_store::{OpenError, ReadOutcome, Shard, StoreConfig};
use ringmq_wire::message::{RecordView, records};

const QUEUES: [(QueueName, bool); 3] = [(("a", 0), true), (("a", 1), false), (("b", 0), true)];
/// More than this of one tampering is only more of the same.
const TAMPERINGS_MAX: usize = 8;

/// The bytes, taken from the front; zeros behind their end.
struct Script<'b>(&'b [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self, below: u64) -> u64 {
        let number = (0..4).fold(0, |number, _| number << 8 | u64::from(self.byte()));
        number % below.max(1)
    }
}

/// How the shard ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Kill,
    PowerLoss,
    Stop,
}

/// What a shard has left.
struct Image {
    disk: DiskImage,
    model: Model,
    /// Of the world's clock.
    at: Duration,
}

impl Image {
    /// The same seed and end leave the same, and to make it takes longer than to open it twice.
    fn of(seed: u64, end: End) -> Rc<Self> {
        thread_local! {
            static MADE: RefCell<BTreeMap<(u64, End), Rc<Image>>> = RefCell::default();
        }
        let made = MADE.with_borrow(|made| made.get(&(seed, end)).cloned());
        made.unwrap_or_else(|| {
            let image = Rc::new(Self::made(seed, end));
            MADE.with_borrow_mut(|made| made.insert((seed, end), image.clone()));
            image
        })
    }

    fn made(seed: u64, end: End) -> Self {
        let world = World::new(seed);
        let host = world.host("broker");
        let model = stored(&world, &host, &small_config("/data"), end);
        Self { disk: host.disk_image(), model: model.take(), at: world.now() }
    }
}

fn stored(world: &World, host: &Host, config: &StoreConfig, end: End) -> SharedModel {
    let model: SharedModel = Rc::new(RefCell::new(Model::default()));
    let (own, config) = (model.clone(), config.clone());
    world.run(host, move |env| async move {
        let (_handle, shard, _) = open(&env, &config).await.expect("a new store");
        for (name, sync) in QUEUES {
            env.spawn(Class::Foreground, produce(env.clone(), shard.clone(), own.clone(), name, sync));
        }
        while shard.stats().log_end < 3 * config.segment_bytes {
            env.sleep(Duration::from_millis(1)).await;
        }
        if end == End::Stop {
            shard.shutdown().await.expect("no fault");
        }
    });
    host.crash(if end == End::Kill { CrashKind::Process } else { CrashKind::PowerLoss });
    if end == End::PowerLoss {
        model.borrow_mut().power_lost();
    }
    model
}

fn tamper(host: &Host, script: &mut Script<'_>) -> BTreeSet<PathBuf> {
    let mut touched = BTreeSet::new();
    for _ in 0..1 + usize::from(script.byte()) % TAMPERINGS_MAX {
        let files: Vec<(PathBuf, u64)> = host.files().into_iter().filter(|(_, len)| *len > 0).collect();
        let (path, len) = &files[script.number(files.len() as u64) as usize];
        touched.insert(path.clone());
        let at = script.number(*len);
        let most = (len - at).min(1 + script.number(8192)) as usize;
        match script.byte() % 8 {
            0..=2 => {
                let bytes = host.read_file(path).expect("it is listed");
                host.damage_file(path, at, &[bytes[at as usize] ^ 1 << (script.byte() % 8)]);
            }
            3 => host.damage_file(path, at, &vec![0; most]),
            4 => {
                let seed = script.byte();
                let noise: Vec<u8> = (0..most).map(|i| (i as u8).wrapping_mul(167) ^ seed).collect();
                host.damage_file(path, at, &noise);
            }
            5 => {
                // What a misdirected write does.
                let bytes = host.read_file(path).expect("it is listed");
                let from = (script.number(*len - most as u64 + 1) / 4096 * 4096) as usize;
                let to = at / 4096 * 4096;
                host.damage_file(path, to, &bytes[from..from + most]);
            }
            6 => assert!(host.remove_file(path)),
            _ => {
                let (other, _) = &files[script.number(files.len() as u64) as usize];
                assert!(other == path || host.copy_file(other, path));
            }
        }
    }
    touched
}

type Found = BTreeMap<(&'static str, u32), (u64, BTreeMap<u64, Vec<u8>>)>;

/// All that the shard gives; damage is passed over as a consumer passes over it.
async fn read(shard: &Shard<SimEnv>) -> Found {
    let mut all = Found::new();
    for (name, _) in QUEUES {
        let Some(queue) = shard.find_queue(name.0, name.1) else { continue };
        let (mut at, mut found) = (shard.bounds(queue).min, BTreeMap::new());
        loop {
            match shard.read(queue, at, &LIMITS, |_| true) {
                ReadOutcome::Found(plan) => {
                    let next = plan.next_offset;
                    assert!(next > at, "{name:?}: no way past {at}");
                    let chunks = match shard.fetch(plan).await {
                        Ok(chunks) => chunks,
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::InvalidData, "no fault of the disk");
                            Vec::new()
                        }
                    };
                    for chunk in &chunks {
                        for record in records(chunk.as_ref()) {
                            let record = record.expect("whole records");
                            let offset = record.queue_offset as u64;
                            assert_eq!((record.topic, record.queue_id as u32), name, "of another queue");
                            assert!(
                                (at..next).contains(&offset) && record.verify_body_crc(),
                                "{name:?} {offset}"
                            );
                            found.insert(offset, record.bytes.to_vec());
                        }
                    }
                    at = next;
                }
                ReadOutcome::Illegible => {
                    shard.make_legible(queue, at, 1).await.expect("no fault of the disk")
                }
                ReadOutcome::NoneMatched { next_offset } => {
                    assert!(next_offset > at, "{name:?}: no way past {at}");
                    at = next_offset;
                }
                _ => break,
            }
        }
        assert_eq!(at, shard.bounds(queue).max, "{name:?}");
        all.insert(name, (at, found));
    }
    all
}

fn compare(model: &Model, found: &Found, touched: &BTreeSet<PathBuf>, segment_bytes: u64) {
    let ring_touched = touched.iter().any(|path| path.extension().is_some_and(|end| end == "ring"));
    let is_touched = |position: u64, extension: &str| {
        let base = position - position % segment_bytes;
        touched.contains(Path::new(&format!("/data/shard-00/{base:016x}.{extension}")))
    };
    let nothing = (0, BTreeMap::new());
    for (name, promises) in &model.queues {
        let (_, records) = found.get(name).unwrap_or(&nothing);
        for (offset, promise) in promises {
            if let Some(bytes) = records.get(offset) {
                assert!(*bytes == promise.bytes, "{name:?} offset {offset}: other bytes than were stored");
                continue;
            }
            let record = RecordView::parse(&promise.bytes).expect("it was stored");
            let position = record.physical_offset as u64; // of shard 0
            // Whatever was done to indexes, the segment has its messages.
            let excused = is_touched(position, "seg") || (!promise.durable && ring_touched);
            assert!(excused, "{name:?} offset {offset} at {position} is lost; touched: {touched:?}");
        }
    }
}

/// Makes an image, tampers with it as the bytes say, and opens it.
pub fn check(bytes: &[u8]) {
    let mut script = Script(bytes);
    let seed = 1 + u64::from(script.byte()) % 4;
    let end = [End::Kill, End::PowerLoss, End::Stop][usize::from(script.byte()) % 3];
    check_after(seed, end, |host| tamper(host, &mut script));
}

/// The same for what `tamper` does; it gives the files that it admits to have touched.
pub fn check_after(seed: u64, end: End, tamper: impl FnOnce(&Host) -> BTreeSet<PathBuf>) {
    let world = World::new(seed);
    let host = world.host("broker");
    let config = small_config("/data");
    let image = Image::of(seed, end);
    world.run_for(image.at);
    host.put_disk(&image.disk);
    let touched = tamper(&host);

    let opened = |end_at: Rc<RefCell<Option<Found>>>| {
        let config = config.clone();
        world.run(&host, move |env| async move {
            let (_handle, shard, report) = open(&env, &config).await?;
            *end_at.borrow_mut() = Some(read(&shard).await);
            flushed(&shard).await;
            Ok::<_, OpenError>(report)
        })
    };
    let first = Rc::new(RefCell::new(None));
    if let Err(error) = opened(first.clone()) {
        let (OpenError::Damaged { path, .. } | OpenError::FormatVersion { path, .. }) = &error else {
            panic!("neither opened nor refused for damage: {error}");
        };
        assert!(touched.contains(path), "refused, but what it names was not touched: {error}; {touched:?}");
        return;
    }
    let first = first.take().expect("it was read");
    compare(&image.model, &first, &touched, config.segment_bytes);
    host.crash(CrashKind::PowerLoss);
    let second = Rc::new(RefCell::new(None));
    let report = opened(second.clone()).expect("what opened once opens again");
    assert!(report.quarantined.is_empty(), "set aside twice: {report:?}");
    assert!(second.take() == Some(first.clone()), "recovery twice is not recovery once");

    world.run(&host, move |env| async move {
        let (_handle, shard, _) = open(&env, &config).await.expect("it opened before");
        for (name, _) in QUEUES {
            let queue = shard.queue(name.0, name.1);
            let appended = append(&shard, queue, &[tagged(parts(name.0, b"next", ""), 0)]).await;
            let appended = appended.expect("it takes messages");
            assert!(acknowledged(&shard, appended.end, true).await);
            assert_eq!(appended.queue_offset, first.get(&name).map_or(0, |(max, _)| *max), "{name:?}");
        }
    });
}
