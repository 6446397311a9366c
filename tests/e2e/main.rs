//! The fleet as its users meet it.
