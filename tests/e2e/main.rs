//! The fleet as its users meet it: real processes, driven from outside.
//!
//! One binary, because each one links the whole harness: twelve of them would cost a minute of linking.

/// A task goes in and its result comes out, over every edge and encoding.
mod submit;

/// What is not a task is refused, with a status and a code that a program can go by.
mod refuse;

/// Requests that nobody would write, made up from the OpenAPI document: `make api-test`.
mod api;

/// What a submit may ask for: a time, a lane, an ordering key.
mod options;

/// Direct calls, and how they differ from tasks.
mod call;
mod cancel;

/// Watching a task: server-sent events and gRPC `Watch`.
mod watch;

/// The same idempotency key gives the same task.
mod idempotency;

/// Attempts that fail: retries, permanent failures, dead letters.
mod attempts;

/// Workers that die, freeze, block or drain.
mod workers;

/// A worker that is killed with many tasks: when they run again.
mod crash;

/// A handler that blocks its thread on a busy machine.
mod blocked;

/// A task that kills its process, and its neighbours.
mod poison;

/// Tasks that handlers submit.
mod children;

/// The broker, or the dispatcher, goes and comes back.
mod broker;

/// Three servers, of which one is lost.
mod cluster;

/// Kinds that the dispatcher was not built with.
mod kinds;

/// Workers and dispatchers of two versions side by side.
mod rolling_deploy;

/// One trace per task.
mod traces;

/// The broker stalls, dies under load, or is full.
mod outage;

/// Many submit, and the broker is slow or silent.
mod slow_broker;

/// Many tasks, many readers.
mod crowd;

/// Payloads and outputs that no message holds.
mod large;

/// The same, whatever dies.
mod large_storm;

/// What callers upload.
mod blobs;

/// Bodies that are too large, too many at once, or never finished.
mod large_bodies;

/// Mails, from the task to a server.
mod email;

/// Webhooks: whom they reach, and what a receiver that is not well does to them.
mod webhook;

/// Exactly one result per task, whatever dies.
mod exactly_one;

/// Pairs of the caller's own, kept through everything.
mod labels;

/// Lists of tasks, and what they cost.
mod lists;

/// Queues that are emptied, and queues that go.
mod retire;

/// What operators did, and who may see it.
mod operations;

/// Ledgers of what was accepted, and whether any of it is lost.
mod audit;

/// What the broker is like, and how durable.
mod doctor;

/// With a key for each role: everything that the product does still works.
mod permissions;

/// With a key for each role: what somebody can do who has stolen a worker's, and what not.
mod thief;

/// Callers with tokens: who is let in, where to, and what everybody else learns.
mod auth;

/// What the dispatcher shows beside tasks: health, metrics, descriptions of itself.
mod edges;

/// Alerts, dashboard and documentation against what is really exported.
mod metrics;

/// What a dispatcher has under way, as its metrics tell it.
mod under_way;

/// Jaeger and the collector as the manifests ship them.
mod trace_storage;

/// Everything over TLS: whom who trusts, and certificates that are replaced.
mod tls;

/// What processes say while they wait for the broker, and how quickly they leave.
mod waiting;

/// The commands for people.
mod commands;

/// Dead letters over every edge: REST, gRPC and the commands.
mod dead;

/// Redrives, whatever dies.
mod redrive_storm;

/// All of this at once.
mod storm;

/// What the harness promises to the tests above.
mod harness;
