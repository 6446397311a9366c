//! Renders the manifests from `fleet.toml`, the one place of all numbers.
//!
//! A grace period, a lease, a number of slots and an autoscaler's target lie in different files of Kubernetes and of ours, and
//! a fleet loses work where they disagree. So none of them is written by hand: a worker is an entry of `fleet.toml`, and
//! templates make files of it that are committed, read and reviewed as any others.
//!
//! In reading order: [`fleet`] is the file and its mistakes; `queues` makes the queues files of it; `context` is what templates
//! see, with all that is derived; [`render`] writes the files, or says which differ. [`credentials`] makes the
//! secrets of an overlay.
//!
//! Rejected: a Helm chart, whose templates run at every user's desk and are seen by nobody before; kustomize's own
//! replacements, which can copy a number but not add a margin to it.

mod cli;

pub mod fleet;

mod queues;

mod context;
pub mod render;

pub mod credentials;

pub use cli::{Cli, main};
