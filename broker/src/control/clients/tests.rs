use super::*;
use proptest::prelude::*;

const KIND: ConsumerKind = ConsumerKind {
    consume_type: ConsumeType::Passively,
    model: MessageModel::Clustering,
    from_where: ConsumeFromWhere::LastOffset,
    fingerprint: 0,
};

fn client(conn: ConnId) -> Client<'static> {
    Client { conn, id: "c", addr: ([10, 0, 0, 1], 7).into(), language: Language::Java, version: 479 }
}

fn subscription(topic: &str, version: i64) -> SubscriptionData {
    SubscriptionData { sub_version: version, ..SubscriptionData::of_tags(topic, "*").unwrap() }
}

fn change(notify: bool, replace: bool) -> Change {
    Change { notify, replace, fingerprint_moved: false }
}

#[test]
fn joining_leaving_and_topics_call_for_a_rebalance() {
    let mut clients = Clients::default();
    let beat = |clients: &mut Clients, conn, topics: &[(&str, i64)]| {
        let subscriptions = topics.iter().map(|(t, v)| subscription(t, *v)).collect();
        clients.consumer_beats("g", client(conn), KIND, Some(subscriptions), 0).unwrap()
    };
    assert_eq!(beat(&mut clients, 1, &[("t", 1)]), change(true, true));
    assert_eq!(beat(&mut clients, 1, &[("t", 1)]), change(false, false));
    // The second member changes who gets what, not what is subscribed.
    assert_eq!(beat(&mut clients, 2, &[("t", 1)]), change(true, false));
    // Another expression: replicas must know, nobody rebalances.
    assert_eq!(beat(&mut clients, 2, &[("t", 2)]), change(false, true));
    assert_eq!(beat(&mut clients, 1, &[("t", 1)]), change(false, false));
    assert_eq!(beat(&mut clients, 1, &[("t", 1), ("u", 1)]), change(true, true));
    // Members that differ overwrite each other.
    assert_eq!(beat(&mut clients, 2, &[("t", 1)]), change(true, true));
    assert!(clients.consumer_leaves("g", 1));
    assert!(!clients.consumer_leaves("g", 1));
    assert_eq!(clients.consumer_group("g").unwrap().members.len(), 1);
    assert_eq!(clients.disconnected(2), ["g".into()]);
    assert!(clients.consumer_group("g").is_none());
    assert_eq!(clients.memberships(), 0);
}

#[test]
fn a_beat_without_subscriptions_keeps_them_and_a_moved_fingerprint_is_told() {
    let mut clients = Clients::default();
    let with = |fingerprint| ConsumerKind { fingerprint, ..KIND };
    let first = clients.consumer_beats("g", client(1), with(7), Some(vec![subscription("t", 1)]), 0).unwrap();
    assert!(!first.fingerprint_moved);
    let same = clients.consumer_beats("g", client(1), with(7), None, 0).unwrap();
    assert_eq!(same, Change::default());
    let moved = clients.consumer_beats("g", client(1), with(8), None, 0).unwrap();
    assert!(moved.fingerprint_moved);
    assert!(clients.consumer_group("g").unwrap().subscriptions.contains_key("t"));
    // Nothing is known to be kept: the client shall send it.
    let unknown = clients.consumer_beats("h", client(1), with(7), None, 0).unwrap();
    assert!(unknown.fingerprint_moved);
}

#[test]
fn the_silent_are_dropped_and_the_others_stay() {
    let mut clients = Clients::default();
    clients.consumer_beats("g", client(1), KIND, None, 0).unwrap();
    clients.consumer_beats("g", client(2), KIND, None, 0).unwrap();
    clients.producer_beats("p", client(1), 0).unwrap();
    clients.consumer_beats("g", client(2), KIND, None, 90_000).unwrap();
    assert_eq!(clients.expire(120_000, 120_000, 100), (vec![], false));
    assert_eq!(clients.expire(120_001, 120_000, 100), (vec!["g".into()], false));
    assert!(clients.producer_group("p").is_none());
    assert_eq!(clients.memberships(), 1);
    assert_eq!(clients.expire(210_000, 120_000, 100), (vec![], false));
    assert_eq!(clients.expire(210_001, 120_000, 1), (vec!["g".into()], true));
    assert_eq!(clients.expire(210_001, 120_000, 1), (vec![], false));
}

#[test]
fn a_member_that_left_and_came_back_is_not_expired_by_its_old_entry() {
    let mut clients = Clients::default();
    clients.consumer_beats("g", client(1), KIND, None, 0).unwrap();
    clients.consumer_leaves("g", 1);
    clients.consumer_beats("g", client(1), KIND, None, 100_000).unwrap();
    assert_eq!(clients.expire(130_000, 120_000, 100).0, Vec::<Rc<str>>::new());
    assert_eq!(clients.memberships(), 1);
    assert_eq!(clients.expire(220_001, 120_000, 100).0, ["g".into()]);
}

#[test]
fn too_many_subscriptions_are_refused() {
    let mut clients = Clients::default();
    let many = (0..=SUBSCRIPTIONS_PER_GROUP_MAX).map(|i| subscription(&format!("t{i}"), 1)).collect();
    let error = clients.consumer_beats("g", client(1), KIND, Some(many), 0).unwrap_err();
    assert!(error.to_string().contains("4096"), "{error}");
    assert_eq!(clients.memberships(), 0);
}

#[derive(Clone, Debug)]
enum Event {
    Consume(ConnId, u8),
    Produce(ConnId, u8),
    Leave(ConnId, u8),
    Close(ConnId),
    Expire,
}

proptest! {
    #[test]
    fn memberships_are_counted_right(events in proptest::collection::vec(prop_oneof![
        (0u64..4, 0u8..3).prop_map(|(c, g)| Event::Consume(c, g)),
        (0u64..4, 0u8..3).prop_map(|(c, g)| Event::Produce(c, g)),
        (0u64..4, 0u8..3).prop_map(|(c, g)| Event::Leave(c, g)),
        (0u64..4).prop_map(Event::Close),
        Just(Event::Expire),
    ], 0..60)) {
        let mut clients = Clients::default();
        for (step, event) in events.iter().enumerate() {
            let now = step as i64 * 20_000;
            let group = |g: &u8| format!("g{g}");
            match event {
                Event::Consume(c, g) => {
                    clients.consumer_beats(&group(g), client(*c), KIND, None, now).unwrap();
                }
                Event::Produce(c, g) => clients.producer_beats(&group(g), client(*c), now).unwrap(),
                Event::Leave(c, g) => {
                    clients.consumer_leaves(&group(g), *c);
                }
                Event::Close(c) => {
                    clients.disconnected(*c);
                }
                Event::Expire => {
                    clients.expire(now, 120_000, 100);
                }
            }
            let counted = clients.consumers.values().map(|g| g.members.len()).sum::<usize>()
                + clients.producers.values().map(BTreeMap::len).sum::<usize>();
            prop_assert_eq!(counted, clients.memberships());
            prop_assert_eq!(clients.by_conn.values().map(|m| m.len()).sum::<usize>(), counted);
            prop_assert!(clients.consumers.values().all(|g| !g.members.is_empty()));
            prop_assert_eq!(clients.expiry.len(), counted);
        }
    }
}

#[test]
fn a_producer_is_found_by_its_client_id() {
    let mut clients = Clients::default();
    let named = |conn, id| Client { id, ..client(conn) };
    clients.producer_beats("p", named(1, "a"), 0).unwrap();
    clients.producer_beats("q", named(1, "a"), 0).unwrap();
    assert_eq!(clients.producer_client("a"), Some(1));
    assert_eq!(clients.producer_client("b"), None);
    // Out of one group it is still a producer.
    clients.producer_leaves("p", 1);
    assert_eq!(clients.producer_client("a"), Some(1));
    // It comes again before its old connection is seen to be gone; the old one does not take it along.
    clients.producer_beats("q", named(2, "a"), 0).unwrap();
    clients.disconnected(1);
    assert_eq!(clients.producer_client("a"), Some(2));
    // Another name on the same connection.
    clients.producer_beats("q", named(2, "b"), 0).unwrap();
    assert_eq!((clients.producer_client("a"), clients.producer_client("b")), (None, Some(2)));
    clients.disconnected(2);
    assert!(clients.producer_clients.is_empty());
}
