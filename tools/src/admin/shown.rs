//! A message as JSON and as a line.
//!
//! Invariant: a body that its producer has compressed with zlib is shown as it was; one in another form as it is stored, and
//! `sys_flag` says which. Inflating is bounded.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::ZlibDecoder;
use ringmq_wire::message::{RecordView, sys_flag};
use ringmq_wire::message_id::offset_id;
use ringmq_wire::properties::{self, name};
use serde_json::Value;

use super::report::{plain, time};
use crate::dump;

/// Of a body in a line.
const BODY_SHOWN: usize = 160;
/// More than a message can have; a small body can be made to inflate to anything.
const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Values of the bits for the compression: none said, which means zlib, and zlib.
const ZLIB: [i32; 2] = [0, 0x300];

fn body<'r>(record: &RecordView<'r>) -> Cow<'r, [u8]> {
    let compressed = record.sys_flag & sys_flag::COMPRESSED != 0;
    if !compressed || !ZLIB.contains(&(record.sys_flag & sys_flag::COMPRESSION_MASK)) {
        return Cow::Borrowed(record.body);
    }
    let mut body = Vec::new();
    match ZlibDecoder::new(record.body).take(BODY_BYTES_MAX).read_to_end(&mut body) {
        Ok(_) => Cow::Owned(body),
        Err(_) => Cow::Borrowed(record.body),
    }
}

pub fn as_json(record: &RecordView<'_>) -> Value {
    let mut value = dump::as_json(&RecordView { body: &body(record), ..*record });
    value["message_id"] = properties::get(record.properties, name::UNIQUE_KEY).into();
    value["offset_id"] = offset_id(record.store_host, record.physical_offset).as_str().into();
    value
}

/// Time, queue, offset, tag, keys, body.
pub fn as_line(record: &RecordView<'_>) -> String {
    let stored = time(record.store_timestamp);
    let property =
        |name| properties::get(record.properties, name).filter(|text| !text.is_empty()).unwrap_or("-");
    let body = body(record);
    let text = match std::str::from_utf8(&body) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(body[..body.len().min(BODY_SHOWN)].escape_ascii().to_string()),
    };
    let mut shown: String = text.chars().take(BODY_SHOWN).collect();
    if shown.len() < text.len() || text.len() < body.len() {
        shown.push('…');
    }
    let line = format!(
        "{} queue {} offset {} tag {} keys {}  {shown}",
        stored.as_str().unwrap_or("-"),
        record.queue_id,
        record.queue_offset,
        property(name::TAGS),
        property(name::KEYS),
    );
    plain(&line)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use ringmq_wire::message::RecordParts;

    use super::*;

    fn shown(body: &[u8], sys_flag: i32) -> (String, Value) {
        let host = "10.0.0.1:10911".parse().unwrap();
        let properties = "TAGS\u{1}A\u{2}UNIQ_KEY\u{1}U\u{2}";
        let parts = RecordParts { sys_flag, properties, ..RecordParts::new("T", body, 1, host) };
        let mut bytes = vec![0; parts.encoded_len().unwrap()];
        parts.encode_into(&mut bytes);
        let record = RecordView::parse(&bytes).unwrap();
        (as_line(&record), as_json(&record))
    }

    #[test]
    fn a_message_is_shown_with_its_ids() {
        let (line, value) = shown(b"he\x1bllo", 0);
        assert_eq!(line, "- queue 0 offset 0 tag A keys -  he\u{fffd}llo");
        assert_eq!(value["message_id"], "U");
        assert_eq!(value["offset_id"], "0A00000100002A9F0000000000000000");
        assert!(shown(&[b'x'; 500], 0).0.ends_with("x…"));
        assert!(shown(&[0xff; 500], 0).0.ends_with("\\xff…"));
    }

    #[test]
    fn a_compressed_body_is_inflated() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(b"hello").unwrap();
        let zlib = zlib.finish().unwrap();
        for flag in [0x1, 0x301] {
            assert_eq!(shown(&zlib, flag).1["body"], "hello");
        }
        // Another algorithm, no compression at all, and what only claims to be compressed.
        assert!(shown(&zlib, 0x101).1["body"].is_null());
        assert!(shown(&zlib, 0x300).1["body"].is_null());
        assert_eq!(shown(b"plain", 0x1).1["body"], "plain");
    }
}
