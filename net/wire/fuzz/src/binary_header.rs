//! The binary header form: a header made of drawn fields is written and must read the same; the rest of the bytes is
//! read as a header as it is.

use ringmq_wire::encode::begin_request;
use ringmq_wire::{Command, Cut, FrameParts, Language, Serialization, cut};

use super::take;

pub fn check(bytes: &[u8]) {
    super::command::check_frame(FrameParts {
        serialization: Serialization::Binary,
        header: bytes,
        body: &[],
    });
    let mut rest = bytes;
    let number = take::<8>(&mut rest);
    let code = i32::from(i16::from_be_bytes([number[0], number[1]]));
    let opaque = i32::from_be_bytes([number[2], number[3], number[4], number[5]]);
    let version = i32::from(i16::from_be_bytes([number[6], number[7]]));
    let mut fields: Vec<(&str, &str)> = Vec::new();
    while let Some((key, value)) = pair(&mut rest) {
        fields.push((key, value));
    }
    let mut out = Vec::new();
    let mut writer =
        begin_request(&mut out, Serialization::Binary, code, opaque, 0).sender(Language::Java, version);
    for (key, value) in &fields {
        writer.ext(key, value);
    }
    if writer.finish(rest).is_err() {
        assert!(out.is_empty(), "a refused frame leaves nothing");
        return;
    }
    let Ok(Cut::Frame { total, frame }) = cut(&out) else { panic!("written frame is none") };
    assert_eq!((total, frame.serialization), (out.len(), Serialization::Binary));
    let command = Command::decode(frame).expect("written header is none");
    assert_eq!((command.code, command.opaque, command.version), (code, opaque, version));
    assert_eq!(command.body, rest);
    // A field without a name or a value counts as absent.
    fields.retain(|(key, value)| !key.is_empty() && !value.is_empty());
    let found: Vec<(&str, &str)> = command.ext.iter().collect();
    assert_eq!(found, fields);
}

/// A name and a value, each behind a byte that says how long it is.
fn pair<'b>(rest: &mut &'b [u8]) -> Option<(&'b str, &'b str)> {
    let mut text = || {
        let (len, more) = rest.split_first()?;
        let (text, more) = more.split_at_checked(usize::from(*len) % 24)?;
        *rest = more;
        std::str::from_utf8(text).ok()
    };
    Some((text()?, text()?))
}
