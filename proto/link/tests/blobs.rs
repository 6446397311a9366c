//! Blobs against a real server.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use workfleet_link::blobs::{self, BlobError, BlobInfo};
use workfleet_link::broker::{Broker, BrokerConfig};
use workfleet_proto::blob::BlobId;
use workfleet_proto::limits::BLOB_CHUNK_BYTES;
use workfleet_proto::v1::Blob;

/// A server of its own for each test, gone with it.
struct Server {
    process: Child,
    _store: tempfile::TempDir,
    broker: Broker,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    async fn start(bytes_max: i64) -> Self {
        let store = tempfile::tempdir().expect("a temporary folder");
        let binary = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin/nats-server");
        let process = Command::new(&binary)
            .args(["--jetstream", "--addr", "127.0.0.1", "--port", "-1", "--ports_file_dir"])
            .arg(store.path())
            .arg("--store_dir")
            .arg(store.path().join("store"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run `make tools`", binary.display()));
        let ports = store.path().join(format!("nats-server_{}.ports", process.id()));
        let url = loop {
            let text = std::fs::read_to_string(&ports).unwrap_or_default();
            if let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text) {
                break ports["nats"][0].as_str().expect("an address").to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let config = BrokerConfig::new(url, "test");
        let broker = Broker::connect(&config).await.expect("a connection");
        let config = Config {
            name: "OBJ_IN_mail".to_owned(),
            subjects: vec!["$O.IN_mail.C.>".to_owned(), "$O.IN_mail.M.>".to_owned()],
            discard: DiscardPolicy::New,
            max_bytes: bytes_max,
            allow_direct: true,
            ..Config::default()
        };
        broker.jetstream.create_stream(config).await.expect("a stream");
        Self { process, _store: store, broker }
    }

    async fn messages(&self) -> u64 {
        let mut stream = self.broker.jetstream.get_stream("OBJ_IN_mail").await.expect("a stream");
        stream.info().await.expect("an answer").state.messages
    }

    async fn purge(&self, subject: String) {
        let stream = self.broker.jetstream.get_stream("OBJ_IN_mail").await.expect("a stream");
        stream.purge().filter(subject).await.expect("purged");
    }
}

fn blob() -> BlobId {
    "mail_picture".parse().expect("an id")
}

fn noise(bytes: usize) -> Bytes {
    Bytes::from((0..bytes).map(|n| (n / 7 + n % 251) as u8).collect::<Vec<u8>>())
}

async fn read(server: &Server, info: BlobInfo) -> Result<Bytes, BlobError> {
    let pieces: Vec<Bytes> = blobs::stream(&server.broker, info).try_collect().await?;
    Ok(pieces.concat().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_keep_their_order_however_many_come_at_once() {
    let server = Server::start(1 << 30).await;
    for number in 0..20 {
        // Each receive uses up some of what tokio lets a task do in one go, so the task is made to pause in the midst.
        let (send, mut pieces) = tokio::sync::mpsc::unbounded_channel();
        for piece in 0..600_u32 {
            send.send(Ok::<_, BlobError>(Bytes::from(piece.to_le_bytes().repeat(2_500)))).expect("it is open");
        }
        drop(send);
        let pieces = futures::stream::poll_fn(move |context| pieces.poll_recv(context));
        let blob: BlobId = format!("mail_{number}").parse().expect("an id");
        let info = blobs::put(&server.broker, &blob, pieces, u64::MAX).await.expect("stored");
        assert_eq!(info.bytes, 6_000_000);
        let read: Result<Vec<Bytes>, BlobError> = blobs::stream(&server.broker, info).try_collect().await;
        assert!(read.is_ok(), "{:?}", read.err());
    }
}

#[tokio::test]
async fn a_blob_of_any_size_is_read_as_it_was_stored_and_leaves_nothing_once_deleted() {
    let server = Server::start(-1).await;
    for bytes in [0, 1, BLOB_CHUNK_BYTES, BLOB_CHUNK_BYTES + 1, 3_000_000] {
        let whole = noise(bytes);
        let info = blobs::put_bytes(&server.broker, &blob(), whole.clone()).await.expect("stored");
        assert_eq!((info.bytes, info.chunks), (bytes as u64, bytes.div_ceil(BLOB_CHUNK_BYTES) as u64));
        let found = blobs::info(&server.broker, &blob()).await.expect("an answer").expect("it is there");
        assert_eq!((found.sha256, found.bytes, found.chunks), (info.sha256, info.bytes, info.chunks));
        assert!(blobs::fetch(&server.broker, &blob(), &Blob::from(&info)).await.expect("fetched") == whole);
        assert!(read(&server, found).await.expect("streamed") == whole);
        blobs::delete(&server.broker, &blob()).await.expect("deleted");
        assert_eq!(server.messages().await, 0);
        assert_eq!(blobs::info(&server.broker, &blob()).await, Ok(None));
    }
    blobs::delete(&server.broker, &blob()).await.expect("what is not there is no error");
}

#[tokio::test]
async fn a_name_is_given_once_and_who_loses_leaves_no_pieces() {
    let server = Server::start(-1).await;
    let first = noise(500_000);
    blobs::put_bytes(&server.broker, &blob(), first.clone()).await.expect("stored");
    let before = server.messages().await;
    let second = blobs::put_bytes(&server.broker, &blob(), noise(700_000)).await;
    assert_eq!(second, Err(BlobError::Exists { blob: blob() }));
    assert_eq!(server.messages().await, before);
    let there = blobs::info(&server.broker, &blob()).await.expect("an answer").expect("it is there");
    assert!(read(&server, there).await.expect("the first") == first);
}

#[tokio::test]
async fn what_is_deleted_is_the_blob_that_was_read_and_not_the_one_that_has_its_name_by_now() {
    let server = Server::start(-1).await;
    let first = blobs::put_bytes(&server.broker, &blob(), noise(300_000)).await.expect("stored");
    let judged = blobs::info(&server.broker, &blob()).await.expect("an answer").expect("it is there");
    assert_eq!(judged.record_sequence, first.record_sequence);
    blobs::delete(&server.broker, &blob()).await.expect("deleted");
    let second = noise(200_000);
    let info = blobs::put_bytes(&server.broker, &blob(), second.clone()).await.expect("the name is free");
    blobs::delete_exactly(&server.broker, &judged).await.expect("what is not there is no error");
    assert!(read(&server, info).await.expect("the second is whole") == second);
    let elsewhere: BlobId = "post_picture".parse().expect("an id");
    let nowhere = BlobInfo { blob: elsewhere, ..judged };
    assert_eq!(blobs::delete_exactly(&server.broker, &nowhere).await, Err(BlobError::NoStore));
}

#[tokio::test]
async fn what_is_too_large_or_breaks_off_is_not_stored() {
    let server = Server::start(-1).await;
    let endless = futures::stream::repeat(noise(100_000)).map(Ok::<_, BlobError>);
    let refused = blobs::put(&server.broker, &blob(), endless, 1_000_000).await;
    assert_eq!(refused, Err(BlobError::TooLarge { bytes_max: 1_000_000 }));
    let gone = BlobError::Source { reason: "gone".to_owned() };
    let broken = futures::stream::iter([Ok(noise(400_000)), Err(gone.clone())]);
    assert_eq!(blobs::put(&server.broker, &blob(), broken, u64::MAX).await, Err(gone));
    assert_eq!(blobs::info(&server.broker, &blob()).await, Ok(None));
    assert_eq!(server.messages().await, 0);
}

#[tokio::test]
async fn a_full_store_and_one_that_is_not_there_say_so() {
    let server = Server::start(600_000).await;
    assert_eq!(blobs::put_bytes(&server.broker, &blob(), noise(2_000_000)).await, Err(BlobError::Full));
    let elsewhere: BlobId = "post_picture".parse().expect("an id");
    assert_eq!(blobs::info(&server.broker, &elsewhere).await, Err(BlobError::NoStore));
    assert_eq!(blobs::put_bytes(&server.broker, &elsewhere, noise(10)).await, Err(BlobError::NoStore));
}

#[tokio::test]
async fn missing_and_wrong_pieces_are_never_taken_for_the_blob() {
    let server = Server::start(-1).await;
    let info = blobs::put_bytes(&server.broker, &blob(), noise(500_000)).await.expect("stored");
    let damaged = |read: Result<Bytes, BlobError>| assert!(matches!(read, Err(BlobError::Damaged { .. })), "{read:?}");
    damaged(read(&server, BlobInfo { sha256: [0; 32], ..info.clone() }).await);
    let other = Blob { sha256: vec![0; 32].into(), ..Blob::from(&info) };
    damaged(blobs::fetch(&server.broker, &blob(), &other).await);
    let stream = server.broker.jetstream.get_stream("OBJ_IN_mail").await.expect("a stream");
    stream.delete_message(info.first_sequence + 1).await.expect("deleted");
    damaged(read(&server, info.clone()).await);
    server.purge(format!("$O.IN_mail.C.{}", info.nuid)).await;
    damaged(read(&server, info.clone()).await);
    blobs::delete(&server.broker, &blob()).await.expect("deleted");
    let gone = blobs::fetch(&server.broker, &blob(), &Blob::from(&info)).await;
    assert_eq!(gone, Err(BlobError::Gone { blob: blob() }));
}

#[tokio::test]
async fn a_large_blob_passes_through_little_memory() {
    let server = Server::start(-1).await;
    let (piece, pieces) = (noise(1 << 20), 96);
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel counts");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB")
    };
    let before = peak();
    let source = futures::stream::repeat(piece).take(pieces).map(Ok::<_, BlobError>);
    let info = blobs::put(&server.broker, &blob(), source, u64::MAX).await.expect("stored");
    let mut read = 0;
    let mut pieces = std::pin::pin!(blobs::stream(&server.broker, info.clone()));
    while let Some(piece) = pieces.try_next().await.expect("a piece") {
        read += piece.len() as u64;
    }
    assert_eq!(read, info.bytes);
    let grown = peak().saturating_sub(before);
    assert!(grown < 48 * 1_024, "96 MiB passed, and {grown} KiB of memory were needed");
}
