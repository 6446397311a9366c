//! The dispatcher as a library on a real broker, without workers.

mod fill;
mod keys;
mod lists;
mod place;
mod provision;
mod room;
mod submit;
