//! The pictures, what is asked for each, and what must come of it. They are made by `samples/generate.rs`.

use std::borrow::Cow;
use std::io::Cursor;

use image::ImageFormat;

/// One picture and its request.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) bytes: Cow<'static, [u8]>,
    /// How the picture comes to the worker.
    pub(super) way: Way,
    /// Width and height of the box.
    pub(super) box_px: (u32, u32),
    /// Names from the kind's `.proto` file; empty: the default.
    pub(super) fit: &'static str,
    pub(super) format: &'static str,
    pub(super) expected: Expected,
}

/// How a picture comes to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// In the task. The dispatcher puts it into the object store by itself where it is too large for a message.
    Task,
    /// Uploaded as a blob before, and named by the task.
    Upload,
}

/// What must come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// A picture of this width and height, and this file name extension.
    Thumbnail(u32, u32, &'static str),
    /// A failure with this code.
    Failure(&'static str),
}

impl Sample {
    pub(super) fn is_good(&self) -> bool {
        matches!(self.expected, Expected::Thumbnail(..))
    }
}

macro_rules! sample {
    ($name:literal, $width:literal x $height:literal, $fit:literal, $format:literal, $way:ident, $expected:expr) => {
        Sample {
            name: $name,
            bytes: Cow::Borrowed(include_bytes!(concat!("../../samples/", $name))),
            way: Way::$way,
            box_px: ($width, $height),
            fit: $fit,
            format: $format,
            expected: $expected,
        }
    };
}

/// All of them.
pub(super) fn samples() -> Vec<Sample> {
    let mut samples = vec![
        // Stored lying on its side, 1200 x 900; its metadata say which way is up.
        sample!("dunes.jpg", 320 x 320, "", "", Task, Expected::Thumbnail(240, 320, "jpg")),
        sample!("ridge.jpg", 300 x 300, "FIT_COVER", "", Task, Expected::Thumbnail(300, 300, "jpg")),
        sample!("julia.png", 280 x 280, "", "", Task, Expected::Thumbnail(280, 210, "png")),
        sample!("badge.png", 128 x 128, "", "FORMAT_WEBP", Task, Expected::Thumbnail(128, 128, "webp")),
        sample!("bubbles.webp", 360 x 360, "", "FORMAT_JPEG", Upload, Expected::Thumbnail(360, 240, "jpg")),
        sample!("ripples.gif", 96 x 64, "FIT_COVER", "", Task, Expected::Thumbnail(96, 64, "png")),
        // Ends in its middle.
        sample!("broken.jpg", 300 x 300, "", "", Task, Expected::Failure("broken_image")),
    ];
    samples.extend(large(&samples[1]));
    samples
}

/// A picture that fits no message: a photograph without loss, with the grain that a sensor adds. It is made here, so that
/// it is not in every clone.
fn large(photograph: &Sample) -> Option<Sample> {
    let mut picture = image::load_from_memory(&photograph.bytes).ok()?.into_rgb8();
    let mut noise = 1_u32;
    for channel in picture.iter_mut() {
        // A linear congruential generator, whose upper bits are the better ones.
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *channel ^= (noise >> 30) as u8;
    }
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).ok()?;
    Some(Sample {
        name: "large.png",
        bytes: Cow::Owned(bytes.into_inner()),
        way: Way::Task,
        box_px: (350, 350),
        fit: "",
        format: "FORMAT_JPEG",
        expected: Expected::Thumbnail(350, 150, "jpg"),
    })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{Expected, Way, samples};

    /// Together they must stay small, for they are in every clone.
    const SAMPLES_BYTES_MAX: usize = 300 * 1024;
    /// More than this goes through the object store.
    const INLINE_BYTES_MAX: usize = 256 * 1024;

    #[test]
    fn the_samples_are_small_and_open_but_the_broken_one() {
        let samples = samples();
        let cloned = samples.iter().filter(|sample| matches!(sample.bytes, Cow::Borrowed(_)));
        assert!(cloned.map(|sample| sample.bytes.len()).sum::<usize>() < SAMPLES_BYTES_MAX);
        for sample in samples.iter().filter(|sample| sample.is_good()) {
            assert!(image::load_from_memory(&sample.bytes).is_ok(), "{}", sample.name);
        }
        assert_eq!(samples.iter().filter(|sample| matches!(sample.expected, Expected::Failure(_))).count(), 1);
    }

    #[test]
    fn each_way_of_a_picture_is_gone() {
        let samples = samples();
        assert!(samples.iter().any(|sample| sample.way == Way::Upload));
        assert!(samples.iter().any(|sample| sample.way == Way::Task && sample.bytes.len() > INLINE_BYTES_MAX));
    }
}
