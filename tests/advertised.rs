//! What clients are told of where the broker is: another port than it listens on, and another address by name server, as where
//! some of them are in the container's network and others are not.

mod harness;

use std::collections::BTreeSet;
use std::path::Path;

use harness::proxy::Proxy;
use harness::remoting::{Remote, send_header};
use harness::server::{Server, Standalone, fixed_port};
use harness::suite::Suite;
use harness::{scratch, take_turn};
use ringmq_wire::code::{request_code, response_code};

/// What a client does with a broker's address: administration, sends, heartbeats, pulls that are held, offsets.
const SCENARIOS: [&str; 2] = ["admin_created_topic", "push_long_polling"];

fn run(namesrv: &str, dir: &Path) {
    let expected: BTreeSet<String> = SCENARIOS.iter().map(ToString::to_string).collect();
    Suite::Java.run(namesrv, &SCENARIOS, "", &expected, dir);
}

/// The text of the route of a topic that every broker has.
fn route(namesrv: &str) -> String {
    let answer =
        Remote::connect(namesrv).ask(request_code::GET_ROUTEINFO_BY_TOPIC, &[("topic", "TBW102")], b"");
    assert_eq!(answer.code, response_code::SUCCESS, "{answer:?}");
    String::from_utf8(answer.body).expect("text")
}

#[test]
fn each_name_server_tells_its_clients_its_own_address() {
    let _turn = take_turn();
    if !Suite::Java.prepare() {
        return;
    }
    let (inside_dir, outside_dir, dir) = (scratch(), scratch(), scratch());
    let inside = Server::ringmq(&["namesrv", "-p", "0"], inside_dir.path());
    let outside = Server::ringmq(&["namesrv", "-p", "0"], outside_dir.path());
    let proxy = Proxy::start();
    let conf = dir.path().join("broker.conf");
    let text = format!(
        "listenPort=0\nbindAddress=127.0.0.1\nbrokerIP1=127.0.0.1\nnamesrvAddr={};{}\nadvertisedAddresses={}={}\n",
        inside.namesrv(),
        outside.namesrv(),
        outside.namesrv(),
        proxy.address(),
    );
    std::fs::write(&conf, text).expect("write broker.conf");
    let broker = Server::ringmq(&["broker", "-c", &conf.to_string_lossy()], dir.path());
    proxy.forward_to(broker.broker());

    let told = route(inside.namesrv());
    assert!(told.contains(broker.broker()) && !told.contains(proxy.address()), "{told}");
    run(inside.namesrv(), inside_dir.path());
    assert_eq!(proxy.forwarded(), 0, "clients inside went around");

    let told = route(outside.namesrv());
    assert!(told.contains(proxy.address()) && !told.contains(broker.broker()), "{told}");
    run(outside.namesrv(), outside_dir.path());
    assert!(proxy.forwarded() > 0, "clients outside did not come by the address that they were told");

    // At the end each name server is told that the broker under this address is gone.
    broker.stop();
    for names in [&inside, &outside] {
        let topic = [("topic", "TBW102")];
        let answer = Remote::connect(names.namesrv()).ask(request_code::GET_ROUTEINFO_BY_TOPIC, &topic, b"");
        assert_eq!(answer.code, response_code::TOPIC_NOT_EXIST, "{answer:?}");
    }
    inside.stop();
    outside.stop();
}

/// As with a published port: the same address for everybody, but not the port that the broker knows.
#[test]
fn the_port_that_is_told_may_be_another_one() {
    let _turn = take_turn();
    let dir = scratch();
    let proxy = Proxy::start();
    let listen_port = fixed_port();
    let (_, told_port) = proxy.address().rsplit_once(':').expect("a port");
    let server = Standalone::new(dir.path())
        .broker_conf(&[&format!("listenPort={listen_port}"), &format!("advertisedPort={told_port}")])
        .listen_port_from_conf()
        .start();
    proxy.forward_to(&format!("127.0.0.1:{listen_port}"));
    assert_eq!(server.broker(), proxy.address(), "the ready line says what clients are told");
    let told = route(server.namesrv());
    assert!(told.contains(proxy.address()), "{told}");
    let sent = Remote::connect(server.broker()).send(send_header("through", 0), b"m");
    assert_eq!(sent.code, response_code::SUCCESS, "{sent:?}");
    // Whoever looks a message up by its id comes by the same way: address and port are in it.
    let id = sent.field("msgId");
    let port: u16 = told_port.parse().expect("a port");
    assert_eq!(&id[..16], format!("7F000001{:08X}", port), "{id}");
    // The configuration shows the port that it listens on.
    let config = Remote::connect(server.broker()).ask(request_code::GET_BROKER_CONFIG, &[], b"");
    let config = String::from_utf8(config.body).expect("text");
    assert!(config.contains(&format!("listenPort={listen_port}\n")), "{config}");
    assert!(config.contains(&format!("advertisedPort={told_port}\n")), "{config}");
    server.stop();
}
