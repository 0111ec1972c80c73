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

/// Of those, bytes on our own memory (encoded frames, cold reads; not the ring's or a mapped file's): above it the
/// connection is cut. The reader pauses long before, so only answers to requests that were held and requests to the
/// client can get there: a few hundred cold pull answers that the peer does not take.
pub const CONN_OUT_MEMORY_BYTES_MAX: usize = 4 * CONN_OUT_BYTES_MAX;

/// One vectored send of a connection: large enough to cost little a byte, small enough that a slow peer's progress
/// is seen within `SEND_STALL_SECS_MAX` and that leases on the ring come back while a long answer is being sent.
pub const SEND_ROUND_BYTES_MAX: usize = 1024 * 1024;

/// Frames that one connection hands over before the other tasks of its core get a turn: two full windows of a client
/// that keeps 64 requests in flight.
pub const FRAMES_PER_TURN: usize = 128;

/// Requests of ours that wait for an answer on one connection. A broker asks a client few things at a time; this
/// bounds what a client that answers nothing can hold until the calls' own time-outs.
pub const CALLS_PER_CONN_MAX: usize = 1024;

/// Connections a core accepts; more are closed at once. At about 2 KiB of idle memory each, 128 MiB.
pub const CONNECTIONS_PER_CORE_MAX: usize = 65_536;

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

/// Leases of queues for ordered consumption, all groups together: about 200 bytes each.
pub const QUEUE_LOCKS_MAX: usize = 1_000_000;

/// Attributes one topic or group may have: RocketMQ knows five and eight of them.
pub const ATTRIBUTES_MAX: usize = 64;

/// Bytes of a heartbeat: 4096 groups and subscriptions of ordinary length. What a beat says is kept in memory.
pub const HEARTBEAT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A broker's or cluster's name: it is a topic's name as well, and often a host's.
pub const BROKER_NAME_BYTES_MAX: usize = 127;

/// A client's id: Java's is address, process id and a number.
pub const CLIENT_ID_BYTES_MAX: usize = 1024;

/// Bytes of metadata log after which a snapshot is taken, or as many as the last snapshot had, if that is more (so that
/// snapshots never cost more than the log itself). Replay of so much takes some 0.2 s and 50 MiB of memory.
pub const META_LOG_BYTES_BEFORE_SNAPSHOT: u64 = 16 * 1024 * 1024;

/// Metadata entries written into a snapshot before the control core looks at its requests again.
pub const SNAPSHOT_ENTRIES_PER_TURN: usize = 256;

const _: () = assert!(RECV_BUFS.is_power_of_two() && RECV_BUFS <= 32768);
const _: () = assert!(LANE_MESSAGES_MAX.is_power_of_two());

/// Entries a core hands to its ring in one submission; more in one turn make a second system call,
/// they are not lost. A turn of a busy core starts some hundreds.
pub const RING_SQ_ENTRIES: u32 = 2048;

/// Completions the ring holds between two turns: a burst on every connection of a busy core. Beyond
/// it the kernel keeps them aside, which costs time but loses none.
pub const RING_CQ_ENTRIES: u32 = 16384;

/// Receive buffers that may wait on one connection whose task does not take them (1 MiB); then its
/// socket is not read until it does. Less when the pool runs low.
pub const CONN_RECV_BUFS_MAX: usize = 64;

/// Accepted connections that wait for the accepting task; then the kernel's backlog holds the rest.
pub const ACCEPTED_WAITING_MAX: usize = 256;

/// Connections in the kernel that are not accepted yet: a restart lets thousands of clients come back
/// within one second (somaxconn caps it, 4096 by default).
pub const LISTEN_BACKLOG: i32 = 4096;

/// How long a start waits for a port that is in use. A killed process's listeners live until the kernel has taken its
/// io_uring apart in the background: 0.1 s on an idle machine, 1.1 s were seen on a busy one.
pub const LISTEN_WAIT_MS_MAX: u64 = 5000;

/// How long a start waits for the lock of its data: the kernel lets go of a killed process's lock when the last write
/// that was under way is done: 53 ms were seen under full load, and 1.1 s for the ports that go with it. A directory that is
/// really in use is refused that much later.
pub const LOCK_WAIT_MS_MAX: u64 = 5000;

/// Between two looks at such a lock.
pub const LOCK_LOOK_MS: u64 = 10;

/// Directories that one core holds locked: the store's and those of its shards.
pub const LOCKS_PER_CORE_MAX: u32 = 2048;

/// File-system calls that wait for a core's blocking thread; more wait in their tasks.
pub const BLOCKING_JOBS_MAX: usize = 256;

/// Pieces of one vectored send; the kernel's IOV_MAX.
pub const SEND_PIECES_MAX: usize = 1024;

/// One write of zeros when a file is preallocated: large enough for the device's full rate, small
/// enough to let other I/O of the core through.
pub const PREALLOCATE_STEP_BYTES: usize = 1024 * 1024;

const _: () = assert!(RING_SQ_ENTRIES.is_power_of_two() && RING_CQ_ENTRIES >= 2 * RING_SQ_ENTRIES);
const _: () = assert!(2 * CONN_RECV_BUFS_MAX <= RECV_BUFS);

/// Broker processes that one name server knows, ten times the largest clusters that are reported.
pub const NAMESRV_BROKERS_MAX: usize = 10_000;

/// Topics that one name server knows, all brokers together: about 300 bytes each besides their routes as text.
pub const NAMESRV_TOPICS_MAX: usize = 1_000_000;

/// Lists of topics that a name server makes at a time: each has up to a frame of text, 16 MiB. Others wait.
pub const NAMESRV_LISTS_MAX: usize = 4;

/// Queues of topics that a name server looks at for a list before it looks at other requests: some 200 us.
pub const NAMESRV_LOOKS_PER_TURN: usize = 256;

/// Names and values of the name server's KV configuration: it is written as a whole on every change, and a namespace
/// must fit into one frame.
pub const NAMESRV_KV_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Offsets that came with pulls and were not yet handed to the control core: 50 ms of pulls of one core.
pub const CARRIED_COMMITS_MAX: usize = 16_384;

/// Pulls that wait for a message on one core: about 200 bytes each. Further ones are answered at once with "nothing".
pub const HOLDS_PER_CORE_MAX: usize = 500_000;

/// Long-polling pulls answered between two yields when one message wakes many.
pub const HOLDS_PER_TURN: usize = 32;

/// Sends that wait for room in one shard's ring, and their bytes. As much as a ring holds: more would only wait longer.
pub const PARKED_SENDS_MAX: usize = 16_384;
pub const PARKED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long a send may wait for room in the ring before it is refused: below the 3 s after which a client gives up, so
/// that it hears the reason.
pub const APPEND_WAIT_MS_MAX: u64 = 2000;

/// Messages that wait in one book of a shard (timers, half messages): 16 bytes and some bits of memory each, 160 MB, and as
/// many index entries until their segments are sealed. Rebuilding so many takes a start some seconds.
pub const PENDING_PER_BOOK_MAX: usize = 10_000_000;

/// Keys that one core remembers for topics that take each message once (`ringmq.dedup.window`), unless `dedupKeysPerCore` says
/// otherwise: 50 bytes each, 100 MB. With a window of a minute that is 33,000 messages a second; more are refused.
pub const ONCE_KEYS_PER_CORE: usize = 2_000_000;

/// Waiting messages delivered in one batch, and bytes of them: a turn of a millisecond.
pub const DELIVERIES_PER_TURN: usize = 256;
pub const DELIVERY_BYTES_PER_TURN: usize = 512 * 1024;

/// Waiting messages that are taken out of a book and read before they are due: what 60,000 a second are in a quarter of a
/// second, their bytes, and the reads of them under way.
pub const SOON_MESSAGES_MAX: usize = 16 * 1024;
pub const SOON_BYTES_MAX: usize = 16 * 1024 * 1024;
pub const SOON_READS_MAX: usize = 8;

/// Reads from segments under way on one core. Each holds at most one answer's bytes; further ones are refused.
pub const COLD_READS_PER_CORE_MAX: usize = 256;

/// Messages that consumers send back, under way on one core: each holds the message's bytes. A consumer that is refused sends
/// the message to its retry topic itself.
pub const SEND_BACKS_PER_CORE_MAX: usize = 1024;

/// How long a request that another core has checked waits for this core's tables to catch up: a few turns would do.
pub const TABLE_LAG_MS_MAX: u64 = 500;

/// A batch is closed once it holds so much, whatever the turn: it bounds the work that one torn batch
/// loses and the memory that checking one takes. A single larger record makes a batch of its own.
pub const BATCH_BYTES_MAX: u64 = 1024 * 1024;

/// Share of a ring that one batch may take at most (as a divisor): the rest has to hold what is being
/// written out and what is being sent.
pub const BATCH_RING_SHARE: u64 = 2;

/// One segment write and its sync cover at most so much: at 2 GB/s 4 ms, so that a waiting group
/// commit is not stuck behind a long drain.
pub const FLUSH_GROUP_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Up to here a segment write is copied into one buffer instead of going as two operations (whole
/// blocks from the ring, last block from a copy): the copy costs less than the second operation. 512 messages of 1 KiB
/// in flight with SYNC_FLUSH: a group took 1.75 ms copied and 2.2 ms not.
pub const FLUSH_COPY_BYTES_MAX: u64 = 512 * 1024;

/// Unsynced bytes of a ring that start a drain before the flush interval is over, as a divisor of the
/// ring: appends never wait for a drain that has not begun.
pub const FLUSH_EARLY_RING_SHARE: u64 = 4;

/// One read of a segment for messages that lie near each other.
pub const COLD_READ_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes between two messages that one read takes along rather than being split: about what the
/// device moves in the time of one more operation.
pub const COLD_READ_GAP_MAX: u64 = 32 * 1024;

/// What is read at once for a consumer that reads on through a segment: the device's full rate with a few under way.
pub const READ_AHEAD_CHUNK_BYTES: u64 = 1024 * 1024;

/// Chunks that a shard keeps for its readers, 16 MiB: the groups that catch up at the same time usually do so together.
pub const READ_AHEAD_CHUNKS_MAX: usize = 16;

/// Chunks read ahead of one reader: one is on its way while the next is asked of the device.
pub const READ_AHEAD_DEPTH_MAX: usize = 2;

/// Readers of a shard that are known to read on. With more of them than chunks none would find its own again.
pub const READ_AHEAD_STREAMS_MAX: usize = 16;

/// Reads ahead under way on one shard: more would only stand before the flusher's writes.
pub const READS_AHEAD_UNDER_WAY_MAX: usize = 4;

/// Segment reads under way for one pull.
pub const COLD_READS_MAX: usize = 8;

/// Sealed segments of one shard whose files stay open; more are opened when they are read.
pub const SEGMENT_FILES_MAX: usize = 128;

/// One read of recovery, and how many are under way beside what is looked at.
pub const SCAN_READ_BYTES: usize = 1024 * 1024;
pub const SCAN_READS_AHEAD_MAX: usize = 2;

/// One write of recovery, and how many are under way: the device's full rate, since nothing else is to be done.
pub const REWRITE_BYTES: usize = 2 * 1024 * 1024;
pub const REWRITES_UNDER_WAY_MAX: usize = 4;

const _: () = assert!(REWRITE_BYTES.is_multiple_of(crate::BLOCK));

/// Rows, entries or queues that background work of the store handles before it yields: tens of
/// microseconds.
pub const STORE_ITEMS_PER_TURN: usize = 1024;

/// Keys indexed for one message; the reference has no bound, a message's properties (32 KiB) could
/// hold 16,000.
pub const KEYS_PER_MESSAGE_MAX: usize = 64;

/// A queue whose first message lies at most so far behind the end of its log is young: a new group
/// reads it from its start. The reference asks whether the message is still in the page cache.
pub const YOUNG_LOG_BYTES: u64 = 1024 * 1024 * 1024;

const _: () = assert!(FLUSH_COPY_BYTES_MAX <= FLUSH_GROUP_BYTES_MAX);

/// One file of the metadata journal. It is written whole when it begins, so it is small: 4 MiB take
/// some 2 ms, and hold 30,000 offset commits.
pub const META_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// One entry of the metadata journal; the largest, a topic with all attributes, takes some KiB.
pub const META_ENTRY_BYTES_MAX: usize = 256 * 1024;

/// One write and sync of the metadata journal: what gathered during the sync before it.
pub const META_GROUP_BYTES_MAX: usize = 1024 * 1024;

/// Metadata entries that wait for the disk: 300,000 offset commits, minutes of a disk that stalls.
/// Callers ask for room first; an entry beyond it latches the journal.
pub const META_BUFFER_BYTES_MAX: usize = 32 * 1024 * 1024;

const _: () = assert!(META_ENTRY_BYTES_MAX < META_GROUP_BYTES_MAX);
const _: () = assert!(META_FILE_BYTES as usize >= 2 * META_GROUP_BYTES_MAX);

/// Bytes of a SQL92 expression: an IN list of a thousand ids. RocketMQ has no bound.
pub const SQL_EXPRESSION_BYTES_MAX: usize = 64 * 1024;

/// How deep a SQL92 expression may nest: compiling and judging recurse so deep, some 300 bytes of stack each time.
/// RocketMQ's parser overflows its stack at a few thousand.
pub const SQL_NESTING_MAX: usize = 100;

/// Constants, properties and operators of a SQL92 expression: each is looked at for each message, in some nanoseconds.
pub const SQL_NODES_MAX: usize = 1024;

/// Looks at parts of a SQL92 expression in one read of a queue: a few milliseconds. A short expression is not held back by it.
pub const SQL_LOOKS_PER_READ_MAX: usize = 200_000;

/// Compiled SQL92 expressions that came with pulls, kept on one core: some KiB each. RocketMQ keeps 100.
pub const SQL_CARRIED_MAX: usize = 128;

/// Pulls of one core that wait until the subscription is known that they were sent with: each holds its frame, some
/// hundred bytes. Further ones are refused, and the client tries again after 3 s.
pub const PULLS_FOR_NEWS_MAX: usize = 4096;

/// Replies of one core that are on their way to those who asked: each holds its message until the client has answered,
/// 10 s at the longest.
pub const REPLIES_PER_CORE_MAX: usize = 1024;
/// Of so many requests one is timed in its stages. A power of two; see the broker's `stages` for why it is enough.
pub const STAGE_SAMPLED_ONE_IN: u32 = 64;

/// Rows of traffic by topic, and by group and topic, that one core keeps: about 150 bytes each, 30 MiB.
pub const TRAFFIC_ROWS_MAX: usize = 200_000;

/// Queues of groups of which one core notes how far they were pulled: 16 bytes each, 16 MiB. Of further ones the committed offset is
/// told instead.
pub const PULL_OFFSETS_PER_CORE_MAX: usize = 1_000_000;

/// Rows of traffic that are copied for the control core in one go: some tens of microseconds.
pub const TRAFFIC_ROWS_PER_TURN: usize = 128;

/// Topics, and groups in topics, whose rates over the last minute, hour and day are kept: about 800 bytes each, 8 MiB.
pub const HISTORY_ROWS_MAX: usize = 10_000;

/// Connections of the admin port: a few scrapers, dashboards and operators.
pub const ADMIN_CONNECTIONS_MAX: usize = 32;

/// Head of a request on the admin port: browsers send some KiB of cookies and hints.
pub const ADMIN_HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header lines of such a request.
pub const ADMIN_HEADERS_MAX: usize = 64;

/// How long a connection of the admin port may be silent; scrapers come each minute at the latest.
pub const ADMIN_IDLE_SECS_MAX: u64 = 120;

/// How long a request's head may take from its first byte.
pub const ADMIN_HEAD_SECS_MAX: u64 = 10;

/// How long the other cores may take to tell their figures. A core that does not is held up, or gone.
pub const ADMIN_GATHER_SECS_MAX: u64 = 10;

/// Answers of the admin port that are prepared at a time: at 100,000 queues one takes some 20 MiB.
pub const ADMIN_GATHERS_MAX: usize = 2;

/// One send of a long answer of the admin port: the kernel copies it in some tens of microseconds, within the turn.
pub const ADMIN_SEND_ROUND_BYTES_MAX: usize = 256 * 1024;

/// Queues that groups are behind in, of which one scrape finds out how old what waits there is, and how much of it is wanted: two look-ups
/// in an index each, some tens of milliseconds together. Of further groups that is not told.
pub const LAG_LOOKS_MAX: usize = 10_000;

/// Entries of a queue's index that a scrape looks at for a group's tags: some 20 us.
pub const LAG_SAMPLE_MAX: u32 = 1024;

/// Lines of text written, or queues looked at, before the admin port lets others of its core run: some 50 us. With 256 a
/// scrape of 100,000 queues tripled the time that one send in ten took meanwhile.
pub const ADMIN_ROWS_PER_TURN: usize = 64;

const _: () = assert!(STAGE_SAMPLED_ONE_IN.is_power_of_two());

/// Transactions that are being ended on one core: each holds its half message until the end is safe.
pub const ENDS_PER_CORE_MAX: usize = 4096;

/// Half messages whose producers are asked at once, by one shard.
pub const CHECKS_PER_TURN: usize = 64;

/// Changes of a broker's configuration by request between two starts: each keeps about a KiB on each core.
pub const CONFIG_CHANGES_MAX: usize = 10_000;

/// Entries of a queue's index in one answer: 150 bytes each as text.
pub const QUEUE_INDEX_ENTRIES_PER_ANSWER: u32 = 4096;

/// Questions of administrators to consumers that are under way: each may hold a message, for 10 s at the longest.
pub const RELAYS_MAX: usize = 256;

/// Offsets that an administrator has reset and that the group's next pull has not been told yet: about 200 bytes each.
pub const RESETS_MAX: usize = 100_000;

/// Lists of all topics, or all groups, that a broker makes at a time: each has up to a frame of text, 16 MiB.
pub const TABLE_TEXTS_MAX: usize = 4;
