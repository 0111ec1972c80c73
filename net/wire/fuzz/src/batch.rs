//! Body of a batch send. What decodes is written again and must decode to the same.
use ringmq_wire::batch::{items, put_item};

pub fn check(bytes: &[u8]) {
    let Ok(list) = items(bytes).collect::<Result<Vec<_>, _>>() else { return };
    let mut out = Vec::new();
    for item in &list {
        put_item(&mut out, item);
    }
    assert_eq!(out.len(), bytes.len());
    let again: Vec<_> = items(&out).map(|item| item.expect("written item is none")).collect();
    assert_eq!(again, list);
}
