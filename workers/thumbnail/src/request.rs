//! What a request asks for, checked before any byte of the picture is looked at.

use bytes::Bytes;
use workfleet_proto::kinds::thumbnail::{Fit, Format, Notify, ThumbnailRequest};

use crate::ThumbnailError;
use crate::encode::Encoding;

/// Longest side of the box, in pixels.
pub const SIDE_PX_MAX: u32 = 8192;
/// Quality of a JPEG whose request names none.
const QUALITY_DEFAULT: u8 = 80;
/// The best quality there is.
const QUALITY_MAX: u8 = 100;

/// A request that makes sense.
#[derive(Debug)]
pub struct Request {
    /// Where the picture is.
    pub origin: Origin,
    /// What is to become of it.
    pub order: Order,
    /// Whom to tell when it has.
    pub notify: Option<Notify>,
}

/// Where the picture is.
#[derive(Debug)]
pub enum Origin {
    /// In the request itself.
    Image(Bytes),
    /// In a blob that was uploaded before, with this id.
    Blob(String),
}

/// What is to become of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
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

impl TryFrom<ThumbnailRequest> for Request {
    type Error = ThumbnailError;

    /// Checks all of a request but its picture.
    fn try_from(request: ThumbnailRequest) -> Result<Self, ThumbnailError> {
        let order = order(&request)?;
        let notify = request.notify.map(notify).transpose()?;
        let origin = match (request.image.is_empty(), request.blob.is_empty()) {
            (false, true) => Origin::Image(request.image),
            (true, false) => Origin::Blob(request.blob),
            (true, true) => return bad("`image` and `blob` are empty; give one of the two"),
            (false, false) => return bad("`image` and `blob` are both given; give one of the two"),
        };
        Ok(Self { origin, order, notify })
    }
}

fn order(request: &ThumbnailRequest) -> Result<Order, ThumbnailError> {
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

/// A slip in the address is told before the work and not after it. All else is for the webhook's own worker to judge.
fn notify(notify: Notify) -> Result<Notify, ThumbnailError> {
    if notify.url.starts_with("https://") || notify.url.starts_with("http://") {
        return Ok(notify);
    }
    bad("`notify.url` does not begin with https:// or http://")
}

fn bad<T>(text: impl Into<String>) -> Result<T, ThumbnailError> {
    Err(ThumbnailError::BadRequest(text.into()))
}
