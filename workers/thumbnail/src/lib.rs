//! Makes a small picture out of a large one: the work of the thumbnail worker, without any of the fleet.
//!
//! Everything in here is a function of its arguments, so it is tested without a broker; `handler.rs` of the program says
//! where pictures come from and whom to tell. The modules are the stations of a picture, in its order.
//!
//! Every error is permanent: the same bytes give the same error tomorrow, so trying again would only delay the answer.
//! Its code is what a client sees in `failure.code`.

mod request;

mod decode;
mod resize;

mod encode;

use bytes::Bytes;
use workfleet_proto::kinds::thumbnail::ThumbnailReply;

pub use decode::PIXELS_MAX;
pub use request::{Order, Origin, Request, SIDE_PX_MAX};

/// Makes the thumbnail of the picture in `source` that `order` asks for, and says through `step` how far it is: per cent
/// done, and what was done.
///
/// Takes as long as the picture needs; call it where blocking does no harm.
///
/// # Errors
/// When the picture cannot be read, or is too large.
pub fn make(source: Bytes, order: &Order, step: impl Fn(u32, &'static str)) -> Result<ThumbnailReply, ThumbnailError> {
    let decoded = tracing::info_span!("decode", bytes = source.len()).in_scope(|| decode::decode(&source))?;
    // From here on there are only pixels in memory.
    drop(source);
    step(40, "decoded");

    let (source_width_px, source_height_px) = (decoded.picture.width(), decoded.picture.height());
    let format = order.format.unwrap_or(decoded.format);
    let thumbnail = tracing::info_span!("resize", source_width_px, source_height_px)
        .in_scope(|| resize::resize(decoded.picture, order))?;
    step(70, "resized");

    let (width_px, height_px) = (thumbnail.width(), thumbnail.height());
    let image = tracing::info_span!("encode", width_px, height_px)
        .in_scope(|| encode::encode(&thumbnail, format, order.quality))?;
    step(90, "encoded");
    Ok(ThumbnailReply {
        image: Bytes::from(image),
        width_px,
        height_px,
        format: format.to_proto().into(),
        source_width_px,
        source_height_px,
    })
}

/// Why there is no thumbnail.
#[derive(Debug, thiserror::Error)]
pub enum ThumbnailError {
    /// The request itself makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// The bytes are not one of the formats that can be read.
    #[error("{0}; JPEG, PNG, WebP and GIF can be read")]
    UnsupportedFormat(String),
    /// The bytes begin like a picture, but are not a whole one.
    #[error("the picture is broken: {0}")]
    BrokenImage(String),
    /// The source, or the box that is to be filled, has more pixels than are handled.
    #[error("{width_px} x {height_px} pixels are more than {PIXELS_MAX}")]
    TooManyPixels {
        /// Its width, as its header says.
        width_px: u32,
        /// Its height, as its header says.
        height_px: u32,
    },
    /// The thumbnail could not be written: a fault of ours, not of the picture.
    #[error("the thumbnail could not be made: {0}")]
    NotMade(String),
}

impl ThumbnailError {
    /// The stable code that clients see.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::UnsupportedFormat(_) => "unsupported_format",
            Self::BrokenImage(_) => "broken_image",
            Self::TooManyPixels { .. } => "too_many_pixels",
            Self::NotMade(_) => "not_made",
        }
    }
}

#[cfg(test)]
mod tests;
