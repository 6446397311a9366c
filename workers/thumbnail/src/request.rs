//! What a request asks for, checked before any byte of the picture is looked at.

use workfleet_proto::kinds::thumbnail::{Fit, Format, ThumbnailRequest};

use crate::ThumbnailError;
use crate::encode::Encoding;

/// Longest side of the box, in pixels.
pub const SIDE_PX_MAX: u32 = 8192;
/// Quality of a JPEG whose request names none.
const QUALITY_DEFAULT: u8 = 80;
/// The best quality there is.
const QUALITY_MAX: u8 = 100;

/// A request that makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    pub(crate) filling: Filling,
    /// `None`: like the source.
    pub(crate) format: Option<Encoding>,
    pub(crate) quality: u8,
}

/// How the picture goes into the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filling {
    /// The whole picture is seen, and nothing is made larger.
    Contain,
    /// The whole box is filled, and what stands over is cut off.
    Cover,
}

/// Checks all of `request` but its picture.
pub(crate) fn validate(request: &ThumbnailRequest) -> Result<Order, ThumbnailError> {
    let bad = |text: String| Err(ThumbnailError::BadRequest(text));
    if request.image.is_empty() {
        return bad("`image` is empty".to_owned());
    }
    for (name, side_px) in [("width_px", request.width_px), ("height_px", request.height_px)] {
        if !(1..=SIDE_PX_MAX).contains(&side_px) {
            return bad(format!("`{name}` is {side_px}; it must be 1 to {SIDE_PX_MAX}"));
        }
    }
    let filling = match Fit::try_from(request.fit) {
        Ok(Fit::Unspecified | Fit::Contain) => Filling::Contain,
        Ok(Fit::Cover) => Filling::Cover,
        Err(_) => return bad(format!("`fit` is {}, which is no known one", request.fit)),
    };
    let format = match Format::try_from(request.format) {
        Ok(Format::Unspecified) => None,
        Ok(Format::Jpeg) => Some(Encoding::Jpeg),
        Ok(Format::Png) => Some(Encoding::Png),
        Ok(Format::Webp) => Some(Encoding::Webp),
        Err(_) => return bad(format!("`format` is {}, which is no known one", request.format)),
    };
    let quality = match u8::try_from(request.quality) {
        Ok(0) => QUALITY_DEFAULT,
        Ok(quality) if quality <= QUALITY_MAX => quality,
        _ => return bad(format!("`quality` is {}; it must be 1 to {QUALITY_MAX}", request.quality)),
    };
    Ok(Order { width_px: request.width_px, height_px: request.height_px, filling, format, quality })
}
