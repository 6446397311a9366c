//! The configuration of NATS that is shipped, read by real servers: what the base and the components `nats-cluster` and `tls`
//! merge into one folder, with the users that `workfleet credentials` writes.
//!
//! Addresses and folders alone are replaced by those of this machine, and each replacement has to find its text. So what is
//! tried is what a pod reads. A mock of the configuration's grammar would have let through what these servers refuse.

mod authority;
mod config;
mod servers;

use std::path::PathBuf;

use authority::Authority;
use config::manifests;
use servers::{Cluster, Stranger, eventually};
use workfleet_dispatcher::queues_file::QueuesFile;
use workfleet_dispatcher::streams;
use workfleet_link::broker::{Broker, BrokerConfig};
use workfleet_link::config::Vars;

/// How long a connection is tried that must not come about.
const REFUSED_WITHIN: &str = "2s";

fn production_queues() -> QueuesFile {
    QueuesFile::read(&manifests().join("overlays/production/queues/queues.toml")).expect("the rendered queues are good")
}

/// A connection as the manifests configure the Job `provision`; `ca` is its `WORKFLEET_NATS_CA_FILE`.
async fn provision(cluster: &Cluster, url: &str, ca: Option<PathBuf>, tried: &str) -> Result<Broker, String> {
    let seed = cluster.seed("provision");
    let mut pairs = vec![
        ("WORKFLEET_NATS_URL", url.to_owned()),
        ("WORKFLEET_NATS_NKEY_FILE", seed.display().to_string()),
        ("WORKFLEET_NATS_INBOX_PREFIX", "_INBOX_provision".to_owned()),
        ("WORKFLEET_NATS_CONNECT_TIMEOUT", tried.to_owned()),
    ];
    pairs.extend(ca.map(|ca| ("WORKFLEET_NATS_CA_FILE", ca.display().to_string())));
    let mut vars = Vars::from_pairs(pairs);
    let config = BrokerConfig::read(&mut vars, "test");
    let config = vars.finish(config).expect("the variables are good");
    Broker::connect(&config).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_elect_a_leader_and_keep_three_copies_of_every_stream() {
    let mut cluster = Cluster::start().await;
    for server in &cluster.servers {
        let leader = eventually("a leader of JetStream", async || {
            let jsz = server.monitor("/jsz").await?;
            let meta = jsz["meta_cluster"].as_object()?;
            (meta.get("cluster_size")? == 3).then(|| meta.get("leader")?.as_str().map(str::to_owned))?
        });
        assert!(["nats-0", "nats-1", "nats-2"].contains(&leader.await.as_str()), "servers are named as their pods");

        let varz = server.monitor("/varz").await.expect("the server answers");
        assert_eq!(varz["jetstream"]["config"]["sync_always"], true, "{varz}");
        assert!(varz["connect_urls"].as_array().is_none_or(Vec::is_empty), "a pod's address is not advertised: {varz}");
        assert_eq!(varz["tls_required"], true, "{varz}");
    }

    let broker = provision(&cluster, &cluster.url(), Some(cluster.ca()), "20s").await.expect("provision connects");
    let queues = production_queues();
    streams::provision(&broker, &queues).await.expect("three servers have room for the streams of production");
    for queue in &queues.queues {
        let name = broker.names.tasks_stream(&queue.name);
        let stream = broker.jetstream.get_stream(&name).await.expect("the stream is there");
        let cluster = stream.cached_info().cluster.clone().expect("it is in a cluster");
        assert_eq!(stream.cached_info().config.num_replicas, 3, "{name}");
        assert_eq!(cluster.replicas.len(), 2, "{name} has two followers: {cluster:?}");
    }

    // One is lost, the one that leads: a repeat finds everything as it should be.
    let leader = cluster.leader().await;
    cluster.servers[leader].kill();
    let changed = eventually("two servers go on", async || streams::provision(&broker, &queues).await.ok()).await;
    assert!(changed.lines.iter().all(|line| line.change == streams::Change::Unchanged), "{changed:?}");
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_tls_or_with_another_authority_is_refused() {
    let cluster = Cluster::start().await;
    let url = cluster.url();

    let trusting =
        provision(&cluster, &url, Some(cluster.ca()), "20s").await.expect("who trusts the authority connects");
    trusting.close().await;

    let other = Authority::new().write(&cluster.folder().join("other"));
    let error =
        provision(&cluster, &url, Some(other), REFUSED_WITHIN).await.expect_err("another authority signed them");
    assert!(error.contains("certificate") || error.contains("tls") || error.contains("TLS"), "{error}");

    // A client that knows of no TLS sends its name in clear, and is cut off.
    let answer = cluster.servers[0].speak_in_clear().await;
    assert!(answer.contains(r#""tls_required":true"#), "{answer}");
    assert!(!answer.contains("PONG"), "it is not served: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_certificate_that_names_a_server_makes_a_route() {
    let cluster = Cluster::start().await;
    let strangers = [
        // Of our authority, and of another part of the fleet.
        Stranger { name: "dispatcher", authority: cluster.authority(), refusal: "Authentication Failure" },
        // The right name of another authority.
        Stranger { name: "localhost", authority: &Authority::new(), refusal: "TLS route handshake error" },
    ];
    for stranger in strangers {
        let server = cluster.join(&stranger).await;
        cluster.wait_for_refusal(&stranger).await;
        let routez = server.monitor("/routez").await.expect("the stranger answers about itself");
        assert_eq!(routez["num_routes"], 0, "{} is no server: {routez}", stranger.name);
    }
    // And they are still three.
    let jsz = cluster.servers[0].monitor("/jsz").await.expect("the server answers");
    assert_eq!(jsz["meta_cluster"]["cluster_size"], 3, "{jsz}");
}

#[test]
fn every_combination_of_components_is_a_configuration() {
    for components in [&[][..], &["tls"], &["nats-cluster"], &["nats-cluster", "tls"]] {
        let said = config::check(components);
        assert!(said.is_ok(), "{components:?}: {}", said.unwrap_err());
    }
}
