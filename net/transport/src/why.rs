//! Why connections end: the keys of the `closed` counters and the words of the log lines.

pub const PEER_CLOSED: &str = "peer closed";
pub const CONNECTION_ERROR: &str = "connection error";
pub const BAD_FRAME: &str = "not a frame";
pub const BAD_HEADER: &str = "undecodable header";
pub const TLS: &str = "TLS is not supported yet";
pub const IDLE: &str = "idle";
pub const SEND_STALLED: &str = "peer takes no output";
pub const OUTPUT_FULL: &str = "output over its limit";
pub const SERVICE: &str = "closed by the service";
pub const SERVER_STOPS: &str = "server stops";
pub const TOO_MANY: &str = "too many connections";
pub const CLIENT_CLOSED: &str = "client closed";
