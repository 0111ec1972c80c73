use super::*;
use proptest::prelude::*;

use crate::control::groups::named;
use crate::control::topics::plain;

/// A change as the control core makes it: to the state, and as an entry.
#[derive(Clone, Debug)]
enum Change {
    Topic(u8, u32),
    TopicGone(u8),
    Group(u8, i32),
    GroupGone(u8, bool),
    Commit(u8, u8, u32, i64),
    Setting(u8, u8),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        (0u8..4, 0u32..9).prop_map(|(t, q)| Change::Topic(t, q)),
        (0u8..4).prop_map(Change::TopicGone),
        (0u8..3, 0i32..9).prop_map(|(g, r)| Change::Group(g, r)),
        (0u8..3, any::<bool>()).prop_map(|(g, o)| Change::GroupGone(g, o)),
        (0u8..3, 0u8..4, 0u32..3, any::<i64>()).prop_map(|(g, t, q, o)| Change::Commit(g, t, q, o)),
        (0u8..3, any::<u8>()).prop_map(|(k, v)| Change::Setting(k, v)),
    ];
    proptest::collection::vec(change, 0..60)
}

fn make(state: &mut State, change: &Change, now: i64) -> Option<Vec<u8>> {
    match change {
        Change::Topic(t, queues) => {
            let mut topic_config = plain(format!("t{t}"), *queues);
            topic_config.attributes.insert("message.type".into(), "FIFO".into());
            let config = Rc::new(topic_config);
            let version = state.topics.put(config.clone(), now);
            Some(entry(|out| topic(out, &config, version)))
        }
        Change::TopicGone(t) => {
            let name = format!("t{t}");
            let version = state.topics.remove(&name, now)?;
            state.offsets.remove_topic(&name);
            Some(entry(|out| topic_gone(out, &name, version)))
        }
        Change::Group(g, retries) => {
            let config = Rc::new(GroupConfig { retry_max_times: *retries, ..named(format!("g{g}")) });
            let version = state.groups.put(config.clone(), now);
            Some(entry(|out| group(out, &config, version)))
        }
        Change::GroupGone(g, with_offsets) => {
            let name = format!("g{g}");
            let version = state.groups.remove(&name, now)?;
            if *with_offsets {
                state.offsets.remove_group(&name);
            }
            Some(entry(|out| group_gone(out, &name, *with_offsets, version)))
        }
        Change::Setting(key, value) => {
            let changed: [Setting; 1] = [(format!("k{key}").into(), value.to_string().into())];
            state.put_settings(&changed);
            Some(entry(|out| settings(out, changed.iter())))
        }
        Change::Commit(g, t, queue, offset) => {
            let (g, t) = (format!("g{g}"), format!("t{t}"));
            state.offsets.commit(&g, &t, *queue, *offset).unwrap();
            Some(commit(&g, &t, *queue, *offset))
        }
    }
}

fn shown(state: &State) -> String {
    let topics: Vec<_> = state.topics.iter().collect();
    let groups: Vec<_> = state.groups.iter().collect();
    let mut offsets = Vec::new();
    let mut at: Option<(Rc<str>, Rc<str>)> = None;
    while let Some((g, t, q)) = state.offsets.after(at.as_ref().map(|(g, t)| (&**g, &**t))) {
        offsets.push(format!("{g} {t} {q:?}"));
        at = Some((g.clone(), t.clone()));
    }
    let versions = (state.topics.version(), state.groups.version());
    let settings: Vec<_> = state.settings().collect();
    format!("{topics:?} {groups:?} {offsets:?} {versions:?} {settings:?}")
}

proptest! {
    #[test]
    fn replay_ends_in_the_same_state(changes in changes()) {
        let (mut state, mut replayed) = (State::default(), State::default());
        for (now, change) in changes.iter().enumerate() {
            if let Some(entry) = make(&mut state, change, now as i64) {
                replayed.replay(&entry).unwrap();
            }
        }
        prop_assert_eq!(shown(&replayed), shown(&state));
    }

    #[test]
    fn a_snapshot_taken_while_the_state_moves_on_is_good(changes in changes(), start in 0usize..60, step in 1usize..4) {
        let mut state = State::default();
        let mut since = Vec::new();
        let mut writer = None;
        for (now, change) in changes.iter().enumerate() {
            if now == start {
                writer = Some(SnapshotWriter::begin(&state));
            }
            let entry = make(&mut state, change, now as i64);
            if let Some(writer) = &mut writer {
                since.extend(entry);
                writer.step(&state, step);
            }
        }
        let mut writer = writer.unwrap_or_else(|| SnapshotWriter::begin(&state));
        while !writer.step(&state, step) {}
        let mut replayed = State::default();
        replayed.replay_snapshot(&writer.finish()).unwrap();
        for entry in &since {
            replayed.replay(entry).unwrap();
        }
        prop_assert_eq!(shown(&replayed), shown(&state));
    }

    #[test]
    fn damaged_entries_are_errors_not_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60), kind in 0u8..8) {
        let _ = State::default().replay(&bytes);
        let mut entry = vec![FORMAT, kind];
        entry.extend_from_slice(&bytes);
        let _ = State::default().replay(&entry);
        let mut snapshot = SNAPSHOT_MAGIC.to_vec();
        snapshot.extend_from_slice(&bytes);
        let _ = State::default().replay_snapshot(&snapshot);
    }
}

#[test]
fn entries_are_compact() {
    let version = DataVersion { state_version: 0, timestamp: 1_800_000_000_000, counter: 1000 };
    let topic_entry = entry(|out| topic(out, &plain("orders", 8), version));
    assert!(topic_entry.len() < 40, "{} bytes", topic_entry.len());
    assert!(commit("group", "orders", 3, 1_000_000).len() < 24);
}

#[test]
fn other_formats_are_refused() {
    assert_eq!(State::default().replay(&[2, 1]), Err(ReplayError::Format(2)));
    assert_eq!(State::default().replay(&[1, 99]), Err(ReplayError::Kind(99)));
    assert_eq!(State::default().replay_snapshot(b"something"), Err(ReplayError::Snapshot));
}
