//! One function for each decoder of the store: takes any bytes, and panics where the decoder breaks what it promises.
//!
//! Built for tests and fuzzers only. The fuzz targets in `engine/store/fuzz` run them on bytes that a fuzzer makes up;
//! the test below runs them on the seeds that are checked in there. What is behind a checksum is also reached with
//! checksums that were mended, as a fuzzer never guesses one.

use std::path::Path;

use ringmq_io::BLOCK;
use ringmq_wire::message;

use crate::batch::{self, ALIGN, Checksum, Fault, HEADER_BYTES, Header, Kind, LogId, Slot, TAGS_BYTES};
use crate::end;
use crate::envelope::{self, Form};
use crate::floor::Floor;
use crate::manifest::Fixed;
use crate::meta::record;
use crate::sealed::format::{self, IndexHeader, Page, Sums};
use crate::state::State;

/// Takes any bytes; panics where a promise is broken.
pub type Check = fn(&[u8]);

/// Names as of the fuzz targets and of the directories in `engine/store/fuzz/seeds`.
pub const TARGETS: [(&str, Check); 4] =
    [("batch", batch), ("envelope", envelope), ("index", index), ("metadata", metadata)];

const ID: LogId = LogId { store_id: 77, shard: 3 };

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// A log of batches: as it is, with headers that belong here, and one batch made of what the bytes say.
pub fn batch(bytes: &[u8]) {
    walk(bytes);
    let mut believable = bytes.to_vec();
    put(&mut believable, 0, &batch::MAGIC.to_le_bytes());
    put(&mut believable, 10, &ID.shard.to_le_bytes());
    put(&mut believable, 24, &ID.store_id.to_le_bytes());
    put(&mut believable, 32, &0u64.to_le_bytes());
    walk(&believable);
    made_batch(bytes);
}

fn walk(bytes: &[u8]) {
    let (mut at, mut slots) = (0, Vec::new());
    while let Ok(header) = Header::decode(&bytes[at..], ID, at as u64) {
        assert_eq!((header.base, header.store_id, header.shard), (at as u64, ID.store_id, ID.shard));
        assert!(u64::from(header.length).is_multiple_of(ALIGN) && header.end() > header.base);
        if batch::check(&header, &bytes[at..], &mut slots).is_err() {
            return;
        }
        tiles(&header, &slots);
        let Some(next) = at.checked_add(header.length as usize).filter(|next| *next <= bytes.len()) else {
            return;
        };
        at = next;
    }
}

/// The records of a checked batch are its body, whole.
fn tiles(header: &Header, slots: &[Slot]) {
    assert_eq!(slots.len(), header.records as usize);
    let mut at = HEADER_BYTES as u32;
    for slot in slots {
        assert!(slot.at == at && slot.size as usize >= message::MIN_SIZE);
        at += slot.size;
    }
    assert!(header.kind != Kind::Records || at == HEADER_BYTES as u32 + header.body);
}

fn made_batch(bytes: &[u8]) {
    let (mut body, mut tags, mut sum) = (Vec::new(), Vec::new(), Checksum::default());
    for piece in bytes.chunks(1 + bytes.first().map_or(0, |first| usize::from(*first))).take(200) {
        let start = body.len();
        let size = message::MIN_SIZE + piece.len();
        body.extend_from_slice(&(size as i32).to_be_bytes());
        body.resize(start + size - piece.len(), 0);
        body.extend_from_slice(piece);
        sum.record(crc32c::crc32c(&body[start..]));
        tags.extend_from_slice(&(size as i64).to_le_bytes());
    }
    let records = (tags.len() / TAGS_BYTES) as u32;
    if records == 0 {
        return;
    }
    sum.tags(&tags);
    let header = Header {
        kind: Kind::Records,
        shard: ID.shard,
        length: batch::length_of(body.len() as u64, records.into()) as u32,
        body: body.len() as u32,
        records,
        store_id: ID.store_id,
        base: 640,
        durable: 64,
        store_time_ms: -1,
        epoch: 9,
    };
    let mut out = header.encode(sum).to_vec();
    out.extend_from_slice(&body);
    out.extend_from_slice(&tags);
    let used = out.len();
    out.resize(header.length as usize, 0);
    assert_eq!(Header::decode(&out, ID, 640), Ok(header));
    let mut slots = Vec::new();
    assert_eq!(batch::check(&header, &out, &mut slots), Ok(()));
    tiles(&header, &slots);
    for slot in &slots {
        let record = &out[slot.at as usize..][..slot.size as usize];
        assert_eq!((slot.crc, slot.tags_code), (crc32c::crc32c(record), i64::from(slot.size)));
    }
    // Damage at a place that the bytes choose is seen.
    let bit = bytes.iter().fold(7usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)))
        % (used * 8);
    out[bit / 8] ^= 1 << (bit % 8);
    let read = Header::decode(&out, ID, 640).and_then(|header| batch::check(&header, &out, &mut slots));
    assert!(matches!(read, Err(Fault::Absent | Fault::Torn)), "bit {bit} flipped unseen");
}

/// Manifest, shard state, queue floor and end: the envelope, and the bodies in it.
pub fn envelope(bytes: &[u8]) {
    const FORM: Form = Form { magic: *b"RINGTEST", version: 1 };
    let path = Path::new("x");
    if let Ok(body) = envelope::decode(FORM, path, bytes) {
        let written = envelope::encode(FORM, body);
        assert_eq!(envelope::decode(FORM, path, &written).ok(), Some(body));
    }
    let written = envelope::encode(FORM, bytes);
    assert_eq!(envelope::decode(FORM, path, &written).ok(), Some(bytes));
    for cut in [0, 8, 31, written.len() - BLOCK] {
        assert!(envelope::decode(FORM, path, &written[..cut]).is_err() || bytes.is_empty());
    }
    if let Some(floor) = Floor::decode(bytes) {
        assert_eq!(floor.encode(), bytes);
    }
    let id = bytes.first_chunk().map_or(ID, |id| LogId { store_id: u64::from_le_bytes(*id), ..ID });
    if let Some(state) = State::decode(id, bytes) {
        assert_eq!(state.encode(id), bytes);
    }
    if let Some(fixed) = Fixed::decode(bytes) {
        assert_eq!(fixed.encode(), bytes);
    }
    let shard = bytes.get(16..18).map_or(ID.shard, |shard| u16::from_le_bytes([shard[0], shard[1]]));
    if let Some(position) = end::decode(LogId { shard, ..id }, bytes) {
        assert!(position.is_multiple_of(ALIGN));
        assert_eq!(end::encode(LogId { shard, ..id }, position), bytes);
    }
}

/// The sealed index: header, catalog page, blocks of entries and of keys.
pub fn index(bytes: &[u8]) {
    let mut header = bytes.get(..96).map_or_else(|| [bytes, &[0; 96]].concat(), <[u8]>::to_vec);
    header.truncate(96);
    let _ = IndexHeader::decode(&header);
    put(&mut header, 0, b"RINGMQIX");
    put(&mut header, 8, &format::VERSION.to_le_bytes());
    put(&mut header, 82, &[0; 14]);
    let crc = crc32c::crc32c(&header[16..]);
    put(&mut header, 12, &crc.to_le_bytes());
    let decoded = IndexHeader::decode(&header).expect("its checksum is right");
    assert_eq!(decoded.encode(), header[..]);
    if let Some(whole) = decoded.file_bytes() {
        let (keys, catalog) = (decoded.keys_at().expect("part"), decoded.catalog_at().expect("part"));
        assert!(BLOCK <= keys && keys <= catalog && catalog <= whole && whole.is_multiple_of(BLOCK));
    }

    let sums = Sums::of(ID, 0);
    let _ = Page::decode(bytes, sums);
    let mut page = vec![0; format::PAGE_HEAD];
    put(&mut page, 0, &(bytes.len() as u32).to_le_bytes());
    put(&mut page, 4, &crc32c::crc32c_append(sums.pages, bytes).to_le_bytes());
    page.extend_from_slice(bytes);
    if let Some((found, used)) = Page::decode(&page, sums) {
        assert!(used >= page.len() && used.is_multiple_of(format::PAGE_HEAD));
        assert!(found.rows.iter().all(|row| (row.topic as usize) < found.topics.len()));
        let written = found.encode(sums);
        assert_eq!(Page::decode(&written, sums), Some((found, written.len())));
    }

    let mut block = bytes[..bytes.len().min(BLOCK)].to_vec();
    block.resize(BLOCK, 0);
    let first = u64::from_le_bytes(block[8..16].try_into().expect("8 bytes"));
    let count = u32::from_le_bytes(block[4..8].try_into().expect("4 bytes")) as usize;
    let mut mend = |sum| {
        let crc = crc32c::crc32c_append(sum, &block[4..]);
        put(&mut block, 0, &crc.to_le_bytes());
        block.clone()
    };
    let (of_entries, of_keys) = (mend(sums.entries), mend(sums.keys));
    let entries = format::entries(&of_entries, sums, first, count).map(Iterator::count);
    assert_eq!(entries, (count <= format::ENTRIES_PER_BLOCK).then_some(count));
    let keys = format::keys(&of_keys, sums, first).map(Iterator::count);
    assert_eq!(keys, (count <= format::KEYS_PER_BLOCK).then_some(count));
    assert!(format::entries(&of_entries, sums, first.wrapping_add(1), count).is_none());
    assert!(format::entries(&of_keys, sums, first, count).is_none());
    assert!(format::keys(&of_entries, sums, first).is_none());
}

/// The metadata journal: records and file headers.
pub fn metadata(bytes: &[u8]) {
    let _ = record::parse(bytes, ID.store_id);
    let mut mended = bytes.to_vec();
    put(&mut mended, 16, &ID.store_id.to_le_bytes());
    let entry =
        mended.get(4..8).map_or(0, |len| u32::from_le_bytes(len.try_into().expect("4 bytes")) as usize);
    if let Some(checked) = record::RECORD_HEAD.checked_add(entry).and_then(|end| mended.get(4..end)) {
        let crc = crc32c::crc32c(checked);
        put(&mut mended, 0, &crc.to_le_bytes());
    }
    if let Some(found) = record::parse(&mended, ID.store_id) {
        assert!(found.group > 0 && found.group <= found.lsn);
        let mut written = vec![0; record::size(found.entry.len())];
        let used = record::encode(&mut written, ID.store_id, found.lsn, found.group, found.entry);
        assert_eq!(used, written.len());
        assert_eq!(record::parse(&written, ID.store_id), Some(found));
        assert_eq!(record::parse(&written, ID.store_id + 1), None);
        assert_eq!(record::parse(&written[..used - 1], ID.store_id), None);
    }
    let path = Path::new("x");
    let _ = record::parse_header(record::LOG_MAGIC, path, bytes);
    let mut block = bytes[..bytes.len().min(BLOCK)].to_vec();
    block.resize(BLOCK, 0);
    put(&mut block, 0, &record::LOG_MAGIC);
    put(&mut block, 8, &1u32.to_le_bytes());
    let crc = crc32c::crc32c(&block[16..48]);
    put(&mut block, 12, &crc.to_le_bytes());
    let header = record::parse_header(record::LOG_MAGIC, path, &block).expect("its checksum is right");
    assert_eq!(record::encode_header(record::LOG_MAGIC, header)[..48], block[..48]);
    assert!(record::parse_header(record::SNAPSHOT_MAGIC, path, &block).is_err());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer ones are not run with each bit flipped.
    const FLIPPED_BYTES_MAX: usize = 400;

    #[test]
    fn seeds_and_their_neighbours_keep_every_promise() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
        for (target, check) in TARGETS {
            let dir = root.join(target);
            let mut seeds: Vec<_> =
                std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
            seeds.sort();
            assert!(seeds.len() >= 3, "{target} has {} seeds", seeds.len());
            for seed in seeds {
                let mut bytes = std::fs::read(&seed).unwrap();
                println!("{}", seed.display());
                check(&bytes);
                for end in 0..bytes.len().min(FLIPPED_BYTES_MAX) {
                    check(&bytes[..end]);
                }
                for bit in 0..if bytes.len() <= FLIPPED_BYTES_MAX { bytes.len() * 8 } else { 0 } {
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    check(&bytes);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            }
        }
    }

    /// Writes the seeds anew, from what the encoders make: `cargo test -p ringmq-store seeds_are_written -- --ignored`.
    #[test]
    #[ignore = "writes into the source tree"]
    fn seeds_are_written() {
        use crate::batch::tests::{batch, record as message};
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
        let write = |target: &str, name: &str, bytes: &[u8]| {
            std::fs::create_dir_all(root.join(target)).unwrap();
            std::fs::write(root.join(target).join(name), bytes).unwrap();
        };
        let two = [
            batch(0, 1, 0, &[message(0, 0, b"one"), message(0, 1, b"two")]),
            batch(320, 1, 320, &[message(1, 0, b"three")]),
        ]
        .concat();
        write("batch", "two", &two);
        write("batch", "cut_off", &two[..two.len() - 40]);
        let filler = Header {
            kind: Kind::Filler,
            shard: ID.shard,
            length: 64,
            body: 0,
            records: 0,
            store_id: ID.store_id,
            base: 0,
            durable: 0,
            store_time_ms: 0,
            epoch: 1,
        };
        write("batch", "filler", &filler.encode(Checksum::default()));
        let floor = Floor {
            log_start: 1 << 20,
            queues: vec![crate::floor::QueueStart { topic: "orders".into(), queue_id: 3, first: 9 }],
        };
        let state = State {
            epoch: 4,
            ring_path: "/dev/shm/a.ring".into(),
            ring_bytes: 1 << 26,
            data: "/var/lib/ringmq".into(),
        };
        write("envelope", "floor", &floor.encode());
        write("envelope", "state", &state.encode(ID));
        let fixed = Fixed { store_id: ID.store_id, segment_bytes: 128 << 20, shards: 4 };
        write("envelope", "manifest", &fixed.encode());
        write("envelope", "end", &end::encode(ID, 1 << 20));
        let enveloped = envelope::encode(Form { magic: *b"RINGTEST", version: 1 }, b"a body");
        write("envelope", "enveloped", &enveloped[..64]);
        let page = Page {
            topics: vec!["orders".into(), "T\u{fc}r, a longer name of a topic".into()],
            rows: vec![format::Row { topic: 1, queue_id: 2, first_offset: 3, start: 0, count: 4 }],
            drops: vec![format::Drop { position: 64, topic: "gone".into() }],
        };
        let encoded = page.encode(Sums::of(ID, 0));
        write("index", "page", &encoded);
        let archive = u32::from_le_bytes(encoded[..4].try_into().unwrap()) as usize;
        write("index", "archive", &encoded[format::PAGE_HEAD..][..archive]);
        let header = IndexHeader {
            version: format::VERSION,
            id: ID,
            base: 0,
            segment_bytes: 1 << 20,
            entries: 300,
            keys: 500,
            catalog_bytes: 96,
            oldest_ms: 1,
            newest_ms: 2,
        };
        write("index", "header", &header.encode());
        let mut out = vec![0; record::size(20)];
        record::encode(&mut out, ID.store_id, 7, 5, b"twenty bytes of text");
        write("metadata", "record", &out);
        write("metadata", "cut_off", &out[..40]);
        let header = record::Header { store_id: ID.store_id, lsn: 8, extent: 7, check: 0 };
        write("metadata", "header", &record::encode_header(record::LOG_MAGIC, header)[..48]);
    }
}
