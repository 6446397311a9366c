//! A link between a program and its broker that a test can cut, stall and slow.
//!
//! A proxy and not a network namespace with `tc`: it needs no rights, works on every machine, and counts what it did, so
//! that a test can prove that its fault has struck. What it cannot do is lose single packets; TCP hides those anyway.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Bytes that are carried at once, in either direction.
const PIECE_BYTES_MAX: usize = 16 << 10;

/// What the link does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Carries everything at once.
    Up,
    /// Ends every connection, and every new one as soon as it is made.
    Cut,
    /// Takes what is sent, keeps it, and carries it once the link is up again. Nobody is told.
    Stalled,
    /// Carries a piece of at most 16 KiB in that time, in each direction of each connection.
    Slow(Duration),
}

/// What the link has done so far.
#[derive(Debug, Default)]
struct Counts {
    cut: AtomicU64,
    held_bytes: AtomicU64,
    slowed_bytes: AtomicU64,
}

/// A TCP proxy on a port of its own.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    link: watch::Sender<Link>,
    counts: Arc<Counts>,
    accepting: AbortHandle,
}

impl Proxy {
    /// Leads to `target`.
    ///
    /// # Panics
    /// When the loopback interface has no free port.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback interface has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (link, seen) = watch::channel(Link::Up);
        let counts = Arc::new(Counts::default());
        let accepting = tokio::spawn(accept(listener, target, seen, Arc::clone(&counts))).abort_handle();
        Self { address, link, counts, accepting }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on the link does this.
    pub fn becomes(&self, link: Link) {
        self.link.send_replace(link);
    }

    /// Connections that were ended, new ones included.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.counts.cut.load(Ordering::Relaxed)
    }

    /// Bytes that a stalled link has kept back for a time.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.counts.held_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that went over a slow link.
    #[must_use]
    pub fn slowed_bytes(&self) -> u64 {
        self.counts.slowed_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Ends with the proxy, and every connection with it.
async fn accept(listener: TcpListener, target: SocketAddr, link: watch::Receiver<Link>, counts: Arc<Counts>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((client, _)) = listener.accept().await else { continue };
        if *link.borrow() == Link::Cut {
            counts.cut.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        connections.spawn(connection(client, target, link.clone(), Arc::clone(&counts)));
    }
}

async fn connection(client: TcpStream, target: SocketAddr, mut link: watch::Receiver<Link>, counts: Arc<Counts>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    // A proxy that waits for more to send would be slow when it should not.
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let ((up_link, up_counts), (down_link, down_counts)) =
        ((link.clone(), Arc::clone(&counts)), (link.clone(), Arc::clone(&counts)));
    tokio::select! {
        () = carry(from_client, to_server, up_link, up_counts) => {}
        () = carry(from_server, to_client, down_link, down_counts) => {}
        cut = link.wait_for(|link| *link == Link::Cut) => {
            counts.cut.fetch_add(u64::from(cut.is_ok()), Ordering::Relaxed);
        }
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut link: watch::Receiver<Link>, counts: Arc<Counts>) {
    let mut piece = vec![0; PIECE_BYTES_MAX];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let state = *link.borrow();
        match state {
            Link::Up | Link::Cut => {}
            Link::Stalled => {
                counts.held_bytes.fetch_add(length as u64, Ordering::Relaxed);
                if link.wait_for(|link| *link != Link::Stalled).await.is_err() {
                    return;
                }
            }
            Link::Slow(pause) => {
                counts.slowed_bytes.fetch_add(length as u64, Ordering::Relaxed);
                tokio::time::sleep(pause).await;
            }
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::{Link, Proxy};

    /// A server that says back what it hears.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        Proxy::to(address).await
    }

    async fn says(client: &mut TcpStream) -> std::io::Result<u8> {
        client.write_all(b"x").await?;
        client.read_u8().await
    }

    #[tokio::test]
    async fn a_stalled_link_keeps_what_is_sent_and_a_cut_one_ends() {
        let proxy = echo().await;
        let mut client = TcpStream::connect(proxy.address()).await.expect("a connection");
        assert_eq!(says(&mut client).await.expect("an echo"), b'x');
        proxy.becomes(Link::Stalled);
        let waited = tokio::time::timeout(Duration::from_millis(200), says(&mut client)).await;
        assert!(waited.is_err() && proxy.held_bytes() == 1, "{waited:?}, {} bytes held", proxy.held_bytes());
        proxy.becomes(Link::Up);
        assert_eq!(client.read_u8().await.expect("what was held comes"), b'x');
        proxy.becomes(Link::Cut);
        assert!(says(&mut client).await.is_err());
        let mut another = TcpStream::connect(proxy.address()).await.expect("the port stays");
        assert!(says(&mut another).await.is_err());
        assert_eq!(proxy.cut(), 2);
    }
}
