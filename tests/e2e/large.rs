//! Payloads and outputs that no message holds.

use std::io::Cursor;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use image::{ExtendedColorType, ImageEncoder as _, codecs::png};
use prost::Message as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use workfleet_proto::kinds::thumbnail::ThumbnailRequest;
use workfleet_tests::kinds::probe::{ProbeReply, ProbeRequest};
use workfleet_tests::{Fleet, memory, stores};

/// Pixels on each side of a picture of noise, which no compression makes smaller: 40 MB of PNG.
const SIDE_PX: u32 = 3_162;
const MIB: f64 = 1_048_576.0;

/// A picture of noise, as bytes of a PNG, and how many bytes its pixels take.
fn noise() -> (Vec<u8>, u64) {
    let mut pixels = vec![0; (SIDE_PX * SIDE_PX * 4) as usize];
    rand::rngs::SmallRng::seed_from_u64(4_711).fill(&mut pixels[..]);
    let mut file = Cursor::new(Vec::new());
    let encoder =
        png::PngEncoder::new_with_quality(&mut file, png::CompressionType::Uncompressed, png::FilterType::NoFilter);
    encoder.write_image(&pixels, SIDE_PX, SIDE_PX, ExtendedColorType::Rgba8).expect("a picture of noise");
    (file.into_inner(), pixels.len() as u64)
}

/// How a picture gets to the worker.
#[derive(Debug, Clone, Copy)]
enum Way {
    Protobuf,
    Json,
    Upload,
}

impl Way {
    async fn submit(self, fleet: &Fleet, picture: Bytes) -> String {
        let tasks = fleet.http.post("/v1/queues/thumbnail/tasks");
        let request = match self {
            Self::Protobuf => {
                let request = ThumbnailRequest { image: picture, width_px: 64, height_px: 64, ..Default::default() };
                tasks.protobuf(&request)
            }
            Self::Json => {
                let text = BASE64_STANDARD.encode(&picture);
                tasks.bytes("application/json", format!(r#"{{"image":"{text}","width_px":64,"height_px":64}}"#))
            }
            Self::Upload => {
                let upload = fleet.http.put("/v1/blobs/thumbnail_noise.png");
                upload.bytes("application/octet-stream", picture).send().await.expect(201);
                tasks.json(&json!({ "blob": "thumbnail_noise.png", "width_px": 64, "height_px": 64 }))
            }
        };
        let answer = request.send().await.expect(202);
        answer.json()["id"].as_str().expect("a task has an id").to_owned()
    }
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "the numbers are the point")]
async fn a_picture_of_40_mb_is_in_no_memory_twice() {
    let (picture, pixels_bytes) = noise();
    let (picture, bytes) = (Bytes::from(picture.clone()), picture.len() as f64);
    for way in [Way::Upload, Way::Protobuf, Way::Json] {
        let builder = Fleet::builder().queue("thumbnail", |queue| queue.timeout("60s"));
        let mut fleet = builder.workers("probe", 0).workers("thumbnail", 1).start().await;
        let pids = [fleet.dispatcher().pid(), fleet.workers[0].pid()];
        let before = pids.map(memory::resident_bytes);
        pids.iter().copied().for_each(memory::forget_peak);
        let id = way.submit(&fleet, picture.clone()).await;
        fleet.completed(&id).await;
        let peaks = pids.map(memory::peak_bytes);
        let dispatcher = (peaks[0].saturating_sub(before[0])) as f64 / bytes;
        // The decoded picture is aside: it is what the work is about, and no copy of the payload.
        let worker = (peaks[1].saturating_sub(before[1]).saturating_sub(pixels_bytes)) as f64 / bytes;
        eprintln!(
            "{way:?}: {:.1} MiB; the dispatcher grew by {dispatcher:.2} times that, the worker by {worker:.2}",
            bytes / MIB
        );
        assert!(dispatcher < 2.5, "{way:?}: the dispatcher grew by {dispatcher:.2} times the payload");
        assert!(worker < 2.5, "{way:?}: the worker grew by {worker:.2} times the payload");
    }
}

#[tokio::test]
async fn a_payload_and_an_output_over_256_kib_make_the_round_trip_over_every_edge() {
    let fleet = Fleet::start().await;
    let mut padding = vec![0; 3_000_000];
    rand::rngs::SmallRng::seed_from_u64(1).fill(&mut padding[..]);
    let request = ProbeRequest { echo: "large".to_owned(), padding: padding.into(), ..Default::default() };
    let submit = fleet.http.post("/v1/queues/probe/tasks").header("prefer", "wait=20").protobuf(&request);
    let task = submit.send().await.expect(200).json();
    assert_eq!((&task["state"], &task["output"]), (&json!("completed"), &json!(null)), "{task:#}");
    let blob = task["output_blob"].as_str().expect("a large output is a blob");
    let raw = fleet.http.get(&format!("/v1/blobs/{blob}")).send().await.expect(200).body;
    let result = format!("/v1/tasks/{}/result", task["id"].as_str().expect("an id"));
    let protobuf = fleet.http.get(&result).header("accept", "application/x-protobuf").send().await.expect(200).body;
    assert_eq!(raw, protobuf);
    let reply = ProbeReply::decode(protobuf).expect("a reply");
    assert!(reply.padding == request.padding, "the bytes came back changed");
    let json = fleet.http.get(&result).send().await.expect(200).json();
    assert_eq!(json["padding"].as_str().map(|text| BASE64_STANDARD.decode(text).expect("base64")), {
        Some(request.padding.to_vec())
    });
    let stored = stores::read(&fleet.jetstream().await, "OUT_probe").await;
    assert_eq!(stored.blobs.len(), 1);
}
