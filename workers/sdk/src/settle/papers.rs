//! What goes into settling, and what comes out.

use workfleet_proto::v1;

use crate::records::Copy;

/// What is to be stored.
#[derive(Debug)]
pub(crate) enum Papers {
    /// A result, and after a failed one its dead letter.
    Result(Box<v1::Result>),
    /// A later copy of the task.
    Copy(Copy),
    /// Nothing.
    None,
}

/// How a delivery was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// As planned.
    Done,
    /// Somebody had recorded another end before.
    Superseded,
    /// It is somebody else's now.
    Left,
    /// It could not be stored, and comes again.
    Released,
}
