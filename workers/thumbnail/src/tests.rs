//! Every picture is made in here, so that each test shows what it is about.

use std::io::Cursor;

use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, Frame, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use workfleet_proto::kinds::thumbnail::{Fit, Format, Notify, ThumbnailReply, ThumbnailRequest};

use super::{Origin, Request, ThumbnailError};

const RED: Rgb<u8> = Rgb([220, 30, 30]);
const BLUE: Rgb<u8> = Rgb([30, 30, 220]);

/// Red in its left half, blue in its right one.
fn halves(width: u32, height: u32) -> DynamicImage {
    RgbImage::from_fn(width, height, |x, _| if x < width / 2 { RED } else { BLUE }).into()
}

/// What no format can make small.
fn noise() -> DynamicImage {
    RgbImage::from_fn(64, 64, |x, y| Rgb([((x * 37) ^ (y * 91)) as u8, x as u8, 7])).into()
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    match format {
        ImageFormat::Jpeg => JpegEncoder::new_with_quality(&mut bytes, 95).encode_image(&picture.to_rgb8()),
        _ => picture.write_to(&mut bytes, format),
    }
    .unwrap();
    bytes.into_inner()
}

/// The JPEG with an EXIF segment that holds nothing but an orientation.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut segment = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    segment.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(segment.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &segment, &jpeg[2..]].concat()
}

fn request(image: Vec<u8>, width_px: u32, height_px: u32) -> ThumbnailRequest {
    ThumbnailRequest { image: image.into(), width_px, height_px, ..Default::default() }
}

/// The way of a request whose picture is in it.
fn make(request: ThumbnailRequest, step: impl Fn(u32, &'static str)) -> Result<ThumbnailReply, ThumbnailError> {
    let Request { origin, order, .. } = request.try_into()?;
    match origin {
        Origin::Image(source) => super::make(source, &order, step),
        Origin::Blob(id) => panic!("{id} is not in the request"),
    }
}

fn made(request: ThumbnailRequest) -> (ThumbnailReply, DynamicImage) {
    let reply = make(request, |_, _| ()).unwrap();
    let picture = image::load_from_memory(&reply.image).unwrap();
    assert_eq!((picture.width(), picture.height()), (reply.width_px, reply.height_px));
    (reply, picture)
}

fn code(request: ThumbnailRequest) -> &'static str {
    make(request, |_, _| ()).unwrap_err().code()
}

#[track_caller]
fn assert_near(picture: &DynamicImage, x: u32, y: u32, expected: Rgb<u8>) {
    let found = picture.to_rgb8().get_pixel(x, y).0;
    let far = found.iter().zip(expected.0).any(|(a, b)| a.abs_diff(b) > 12);
    assert!(!far, "at {x}, {y}: {found:?} instead of {expected:?}");
}

#[test]
fn every_format_is_read_and_keeps_its_format_but_gif() {
    for (format, expected, magic) in [
        (ImageFormat::Jpeg, Format::Jpeg, ImageFormat::Jpeg),
        (ImageFormat::Png, Format::Png, ImageFormat::Png),
        (ImageFormat::WebP, Format::Webp, ImageFormat::WebP),
        (ImageFormat::Gif, Format::Png, ImageFormat::Png),
    ] {
        let (reply, picture) = made(request(encoded(&halves(80, 40), format), 40, 40));
        assert_eq!(reply.format(), expected, "{format:?}");
        assert_eq!(image::guess_format(&reply.image).unwrap(), magic, "{format:?}");
        assert_eq!((reply.width_px, reply.height_px), (40, 20), "{format:?}");
        assert_eq!((reply.source_width_px, reply.source_height_px), (80, 40), "{format:?}");
        assert_near(&picture, 5, 10, RED);
        assert_near(&picture, 35, 10, BLUE);
    }
}

#[test]
fn the_format_can_be_chosen() {
    for (format, magic) in
        [(Format::Jpeg, ImageFormat::Jpeg), (Format::Png, ImageFormat::Png), (Format::Webp, ImageFormat::WebP)]
    {
        let mut request = request(encoded(&halves(16, 16), ImageFormat::Gif), 8, 8);
        request.format = format.into();
        let (reply, _) = made(request);
        assert_eq!(reply.format(), format);
        assert_eq!(image::guess_format(&reply.image).unwrap(), magic);
    }
}

#[test]
fn quality_is_for_jpeg() {
    let noise = noise();
    let bytes = |quality| {
        let mut request = request(encoded(&noise, ImageFormat::Png), 64, 64);
        (request.format, request.quality) = (Format::Jpeg.into(), quality);
        make(request, |_, _| ()).unwrap().image.len()
    };
    assert!(bytes(10) < bytes(50) && bytes(50) < bytes(100));
    assert_eq!(bytes(0), bytes(80), "80 is the default");
}

#[test]
fn orientation_is_honoured_and_metadata_dropped() {
    let jpeg = encoded(&halves(64, 32), ImageFormat::Jpeg);
    // Orientation 6 says: turn it clockwise to see it upright. What was left is then above.
    let (reply, picture) = made(request(with_orientation(&jpeg, 6), 32, 32));
    assert_eq!((reply.source_width_px, reply.source_height_px), (32, 64));
    assert_eq!((reply.width_px, reply.height_px), (16, 32));
    assert_near(&picture, 8, 4, RED);
    assert_near(&picture, 8, 28, BLUE);
    assert!(!reply.image.windows(4).any(|bytes| bytes == b"Exif"));

    let (_, mirrored) = made(request(with_orientation(&jpeg, 2), 64, 32));
    assert_near(&mirrored, 10, 16, BLUE);
}

#[test]
fn a_preview_inside_the_metadata_is_no_end_of_the_picture() {
    let jpeg = encoded(&halves(64, 32), ImageFormat::Jpeg);
    let preview = [b"Exif\0\0".as_slice(), &encoded(&halves(8, 8), ImageFormat::Jpeg)].concat();
    let length = u16::try_from(preview.len() + 2).unwrap().to_be_bytes();
    let with_preview = [&jpeg[..2], &[0xFF, 0xE1], &length, &preview, &jpeg[2..]].concat();
    assert_eq!(code(request(with_preview[..with_preview.len() - 40].to_vec(), 8, 8)), "broken_image");
    made(request(with_preview, 8, 8));
}

#[test]
fn cover_cuts_both_sides_evenly() {
    // Three bands; a square in the middle of a 90 x 30 picture is the middle band alone.
    let bands = RgbImage::from_fn(90, 30, |x, _| [RED, Rgb([255; 3]), BLUE][(x / 30) as usize]);
    let mut request = request(encoded(&bands.into(), ImageFormat::Png), 10, 10);
    request.fit = Fit::Cover.into();
    let (reply, picture) = made(request);
    assert_eq!((reply.width_px, reply.height_px), (10, 10));
    // The outermost columns are blended with their neighbours, as any resampling does.
    for x in [1, 5, 8] {
        assert_near(&picture, x, 5, Rgb([255; 3]));
    }
}

#[test]
fn transparency_is_kept_where_it_can_be_and_white_in_jpeg() {
    let glass: DynamicImage = RgbaImage::from_pixel(20, 20, Rgba([0, 0, 0, 0])).into();
    let (_, png) = made(request(encoded(&glass, ImageFormat::Png), 10, 10));
    assert_eq!(png.to_rgba8().get_pixel(5, 5).0[3], 0);
    let mut to_jpeg = request(encoded(&glass, ImageFormat::Png), 10, 10);
    to_jpeg.format = Format::Jpeg.into();
    assert_near(&made(to_jpeg).1, 5, 5, Rgb([255; 3]));
}

#[test]
fn sixteen_bits_and_grey_are_read() {
    let deep = DynamicImage::ImageRgb16(image::ImageBuffer::from_pixel(20, 20, Rgb([65_535, 0, 0])));
    assert_near(&made(request(encoded(&deep, ImageFormat::Png), 10, 10)).1, 5, 5, Rgb([255, 0, 0]));
    let grey = DynamicImage::ImageLuma8(image::ImageBuffer::from_pixel(20, 20, image::Luma([99])));
    assert_near(&made(request(encoded(&grey, ImageFormat::Png), 10, 10)).1, 5, 5, Rgb([99; 3]));
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 95).encode_image(&grey.to_luma8()).unwrap();
    assert_near(&made(request(jpeg, 10, 10)).1, 5, 5, Rgb([99; 3]));
}

#[test]
fn of_a_gif_the_first_frame_is_taken() {
    let frame = |colour: Rgb<u8>| {
        let Rgb([red, green, blue]) = colour;
        Frame::new(RgbaImage::from_pixel(16, 16, Rgba([red, green, blue, 255])))
    };
    let mut gif = Vec::new();
    GifEncoder::new(&mut gif).encode_frames([frame(RED), frame(BLUE)]).unwrap();
    assert_near(&made(request(gif, 8, 8)).1, 4, 4, RED);
}

#[test]
fn the_smallest_picture_is_a_picture() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif] {
        for fit in [Fit::Contain, Fit::Cover] {
            let mut request = request(encoded(&halves(1, 1), format), 3, 2);
            request.fit = fit.into();
            let (reply, _) = made(request);
            let expected = if fit == Fit::Cover { (3, 2) } else { (1, 1) };
            assert_eq!((reply.width_px, reply.height_px), expected, "{format:?} {fit:?}");
        }
    }
}

#[test]
fn a_bomb_is_refused_by_its_header() {
    let mut gif = encoded(&halves(2, 2), ImageFormat::Gif);
    gif[6..10].copy_from_slice(&[0xFF; 4]);
    assert_eq!(code(request(gif, 10, 10)), "too_many_pixels");

    let mut png = encoded(&halves(2, 2), ImageFormat::Png);
    png[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
    png[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
    let checksum = crc32(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&checksum);
    let error = make(request(png, 10, 10), |_, _| ()).unwrap_err();
    assert!(matches!(error, ThumbnailError::TooManyPixels { width_px: 60_000, height_px: 60_000 }), "{error}");
}

#[test]
fn a_box_too_large_to_fill_is_refused() {
    let mut request = request(encoded(&halves(2, 2), ImageFormat::Png), 8192, 8192);
    request.fit = Fit::Cover.into();
    assert_eq!(code(request), "too_many_pixels");
}

#[test]
fn a_truncated_file_is_broken_in_every_format() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif] {
        let bytes = encoded(&noise(), format);
        for kept in [bytes.len() / 2, bytes.len() * 9 / 10, 16] {
            assert_eq!(code(request(bytes[..kept].to_vec(), 8, 8)), "broken_image", "{format:?} cut at {kept}");
        }
    }
}

#[test]
fn what_is_no_picture_is_told_so() {
    assert_eq!(code(request(b"Dear sir or madam".to_vec(), 8, 8)), "unsupported_format");
    assert_eq!(code(request(b"BM\0\0\0\0\0\0\0\0".to_vec(), 8, 8)), "unsupported_format");
}

#[test]
fn a_request_without_sense_is_refused_before_the_picture_is_read() {
    let picture = || encoded(&halves(4, 4), ImageFormat::Png);
    let wrong = |change: fn(&mut ThumbnailRequest)| {
        let mut request = request(picture(), 8, 8);
        change(&mut request);
        assert_eq!(code(request), "bad_request");
    };
    wrong(|request| request.image.clear());
    wrong(|request| request.width_px = 0);
    wrong(|request| request.height_px = 0);
    wrong(|request| request.width_px = 8193);
    wrong(|request| request.quality = 101);
    wrong(|request| request.fit = 9);
    wrong(|request| request.format = 9);
    wrong(|request| request.notify = Some(Notify { url: "ftp://example.org".to_owned(), ..Default::default() }));
}

#[test]
fn the_picture_is_in_the_request_or_in_a_blob() {
    let with = |image: &'static [u8], blob: &str| {
        let request = ThumbnailRequest { image: image.into(), blob: blob.to_owned(), ..request(Vec::new(), 8, 8) };
        Request::try_from(request)
    };
    assert!(matches!(with(b"x", "").unwrap().origin, Origin::Image(bytes) if bytes == "x"));
    let named = "thumbnail_holiday.jpg";
    assert!(matches!(with(b"", named).unwrap().origin, Origin::Blob(id) if id == named));
    for (image, blob) in [(b"".as_slice(), ""), (b"x", named)] {
        assert_eq!(with(image, blob).unwrap_err().code(), "bad_request", "{image:?} {blob}");
    }
}

#[test]
fn each_step_is_told() {
    let steps = std::cell::RefCell::new(Vec::new());
    make(request(encoded(&halves(4, 4), ImageFormat::Png), 2, 2), |percent, step| {
        steps.borrow_mut().push((percent, step));
    })
    .unwrap();
    assert_eq!(steps.into_inner(), [(40, "decoded"), (70, "resized"), (90, "encoded")]);
}

/// What PNG calls CRC: a changed header needs a new one.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()))
    })
}
