//! Dead letters: listed, read, redriven, dropped.

mod alerts;
mod bulk;
mod deadlines;
pub(crate) mod graves;
mod lists;
mod redrive;
mod shared;
