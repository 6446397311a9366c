//! Compiles the `.proto` file of a kind.
//!
//! A kind is a file with one service and one method `Run`; the service's name in kebab case is the kind's, and so the
//! queue's, name. [`read_kind`] gives the descriptor set that the dispatcher transcodes with. With the feature
//! `generate`, `generate_kinds` is what a worker's build script calls: messages through prost, and for each kind an
//! implementation of `workfleet_proto::Task`.
//!
//! Everything goes through protox, a compiler in Rust: `protoc` is a program that every contributor and every image
//! would have to install in one version, since the bytes of a descriptor set are hashed.

#[cfg(feature = "generate")]
mod generate;
mod kind;

#[cfg(feature = "generate")]
pub use generate::{generate_kinds, generate_kinds_in};
pub use kind::{CodegenError, KindFile, kind_name, read_kind};
