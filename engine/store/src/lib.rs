//! The shard: append, segments, index, read plans, recovery, retention.
