//! Where a queue lives: (topic, queue id) → shard → core.
//!
//! Invariants: the shard of a queue never changes for the life of a store, since its messages lie there: the hash and
//! the formula below are part of the storage format. The queues of one topic spread over all shards. Which core runs
//! a shard may change from start to start.

/// How many shards the store has, and over how many cores they are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    shards: u32,
    cores: u32,
}

impl Placement {
    pub fn new(shards: u16, cores: usize) -> Self {
        assert!(shards > 0 && cores > 0 && cores <= usize::from(u16::MAX));
        Self { shards: u32::from(shards), cores: cores as u32 }
    }

    /// The shard of a topic's queue 0.
    pub fn first_shard(&self, topic: &str) -> u32 {
        (stable_hash(topic.as_bytes()) % u64::from(self.shards)) as u32
    }

    pub fn shard(&self, first_shard: u32, queue_id: u32) -> u16 {
        ((first_shard + queue_id % self.shards) % self.shards) as u16
    }

    /// The shard of any of a topic's queues. Who asks for many of one topic, or for each message, keeps `first_shard`.
    pub fn shard_of(&self, topic: &str, queue_id: u32) -> u16 {
        self.shard(self.first_shard(topic), queue_id)
    }

    /// The first queue of a topic that lies in a shard; of a topic with a queue for each shard, the only one.
    pub fn queue_in(&self, first_shard: u32, shard: u16) -> u32 {
        (u32::from(shard) + self.shards - first_shard) % self.shards
    }

    pub fn core(&self, shard: u16) -> usize {
        (u32::from(shard) % self.cores) as usize
    }

    pub fn shards(&self) -> u16 {
        self.shards as u16
    }

    pub fn cores(&self) -> usize {
        self.cores as usize
    }

    /// The shards that this core runs.
    pub fn shards_of(&self, core: usize) -> impl Iterator<Item = u16> + use<> {
        (core as u32..self.shards).step_by(self.cores as usize).map(|shard| shard as u16)
    }
}

/// FNV-1a, 64 bits. Part of the storage format: never change it.
fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_stores_were_written_with() {
        // Published FNV-1a test vectors.
        assert_eq!(stable_hash(b""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(stable_hash(b"a"), 0xAF63_DC4C_8601_EC8C);
        assert_eq!(stable_hash(b"foobar"), 0x8594_4171_F739_67E8);
    }

    #[test]
    fn queues_spread_over_all_shards_and_cores() {
        let placement = Placement::new(6, 4);
        let first = placement.first_shard("orders");
        let mut shards: Vec<u16> = (0..6).map(|queue| placement.shard(first, queue)).collect();
        shards.sort_unstable();
        assert_eq!(shards, [0, 1, 2, 3, 4, 5]);
        assert_eq!(placement.shard(first, u32::MAX), placement.shard(first, u32::MAX % 6));
        for shard in 0..6 {
            assert_eq!(placement.shard(first, placement.queue_in(first, shard)), shard);
        }
        let all: Vec<Vec<u16>> = (0..4).map(|core| placement.shards_of(core).collect()).collect();
        assert_eq!(all, [vec![0, 4], vec![1, 5], vec![2], vec![3]]);
        for (core, shards) in all.iter().enumerate() {
            assert!(shards.iter().all(|shard| placement.core(*shard) == core));
        }
        // More cores than shards: some cores only serve connections.
        assert_eq!(Placement::new(1, 2).shards_of(1).count(), 0);
    }
}
