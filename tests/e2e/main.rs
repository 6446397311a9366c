//! The fleet as its users meet it: real processes, driven from outside.
//!
//! One binary, because each one links the whole harness: twelve of them would cost a minute of linking.

/// What the harness promises to the tests above.
mod harness;
