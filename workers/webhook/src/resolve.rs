//! From a host's name to addresses.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use futures::FutureExt as _;
use futures::future::BoxFuture;

/// What a look-up gives.
pub type Resolved<'a> = BoxFuture<'a, io::Result<Vec<SocketAddr>>>;

/// Looks names up. The system's resolver does it in a fleet; tests bring one that lies.
pub trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// Every address of `host`, in the order in which they are to be tried.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolved<'a>;
}

/// The system's: `/etc/hosts`, DNS, and whatever else it is set up with.
#[derive(Debug)]
pub(crate) struct System;

impl Resolve for System {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolved<'a> {
        async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) }.boxed()
    }
}
