//! Encoders of the pull path: the answer to 11 and 361, whose body the caller sends from elsewhere, and the request.
//!
//! Invariants: as in `send`: constant text around the values, the reference's field order.

use super::{EncodeError, FrameWriter, Head, patch_prefix, put_int};
use crate::frame::{PREFIX, Serialization};
use crate::headers::PullHeader;

/// The answer to a pull. Answers 0, 19, 20 and 21 must carry the first four offsets: the Java client throws without.
#[derive(Clone, Copy, Debug, Default)]
pub struct PullAnswer<'a> {
    pub code: i32,
    pub opaque: i32,
    pub remark: Option<&'a str>,
    pub suggest_which_broker_id: i64,
    pub next_begin_offset: i64,
    pub min_offset: i64,
    pub max_offset: i64,
    pub topic_sys_flag: Option<i32>,
    pub group_sys_flag: Option<i32>,
    pub offset_delta: Option<i64>,
    pub forbidden_type: Option<i32>,
}

/// Appends the answer's prefix and header; `body` bytes of records must follow it on the wire.
/// Tells the length of what was appended.
pub fn pull_response(
    out: &mut Vec<u8>,
    serialization: Serialization,
    answer: &PullAnswer<'_>,
    body: usize,
) -> Result<usize, EncodeError> {
    let head = Head::response(answer.opaque, answer.remark);
    if serialization == Serialization::Binary {
        let mut writer = FrameWriter::begin(out, serialization, answer.code, head);
        writer
            .ext_int("suggestWhichBrokerId", answer.suggest_which_broker_id)
            .ext_int("nextBeginOffset", answer.next_begin_offset)
            .ext_int("minOffset", answer.min_offset)
            .ext_int("maxOffset", answer.max_offset);
        answer.offset_delta.map(|delta| writer.ext_int("offsetDelta", delta).ensure_ext());
        answer.topic_sys_flag.map(|flag| writer.ext_int("topicSysFlag", flag).ensure_ext());
        answer.group_sys_flag.map(|flag| writer.ext_int("groupSysFlag", flag).ensure_ext());
        answer.forbidden_type.map(|kind| writer.ext_int("forbiddenType", kind).ensure_ext());
        return writer.finish_with_external_body(body);
    }
    let start = out.len();
    out.reserve(384);
    out.extend_from_slice(&[0; PREFIX]);
    out.extend_from_slice(b"{\"code\":");
    put_int(out, answer.code);
    out.extend_from_slice(b",\"extFields\":{\"suggestWhichBrokerId\":\"");
    put_int(out, answer.suggest_which_broker_id);
    put_optional(out, b"\",\"groupSysFlag\":\"", answer.group_sys_flag);
    out.extend_from_slice(b"\",\"nextBeginOffset\":\"");
    put_int(out, answer.next_begin_offset);
    put_optional(out, b"\",\"forbiddenType\":\"", answer.forbidden_type);
    put_optional(out, b"\",\"offsetDelta\":\"", answer.offset_delta);
    out.extend_from_slice(b"\",\"maxOffset\":\"");
    put_int(out, answer.max_offset);
    out.extend_from_slice(b"\",\"minOffset\":\"");
    put_int(out, answer.min_offset);
    put_optional(out, b"\",\"topicSysFlag\":\"", answer.topic_sys_flag);
    out.extend_from_slice(b"\"}");
    head.put_json_tail(out);
    if let Err(error) = patch_prefix(out, start, serialization, body) {
        out.truncate(start);
        return Err(error);
    }
    Ok(out.len() - start)
}

fn put_optional(out: &mut Vec<u8>, key: &[u8], value: Option<impl itoa::Integer>) {
    if let Some(value) = value {
        out.extend_from_slice(key);
        put_int(out, value);
    }
}

/// A pull (11) or lite pull (361).
#[derive(Clone, Copy, Debug)]
pub struct PullRequest<'a> {
    pub code: i32,
    pub opaque: i32,
    pub header: PullHeader<'a>,
}

/// Appends the whole request; tells its length.
pub fn pull_request(
    out: &mut Vec<u8>,
    serialization: Serialization,
    request: &PullRequest<'_>,
) -> Result<usize, EncodeError> {
    out.reserve(512);
    let mut writer = FrameWriter::begin(out, serialization, request.code, Head::request(request.opaque, 0));
    request.header.write(&mut writer);
    writer.finish(&[])
}
