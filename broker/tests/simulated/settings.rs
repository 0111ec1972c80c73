//! The configuration is changed while the broker runs: at once, on every core, for good; or not at all.

use crate::common::{Peer, Rig, Scene, pull_header, send_header};
use ringmq_simenv::CrashKind;
use ringmq_wire::code::request_code as code;

const SEEDS: u64 = 6;

async fn change(peer: &Peer, text: &str) -> (i32, String) {
    let answer = peer.ask(code::UPDATE_BROKER_CONFIG, &[], text.as_bytes()).await;
    let command = answer.command();
    (command.code, command.remark.as_deref().unwrap_or_default().to_owned())
}

fn ok() -> (i32, String) {
    (0, String::new())
}

async fn shown(peer: &Peer) -> String {
    let answer = peer.ask(code::GET_BROKER_CONFIG, &[], b"").await;
    String::from_utf8(answer.command().body.to_vec()).unwrap()
}

/// How a send to each of four queues ends, wherever their cores are.
async fn sends(rig: &Rig, body: &[u8]) -> Vec<i32> {
    let mut codes = Vec::new();
    for queue in 0..4 {
        codes.push(rig.connect().send(send_header("t", queue, ""), body).await.code);
    }
    codes
}

/// How a pull from each of four queues ends.
async fn pulls(rig: &Rig) -> Vec<i32> {
    let mut codes = Vec::new();
    for queue in 0..4 {
        codes.push(rig.connect().pull(pull_header("t", queue, 0)).await.code);
    }
    codes
}

#[test]
fn a_change_is_in_force_on_every_core_and_outlives_a_crash() {
    for seed in 0..SEEDS {
        let scene = Scene::new(seed);
        let cores = 1 + (seed % 2) as usize;
        scene.start(cores, |_| ());
        scene.client(|rig| async move {
            let peer = rig.connect();
            assert_eq!(sends(&rig, b"0123456789").await, [0; 4]);
            assert_eq!(change(&peer, "maxMessageSize=5\nmaxTransferCountOnMessageInMemory=1\n").await, ok());
            assert_eq!(sends(&rig, b"0123456789").await, [13; 4]);
            assert_eq!(sends(&rig, b"01234").await, [0; 4]);
            assert_eq!(peer.pull(pull_header("t", 0, 0)).await.messages.len(), 1);
            assert_eq!(change(&peer, "brokerPermission=2").await, ok());
            assert_eq!(pulls(&rig).await, [16; 4]);
            assert_eq!(change(&peer, "brokerPermission=6").await, ok());
            assert_eq!(pulls(&rig).await, [0; 4]);
            assert_eq!(change(&peer, "brokerPermission=2").await, ok());
        });
        scene.machine.crash(if seed < 3 { CrashKind::Process } else { CrashKind::PowerLoss });
        // The file says something else.
        scene.start(cores, |config| config.max_message_size = 1000);
        scene.client(|rig| async move {
            let peer = rig.connect();
            let text = shown(&peer).await;
            assert!(text.contains("maxMessageSize=5\n") && text.contains("brokerPermission=2\n"), "{text}");
            assert_eq!(pulls(&rig).await, [16; 4]);
            assert_eq!(change(&peer, "brokerPermission=6").await, ok());
            assert_eq!(sends(&rig, b"0123456789").await, [13; 4]);
            assert_eq!(sends(&rig, b"01234").await, [0; 4]);
        });
        scene.stop();
        // A snapshot was written by the stop; the change is in it.
        scene.start(cores, |_| ());
        scene.client(|rig| async move { assert_eq!(sends(&rig, b"0123456789").await, [13; 4]) });
        scene.stop();
    }
}

#[test]
fn what_cannot_change_is_refused_by_name_and_nothing_is_changed() {
    let scene = Scene::new(1);
    scene.start(2, |_| ());
    scene.client(|rig| async move {
        let peer = rig.connect();
        let before = shown(&peer).await;
        assert!(!before.contains("storePath") && !before.contains("ringDir"), "{before}");
        for (text, code, words) in [
            ("maxMessageSize=7\nlistenPort=1", 1, "listenPort cannot change while the broker runs"),
            ("maxMessageSize=7\nnoSuchKey=1", 1, "noSuchKey"),
            ("maxMessageSize=7\nbrokerPermission=9", 1, "brokerPermission=9: expected"),
            (
                "maxMessageSize=7\nstorePathRootDir=/x",
                16,
                "Can not update config in black list: storePathRootDir.",
            ),
            ("maxMessageSize=7\nbrokerConfigPath=/x", 16, "black list"),
            ("maxMessageSize=\\u12", 1, "line 1"),
        ] {
            let (seen, remark) = change(&peer, text).await;
            assert_eq!(seen, code, "{text}: {remark}");
            assert!(remark.contains(words), "{text}: {remark}");
        }
        assert_eq!(change(&peer, "").await, ok());
        assert_eq!(shown(&peer).await, before);
    });
    scene.stop();
}
