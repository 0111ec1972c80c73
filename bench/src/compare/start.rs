//! How long a server takes until it accepts its first message.
//!
//! Owns: the probe that sends a message again and again until it is acknowledged. Invariants: the clock starts when the
//! process is spawned; a refusal does not count as accepted.
//! On failure: an error when the server ends or takes too long.

use std::time::Duration;

use anyhow::{Result, bail};
use ringmq_wire::code::{request_code, response_code};
use ringmq_wire::headers::SendHeader;

use super::server::Server;
use crate::rpc::Rpc;

/// Between two attempts: what a start may be measured too long by.
const PAUSE: Duration = Duration::from_millis(1);

/// Made by the first message.
const TOPIC: &str = "start";

/// The time from the start of the process to the first acknowledged message.
pub fn until_first_send(server: &mut Server) -> Result<Duration> {
    loop {
        if let Ok(true) = send_one(&server.broker) {
            return Ok(server.spawned.elapsed());
        }
        server.check_alive()?;
        std::thread::sleep(PAUSE);
    }
}

fn send_one(broker: &str) -> Result<bool> {
    let header = SendHeader::new("ringmq-bench", TOPIC, 0);
    Rpc::connect(broker)?.call_with_body(
        request_code::SEND_MESSAGE_V2,
        |writer| header.write_letters(writer),
        &[b'x'; 1024],
        |answer| match answer.code {
            response_code::SUCCESS => Ok(true),
            code => bail!("code {code}"),
        },
    )
}
