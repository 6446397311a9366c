//! The dispatcher as a library on a real broker, without workers.

mod audit;
mod blobs;
mod children;
mod dead;
mod fill;
mod fleet;
mod keys;
mod known;
mod labels;
mod lists;
mod place;
mod provision;
mod removal;
mod retire;
mod room;
mod submit;
mod sweep;
