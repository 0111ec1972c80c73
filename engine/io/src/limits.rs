//! Every bound of the process, in one place, each with its reason. Names say the unit.

/// Largest frame, RocketMQ's `com.rocketmq.remoting.frameMaxLength` default: a client's frame above
/// it is refused by Apache too, so nobody depends on more.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One provided receive buffer. 16 KiB takes a dozen 1 KiB sends in one completion and keeps an idle
/// pool small.
pub const RECV_BUF_BYTES: usize = 16 * 1024;

/// Provided receive buffers a core owns (power of two, the kernel's rule): 8 MiB a core.
pub const RECV_BUFS: usize = 512;

/// Bytes that wait to be sent on one connection before its requests are no longer read: one full
/// pull answer (maximum frame) may always be queued, the rest waits in the peer's socket.
pub const CONN_OUT_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;

/// A peer that takes no byte of a pending send for so long is cut: it holds leases on the ring.
pub const SEND_STALL_SECS_MAX: u64 = 30;

/// Idle connections (no byte either way) are closed, as RocketMQ does (its 120 s).
pub const CONN_IDLE_SECS_MAX: u64 = 120;

/// Messages one lane between two cores holds. One turn of a core takes at most a few thousand frames
/// off its sockets; a lane that is fuller than this is not behind, it is stuck.
pub const LANE_MESSAGES_MAX: usize = 4096;

const _: () = assert!(RECV_BUFS.is_power_of_two() && RECV_BUFS <= 32768);
const _: () = assert!(LANE_MESSAGES_MAX.is_power_of_two());
