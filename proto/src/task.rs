//! What makes a message a kind's input.

use prost::Message;

/// The input message of a kind. Generated for the service in a kind's `.proto` file; never written by hand.
pub trait Task: Message + Default + 'static {
    /// The kind's name, which is the queue's name too.
    const KIND: &'static str;
    /// Full name of the service that declares the kind.
    const SERVICE: &'static str;
    /// The descriptor set of the kind's file and all that it imports; see [`SchemaHash::of`](crate::schema::SchemaHash::of).
    const DESCRIPTORS: &'static [u8];
    /// The output message.
    type Output: Message + Default + 'static;
}
