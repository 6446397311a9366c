//! gRPC: the same calls as REST, with health and reflection, on a port of its own.
//!
//! A port of its own rather than one shared with REST: HTTP/1.1 with server-sent events and HTTP/2 with long streams
//! need different limits, and a service mesh wants to know which is which.

mod blobs;
mod brief;
mod bulk;
mod cancel;
mod connections;
pub(super) mod dead;
mod gate;
pub(super) mod request;
mod service;
mod status;
mod trace;

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower_http::catch_panic::CatchPanicLayer;
use workfleet_proto::v1;
use workfleet_proto::v1::dispatcher_server::DispatcherServer;

use super::Listener;
use crate::auth::Auth;
use crate::config::Callers;
use crate::dispatcher::Dispatcher;
use crate::limits;

use gate::Gate;
use service::Service;

/// Largest message, in and out: gRPC's usual bound. Larger payloads go by `PutBlob`, or over REST.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Streams of one connection at once.
const STREAMS_PER_CONNECTION_MAX: u32 = 1_000;
/// Requests of one connection that wait for the head of their answer at once; further ones wait their turn.
const REQUESTS_PER_CONNECTION_MAX: usize = 1_000;
/// A silent connection is asked whether it lives this often.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// And must answer within this time.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the broker's connection is looked at for the health service.
const HEALTH_INTERVAL: Duration = Duration::from_millis(500);
const SERVICE_NAME: &str = "workfleet.v1.Dispatcher";

/// Serves until `shutdown`, then finishes what is in flight within [`limits::SHUTDOWN_GRACE`].
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: Listener,
    dispatcher: Dispatcher,
    callers: Callers,
    auth: Auth,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let reporting = tokio::spawn(report_health(dispatcher.clone(), health, shutdown.clone()));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were made by the compiler");
    let gate = Gate::new(auth, dispatcher);
    let service = DispatcherServer::new(Service::new(gate.clone(), callers, shutdown.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let serving = Server::builder()
        .layer(tower::util::MapResponseLayer::new(status::name_the_other_ways))
        .layer(CatchPanicLayer::custom(status::panicked))
        .layer(gate)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .concurrency_limit_per_connection(REQUESTS_PER_CONNECTION_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(health_service)
        .add_service(reflection)
        .add_service(service)
        .serve_with_incoming_shutdown(connections::accept(listener), shutdown.clone().cancelled_owned());
    let served = tokio::select! {
        served = serving => served,
        () = grace(&shutdown) => Ok(()),
    };
    reporting.abort();
    served
}

async fn grace(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(limits::SHUTDOWN_GRACE).await;
}

/// A load balancer takes us out while the broker is away, and once we stop.
async fn report_health(dispatcher: Dispatcher, health: HealthReporter, shutdown: CancellationToken) {
    loop {
        let ready = dispatcher.broker().is_connected() && !shutdown.is_cancelled();
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        health.set_service_status("", status).await;
        health.set_service_status(SERVICE_NAME, status).await;
        if shutdown.is_cancelled() {
            return;
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(HEALTH_INTERVAL) => {}
        }
    }
}
