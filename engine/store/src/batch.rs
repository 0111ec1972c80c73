//! The batch: what one turn appended, the unit of checksum, recovery and replication.
//!
//! ```text
//!  0 u32 magic "RMQB"        24 u64 store id
//!  4 u32 checksum            32 u64 base position (of this header in the log)
//!  8 u16 kind                40 u64 durable: log position that was synced when the batch was closed
//! 10 u16 shard               48 i64 store time, milliseconds
//! 12 u32 length (x 64)       56 u32 epoch
//! 16 u32 body bytes          60 u32 0
//! 20 u32 records             64 body, then one i64 tags code a record, then zeros up to `length`
//! ```
//! Little-endian. A records batch's body is RocketMQ records back to back: stored bytes are sent bytes. A control
//! batch's body is a [`Control`]. A filler (end of a ring lap) and a hole (quarantined damage) have no body; what
//! lies behind their header means nothing.
//!
//! The checksum is crc32c over the crc32c of each record in order, the tags codes and the header from `kind` on.
//! A record's own crc32c also goes to its index entry, so that a record read back alone is checked as strictly as
//! a whole batch, and every byte is summed once.
//!
//! Invariants: batches are 64-byte aligned and back to back from position 0; none crosses the end of a ring lap.
//! On failure: bytes that are no intact batch give a [`Fault`].

use ringmq_wire::message;

use crate::entry::Entry;

pub const HEADER_BYTES: usize = 64;
pub const ALIGN: u64 = 64;
pub const MAGIC: u32 = u32::from_le_bytes(*b"RMQB");
/// A tags code behind the body.
pub const TAGS_BYTES: usize = 8;

const CHECKED_FROM: usize = 8;
const _: () = assert!(HEADER_BYTES as u64 == ALIGN);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Records,
    Filler,
    Control,
    Hole,
}

impl Kind {
    fn code(self) -> u16 {
        match self {
            Kind::Records => 1,
            Kind::Filler => 2,
            Kind::Control => 3,
            Kind::Hole => 4,
        }
    }

    fn of(code: u16) -> Option<Self> {
        [Kind::Records, Kind::Filler, Kind::Control, Kind::Hole].into_iter().find(|kind| kind.code() == code)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub shard: u16,
    pub length: u32,
    pub body: u32,
    pub records: u32,
    pub store_id: u64,
    pub base: u64,
    pub durable: u64,
    pub store_time_ms: i64,
    pub epoch: u32,
}

/// Why bytes are no batch of this log at this position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No header of this store, shard and position: never written, or left from before.
    Absent,
    /// A header that belongs here, whose batch does not check.
    Torn,
}

/// Which log a batch must belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogId {
    pub store_id: u64,
    pub shard: u16,
}

/// A record inside a checked batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// From the start of the batch.
    pub at: u32,
    pub size: u32,
    pub crc: u32,
    pub tags_code: i64,
}

impl Slot {
    /// The index entry of its record.
    pub fn entry(&self, position: u64, store_time_ms: i64) -> Entry {
        Entry { position, tags_code: self.tags_code, store_time_ms, size: self.size, crc: self.crc }
    }
}

/// Bytes that a batch of `records` records and `body` bytes takes.
pub fn length_of(body: u64, records: u64) -> u64 {
    (HEADER_BYTES as u64 + body + records * TAGS_BYTES as u64).next_multiple_of(ALIGN)
}

/// Sums the crcs of a batch's records as they are appended, then its tags codes and header.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checksum {
    sum: u32,
    /// A record's crc that is not summed yet: two of them take no longer than one.
    odd: Option<u32>,
}

impl Checksum {
    #[inline]
    pub fn record(&mut self, crc: u32) {
        match self.odd.take() {
            None => self.odd = Some(crc),
            Some(first) => self.add(&(u64::from(crc) << 32 | u64::from(first)).to_le_bytes()),
        }
    }

    pub fn tags(&mut self, bytes: &[u8]) {
        self.settle();
        self.add(bytes);
    }

    fn seal(mut self, header: &[u8; HEADER_BYTES]) -> u32 {
        self.settle();
        self.add(&header[CHECKED_FROM..]);
        self.sum
    }

    fn settle(&mut self) {
        if let Some(crc) = self.odd.take() {
            self.add(&crc.to_le_bytes());
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.sum = crc32c::crc32c_append(self.sum, bytes);
    }
}

impl Header {
    /// The header as bytes, sealed with the checksum of what it heads.
    pub fn encode(&self, sum: Checksum) -> [u8; HEADER_BYTES] {
        assert!(u64::from(self.length).is_multiple_of(ALIGN) && self.base.is_multiple_of(ALIGN));
        let mut out = [0; HEADER_BYTES];
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[8..10].copy_from_slice(&self.kind.code().to_le_bytes());
        out[10..12].copy_from_slice(&self.shard.to_le_bytes());
        out[12..16].copy_from_slice(&self.length.to_le_bytes());
        out[16..20].copy_from_slice(&self.body.to_le_bytes());
        out[20..24].copy_from_slice(&self.records.to_le_bytes());
        out[24..32].copy_from_slice(&self.store_id.to_le_bytes());
        out[32..40].copy_from_slice(&self.base.to_le_bytes());
        out[40..48].copy_from_slice(&self.durable.to_le_bytes());
        out[48..56].copy_from_slice(&self.store_time_ms.to_le_bytes());
        out[56..60].copy_from_slice(&self.epoch.to_le_bytes());
        let sum = sum.seal(&out);
        out[4..8].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads a header that must stand at `position` of log `id`. Its checksum is looked at by [`check`].
    pub fn decode(bytes: &[u8], id: LogId, position: u64) -> Result<Self, Fault> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(Fault::Absent)?;
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let here = u32_at(0) == MAGIC
            && u16_at(10) == id.shard
            && u64_at(24) == id.store_id
            && u64_at(32) == position;
        if !here {
            return Err(Fault::Absent);
        }
        let header = Header {
            kind: Kind::of(u16_at(8)).ok_or(Fault::Torn)?,
            shard: u16_at(10),
            length: u32_at(12),
            body: u32_at(16),
            records: u32_at(20),
            store_id: u64_at(24),
            base: u64_at(32),
            durable: u64_at(40),
            store_time_ms: u64_at(48) as i64,
            epoch: u32_at(56),
        };
        let length = u64::from(header.length);
        let empty = header.body == 0 && header.records == 0;
        let fits = length >= ALIGN
            && length.is_multiple_of(ALIGN)
            && match header.kind {
                Kind::Records => !empty && length == length_of(header.body.into(), header.records.into()),
                Kind::Control => header.records == 0 && length == length_of(header.body.into(), 0),
                Kind::Filler | Kind::Hole => empty,
            };
        if fits { Ok(header) } else { Err(Fault::Torn) }
    }

    pub fn end(&self) -> u64 {
        self.base + u64::from(self.length)
    }

    /// Bytes from the batch's start that must be at hand to [`check`] it.
    pub fn needed(&self) -> usize {
        match self.kind {
            Kind::Filler | Kind::Hole => HEADER_BYTES,
            Kind::Records | Kind::Control => self.length as usize,
        }
    }
}

/// Checks a batch whose [`Header::needed`] bytes are all here, and lists its records in `slots` (cleared first).
pub fn check(header: &Header, bytes: &[u8], slots: &mut Vec<Slot>) -> Result<(), Fault> {
    slots.clear();
    let bytes = bytes.get(..header.needed()).ok_or(Fault::Torn)?;
    let body_end = HEADER_BYTES + header.body as usize;
    let mut sum = Checksum::default();
    match header.kind {
        Kind::Filler | Kind::Hole => {}
        Kind::Control => sum.record(crc32c::crc32c(&bytes[HEADER_BYTES..body_end])),
        Kind::Records => {
            let tags = &bytes[body_end..body_end + header.records as usize * TAGS_BYTES];
            let mut at = HEADER_BYTES;
            for code in tags.chunks_exact(TAGS_BYTES) {
                let size = record_size(&bytes[at..body_end]).ok_or(Fault::Torn)?;
                let crc = crc32c::crc32c(&bytes[at..at + size]);
                sum.record(crc);
                let tags_code = i64::from_le_bytes(code.try_into().expect("8 bytes"));
                slots.push(Slot { at: at as u32, size: size as u32, crc, tags_code });
                at += size;
            }
            if at != body_end {
                return Err(Fault::Torn);
            }
            sum.tags(tags);
        }
    }
    let raw: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(Fault::Torn)?;
    if raw[4..8] == sum.seal(raw).to_le_bytes() { Ok(()) } else { Err(Fault::Torn) }
}

/// Size of the record that `bytes` begins with, if it fits.
fn record_size(bytes: &[u8]) -> Option<usize> {
    let size = i32::from_be_bytes(*bytes.first_chunk()?);
    let size = usize::try_from(size).ok()?;
    (size >= message::MIN_SIZE && size <= bytes.len()).then_some(size)
}

/// What a control batch says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// All queues of the topic are gone; their offsets start at 0 again.
    DropTopic(String),
}

const DROP_TOPIC: u8 = 1;

impl Control {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Control::DropTopic(topic) => [&[DROP_TOPIC], topic.as_bytes()].concat(),
        }
    }

    /// `None` if a later version wrote something that this one does not know.
    pub fn decode(body: &[u8]) -> Option<Self> {
        match body.split_first()? {
            (&DROP_TOPIC, topic) => Some(Control::DropTopic(std::str::from_utf8(topic).ok()?.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use ringmq_wire::message::RecordParts;

    pub(crate) const ID: LogId = LogId { store_id: 77, shard: 3 };

    pub(crate) fn record(queue_id: i32, queue_offset: i64, body: &[u8]) -> Vec<u8> {
        let parts = RecordParts {
            queue_id,
            queue_offset,
            born_host: "10.0.0.1:1000".parse().unwrap(),
            store_timestamp: 2,
            ..RecordParts::new("TopicTest", body, 1, "10.0.0.2:10911".parse().unwrap())
        };
        let mut out = vec![0; parts.encoded_len().unwrap()];
        parts.encode_into(&mut out);
        out
    }

    pub(crate) fn batch(base: u64, epoch: u32, durable: u64, records: &[Vec<u8>]) -> Vec<u8> {
        let body: usize = records.iter().map(Vec::len).sum();
        let length = length_of(body as u64, records.len() as u64);
        let mut sum = Checksum::default();
        let mut out = vec![0; length as usize];
        let mut at = HEADER_BYTES;
        for record in records {
            sum.record(crc32c::crc32c(record));
            out[at..at + record.len()].copy_from_slice(record);
            at += record.len();
        }
        let tags: Vec<u8> = (0..records.len() as i64).flat_map(|code| (code * 7 - 3).to_le_bytes()).collect();
        out[at..at + tags.len()].copy_from_slice(&tags);
        sum.tags(&tags);
        let header = Header {
            kind: Kind::Records,
            shard: ID.shard,
            length: length as u32,
            body: body as u32,
            records: records.len() as u32,
            store_id: ID.store_id,
            base,
            durable,
            store_time_ms: 5,
            epoch,
        };
        out[..HEADER_BYTES].copy_from_slice(&header.encode(sum));
        out
    }

    fn read(bytes: &[u8], position: u64) -> Result<Vec<Slot>, Fault> {
        let header = Header::decode(bytes, ID, position)?;
        let mut slots = Vec::new();
        check(&header, bytes, &mut slots)?;
        Ok(slots)
    }

    #[test]
    fn the_checksum_is_that_of_all_its_parts_in_order() {
        let header = [9; HEADER_BYTES];
        for records in 0..6u32 {
            let crcs = (0..records).map(|n| n.wrapping_mul(0x9E37_79B9));
            let (mut sum, mut all) = (Checksum::default(), Vec::new());
            for crc in crcs {
                sum.record(crc);
                all.extend_from_slice(&crc.to_le_bytes());
            }
            // A control batch has no tags codes.
            let with_tags = records % 3 != 0;
            if with_tags {
                sum.tags(&[7; TAGS_BYTES]);
                all.extend_from_slice(&[7; TAGS_BYTES]);
            }
            all.extend_from_slice(&header[CHECKED_FROM..]);
            assert_eq!(sum.seal(&header), crc32c::crc32c(&all), "{records} records");
        }
    }

    #[test]
    fn a_batch_reads_back_with_its_records_and_tags() {
        let records: Vec<_> = (0..5).map(|i| record(1, i, &vec![i as u8; 10 * i as usize])).collect();
        let bytes = batch(6400, 9, 0, &records);
        let slots = read(&bytes, 6400).unwrap();
        assert_eq!(slots.len(), 5);
        for (i, slot) in slots.iter().enumerate() {
            let (at, size) = (slot.at as usize, slot.size as usize);
            assert_eq!(&bytes[at..at + size], &records[i][..]);
            assert_eq!(slot.crc, crc32c::crc32c(&records[i]));
            assert_eq!(slot.tags_code, i as i64 * 7 - 3);
        }
        assert_eq!(read(&bytes, 6464), Err(Fault::Absent), "another position");
    }

    #[test]
    fn a_filler_needs_only_its_header() {
        let header = Header {
            kind: Kind::Filler,
            shard: ID.shard,
            length: 4096,
            body: 0,
            records: 0,
            store_id: ID.store_id,
            base: 64,
            durable: 0,
            store_time_ms: 0,
            epoch: 1,
        };
        let bytes = header.encode(Checksum::default());
        let read = Header::decode(&bytes, ID, 64).unwrap();
        assert_eq!(read, header);
        assert_eq!(read.needed(), 64);
        check(&read, &bytes, &mut Vec::new()).unwrap();
    }

    #[test]
    fn controls_round_trip_and_unknown_ones_are_none() {
        let control = Control::DropTopic("Tür".into());
        assert_eq!(Control::decode(&control.encode()), Some(control));
        assert_eq!(Control::decode(b"\x09x"), None);
        assert_eq!(Control::decode(b""), None);
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_seen(bit in 0usize..(64 + 2 * 160) * 8) {
            let mut bytes = batch(0, 1, 0, &[record(0, 0, &[1; 40]), record(0, 1, &[2; 40])]);
            let used = HEADER_BYTES + 2 * (record(0, 0, &[1; 40]).len() + TAGS_BYTES);
            prop_assume!(bit / 8 < used);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(read(&bytes, 0).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), lend in any::<bool>()) {
            if lend && bytes.len() >= HEADER_BYTES {
                // A believable header in front of noise reaches the deeper checks.
                let template = batch(0, 1, 0, &[record(0, 0, b"x")]);
                let keep: Vec<u8> = template[..12].to_vec();
                bytes[..12].copy_from_slice(&keep);
                bytes[24..40].copy_from_slice(&template[24..40]);
            }
            let _ = read(&bytes, 0);
            let _ = Control::decode(&bytes);
        }
    }
}
