//! JPEG, decoded from where it lies.
//!
//! The `image` crate copies the whole source before it decodes it, and a photograph can be as large as a payload. So its
//! decoder is called directly here; everything else is as there.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::check_pixels;
use crate::ThumbnailError;

/// JPEG markers.
const START_OF_SCAN: u8 = 0xDA;
const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];

/// The picture as it is stored, and how to turn it upright.
pub(super) fn decode(bytes: &[u8]) -> Result<(DynamicImage, Orientation), ThumbnailError> {
    if !is_whole(bytes) {
        return Err(ThumbnailError::BrokenImage("it ends in its middle".to_owned()));
    }
    // The decoder's own limits are on each side, ours is on the pixels. Cameras are not strict.
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut header = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    header.decode_headers()?;
    let (width, height) = header.dimensions().map_or((0, 0), |(width, height)| (side(width), side(height)));
    check_pixels((width, height))?;
    // Metadata that cannot be read is no reason to refuse a picture that can.
    let turned = header.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let colours = match header.input_colorspace() {
        Some(ColorSpace::Luma) => ColorSpace::Luma,
        _ => ColorSpace::RGB,
    };
    let options = options.jpeg_set_out_colorspace(colours);
    let pixels = JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode()?;
    let picture = match colours {
        ColorSpace::Luma => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        _ => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    let picture = picture.ok_or_else(|| ThumbnailError::BrokenImage("it has not all of its pixels".to_owned()))?;
    Ok((picture, turned.unwrap_or(Orientation::NoTransforms)))
}

/// A side that no JPEG can have is too long for us, too.
fn side(pixels: usize) -> u32 {
    u32::try_from(pixels).unwrap_or(u32::MAX)
}

/// Whether a JPEG's picture has an end. The decoder fills up what is missing with grey, and a grey half of a thumbnail
/// looks like success. Segments are skipped by their length, since a camera's preview inside one has an end of its own;
/// after the first scan begins, the end marker cannot occur by chance, for there each 0xFF is escaped.
fn is_whole(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [0xFF, marker, high, low, ..] = *rest {
        if marker == START_OF_SCAN {
            return rest.windows(2).any(|pair| pair == END_OF_IMAGE);
        }
        // Markers may be preceded by any number of 0xFF.
        let skipped = if marker == 0xFF { 1 } else { 2 + usize::from(u16::from_be_bytes([high, low])) };
        rest = rest.get(skipped..).unwrap_or_default();
    }
    false
}

impl From<DecodeErrors> for ThumbnailError {
    fn from(error: DecodeErrors) -> Self {
        match error {
            DecodeErrors::Unsupported(scheme) => Self::UnsupportedFormat(format!("a JPEG with {scheme:?}")),
            error => Self::BrokenImage(error.to_string()),
        }
    }
}
