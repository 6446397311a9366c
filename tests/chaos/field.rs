//! What is broken: a broker of one server or three, two dispatchers and three workers, with or without proxies between
//! them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use async_nats::jetstream;
use tempfile::TempDir;
use workfleet_tests::{Cluster, Nats, Observer, Proxy, QueueSettings, SERVERS, Stand, StandPlan};

use crate::advisories;
use crate::pace::Pace;

const DISPATCHERS: usize = 2;
const WORKERS: usize = 3;
const SLOTS: usize = 16;
/// More than a fault can cost: no task is to fail because it was there too often.
const ATTEMPTS_MAX: u32 = 200;
/// The small disk of the row that fills it.
const DISK_MB: u64 = 96;
/// Streams of that disk.
const SMALL_BYTES: u64 = 16 << 20;

/// What the broker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// One server.
    One,
    /// One server, and every program reaches it over a link of its own.
    Linked,
    /// One server whose disk is small.
    SmallDisk,
    /// Three servers, and all streams on each.
    Three,
}

/// The broker itself.
pub(crate) enum Servers {
    One(Box<Nats>),
    Three(Cluster),
}

/// All of it. The fields are in the order in which its parts must go.
pub(crate) struct Field {
    pub(crate) stand: Stand,
    pub(crate) links: Vec<Proxy>,
    pub(crate) servers: Servers,
    pub(crate) observer: Observer,
    pub(crate) pace: Pace,
    pub(crate) disk: Option<Disk>,
    /// When the last blow fell.
    pub(crate) blow: Instant,
    folder: TempDir,
}

impl Ground {
    pub(crate) fn servers(self) -> usize {
        if self == Self::Three { SERVERS } else { 1 }
    }
}

impl Field {
    /// Starts it and waits until everything is ready; nothing, where this machine gives no small disk.
    pub(crate) async fn start(ground: Ground) -> Option<Self> {
        let folder = TempDir::with_prefix("workfleet-chaos-").expect("the machine has a temporary folder");
        let disk = match ground {
            Ground::SmallDisk => Some(Disk::mount(folder.path())?),
            _ => None,
        };
        let servers = match ground {
            Ground::Three => Servers::Three(Cluster::start(folder.path()).await),
            // Streams reserve their full size, of which a server would let in no more than there is.
            Ground::SmallDisk => {
                let text = "jetstream { max_file_store: 64GB }\n";
                Servers::One(Box::new(Nats::start_configured(folder.path(), text).await))
            }
            _ => Servers::One(Box::new(Nats::start(folder.path()).await)),
        };
        let programs = DISPATCHERS + WORKERS;
        let mut links = Vec::new();
        let mut ways = vec![servers.url(); programs];
        if ground == Ground::Linked {
            ways.clear();
            let target = servers.url().trim_start_matches("nats://").parse().expect("an address");
            for _ in 0..programs {
                let link = Proxy::to(target).await;
                ways.push(format!("nats://{}", link.address()));
                links.push(link);
            }
        }
        let jetstream = servers.jetstream().await;
        let observer = Observer::start_on(&jetstream, ground.servers()).await;
        let plan = StandPlan {
            folder: folder.path().to_owned(),
            direct: servers.url(),
            workers: ways.split_off(DISPATCHERS),
            dispatchers: ways,
            slots: SLOTS,
            queue: queue(ground),
        };
        let stand = plan.start().await;
        let pace = Pace::start(&jetstream, ground.servers()).await;
        advisories::write_down(jetstream.client(), &folder.path().join("advisories.ndjson")).await;
        Some(Self { stand, links, servers, observer, pace, disk, blow: Instant::now(), folder })
    }

    /// The broker's API.
    pub(crate) async fn jetstream(&self) -> jetstream::Context {
        self.servers.jetstream().await
    }

    /// From this moment on is counted how long it takes until all is well.
    pub(crate) fn falls(&mut self) {
        self.blow = Instant::now();
    }

    /// Leaves all files where they are, for whoever wants to know why: stores and logs of servers, ledger, runs, advisories.
    pub(crate) fn keep(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }

    /// Where the ledger goes.
    pub(crate) fn ledger_file(&self) -> PathBuf {
        self.folder.path().join("ledger.ndjson")
    }

    /// The only server.
    ///
    /// # Panics
    /// When there are three.
    pub(crate) fn server(&mut self) -> &mut Nats {
        match &mut self.servers {
            Servers::One(nats) => nats,
            Servers::Three(_) => panic!("this row has three servers"),
        }
    }

    /// The three servers.
    ///
    /// # Panics
    /// When there is one.
    pub(crate) fn cluster(&mut self) -> &mut Cluster {
        match &mut self.servers {
            Servers::Three(cluster) => cluster,
            Servers::One(_) => panic!("this row has one server"),
        }
    }
}

impl Servers {
    fn url(&self) -> String {
        match self {
            Self::One(nats) => nats.url(),
            Self::Three(cluster) => cluster.url(),
        }
    }

    async fn jetstream(&self) -> jetstream::Context {
        match self {
            Self::One(nats) => nats.jetstream().await,
            Self::Three(cluster) => cluster.jetstream().await,
        }
    }
}

fn queue(ground: Ground) -> QueueSettings {
    let queue =
        StandPlan::probe().timeout("15m").attempts_max(ATTEMPTS_MAX).children(&["probe"]).replicas(ground.servers());
    match ground {
        Ground::SmallDisk => queue.bytes_max(SMALL_BYTES).payload_bytes_max(1 << 20).blobs_bytes_max(SMALL_BYTES),
        _ => queue,
    }
}

/// A file system in memory, so small that a file fills it.
pub(crate) struct Disk {
    store: PathBuf,
}

impl Disk {
    /// In the place where the server in `folder` stores; nothing, where this user may not mount.
    fn mount(folder: &Path) -> Option<Self> {
        let store = folder.join("store");
        std::fs::create_dir(&store).expect("a temporary folder takes folders");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={DISK_MB}m"), "tmpfs"]).arg(&store);
        let mounted = mount.output().ok()?.status.success();
        mounted.then_some(Self { store })
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.ballast()).expect("the disk takes one more file");
        let mut piece = vec![7; 1 << 20];
        // The last pieces are small ones: a server writes no more than a few hundred bytes for a task.
        while !piece.is_empty() {
            if file.write_all(&piece).is_err() {
                piece.truncate(piece.len() / 2);
            }
        }
    }

    /// Gives the space back.
    pub(crate) fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("it was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.store.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server is about to go, and the folder with it.
        let _ = Command::new("umount").arg("-l").arg(&self.store).status();
    }
}
