//! What no compiler checks.
