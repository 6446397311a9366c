//! Letters of fleets from before each queue had its own.
