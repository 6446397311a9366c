//! The dispatcher as a library on a real broker, without workers.

mod audit;
mod blobs;
mod children;
mod fill;
mod fleet;
mod keys;
mod known;
mod labels;
mod lists;
mod operations;
mod place;
mod provision;
mod removal;
mod retire;
mod room;
mod submit;
mod sweep;
