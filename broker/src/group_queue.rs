//! A queue as a consumer group sees it: the key of what is kept for each (group, topic, queue).

use hashbrown::Equivalent;

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub struct GroupQueue {
    pub group: Box<str>,
    pub topic: Box<str>,
    pub queue_id: u32,
}

/// The same for a look-up, borrowed.
#[derive(Clone, Copy, Hash)]
pub struct GroupQueueRef<'a> {
    pub group: &'a str,
    pub topic: &'a str,
    pub queue_id: u32,
}

impl Equivalent<GroupQueue> for GroupQueueRef<'_> {
    fn equivalent(&self, key: &GroupQueue) -> bool {
        self.queue_id == key.queue_id && *self.group == *key.group && *self.topic == *key.topic
    }
}

impl GroupQueueRef<'_> {
    pub fn to_owned_key(self) -> GroupQueue {
        GroupQueue { group: self.group.into(), topic: self.topic.into(), queue_id: self.queue_id }
    }
}
