//! Bytes to pixels.
//!
//! The bytes come from strangers, so the order matters: what it is (by its first bytes; a name or a content type would
//! be the sender's word), how large (from its header), and only then are pixels decoded. The limit is on pixels and not
//! on bytes, since a file of a few KB can say that it is 60,000 pixels wide, and be right.
//!
//! Pixels come out upright and as 8-bit RGB or RGBA. Nothing else of the file is kept: where a photograph was taken is
//! in its metadata, and does not belong into a thumbnail that everybody sees.

mod jpeg;

use std::io::Cursor;

use image::error::ImageError;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::ThumbnailError;
use crate::encode::Encoding;

/// Most pixels of a source, and of a thumbnail: more than a good camera's, and bounded memory for each slot.
pub const PIXELS_MAX: u64 = 40_000_000;
/// Most memory that a decoder may take, in bytes: 16-bit RGBA of the largest picture.
const DECODER_BYTES_MAX: u64 = PIXELS_MAX * 8;

/// A picture as it was sent.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) picture: DynamicImage,
    /// What a thumbnail is encoded as when nobody asks for something else.
    pub(crate) format: Encoding,
}

/// Reads the first (or only) frame of the picture in `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded, ThumbnailError> {
    let (container, format) = sniff(bytes)?;
    let (picture, orientation) = match container {
        ImageFormat::Jpeg => jpeg::decode(bytes)?,
        container => streamed(bytes, container)?,
    };
    let mut picture = eight_bits(picture);
    picture.apply_orientation(orientation);
    Ok(Decoded { picture, format })
}

/// Decodes what its decoder reads piece by piece.
fn streamed(bytes: &[u8], container: ImageFormat) -> Result<(DynamicImage, Orientation), ThumbnailError> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODER_BYTES_MAX);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), container);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(ThumbnailError::from)?;
    check_pixels(decoder.dimensions())?;
    // Metadata that cannot be read is no reason to refuse a picture that can.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((DynamicImage::from_decoder(decoder)?, orientation))
}

/// Refuses what has too many pixels, or none.
pub(crate) fn check_pixels((width_px, height_px): (u32, u32)) -> Result<(), ThumbnailError> {
    match u64::from(width_px) * u64::from(height_px) {
        0 => Err(ThumbnailError::BrokenImage("it has no pixels".to_owned())),
        pixels if pixels > PIXELS_MAX => Err(ThumbnailError::TooManyPixels { width_px, height_px }),
        _ => Ok(()),
    }
}

fn sniff(bytes: &[u8]) -> Result<(ImageFormat, Encoding), ThumbnailError> {
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => Ok((ImageFormat::Jpeg, Encoding::Jpeg)),
        Ok(ImageFormat::Png) => Ok((ImageFormat::Png, Encoding::Png)),
        Ok(ImageFormat::WebP) => Ok((ImageFormat::WebP, Encoding::Webp)),
        // A single frame with more than 256 colours is not what GIF is good at.
        Ok(ImageFormat::Gif) => Ok((ImageFormat::Gif, Encoding::Png)),
        Ok(other) => Err(ThumbnailError::UnsupportedFormat(format!("this is {other:?}"))),
        Err(_) => Err(ThumbnailError::UnsupportedFormat("this is no picture".to_owned())),
    }
}

/// The same picture with 8 bits a channel, which is all that a screen shows and the encoders take.
fn eight_bits(picture: DynamicImage) -> DynamicImage {
    if picture.color().has_alpha() { picture.into_rgba8().into() } else { picture.into_rgb8().into() }
}

impl From<ImageError> for ThumbnailError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Unsupported(error) => Self::UnsupportedFormat(error.to_string()),
            error => Self::BrokenImage(error.to_string()),
        }
    }
}
