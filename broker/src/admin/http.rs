//! HTTP/1.1 as far as a scraper and a browser need it: heads of GET requests, and answers. Pure bytes.
//!
//! Invariants: a head is read within its bounds (`ADMIN_HEAD_BYTES_MAX`, `ADMIN_HEADERS_MAX`); a request that announces
//! a body is answered and its connection closed, so that a body is never taken for the next request.
//! On failure: a status that says what was wrong; the connection is closed after it.

use ringmq_io::limits::{ADMIN_HEAD_BYTES_MAX, ADMIN_HEADERS_MAX};

/// What the bytes that have come so far are.
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    /// Not whole yet.
    Partial,
    Request(Get),
    /// Answer with this status and close.
    Refused(Status),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Get {
    /// Without the query.
    pub path: String,
    /// HEAD: the answer goes without its body.
    pub head_only: bool,
    /// The connection may serve another request.
    pub keep: bool,
    /// Bytes that the head takes.
    pub bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    TooLarge,
    VersionNotSupported,
    Unavailable,
}

impl Status {
    pub fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::TooLarge => "431 Request Header Fields Too Large",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
            Self::Unavailable => "503 Service Unavailable",
        }
    }
}

pub fn read_head(bytes: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; ADMIN_HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= ADMIN_HEAD_BYTES_MAX => length,
        Ok(httparse::Status::Partial) if bytes.len() < ADMIN_HEAD_BYTES_MAX => return Head::Partial,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Head::Refused(Status::TooLarge),
        Err(httparse::Error::Version) => return Head::Refused(Status::VersionNotSupported),
        Err(_) => return Head::Refused(Status::BadRequest),
    };
    let head_only = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Head::Refused(Status::MethodNotAllowed),
    };
    let header = |name: &str| {
        let mut found = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        found.next().map(|header| header.value)
    };
    let has_body = header("transfer-encoding").is_some()
        || header("content-length").is_some_and(|length| length.trim_ascii() != b"0");
    let says = |word: &[u8]| {
        header("connection").is_some_and(|value| {
            value.split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(word))
        })
    };
    let keep = match request.version {
        Some(1) => !says(b"close"),
        _ => says(b"keep-alive"),
    };
    let target = request.path.unwrap_or_default();
    let path = target.split(['?', '#']).next().unwrap_or_default().to_owned();
    Head::Request(Get { path, head_only, keep: keep && !has_body, bytes: length })
}

/// The head of an answer with a body of so many bytes.
pub fn answer_head(status: Status, content_type: &str, length: usize, keep: bool) -> Vec<u8> {
    let connection = if keep { "keep-alive" } else { "close" };
    let allow = if status == Status::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
    format!(
        "HTTP/1.1 {}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: \
         {connection}\r\nCache-Control: no-store\r\n{allow}\r\n",
        status.line()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(text: &str) -> Get {
        match read_head(text.as_bytes()) {
            Head::Request(get) => get,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_scrape_is_understood_byte_by_byte() {
        let text = "GET /metrics?name=x HTTP/1.1\r\nHost: a\r\nAccept: text/plain\r\n\r\nGET /next";
        let head = get(text);
        assert_eq!((head.path.as_str(), head.keep, head.head_only), ("/metrics", true, false));
        assert_eq!(&text[head.bytes..], "GET /next");
        for cut in 0..head.bytes {
            assert_eq!(read_head(&text.as_bytes()[..cut]), Head::Partial, "{cut} bytes");
        }
    }

    #[test]
    fn connections_are_kept_as_both_versions_say() {
        assert!(!get("GET / HTTP/1.1\r\nConnection: TE, Close\r\n\r\n").keep);
        assert!(!get("GET / HTTP/1.0\r\n\r\n").keep);
        assert!(get("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").keep);
        assert!(!get("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello").keep, "its body is not read");
        assert!(get("GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n").keep);
        assert!(!get("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").keep);
        assert!(get("HEAD /healthz HTTP/1.1\r\n\r\n").head_only);
    }

    #[test]
    fn what_is_no_request_is_refused_by_name() {
        let refused = |text: &str| match read_head(text.as_bytes()) {
            Head::Refused(status) => status,
            other => panic!("{:?}: {other:?}", &text[..text.len().min(60)]),
        };
        assert_eq!(refused("POST /metrics HTTP/1.1\r\n\r\n"), Status::MethodNotAllowed);
        assert_eq!(refused("GET / HTTP/2.0\r\n\r\n"), Status::VersionNotSupported);
        assert_eq!(refused("\u{1}\u{2}\u{3}"), Status::BadRequest);
        assert_eq!(refused("GET / HTTP/1.1\r\nno colon here\r\n\r\n"), Status::BadRequest);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(ADMIN_HEADERS_MAX + 1));
        assert_eq!(refused(&many), Status::TooLarge);
        let endless = format!("GET / HTTP/1.1\r\na: {}", "b".repeat(ADMIN_HEAD_BYTES_MAX));
        assert_eq!(refused(&endless), Status::TooLarge);
        let long = format!("{endless}\r\n\r\n");
        assert_eq!(refused(&long), Status::TooLarge);
    }

    #[test]
    fn answers_say_their_length() {
        let head = answer_head(Status::Unavailable, "text/plain", 12, false);
        let text = String::from_utf8(head).unwrap();
        assert!(text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{text}");
        assert!(text.contains("Content-Length: 12\r\nConnection: close\r\n") && text.ends_with("\r\n\r\n"));
    }
}
