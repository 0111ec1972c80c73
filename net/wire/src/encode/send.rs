//! Encoders of the send path: the answer to 10, 310, 320, 324, 325 and the requests 310, 320, 325.
//!
//! Invariants: constant text around the values, no allocation besides the buffer's own growth. JSON ext fields are in
//! the order in which the reference's hash map yields them, so that equal values give equal bytes.

use super::json_text::{put_plain_string, put_string};
use super::{EncodeError, FrameWriter, Head, patch_prefix, put_int};
use crate::frame::{PREFIX, Serialization};
use crate::headers::SendHeader;

/// A stored message's answer. All of it is required by some client: see the fields.
#[derive(Clone, Copy, Debug)]
pub struct SendAnswer<'a> {
    /// 0, 10, 11 or 12: stored.
    pub code: i32,
    pub opaque: i32,
    pub remark: Option<&'a str>,
    /// Offset message id (a batch: joined by commas), which needs no escape. The Java client refuses an answer without it.
    pub msg_id: &'a str,
    pub queue_id: i32,
    pub queue_offset: i64,
    /// The message's UNIQ_KEY.
    pub transaction_id: Option<&'a str>,
    pub batch_uniq_id: Option<&'a str>,
    pub recall_handle: Option<&'a str>,
    pub region: &'a str,
    pub trace_on: bool,
}

/// Appends the whole answer (it has no body); tells its length.
pub fn send_response(
    out: &mut Vec<u8>,
    serialization: Serialization,
    answer: &SendAnswer<'_>,
) -> Result<usize, EncodeError> {
    let head = Head::response(answer.opaque, answer.remark);
    if serialization == Serialization::Binary {
        let mut writer = FrameWriter::begin(out, serialization, answer.code, head);
        writer
            .ext("msgId", answer.msg_id)
            .ext_int("queueId", answer.queue_id)
            .ext_int("queueOffset", answer.queue_offset)
            .ext_opt("transactionId", answer.transaction_id)
            .ext_opt("batchUniqId", answer.batch_uniq_id)
            .ext_opt("recallHandle", answer.recall_handle)
            .ext_bool("TRACE_ON", answer.trace_on)
            .ext("MSG_REGION", answer.region);
        return writer.finish(&[]);
    }
    let start = out.len();
    out.reserve(384 + answer.msg_id.len());
    out.extend_from_slice(&[0; PREFIX]);
    out.extend_from_slice(b"{\"code\":");
    put_int(out, answer.code);
    out.extend_from_slice(b",\"extFields\":{\"queueId\":\"");
    put_int(out, answer.queue_id);
    out.push(b'"');
    put_optional(out, b",\"batchUniqId\":", answer.batch_uniq_id);
    put_optional(out, b",\"transactionId\":", answer.transaction_id);
    out.extend_from_slice(b",\"msgId\":");
    put_plain_string(out, answer.msg_id);
    out.extend_from_slice(if answer.trace_on {
        b",\"TRACE_ON\":\"true\""
    } else {
        b",\"TRACE_ON\":\"false\""
    });
    out.extend_from_slice(b",\"MSG_REGION\":");
    put_string(out, answer.region);
    put_optional(out, b",\"recallHandle\":", answer.recall_handle);
    out.extend_from_slice(b",\"queueOffset\":\"");
    put_int(out, answer.queue_offset);
    out.extend_from_slice(b"\"}");
    head.put_json_tail(out);
    finish(out, start, serialization, &[])
}

/// A message to send with letters for field names (310, 320, 325).
#[derive(Clone, Copy, Debug)]
pub struct SendRequest<'a> {
    pub code: i32,
    pub opaque: i32,
    pub flag: i32,
    pub header: SendHeader<'a>,
    pub body: &'a [u8],
}

/// Appends the whole request; tells its length.
pub fn send_request(
    out: &mut Vec<u8>,
    serialization: Serialization,
    request: &SendRequest<'_>,
) -> Result<usize, EncodeError> {
    let h = &request.header;
    let head = Head::request(request.opaque, request.flag);
    if serialization == Serialization::Binary {
        let mut writer = FrameWriter::begin(out, serialization, request.code, head);
        h.write_letters(&mut writer);
        return writer.finish(request.body);
    }
    let start = out.len();
    out.reserve(512 + h.properties.len() + request.body.len());
    out.extend_from_slice(&[0; PREFIX]);
    out.extend_from_slice(b"{\"code\":");
    put_int(out, request.code);
    out.extend_from_slice(b",\"extFields\":{\"a\":");
    put_string(out, h.producer_group);
    out.extend_from_slice(b",\"b\":");
    put_string(out, h.topic);
    out.extend_from_slice(b",\"c\":");
    put_string(out, h.default_topic);
    out.extend_from_slice(b",\"d\":\"");
    put_int(out, h.default_topic_queue_nums);
    out.extend_from_slice(b"\",\"e\":\"");
    put_int(out, h.queue_id);
    out.extend_from_slice(b"\",\"f\":\"");
    put_int(out, h.sys_flag);
    out.extend_from_slice(b"\",\"g\":\"");
    put_int(out, h.born_timestamp);
    out.extend_from_slice(b"\",\"h\":\"");
    put_int(out, h.flag);
    out.push(b'"');
    if !h.properties.is_empty() {
        put_optional(out, b",\"i\":", Some(h.properties));
    }
    out.extend_from_slice(b",\"j\":\"");
    put_int(out, h.reconsume_times);
    out.extend_from_slice(if h.unit_mode { b"\",\"k\":\"true\"" } else { b"\",\"k\":\"false\"" });
    if let Some(times) = h.max_reconsume_times {
        out.extend_from_slice(b",\"l\":\"");
        put_int(out, times);
        out.push(b'"');
    }
    out.extend_from_slice(if h.batch { b",\"m\":\"true\"" } else { b",\"m\":\"false\"" });
    put_optional(out, b",\"n\":", h.broker_name);
    out.push(b'}');
    head.put_json_tail(out);
    finish(out, start, serialization, request.body)
}

fn put_optional(out: &mut Vec<u8>, key: &[u8], value: Option<&str>) {
    if let Some(value) = value {
        out.extend_from_slice(key);
        put_string(out, value);
    }
}

fn finish(
    out: &mut Vec<u8>,
    start: usize,
    serialization: Serialization,
    body: &[u8],
) -> Result<usize, EncodeError> {
    if let Err(error) = patch_prefix(out, start, serialization, body.len()) {
        out.truncate(start);
        return Err(error);
    }
    out.extend_from_slice(body);
    Ok(out.len() - start)
}
