//! What may go wrong.

/// How often each thing may still happen. As every one of them is counted, no path is endless, and where nothing can
/// happen any more is an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Mishaps {
    /// A worker process dies.
    pub(crate) crashes: u8,
    /// A lease runs out while its worker lives: it was frozen, or cut off.
    pub(crate) lapses: u8,
    /// An answer or an acknowledgement is lost, or a publish is given up that may still arrive.
    pub(crate) unanswered: u8,
    /// A due copy is carried into the queue a second time.
    pub(crate) twins: u8,
    /// A worker drains and hands back what it holds.
    pub(crate) hand_backs: u8,
    /// An operator redrives the dead letter.
    pub(crate) redrives: u8,
    /// A caller cancels the task.
    pub(crate) cancels: u8,
    /// A dispatcher dies in the middle of a redrive, a cancel or an expiry.
    pub(crate) aborts: u8,
    /// The windows of message ids close.
    pub(crate) forgets: u8,
    /// A publish is refused: its stream is full.
    pub(crate) refusals: u8,
}
