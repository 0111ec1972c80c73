//! VIEW_BROKER_STATS_DATA (315): how much of one thing there was over the last minute, hour and day.
//!
//! Known are what is counted by topic and by group: TOPIC_PUT_NUMS and _SIZE, GROUP_GET_NUMS and _SIZE (of `topic@group`), and
//! BROKER_PUT_NUMS and BROKER_GET_NUMS (of the cluster's name). RocketMQ 5.5.0 AdminBrokerProcessor#ViewBrokerStatsData.
//! On failure: what is not known, or has not moved since the start, does not exist, as there.

use std::rc::Rc;

use ringmq_io::Env;
use ringmq_wire::code::response_code;
use ringmq_wire::headers::ViewBrokerStatsHeader;
use ringmq_wire::json_dialect::{self, BrokerStats};

use super::queue::bad_header;
use crate::control::Control;
use crate::history::{Unit, What};
use crate::request::{Handled, Request};

/// RocketMQ 5.5.0 Stats, BrokerStatsManager#buildStatsKey.
fn what(name: &str, key: &str) -> Option<(What, Unit)> {
    let unit = if name.ends_with("_SIZE") { Unit::Bytes } else { Unit::Messages };
    let what = match name {
        "TOPIC_PUT_NUMS" | "TOPIC_PUT_SIZE" => What::In(key.into()),
        "GROUP_GET_NUMS" | "GROUP_GET_SIZE" => {
            let (topic, group) = key.split_once('@')?;
            What::Out(topic.into(), group.into())
        }
        "BROKER_PUT_NUMS" => What::AllIn,
        "BROKER_GET_NUMS" => What::AllOut,
        _ => return None,
    };
    Some((what, unit))
}

pub fn handle<E: Env>(control: &Rc<Control<E>>, request: &Request<'_, '_, E>) -> Handled {
    let header = match ViewBrokerStatsHeader::decode(&request.command.ext) {
        Ok(header) => header,
        Err(error) => return bad_header(request, &error),
    };
    let (name, key) = (header.stats_name, header.stats_key);
    match what(name, key).and_then(|(what, unit)| control.history.of(&what, unit)) {
        Some([stats_minute, stats_hour, stats_day]) => {
            let body = BrokerStats { stats_day, stats_hour, stats_minute };
            request.responder().ok_with_body(&json_dialect::to_vec(&body));
            Handled::Done
        }
        None => request.refuse(response_code::SYSTEM_ERROR, &format!("The stats <{name}> <{key}> not exist")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys_are_those_of_the_tools() {
        assert_eq!(what("TOPIC_PUT_NUMS", "t"), Some((What::In("t".into()), Unit::Messages)));
        assert_eq!(what("GROUP_GET_SIZE", "t@g"), Some((What::Out("t".into(), "g".into()), Unit::Bytes)));
        assert_eq!(what("GROUP_GET_NUMS", "t"), None);
        assert_eq!(what("BROKER_PUT_NUMS", "DefaultCluster"), Some((What::AllIn, Unit::Messages)));
        assert_eq!(what("SNDBCK_PUT_NUMS", "t@g"), None);
    }
}
