//! Properties text, and the expressions and ids that are short texts too.
use ringmq_wire::message_id::{decode_offset_id, offset_id};
use ringmq_wire::properties::{append, get, is_name, is_value, iter, remove};
use ringmq_wire::subscription::SubscriptionData;

use super::take;

/// The first two bytes say how much of the rest is a name and a value; what remains is the text.
pub fn check(bytes: &[u8]) {
    let mut rest = bytes;
    let [name, value] = take::<2>(&mut rest).map(usize::from);
    let Ok(rest) = std::str::from_utf8(rest) else { return };
    let Some((name, rest)) = rest.split_at_checked(name % 32) else { return };
    let Some((value, text)) = rest.split_at_checked(value % 32) else { return };
    check_parts(text, name, value);
}

fn check_parts(text: &str, name: &str, value: &str) {
    let last = iter(text).filter(|(found, _)| *found == name).last().map(|(_, value)| value);
    assert_eq!(get(text, name), last);
    let removed = remove(text, name);
    assert_eq!(get(&removed, name), None);
    if is_name(name) && is_value(value) && !value.is_empty() {
        let mut longer = text.to_owned();
        append(&mut longer, name, value);
        assert_eq!(get(&longer, name), Some(value));
    }
    if let Ok(subscription) = SubscriptionData::of_tags(name, text) {
        assert!(subscription.code_set.len() <= subscription.tags_set.len());
    }
    if let Ok((host, offset)) = decode_offset_id(text) {
        let again = offset_id(host, offset);
        assert_eq!(decode_offset_id(again.as_str()).map(|(_, offset)| offset), Ok(offset));
    }
}
