//! `ringmq admin cluster`: what the name server knows, and what each broker says of itself.

use anyhow::Result;
use ringmq_wire::code::request_code;
use ringmq_wire::json_dialect::KvTable;
use serde_json::Value;

use super::report::{Report, Table};
use super::session::Session;

/// A broker that does not answer is in the table with the reason: that is what an operator came for.
pub fn show(session: &mut Session) -> Result<Report> {
    let mut table = Table::new(&[
        "cluster",
        "broker",
        "id",
        "address",
        "version",
        "in_per_second",
        "out_per_second",
        "disk_used",
        "state",
    ]);
    for broker in session.brokers()? {
        let facts = runtime_info(session, &broker.address);
        let (info, state) = match facts {
            Ok(info) => (info, "up".to_owned()),
            Err(error) => (KvTable::default(), format!("{error:#}")),
        };
        // Over 10 s, a minute, ten minutes.
        let rate = |key: &str| info.table.get(key).and_then(|rates| number(rates.split(' ').next()?));
        table.row([
            broker.cluster.into(),
            broker.name.into(),
            broker.id.into(),
            broker.address.into(),
            info.table.get("brokerVersionDesc").map_or(Value::Null, |version| version.as_str().into()),
            rate("putTps").into(),
            rate("getTransferredTps").into(),
            info.table.get("commitLogDiskRatio").and_then(|ratio| number(ratio)).into(),
            state.into(),
        ]);
    }
    let mut report = Report::default();
    report.table("brokers", table);
    Ok(report)
}

pub fn runtime_info(session: &mut Session, address: &str) -> Result<KvTable> {
    session.ask(address, request_code::GET_BROKER_RUNTIME_INFO, |_| {}, &[])?.ok()?.body()
}

/// To two decimals.
fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().map(|number: f64| (number * 100.0).round() / 100.0)
}
