//! What a SQL92 filter costs: `cargo run --release -p ringmq-wire --example sql_cost`.
//!
//! Judges a stored record of 1 KiB with the properties that a Java producer sends, a million times, and prints nanoseconds of
//! CPU time per message: finding the properties in the record, judging them, and both.

mod timing;

use std::hint::black_box;

use ringmq_wire::message::{RecordParts, RecordView};
use ringmq_wire::sql::{Bounds, Program};
use timing::time;

const BOUNDS: Bounds = Bounds { bytes: 4096, nesting: 50, nodes: 500 };

fn main() {
    let host = "127.0.0.1:10911".parse().unwrap_or_else(|_| unreachable!());
    let properties = "UNIQ_KEY\u{1}7F0000015A3C4E0E2F2A7A7516620000\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}\
                      a\u{1}17\u{2}region\u{1}north-west\u{2}price\u{1}12.5\u{2}";
    let parts = RecordParts {
        queue_offset: 1,
        physical_offset: 2,
        store_timestamp: 4,
        properties,
        added_properties: "MSG_REGION\u{1}DefaultRegion\u{2}TRACE_ON\u{1}true\u{2}CLUSTER\u{1}DefaultCluster\u{2}",
        ..RecordParts::new("golden-topic", &[b'x'; 1024], 3, host)
    };
    let mut record = vec![0; parts.encoded_len().unwrap_or_else(|error| panic!("{error}"))];
    parts.encode_into(&mut record);
    time("find the properties in the record", || {
        black_box(RecordView::parse(black_box(&record)).map(|view| view.properties.len()).ok());
    });
    for text in [
        "a > 5",
        "a between 5 and 15",
        "region = 'north-west' and price > 10.5",
        "TAGS in ('TagA', 'TagB') and (a > 20 or region startswith 'north') and price is not null",
    ] {
        let program = Program::compile(text, &BOUNDS).unwrap_or_else(|error| panic!("{text}: {error}"));
        let stored = RecordView::parse(&record).map(|view| view.properties).unwrap_or_default();
        time(text, || {
            black_box(program.chooses(black_box(stored)));
        });
        time("  with finding the properties", || {
            let view = RecordView::parse(black_box(&record));
            black_box(view.is_ok_and(|view| program.chooses(view.properties)));
        });
    }
}
