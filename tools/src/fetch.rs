//! One GET over HTTP/1.1.
//!
//! Invariants: connect, and each read and write, have a limit; an answer is bounded. On failure: an error with the address.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use ringmq_broker::admin::document::Document;

const LIMIT: Duration = Duration::from_secs(15);
/// A document of the largest machine has some hundreds of KiB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
const HEADERS_MAX: usize = 64;

pub fn document(address: &str) -> Result<Document> {
    let body = get(address, "/stats").with_context(|| format!("the admin port {address}"))?;
    serde_json::from_slice(&body).with_context(|| format!("{address} is no RingMQ admin port"))
}

fn get(address: &str, path: &str) -> Result<Vec<u8>> {
    let addr = address.to_socket_addrs().context("look up the address")?.next().context("no such host")?;
    let mut stream = TcpStream::connect_timeout(&addr, LIMIT).context("connect")?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").context("send")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).context("receive")?;
    body_of(answer)
}

fn body_of(mut answer: Vec<u8>) -> Result<Vec<u8>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) =
        head.parse(&answer).map_err(|error| anyhow!("no HTTP: {error}"))?
    else {
        bail!("the answer was cut off");
    };
    let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length: Option<usize> =
        length.and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok());
    let (code, reason) = (head.code, head.reason.unwrap_or_default().to_owned());
    let body = answer.split_off(start);
    if length.is_some_and(|length| body.len() < length) {
        bail!("the answer was cut off after {} of {} bytes", body.len(), length.unwrap_or_default());
    }
    if code != Some(200) {
        let text = String::from_utf8_lossy(&body);
        bail!("answered {} {reason}: {}", code.unwrap_or_default(), text.trim());
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_counts() {
        let body = |text: &str| body_of(text.as_bytes().to_vec()).map_err(|error| error.to_string());
        let good = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(body(good), Ok(b"hi".to_vec()));
        for cut in 0..good.len() {
            assert!(body(&good[..cut]).is_err(), "{cut} bytes");
        }
        let full = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nbusy\n";
        assert_eq!(body(full), Err("answered 503 Service Unavailable: busy".into()));
        assert!(body("SSH-2.0-x\r\n").is_err());
    }
}
