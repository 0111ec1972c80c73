//! The cases over real sockets and files.

mod common;

use common::cases;

macro_rules! cases {
    ($($name:ident $(($($arg:expr),*))?;)*) => {$(
        #[test]
        fn $name() {
            let dir = tempfile::tempdir().unwrap();
            let data = dir.path().to_owned();
            ringmq_uring::run(1, move |env| cases::$name(env, data.clone() $(, $($arg),*)?)).unwrap();
        }
    )*};
}

cases! {
    captured_requests_get_the_captured_answers;
    brokers_come_and_go_with_their_connections;
    silent_brokers_are_forgotten(1500);
    bad_requests_are_refused_with_a_reason;
    long_lists_are_told_whole;
    topics_and_permissions_are_administered;
    kv_configuration_outlives_a_restart;
    settings_change_at_run_time_and_stay;
    a_taken_port_is_named;
}

/// RocketMQ's own file is taken over as it is: of any length, without padding.
#[test]
fn rocketmqs_own_kv_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("namesrv")).unwrap();
    let text = r#"{"configTable":{"ORDER_TOPIC_CONFIG":{"t":"b:4"}}}"#;
    std::fs::write(dir.path().join("namesrv/kvConfig.json"), text).unwrap();
    let data = dir.path().to_owned();
    ringmq_uring::run(1, move |env| {
        let data = data.clone();
        async move {
            let running = common::Running::start(&env, &data, "").await;
            let answer =
                running.client().ask(101, &[("namespace", "ORDER_TOPIC_CONFIG"), ("key", "t")], &[]).await;
            assert_eq!(answer.ok().ext("value").as_deref(), Some("b:4"));
            running.stop().await;
        }
    })
    .unwrap();
}
