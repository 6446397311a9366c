//! Makes the demo's sample pictures, so that their licence is the project's own and anybody can make them again:
//!
//! ```text
//! cargo run -p workfleet-local --example samples
//! ```
//!
//! Each one shows something that a thumbnail worker meets: an upright photograph that is stored lying, a wide one to be
//! cut, flat colours, transparency, an animation; and a file that ends in its middle.

use std::error::Error;
use std::io::Cursor;
use std::path::Path;

use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::rotate270;
use image::{DynamicImage, Frame, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

type Colour = [f32; 3];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let ridge = jpeg(&dunes(1400, 600, 3.0))?;
    let samples = [
        ("dunes.jpg", lying(&jpeg(&rotate270(&dunes(900, 1200, 1.0)))?)?),
        ("broken.jpg", ridge[..ridge.len() * 2 / 3].to_vec()),
        ("ridge.jpg", ridge),
        ("julia.png", encoded(&julia(560, 420).into(), ImageFormat::Png)?),
        ("badge.png", encoded(&badge(480).into(), ImageFormat::Png)?),
        ("bubbles.webp", encoded(&bubbles(720, 480).into(), ImageFormat::WebP)?),
        ("ripples.gif", ripples(256)?),
    ];
    for (name, bytes) in samples {
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

/// Hills behind hills before a low sun.
fn dunes(width: u32, height: u32, waves: f32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
        let aspect = width as f32 / height as f32;
        let sun = ((u - 0.68) * aspect).hypot(v - 0.34);
        let mut colour = blend([0.16, 0.20, 0.45], [0.98, 0.62, 0.36], (v * 1.7).min(1.0));
        colour = blend(colour, [1.0, 0.93, 0.72], smooth(0.13, 0.08, sun) + 0.35 * smooth(0.5, 0.0, sun));
        for hill in 0..5_u8 {
            let depth = f32::from(hill) / 4.0;
            let phase = u * waves * (2.0 + 1.5 * depth) + f32::from(hill) * 1.9;
            let top = 0.48 + 0.11 * f32::from(hill) + 0.06 * (phase * 2.3).sin() + 0.025 * (phase * 5.1).cos();
            let shade = blend([0.80, 0.45, 0.36], [0.16, 0.08, 0.16], depth);
            let lit = blend(shade, [1.0, 0.74, 0.48], 0.25 * smooth(0.03, 0.0, v - top));
            colour = blend(colour, lit, smooth(-0.002, 0.002, v - top));
        }
        rgb(colour)
    })
}

/// A Julia set in few colours.
fn julia(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let scale = 2.7 / height as f32;
        let (mut a, mut b) = ((x as f32 - width as f32 / 2.0) * scale, (y as f32 - height as f32 / 2.0) * scale);
        let mut steps = 0_u8;
        while a * a + b * b < 16.0 && steps < 30 {
            (a, b) = (a * a - b * b - 0.79, 2.0 * a * b + 0.15);
            steps += 1;
        }
        let warmth = f32::from(steps) / 30.0;
        rgb(blend(
            blend([0.03, 0.07, 0.18], [0.16, 0.62, 0.66], (warmth * 3.0).min(1.0)),
            [1.0, 0.86, 0.45],
            warmth * warmth,
        ))
    })
}

/// A gear on nothing.
fn badge(side: u32) -> RgbaImage {
    RgbaImage::from_fn(side, side, |x, y| {
        let half = side as f32 / 2.0;
        let (dx, dy) = ((x as f32 - half) / half, (y as f32 - half) / half);
        let (radius, angle) = (dx.hypot(dy), dy.atan2(dx));
        let edge = 0.78 + 0.10 * ((angle * 9.0).cos() * 4.0).clamp(-1.0, 1.0);
        let inside = smooth(0.006, -0.006, radius - edge);
        let hole = smooth(-0.006, 0.006, radius - 0.26);
        let ring = smooth(0.02, 0.01, (radius - 0.52).abs());
        let Rgb([red, green, blue]) = rgb(blend([0.13, 0.42, 0.55], [0.95, 0.80, 0.36], ring));
        Rgba([red, green, blue, (inside * hole * 255.0) as u8])
    })
}

/// Flat circles over each other.
fn bubbles(width: u32, height: u32) -> RgbImage {
    const COLOURS: [Colour; 4] = [[0.93, 0.35, 0.36], [0.98, 0.75, 0.30], [0.22, 0.66, 0.58], [0.36, 0.44, 0.78]];
    RgbImage::from_fn(width, height, |x, y| {
        let mut colour = [0.97, 0.95, 0.91];
        for n in 0..26_u16 {
            let t = f32::from(n);
            let (cx, cy) = ((t * 0.618).fract() * width as f32, (t * 0.377 + 0.1).fract() * height as f32);
            let radius = 18.0 + 62.0 * (t * 0.291).fract();
            let away = (x as f32 - cx).hypot(y as f32 - cy);
            colour = blend(colour, COLOURS[usize::from(n) % 4], 0.75 * smooth(1.0, -1.0, away - radius));
        }
        rgb(colour)
    })
}

/// Two drops in a pond, over four frames.
fn ripples(side: u32) -> Result<Vec<u8>, Box<dyn Error>> {
    let frame = |time: u8| {
        RgbaImage::from_fn(side, side, |x, y| {
            let (u, v) = (x as f32 / side as f32, y as f32 / side as f32);
            let wave = |cx: f32, cy: f32| ((u - cx).hypot(v - cy) * 55.0 - f32::from(time) * 1.57).sin();
            let level = ((wave(0.3, 0.35) + wave(0.72, 0.66)) * 2.0).round() / 8.0 + 0.5;
            let Rgb([red, green, blue]) = rgb(blend([0.05, 0.20, 0.38], [0.62, 0.86, 0.90], level));
            Rgba([red, green, blue, 255])
        })
    };
    let mut bytes = Vec::new();
    GifEncoder::new(&mut bytes).encode_frames((0..4).map(|time| Frame::new(frame(time))))?;
    Ok(bytes)
}

/// The same file, saying that it is to be turned clockwise (EXIF orientation 6), as from a camera held upright.
fn lying(jpeg: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let segment = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let length = u16::try_from(segment.len() + 2)?.to_be_bytes();
    Ok([&jpeg[..2], &[0xFF, 0xE1], &length, segment, &jpeg[2..]].concat())
}

fn jpeg(picture: &RgbImage) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 78).encode_image(picture)?;
    Ok(bytes)
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

fn blend(from: Colour, to: Colour, share: f32) -> Colour {
    let share = share.clamp(0.0, 1.0);
    std::array::from_fn(|channel| from[channel] + (to[channel] - from[channel]) * share)
}

/// 0 up to `from`, 1 from `to` on, and a slope between; falls where `from` is the greater.
fn smooth(from: f32, to: f32, at: f32) -> f32 {
    ((at - from) / (to - from)).clamp(0.0, 1.0)
}

fn rgb(colour: Colour) -> Rgb<u8> {
    Rgb(colour.map(|channel| (channel.clamp(0.0, 1.0) * 255.0).round() as u8))
}
