//! The runtime against a real broker. A fleet as a whole, with processes that die, is tested in `tests/`.
//!
//! - `ends`: how a task ends, and what is stored of it;
//! - `holds`: leases, slots, lanes, and handing back; `alone`: a task that must run alone beside others that take long;
//! - `outages`: what a worker does with a delivery whose lease has lapsed, or whose broker does not answer;
//! - `hostile`: what other publishers may write;
//! - `blobs`: payloads and outputs that no message holds; `blobs_harmed`: those that cannot be had, or are
//!   not what they seem; `handler_blobs`: what handlers read and store;
//! - `children`: tasks that handlers submit;
//! - `cancels`: tasks that are ended from outside while a worker has them, by a cancel or by their deadline;
//! - `stuck`: slots whose handlers do not stop;
//! - `calls`: direct calls;
//! - `fleet`: the queue, and workers inside this process; `broker`: the server and its streams; `carrier`:
//!   what a dispatcher does for it.

mod broker;
mod carrier;
mod fleet;

mod alone;
mod blobs;
mod blobs_harmed;
mod calls;
mod cancels;
mod children;
mod ends;
mod handler_blobs;
mod holds;
mod hostile;
mod outages;
mod stuck;
