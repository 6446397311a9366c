//! The rules, one file for each thing that they are about.

pub(crate) mod files;
pub(crate) mod numbers;
pub(crate) mod references;
pub(crate) mod restricted;
pub(crate) mod scaling;
pub(crate) mod selectors;
pub(crate) mod tls;
