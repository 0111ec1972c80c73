//! `ringmq dump messages`: messages by topic, queue and offset, to look at or as a file.
//!
//! Invariants: what is printed has been checked as for a consumer; offsets that are left out because they are damaged are
//! named on standard error.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};

use anyhow::{Context, Result, bail};
use ringmq_store::{ReadLimits, ReadOutcome, Shard};
use ringmq_wire::message::{RecordView, records};
use ringmq_wire::properties;
use serde_json::{Map, Value, json};

use super::env::Offline;
use super::store::{Store, time};
use super::{MessagesArgs, queues};

const COUNT: u64 = 32;
/// Of a body in a line for people.
const BODY_SHOWN: usize = 120;

const LIMITS: ReadLimits = ReadLimits {
    max_messages: 256,
    max_bytes_hot: 4 << 20,
    max_bytes_cold: 4 << 20,
    max_messages_cold: 256,
    scan_entries: 256,
};

pub async fn run(env: &Offline, args: &MessagesArgs, out: &mut impl Write) -> Result<()> {
    let store = Store::open(env, &args.store).await?;
    let mut to = Output::open(args, &store, out)?;
    let (mut found, mut damaged) = (false, 0);
    for id in store.shards() {
        let (shard, _) = store.shard(id).await?;
        for end in queues::all(&shard) {
            let wanted = args.queue.is_none_or(|queue| queue == end.queue_id);
            if *end.topic == *args.topic && wanted {
                found = true;
                damaged += queue(&shard, args, end.queue_id, &mut to).await?;
            }
        }
    }
    to.finish()?;
    match (found, damaged) {
        (false, _) => bail!("no such queue; `dump queues` lists them"),
        (true, 0) => Ok(()),
        (true, damaged) => bail!("{damaged} damaged messages were left out"),
    }
}

/// How many were left out.
async fn queue(
    shard: &Shard<Offline>,
    args: &MessagesArgs,
    queue_id: u32,
    out: &mut Output<'_, impl Write>,
) -> Result<u64> {
    let handle = shard.find_queue(&args.topic, queue_id).context("it was listed")?;
    let bounds = shard.bounds(handle);
    let mut at = args.from.unwrap_or(bounds.min).max(bounds.min);
    let count = args.count.unwrap_or(if args.export.is_some() { u64::MAX } else { COUNT });
    let end = bounds.max.min(at.saturating_add(count));
    let mut damaged = 0;
    while at < end {
        let left = u32::try_from(end - at).unwrap_or(u32::MAX);
        let limits = ReadLimits { scan_entries: LIMITS.scan_entries.min(left), ..LIMITS };
        let (next, chunks) = match shard.read_legible(handle, at, &limits, |_| true).await? {
            ReadOutcome::Found(plan) => {
                let next = plan.next_offset;
                match shard.fetch(plan).await {
                    Err(error) if error.kind() == ErrorKind::InvalidData => (next, Vec::new()),
                    chunks => (next, chunks?),
                }
            }
            ReadOutcome::NoneMatched { next_offset } => (next_offset, Vec::new()),
            _ => break,
        };
        let mut expected = at;
        let mut left_out = |from: u64, to: u64| {
            if from < to {
                eprintln!("{} queue {queue_id}: offsets {from} to {} are damaged", args.topic, to - 1);
                damaged += to - from;
            }
        };
        for chunk in &chunks {
            for record in records(chunk.as_ref()) {
                let record = record.context("a record that its index entry vouched for")?;
                left_out(expected, record.queue_offset as u64);
                expected = record.queue_offset as u64 + 1;
                out.record(&record)?;
            }
        }
        left_out(expected, next);
        at = next;
    }
    Ok(damaged)
}

enum Output<'o, W: Write> {
    Lines { out: &'o mut W, json: bool },
    File(BufWriter<File>),
}

impl<'o, W: Write> Output<'o, W> {
    fn open(args: &MessagesArgs, store: &Store, out: &'o mut W) -> Result<Self> {
        let Some(path) = &args.export else {
            return Ok(Self::Lines { out, json: args.json });
        };
        let path = std::path::absolute(path)?;
        if path.starts_with(&store.layout().config.data) {
            bail!("{} is in the store, where nothing is written", path.display());
        }
        let file = File::create_new(&path).with_context(|| path.display().to_string())?;
        Ok(Self::File(BufWriter::new(file)))
    }

    fn record(&mut self, record: &RecordView<'_>) -> Result<()> {
        match self {
            Self::File(file) => file.write_all(record.bytes)?,
            Self::Lines { out, json: true } => writeln!(out, "{}", as_json(record))?,
            Self::Lines { out, json: false } => writeln!(out, "{}", as_line(record))?,
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::File(file) => file.into_inner()?.sync_all().context("sync the export"),
            Self::Lines { .. } => Ok(()),
        }
    }
}

fn as_line(record: &RecordView<'_>) -> String {
    let shown = &record.body[..record.body.len().min(BODY_SHOWN)];
    format!(
        "queue {} offset {} at {:016x} stored {} body {} bytes {}{}",
        record.queue_id,
        record.queue_offset,
        record.physical_offset,
        time(record.store_timestamp),
        record.body.len(),
        shown.escape_ascii(),
        if shown.len() < record.body.len() { "…" } else { "" }
    )
}

pub fn as_json(record: &RecordView<'_>) -> Value {
    let own: Map<String, Value> =
        properties::iter(record.properties).map(|(name, value)| (name.to_owned(), value.into())).collect();
    let mut value = json!({
        "topic": record.topic,
        "queue": record.queue_id,
        "offset": record.queue_offset,
        "physical_offset": record.physical_offset,
        "store_time_ms": record.store_timestamp,
        "born_time_ms": record.born_timestamp,
        "born_host": record.born_host.to_string(),
        "store_host": record.store_host.to_string(),
        "sys_flag": record.sys_flag,
        "flag": record.flag,
        "reconsume_times": record.reconsume_times,
        "properties": own,
    });
    // A body is bytes; as text it is easier to read where it is text.
    match std::str::from_utf8(record.body) {
        Ok(text) => value["body"] = text.into(),
        Err(_) => {
            value["body_hex"] =
                record.body.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use ringmq_wire::message::RecordParts;

    use super::*;

    fn shown(body: &[u8]) -> (String, Value) {
        let host = "10.0.0.1:10911".parse().unwrap();
        let parts = RecordParts {
            queue_offset: 5,
            properties: "KEYS\u{1}k\u{2}",
            ..RecordParts::new("T", body, 1, host)
        };
        let mut bytes = vec![0; parts.encoded_len().unwrap()];
        parts.encode_into(&mut bytes);
        let record = RecordView::parse(&bytes).unwrap();
        (as_line(&record), as_json(&record))
    }

    #[test]
    fn bodies_are_shown_as_what_they_are() {
        let (line, value) = shown(b"hello");
        assert!(line.contains("offset 5 ") && line.ends_with("body 5 bytes hello"), "{line}");
        assert_eq!((&value["body"], &value["properties"]["KEYS"]), (&json!("hello"), &json!("k")));
        let (line, value) = shown(&[0xff; 200]);
        assert!(line.contains("\\xff") && line.ends_with('…'), "{line}");
        assert!(value["body"].is_null() && value["body_hex"].as_str().unwrap().len() == 400);
    }
}
