//! Large pixels to small ones, by Lanczos with SIMD (`fast_image_resize`: the `image` crate's own is many times slower).
//!
//! Everything is resized as red, green, blue and alpha with eight bits each. Its generic code is compiled here, once for
//! each kind of pixel: thirteen kinds took minutes, and nobody sees sixteen bits in a thumbnail.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{PixelType, ResizeOptions, Resizer};
use image::{DynamicImage, RgbaImage};

use crate::ThumbnailError;
use crate::decode::check_pixels;
use crate::request::{Filling, Order};

/// Makes `picture` as large as `order` wants it.
pub(crate) fn resize(picture: DynamicImage, order: &Order) -> Result<DynamicImage, ThumbnailError> {
    let source = (picture.width(), picture.height());
    let (width_px, height_px) = size(source, order);
    if source == (width_px, height_px) {
        return Ok(picture);
    }
    check_pixels((width_px, height_px))?;
    let options = match order.filling {
        Filling::Contain => ResizeOptions::new(),
        Filling::Cover => ResizeOptions::new().fit_into_destination(Some((0.5, 0.5))),
    };
    let has_alpha = picture.color().has_alpha();
    let pixels = picture.into_rgba8();
    let not_made = |reason: &dyn std::fmt::Display| ThumbnailError::NotMade(reason.to_string());
    let large =
        ImageRef::new(source.0, source.1, pixels.as_raw(), PixelType::U8x4).map_err(|error| not_made(&error))?;
    let mut small = Image::new(width_px, height_px, PixelType::U8x4);
    Resizer::new().resize(&large, &mut small, &options).map_err(|error| not_made(&error))?;
    let small = RgbaImage::from_raw(width_px, height_px, small.into_vec())
        .map(DynamicImage::ImageRgba8)
        .ok_or_else(|| not_made(&"the pixels do not fill the picture"))?;
    // A format without alpha, such as JPEG, takes no such pixels.
    Ok(if has_alpha { small } else { DynamicImage::ImageRgb8(small.into_rgb8()) })
}

/// The thumbnail's width and height, for a source of `(width, height)`. Whole numbers throughout, so that a side is
/// never off by one for a rounding error.
fn size((source_width, source_height): (u32, u32), order: &Order) -> (u32, u32) {
    let (width, height) = (order.width_px, order.height_px);
    if order.filling == Filling::Cover {
        return (width, height);
    }
    if source_width <= width && source_height <= height {
        return (source_width, source_height);
    }
    // Which side meets the box first: width / source_width against height / source_height, without the division.
    if u64::from(width) * u64::from(source_height) <= u64::from(height) * u64::from(source_width) {
        (width, scaled(source_height, width, source_width))
    } else {
        (scaled(source_width, height, source_height), height)
    }
}

/// `side * numerator / denominator`, rounded, and never nothing: a line of 10,000 x 1 pixels has a thumbnail too.
fn scaled(side: u32, numerator: u32, denominator: u32) -> u32 {
    let doubled = 2 * u64::from(side) * u64::from(numerator) / u64::from(denominator);
    u32::try_from(doubled.div_ceil(2)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::size;
    use crate::request::{Filling, Order};

    fn sized(source: (u32, u32), box_px: (u32, u32), filling: Filling) -> (u32, u32) {
        size(source, &Order { width_px: box_px.0, height_px: box_px.1, filling, format: None, quality: 80 })
    }

    #[test]
    fn contain_keeps_the_shape_and_never_enlarges() {
        for (source, box_px, expected) in [
            ((4000, 3000), (400, 400), (400, 300)),
            ((3000, 4000), (400, 400), (300, 400)),
            ((4000, 3000), (400, 100), (133, 100)),
            ((1000, 667), (300, 300), (300, 200)),
            ((100, 50), (400, 400), (100, 50)),
            ((100, 500), (400, 400), (80, 400)),
            ((400, 400), (400, 400), (400, 400)),
            ((1, 1), (1, 1), (1, 1)),
            ((10_000, 1), (100, 100), (100, 1)),
            ((1, 10_000), (100, 100), (1, 100)),
            ((8192, 8191), (8191, 8191), (8191, 8190)),
        ] {
            assert_eq!(sized(source, box_px, Filling::Contain), expected, "{source:?} into {box_px:?}");
        }
    }

    #[test]
    fn contain_never_stands_over_the_box() {
        for width in 1..60 {
            for height in 1..60 {
                let (w, h) = sized((width, height), (17, 23), Filling::Contain);
                assert!(w <= 17.min(width) && h <= 23.min(height) && w >= 1 && h >= 1, "{width}x{height}: {w}x{h}");
            }
        }
    }

    #[test]
    fn cover_is_always_the_box() {
        for source in [(4000, 3000), (3, 9000), (1, 1)] {
            assert_eq!(sized(source, (320, 200), Filling::Cover), (320, 200), "{source:?}");
        }
    }
}
