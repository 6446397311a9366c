//! What templates see. Everything that is derived is derived here, once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::fleet::{DISPATCHER_STOP_S, Fleet, Quantity, Replicas, Resources, Secret, Site, Worker};

/// How long traffic may still come to a dispatcher that is told to stop, in seconds: endpoints change late.
const LEAVE_S: u64 = 5;
/// What is left of a dispatcher's grace beyond that and its own stopping, in seconds.
const DISPATCHER_MARGIN_S: u64 = 15;
/// How much longer than a drain a rollout may stand still before it counts as failed, in seconds: images are pulled, and a
/// process waits up to ten minutes for the broker.
const PROGRESS_MARGIN_S: u64 = 900;
/// Part of its memory limit that the Go runtime of a server may fill before it collects harder.
const GO_MEMORY_PERCENT: u64 = 80;
/// NATS, with its tag.
const NATS_IMAGE: &str = "nats:2.15.1";
/// Jaeger, which is the collector too, with its tag.
const JAEGER_IMAGE: &str = "jaegertracing/jaeger:2.13.0";

/// Who has a certificate, in overlays with TLS: its Secret is `tls-<name>`.
pub(crate) const TLS_NAMES: [&str; 5] = ["nats", "dispatcher", "jaeger", "otel-collector", "keda"];

/// What every template sees.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Context {
    namespace: String,
    version: &'static str,
    nats_image: &'static str,
    jaeger_image: &'static str,
    /// The same as `base.dispatcher`.
    dispatcher: DispatcherContext,
    base: SiteContext,
    production: SiteContext,
    workers: Vec<WorkerContext>,
    roles: Vec<String>,
    /// Who has a certificate, in overlays with TLS.
    tls_names: [&'static str; 5],
}

/// What templates of a worker see beside that, as `worker`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WorkerContext {
    pub(crate) name: String,
    image: String,
    replicas: Replicas,
    slots: u32,
    timeout_s: u64,
    drain_s: u64,
    grace_s: u64,
    progress_s: u64,
    lease: String,
    backlog_per_slot: u32,
    scale_target: u32,
    fallback_replicas: u32,
    scale_to_zero: bool,
    env: BTreeMap<String, String>,
    secrets: Vec<Secret>,
    egress: Vec<String>,
    children: Vec<String>,
    resources: ResourcesContext,
}

#[derive(Debug, Clone, Serialize)]
struct SiteContext {
    dispatcher: DispatcherContext,
    nats: NatsContext,
    jaeger: JaegerContext,
}

#[derive(Debug, Clone, Serialize)]
struct DispatcherContext {
    replicas: u32,
    hosts: Vec<String>,
    leave_s: u64,
    grace_s: u64,
    resources: ResourcesContext,
}

#[derive(Debug, Clone, Serialize)]
struct NatsContext {
    servers: u32,
    volume: String,
    store_bytes: u64,
    memory_store_bytes: u64,
    go_memory_mib: u64,
    resources: ResourcesContext,
}

#[derive(Debug, Clone, Serialize)]
struct JaegerContext {
    volume: String,
}

#[derive(Debug, Clone, Serialize)]
struct ResourcesContext {
    cpu: String,
    memory: String,
    memory_limit: String,
}

impl Context {
    /// Derives it; `margin` is what a worker takes to stop beyond its drain.
    pub(crate) fn new(fleet: &Fleet, margin: Duration) -> Self {
        let base = site(fleet, &fleet.base);
        Self {
            namespace: fleet.namespace.clone(),
            version: env!("CARGO_PKG_VERSION"),
            nats_image: NATS_IMAGE,
            jaeger_image: JAEGER_IMAGE,
            dispatcher: base.dispatcher.clone(),
            base,
            production: site(fleet, &fleet.production),
            workers: fleet.workers.iter().map(|one| worker(one, margin)).collect(),
            roles: fleet.roles(),
            tls_names: TLS_NAMES,
        }
    }

    /// In the order of their names.
    pub(crate) fn workers(&self) -> &[WorkerContext] {
        &self.workers
    }
}

fn site(fleet: &Fleet, site: &Site) -> SiteContext {
    SiteContext {
        dispatcher: DispatcherContext {
            replicas: site.dispatcher_replicas,
            hosts: site.dispatcher_hosts.clone(),
            leave_s: LEAVE_S,
            grace_s: LEAVE_S + DISPATCHER_STOP_S + DISPATCHER_MARGIN_S,
            resources: resources(&site.dispatcher),
        },
        nats: NatsContext {
            servers: site.nats_servers,
            volume: shown(&site.nats_volume),
            store_bytes: site.store_bytes(),
            memory_store_bytes: site.memory_store_bytes(fleet.workers.len()),
            go_memory_mib: (site.nats.memory_limit.bytes >> 20) * GO_MEMORY_PERCENT / 100,
            resources: resources(&site.nats),
        },
        jaeger: JaegerContext { volume: shown(&site.jaeger_volume) },
    }
}

fn worker(worker: &Worker, margin: Duration) -> WorkerContext {
    // A part of a second would be cut off by Kubernetes, which counts in whole ones.
    let margin_s = margin.as_secs() + u64::from(margin.subsec_nanos() > 0);
    let grace_s = worker.drain_s + margin_s;
    WorkerContext {
        name: worker.name.clone(),
        image: worker.image.clone(),
        replicas: worker.replicas,
        slots: worker.slots,
        timeout_s: worker.timeout_s,
        drain_s: worker.drain_s,
        grace_s,
        progress_s: grace_s + PROGRESS_MARGIN_S,
        lease: worker.lease.clone(),
        backlog_per_slot: worker.backlog_per_slot,
        scale_target: worker.slots * worker.backlog_per_slot,
        fallback_replicas: worker.fallback_replicas,
        scale_to_zero: worker.scale_to_zero,
        env: worker.env.clone(),
        secrets: worker.secrets.clone(),
        egress: worker.egress.clone(),
        children: worker.children.clone(),
        resources: resources(&worker.resources),
    }
}

fn resources(resources: &Resources) -> ResourcesContext {
    ResourcesContext {
        cpu: resources.cpu.clone(),
        memory: shown(&resources.memory),
        memory_limit: shown(&resources.memory_limit),
    }
}

fn shown(quantity: &Quantity) -> String {
    quantity.text.clone()
}
