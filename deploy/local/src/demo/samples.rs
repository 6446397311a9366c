//! The pictures, what is asked for each, and what must come of it. They are made by `samples/generate.rs`.

/// One picture and its request.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) bytes: &'static [u8],
    /// Width and height of the box.
    pub(super) box_px: (u32, u32),
    /// Names from the kind's `.proto` file; empty: the default.
    pub(super) fit: &'static str,
    pub(super) format: &'static str,
    pub(super) expected: Expected,
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
    ($name:literal, $width:literal x $height:literal, $fit:literal, $format:literal, $expected:expr) => {
        Sample {
            name: $name,
            bytes: include_bytes!(concat!("../../samples/", $name)),
            box_px: ($width, $height),
            fit: $fit,
            format: $format,
            expected: $expected,
        }
    };
}

/// All of them.
pub(super) const SAMPLES: &[Sample] = &[
    // Stored lying on its side, 1200 x 900; its metadata say which way is up.
    sample!("dunes.jpg", 320 x 320, "", "", Expected::Thumbnail(240, 320, "jpg")),
    sample!("ridge.jpg", 300 x 300, "FIT_COVER", "", Expected::Thumbnail(300, 300, "jpg")),
    sample!("julia.png", 280 x 280, "", "", Expected::Thumbnail(280, 210, "png")),
    sample!("badge.png", 128 x 128, "", "FORMAT_WEBP", Expected::Thumbnail(128, 128, "webp")),
    sample!("bubbles.webp", 360 x 360, "", "FORMAT_JPEG", Expected::Thumbnail(360, 240, "jpg")),
    sample!("ripples.gif", 96 x 64, "FIT_COVER", "", Expected::Thumbnail(96, 64, "png")),
    // Ends in its middle.
    sample!("broken.jpg", 300 x 300, "", "", Expected::Failure("broken_image")),
];

#[cfg(test)]
mod tests {
    use super::{Expected, SAMPLES};

    /// Together they must stay small, for they are in every clone.
    const SAMPLES_BYTES_MAX: usize = 300 * 1024;

    #[test]
    fn the_samples_are_small_and_open_but_the_broken_one() {
        assert!(SAMPLES.iter().map(|sample| sample.bytes.len()).sum::<usize>() < SAMPLES_BYTES_MAX);
        for sample in SAMPLES.iter().filter(|sample| sample.is_good()) {
            assert!(image::load_from_memory(sample.bytes).is_ok(), "{}", sample.name);
        }
        assert_eq!(SAMPLES.iter().filter(|sample| matches!(sample.expected, Expected::Failure(_))).count(), 1);
    }
}
