//! Pixels to bytes.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use workfleet_proto::kinds::thumbnail::Format;

use crate::ThumbnailError;

/// What a thumbnail is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Jpeg,
    Png,
    /// Lossless, which is all that the encoder can do.
    Webp,
}

impl Encoding {
    /// The same in a reply.
    pub(crate) fn to_proto(self) -> Format {
        match self {
            Self::Jpeg => Format::Jpeg,
            Self::Png => Format::Png,
            Self::Webp => Format::Webp,
        }
    }
}

/// Writes `picture`, without any metadata. `quality` is for JPEG alone.
pub(crate) fn encode(picture: &DynamicImage, encoding: Encoding, quality: u8) -> Result<Vec<u8>, ThumbnailError> {
    let mut bytes = Cursor::new(Vec::new());
    match encoding {
        Encoding::Jpeg => JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(&on_white(picture)),
        Encoding::Png => picture.write_to(&mut bytes, ImageFormat::Png),
        Encoding::Webp => picture.write_to(&mut bytes, ImageFormat::WebP),
    }
    .map_err(|error| ThumbnailError::NotMade(error.to_string()))?;
    Ok(bytes.into_inner())
}

/// The picture as it looks on white paper, since JPEG knows no transparency: without this, transparent pixels would show
/// whatever colour they happen to have, mostly black.
fn on_white(picture: &DynamicImage) -> RgbImage {
    let DynamicImage::ImageRgba8(picture) = picture else {
        return picture.to_rgb8();
    };
    let mut paper = RgbImage::new(picture.width(), picture.height());
    for (out, pixel) in paper.pixels_mut().zip(picture.pixels()) {
        let [red, green, blue, alpha] = pixel.0;
        *out = Rgb([red, green, blue].map(|channel| blend_with_white(channel, alpha)));
    }
    paper
}

fn blend_with_white(channel: u8, alpha: u8) -> u8 {
    let (channel, alpha) = (u32::from(channel), u32::from(alpha));
    u8::try_from((channel * alpha + 255 * (255 - alpha) + 127) / 255).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::blend_with_white;

    #[test]
    fn what_is_transparent_becomes_white() {
        assert_eq!(blend_with_white(0, 0), 255);
        assert_eq!(blend_with_white(0, 255), 0);
        assert_eq!(blend_with_white(100, 255), 100);
        assert_eq!(blend_with_white(0, 128), 127);
        assert_eq!(blend_with_white(255, 77), 255);
    }
}
