//! A place in a topic as a person writes it: an end, or a time.

use std::str::FromStr;

use chrono::{DateTime, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Earliest,
    Latest,
    /// Milliseconds since the epoch.
    Time(i64),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        let ms = milliseconds(text).filter(|ms| *ms > 0);
        ms.map(Self::Time).ok_or_else(|| {
            "expected earliest, latest, 2026-11-24, 2026-11-24T10:00[:30[.500]][+01:00|Z] or milliseconds"
                .into()
        })
    }
}

fn milliseconds(text: &str) -> Option<i64> {
    if text.len() > 10 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let text = text.replacen(' ', "T", 1);
    if let Ok(time) = DateTime::parse_from_rfc3339(&text) {
        return Some(time.timestamp_millis());
    }
    for format in ["%Y-%m-%dT%H:%M%:z", "%Y-%m-%dT%H:%M%#z"] {
        if let Ok(time) = DateTime::parse_from_str(&text.replacen('Z', "+00:00", 1), format) {
            return Some(time.timestamp_millis());
        }
    }
    let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
    let local = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(&text, form).ok());
    let day = || NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok().map(|day| day.and_time(NaiveTime::MIN));
    // Where clocks are set back a time comes twice: the first one, of which no message is left out.
    Some(Local.from_local_datetime(&local.or_else(day)?).earliest()?.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_times_are_read() {
        assert_eq!("earliest".parse(), Ok(Place::Earliest));
        assert_eq!("latest".parse(), Ok(Place::Latest));
        let ten = 1_795_860_000_000;
        let text = ["2026-11-28T10:00Z", "2026-11-28T10:00:00Z", "2026-11-28T11:00+01:00", "1795860000000"];
        for text in text {
            assert_eq!(text.parse(), Ok(Place::Time(ten)), "{text}");
        }
        let local = Local.timestamp_millis_opt(ten).unwrap().naive_local();
        for form in ["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.000"] {
            assert_eq!(local.format(form).to_string().parse(), Ok(Place::Time(ten)), "{form}");
        }
        let midnight = local.date().and_time(NaiveTime::MIN);
        let midnight = Local.from_local_datetime(&midnight).earliest().unwrap().timestamp_millis();
        assert_eq!(local.format("%Y-%m-%d").to_string().parse(), Ok(Place::Time(midnight)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "now", "-1", "10", "2026", "2026-13-01", "2026-11-24T25:00", "EARLIEST", "1969-01-01T00:00Z"]
        {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
