//! Network policies, and what they let through.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// One end of a connection.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// A pod of the cluster.
    Pod { namespace: String, labels: BTreeMap<String, String>, namespace_labels: BTreeMap<String, String> },
    /// Something outside of the cluster.
    Address(IpAddr),
}

impl End {
    pub(crate) fn pod(namespace: &str, labels: &[(&str, &str)]) -> Self {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Self::Pod {
            namespace: namespace.to_owned(),
            labels: labels.iter().map(owned).collect(),
            // Kubernetes gives it to every namespace.
            namespace_labels: [owned(&("kubernetes.io/metadata.name", namespace))].into(),
        }
    }

    pub(crate) fn with_namespace_label(mut self, label: &str, word: &str) -> Self {
        if let Self::Pod { namespace_labels, .. } = &mut self {
            namespace_labels.insert(label.to_owned(), word.to_owned());
        }
        self
    }
}

/// Those of one namespace.
pub(crate) struct Policies(Vec<Value>);

/// From which of its two ends a connection is looked at.
#[derive(Clone, Copy)]
struct Side {
    /// As in `policyTypes`.
    name: &'static str,
    /// Key of the rules.
    rules: &'static str,
    /// Key of the other end in a rule.
    peers: &'static str,
}

const INGRESS: Side = Side { name: "Ingress", rules: "ingress", peers: "from" };
const EGRESS: Side = Side { name: "Egress", rules: "egress", peers: "to" };

impl Policies {
    /// Those of the component `network-policy`.
    pub(crate) fn read() -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("components/network-policy");
        let mut policies = Vec::new();
        for path in files(&folder).into_iter().chain(files(&folder.join("workers"))) {
            let text = fs::read_to_string(&path).expect("a file of the project can be read");
            let read = serde_saphyr::from_multiple::<Value>(&text);
            let documents = read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            policies.extend(documents.into_iter().filter(|document| document["kind"] == "NetworkPolicy"));
        }
        assert!(!policies.is_empty(), "there are policies in {}", folder.display());
        Self(policies)
    }

    /// Whether a connection to `port` (`TCP/4222`) comes about: both ends let it through.
    pub(crate) fn allow(&self, from: &End, to: &End, port: &str) -> bool {
        self.end_allows(EGRESS, from, to, port) && self.end_allows(INGRESS, to, from, port)
    }

    fn end_allows(&self, side: Side, own: &End, other: &End, port: &str) -> bool {
        let selected: Vec<&Value> = self.0.iter().filter(|policy| selects(policy, side, own)).collect();
        // An end that no policy selects is open.
        selected.is_empty() || selected.iter().any(|policy| lets_through(policy, side, other, port))
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a folder can be listed").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn selects(policy: &Value, side: Side, end: &End) -> bool {
    let End::Pod { namespace, labels, .. } = end else { return false };
    policy["metadata"]["namespace"] == namespace.as_str()
        && list(&policy["spec"]["policyTypes"]).iter().any(|kind| *kind == side.name)
        && chooses(&policy["spec"]["podSelector"], labels)
}

fn lets_through(policy: &Value, side: Side, other: &End, port: &str) -> bool {
    list(&policy["spec"][side.rules]).iter().any(|rule| {
        let ports = list(&rule["ports"]);
        let peers = list(&rule[side.peers]);
        let named =
            |entry: &Value| format!("{}/{}", entry["protocol"].as_str().unwrap_or("TCP"), entry["port"]) == port;
        // A rule without ports is for every port, one without peers for everybody.
        (ports.is_empty() || ports.iter().any(named))
            && (peers.is_empty() || peers.iter().any(|peer| is_peer(peer, policy, other)))
    })
}

fn is_peer(peer: &Value, policy: &Value, other: &End) -> bool {
    match other {
        End::Address(address) => peer.get("ipBlock").is_some_and(|block| is_in_block(*address, block)),
        End::Pod { namespace, labels, namespace_labels } => {
            if peer.get("ipBlock").is_some() {
                return false;
            }
            let in_namespace = match peer.get("namespaceSelector") {
                Some(selector) => chooses(selector, namespace_labels),
                None => policy["metadata"]["namespace"] == namespace.as_str(),
            };
            in_namespace && peer.get("podSelector").is_none_or(|selector| chooses(selector, labels))
        }
    }
}

/// Whether a label selector takes these labels. An empty one takes all.
fn chooses(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let known = ["matchLabels", "matchExpressions"];
    let unknown = selector.as_object().is_some_and(|keys| keys.keys().any(|key| !known.contains(&key.as_str())));
    assert!(!unknown, "a selector that this test does not know: {selector}");
    let mut pairs = selector["matchLabels"].as_object().into_iter().flatten();
    pairs.all(|(key, value)| labels.get(key).is_some_and(|label| value == label.as_str()))
        && list(&selector["matchExpressions"]).iter().all(|expression| {
            assert_eq!(expression["operator"], "In", "an operator that this test does not know");
            let label = expression["key"].as_str().and_then(|key| labels.get(key));
            label.is_some_and(|label| list(&expression["values"]).iter().any(|value| value == label.as_str()))
        })
}

fn is_in_block(address: IpAddr, block: &Value) -> bool {
    let inside = |cidr: &Value| is_in(address, cidr.as_str().expect("a block is text"));
    inside(&block["cidr"]) && !list(&block["except"]).iter().any(inside)
}

fn is_in(address: IpAddr, cidr: &str) -> bool {
    let (network, length) = cidr.split_once('/').expect("a block has a length");
    let (network, length): (IpAddr, u32) =
        (network.parse().expect("a block is an address"), length.parse().expect("a length is a number"));
    // Counted from the left, so that both kinds compare alike.
    let (one, other) = match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u128::from(one.to_bits()) << 96, u128::from(other.to_bits()) << 96),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    (one ^ other).leading_zeros() >= length
}
