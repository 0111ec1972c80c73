//! The two ids that users see as "message id".
//!
//! Owns: the *offset id* (where a record lies: store host and physical offset; clients decode it and connect to the
//! address inside, so it must be real) and the *unique id* (UNIQ_KEY, made by the producer or, if it did not, here).
//! Invariants: both are upper-case hex of 16 bytes (IPv4) or 28 bytes (IPv6), so tools guess which one they have.

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

/// Length of an id made from an IPv4 address.
pub const LENGTH_V4: usize = 32;
/// Length of an id made from an IPv6 address.
pub const LENGTH_V6: usize = 56;
const _: () = assert!(LENGTH_V4 == 2 * (4 + 4 + 8) && LENGTH_V6 == 2 * (16 + 4 + 8));
const _: () = assert!(LENGTH_V4 == 2 * (4 + 2 + 4 + 4 + 2) && LENGTH_V6 == 2 * (16 + 2 + 4 + 4 + 2));

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Text of an id, without a heap allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MessageId {
    text: [u8; LENGTH_V6],
    length: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MessageIdError {
    #[error("a message id has {LENGTH_V4} or {LENGTH_V6} characters, not {0}")]
    Length(usize),
    #[error("character {0} of the message id is not a hex digit")]
    NotHex(usize),
    #[error("the message id's port {0} is none")]
    Port(i32),
}

impl MessageId {
    fn empty() -> Self {
        Self { text: [0; LENGTH_V6], length: 0 }
    }

    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        let at = self.length as usize;
        let text = self.text[at..at + 2 * N].as_chunks_mut::<2>().0;
        for (pair, byte) in text.iter_mut().zip(bytes) {
            *pair = [HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]];
        }
        self.length += 2 * N as u8;
    }

    fn put_ip(&mut self, ip: IpAddr) {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.put(ip.octets()),
            IpAddr::V6(ip) => self.put(ip.octets()),
        }
    }

    pub fn as_str(&self) -> &str {
        // Only `put` writes, and only hex digits.
        std::str::from_utf8(&self.text[..self.length as usize]).unwrap_or_default()
    }
}

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The part that all offset ids of a broker share.
#[derive(Clone, Copy, Debug)]
pub struct OffsetIds {
    prefix: MessageId,
}

impl OffsetIds {
    /// Of the broker that is reachable at `store_host`.
    pub fn new(store_host: SocketAddr) -> Self {
        let mut prefix = MessageId::empty();
        prefix.put_ip(store_host.ip());
        prefix.put(i32::from(store_host.port()).to_be_bytes());
        Self { prefix }
    }

    /// The id of the record at a physical offset.
    #[inline]
    pub fn id(&self, physical_offset: i64) -> MessageId {
        let mut id = self.prefix;
        id.put(physical_offset.to_be_bytes());
        id
    }
}

/// The id of the record at a physical offset of the broker that is reachable at `store_host`.
pub fn offset_id(store_host: SocketAddr, physical_offset: i64) -> MessageId {
    OffsetIds::new(store_host).id(physical_offset)
}

/// Takes an offset id apart. Hex digits may have any case.
pub fn decode_offset_id(text: &str) -> Result<(SocketAddr, i64), MessageIdError> {
    let mut bytes = [0; LENGTH_V6 / 2];
    let bytes = decode_hex(text, &mut bytes)?;
    let (ip, rest) = bytes.split_at(bytes.len() - 12);
    let ip = match <[u8; 4]>::try_from(ip) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(ip).map_err(|_| MessageIdError::Length(text.len()))?),
    };
    let mut port = [0; 4];
    port.copy_from_slice(&rest[..4]);
    let port = i32::from_be_bytes(port);
    let mut offset = [0; 8];
    offset.copy_from_slice(&rest[4..]);
    let port = u16::try_from(port).map_err(|_| MessageIdError::Port(port))?;
    Ok((SocketAddr::new(ip, port), i64::from_be_bytes(offset)))
}

/// Whether a text could be a message id of either kind.
pub fn is_id(text: &str) -> bool {
    decode_hex(text, &mut [0; LENGTH_V6 / 2]).is_ok()
}

fn decode_hex<'b>(text: &str, bytes: &'b mut [u8; LENGTH_V6 / 2]) -> Result<&'b [u8], MessageIdError> {
    if text.len() != LENGTH_V4 && text.len() != LENGTH_V6 {
        return Err(MessageIdError::Length(text.len()));
    }
    for (i, digit) in text.bytes().enumerate() {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return Err(MessageIdError::NotHex(i)),
        };
        bytes[i / 2] = bytes[i / 2] << 4 | value;
    }
    Ok(&bytes[..text.len() / 2])
}

/// Makes unique ids. One for each thread: `instance` must differ between the generators of a process.
#[derive(Clone, Debug)]
pub struct UniqueIdGenerator {
    prefix: MessageId,
    month_start: i64,
    month_end: i64,
    counter: u16,
}

impl UniqueIdGenerator {
    /// `instance` takes the place of the reference's class loader hash.
    pub fn new(ip: IpAddr, pid: u16, instance: u32) -> Self {
        let mut prefix = MessageId::empty();
        prefix.put_ip(ip);
        prefix.put(pid.to_be_bytes());
        prefix.put(instance.to_be_bytes());
        Self { prefix, month_start: 0, month_end: 0, counter: 0 }
    }

    /// The next id; `now` is in milliseconds since the epoch. 65536 ids fit into one millisecond.
    pub fn next(&mut self, now: i64) -> MessageId {
        if now < self.month_start || now >= self.month_end {
            (self.month_start, self.month_end) = month_of(now);
        }
        let mut id = self.prefix;
        // At most 31 days: fits.
        id.put(((now - self.month_start) as u32).to_be_bytes());
        id.put(self.counter.to_be_bytes());
        self.counter = self.counter.wrapping_add(1);
        id
    }
}

/// Start and end of the UTC month around `now`, in milliseconds. (The reference takes the month of its time zone; only
/// tools that guess a time from an id can see the difference.)
fn month_of(now: i64) -> (i64, i64) {
    const DAY: i64 = 86_400_000;
    // Civil date from days, counting years from March (Howard Hinnant's algorithm).
    let days = now.div_euclid(DAY) + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5;
    let leap = {
        // The year that February of this March-based year lies in.
        let year = year_of_era + 1;
        year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    };
    let length = match month {
        11 => 28 + i64::from(leap),
        1 | 3 | 6 | 8 => 30,
        _ => 31,
    };
    let start = (now.div_euclid(DAY) - day) * DAY;
    (start, start + length * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn offset_ids_are_upper_case_hex() {
        let id = offset_id("10.0.0.1:10911".parse().unwrap(), 0x1_0000_00FF);
        assert_eq!(id.as_str(), "0A00000100002A9F00000001000000FF");
        let id = offset_id("[fe80::1]:10911".parse().unwrap(), 1);
        assert_eq!(id.as_str(), "FE80000000000000000000000000000100002A9F0000000000000001");
        // An IPv4 peer on an IPv6 socket is an IPv4 peer.
        let id = offset_id("[::ffff:10.0.0.1]:1".parse().unwrap(), 1);
        assert_eq!(id.as_str().len(), LENGTH_V4);
    }

    #[test]
    fn bad_ids_are_refused() {
        assert_eq!(decode_offset_id(""), Err(MessageIdError::Length(0)));
        assert_eq!(decode_offset_id(&"0".repeat(33)), Err(MessageIdError::Length(33)));
        assert_eq!(decode_offset_id(&"x".repeat(32)), Err(MessageIdError::NotHex(0)));
        assert_eq!(decode_offset_id("0A0000010001FFFF00000001000000FF"), Err(MessageIdError::Port(0x1FFFF)));
    }

    #[test]
    fn unique_ids_differ_and_count_from_the_month() {
        let mut ids = UniqueIdGenerator::new("10.0.0.1".parse().unwrap(), 0x1234, 7);
        // 2024-02-29T12:00:00Z: 28.5 days into a leap February.
        let now = 1_709_208_000_000;
        let (first, second) = (ids.next(now), ids.next(now));
        assert!(is_id(first.as_str()));
        let millis = format!("{:08X}", 28 * 86_400_000u32 + 43_200_000);
        assert_eq!(first.as_str(), format!("0A000001{:04X}{:08X}{millis}0000", 0x1234, 7));
        assert_eq!(second.as_str(), format!("0A000001{:04X}{:08X}{millis}0001", 0x1234, 7));
        // Twelve hours later it is March.
        assert!(ids.next(now + 43_200_000).as_str().ends_with("000000000002"));
    }

    #[test]
    fn months_follow_each_other() {
        let mut start = 0;
        let mut starts = Vec::new();
        while starts.len() < 12 * 131 {
            let (first, end) = month_of(start);
            assert_eq!(first, start);
            assert_eq!(month_of(end - 1), (first, end));
            starts.push(start);
            start = end;
        }
        // 2100-03-01 (no leap year) and 2001-01-01.
        assert!(starts.contains(&4_107_542_400_000) && starts.contains(&978_307_200_000));
    }

    proptest! {
        #[test]
        fn offset_ids_round_trip(ip in any::<IpAddr>(), port: u16, offset: i64) {
            let host = SocketAddr::new(ip.to_canonical(), port);
            let id = offset_id(host, offset);
            prop_assert_eq!(decode_offset_id(id.as_str()), Ok((host, offset)));
            prop_assert_eq!(decode_offset_id(&id.as_str().to_lowercase()), Ok((host, offset)));
        }

        #[test]
        fn never_panics(text in "\\PC{0,60}|[0-9A-F]{32}|[0-9A-F]{56}") {
            let _ = decode_offset_id(&text);
        }
    }
}
