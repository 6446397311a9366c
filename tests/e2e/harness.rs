use async_nats::jetstream::stream::{Config, Republish};
use tempfile::TempDir;
use workfleet_tests::{Nats, Observer, eventually};

#[tokio::test]
async fn the_observer_counts_a_store_that_the_results_stream_hides() {
    let folder = TempDir::new().expect("a folder");
    let mut nats = Nats::start(folder.path()).await;
    let jetstream = nats.jetstream().await;
    let observer = Observer::start(&jetstream).await;
    let republish = Republish {
        source: "wf.result.probe.*.*".to_owned(),
        destination: "wf.done.probe.{{wildcard(2)}}".to_owned(),
        headers_only: false,
    };
    let config = Config {
        name: "RESULTS_probe".to_owned(),
        subjects: vec!["wf.result.probe.*.*".to_owned()],
        max_messages_per_subject: 1,
        republish: Some(republish),
        ..Config::default()
    };
    let results = jetstream.create_stream(config).await.expect("a stream");
    for text in ["first", "second"] {
        let ack = jetstream.publish("wf.result.probe.q.probe_q", text.into()).await.expect("sent");
        ack.await.expect("stored");
    }
    assert_eq!(results.get_info().await.expect("an answer").state.messages, 1);
    eventually("both stores are counted", async || (observer.stores_of("probe_q").await == 2).then_some(())).await;

    nats.kill();
    nats.restart().await;
    assert_eq!(observer.stores_of("probe_q").await, 2, "the store outlives the process");
}
