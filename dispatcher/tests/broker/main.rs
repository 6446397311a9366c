//! The dispatcher as a library on a real broker, without workers.

mod keys;
mod place;
mod provision;
mod room;
mod submit;
