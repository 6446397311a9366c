//! The dispatcher as a library on a real broker, without workers.

mod audit;
mod blobs;
mod bounds;
mod cancel;
mod cancel_many;
mod children;
mod dead;
mod deadlines;
mod expire;
mod fill;
mod fleet;
mod halting;
mod keys;
mod known;
mod labels;
mod lists;
mod marks;
mod operations;
mod place;
mod provision;
mod removal;
mod retire;
mod room;
mod submit;
mod sweep;
