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

/// Queues a topic may have, read or write. RocketMQ sets no bound; its largest system topic has 1024, and an
/// offset table, a route and a rebalance over more than this help nobody.
pub const QUEUES_PER_TOPIC_MAX: u32 = 65_536;

/// Topics a broker keeps: about 300 bytes each on the control core and on every other core.
pub const TOPICS_MAX: usize = 1_000_000;

/// Consumer groups a broker keeps. Each has a retry topic, so more than half of the topics would be theirs.
pub const GROUPS_MAX: usize = TOPICS_MAX / 2;

/// Stored consumer offsets, one for each group and queue: about 40 bytes each, 160 MB when full.
pub const CONSUMER_OFFSETS_MAX: usize = 4_000_000;

/// Memberships of clients in groups (a client counts once in each): about 200 bytes each.
pub const CLIENT_MEMBERSHIPS_MAX: usize = 500_000;

/// Consumer and producer groups that one heartbeat may name. A Java process with more of them in one client
/// instance was never seen; a beat is worked through in one go, so this bounds the pause.
pub const GROUPS_PER_HEARTBEAT_MAX: usize = 4096;

/// Topics that one group may subscribe to, the same pause in mind.
pub const SUBSCRIPTIONS_PER_GROUP_MAX: usize = 4096;

/// Queues that one lock or unlock request may name.
pub const QUEUES_PER_LOCK_MAX: usize = QUEUES_PER_TOPIC_MAX as usize;

/// Attributes one topic or group may have: RocketMQ knows five and eight of them.
pub const ATTRIBUTES_MAX: usize = 64;

/// Bytes of metadata log after which a snapshot is taken: replay of so much takes well under a second.
pub const META_LOG_BYTES_BEFORE_SNAPSHOT: u64 = 64 * 1024 * 1024;

/// Metadata entries written into a snapshot before the control core looks at its requests again.
pub const SNAPSHOT_ENTRIES_PER_TURN: usize = 1024;

const _: () = assert!(RECV_BUFS.is_power_of_two() && RECV_BUFS <= 32768);
const _: () = assert!(LANE_MESSAGES_MAX.is_power_of_two());
