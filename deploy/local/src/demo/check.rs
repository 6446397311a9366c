//! Whether a sample ended as it must; and its thumbnail into a file.

use std::path::Path;

use image::ImageFormat;

use super::follow::Shown;
use super::samples::Expected;
use super::thumbnail_path;
use crate::error::LocalError;

/// Writes the thumbnail to `folder`, and says what is wrong with it.
pub(super) fn thumbnail(shown: &Shown, folder: &Path) -> Result<Option<String>, LocalError> {
    let Shown { sample, task } = shown;
    let complain = |what: String| Ok(Some(format!("{}: {what}", sample.name)));
    let (width, height, extension) = match sample.expected {
        Expected::Thumbnail(width, height, extension) => (width, height, extension),
        Expected::Failure(code) => {
            let found = task.failure.as_ref().map(|failure| failure.code.as_str());
            return if found == Some(code) { Ok(None) } else { complain(format!("{found:?} instead of {code}")) };
        }
    };
    let Some(bytes) = task.image() else {
        let why = task.failure.as_ref().map_or("", |failure| &failure.message);
        return complain(format!("{}, without a picture: {why}", task.state));
    };
    let path = thumbnail_path(folder, sample.name, extension);
    std::fs::write(&path, &bytes).map_err(LocalError::file(&path))?;
    let picture = match image::load_from_memory(&bytes) {
        Ok(picture) => picture,
        Err(error) => return complain(format!("the thumbnail does not open: {error}")),
    };
    let format = image::guess_format(&bytes).ok();
    if (picture.width(), picture.height()) != (width, height) {
        return complain(format!("{} x {} instead of {width} x {height}", picture.width(), picture.height()));
    }
    if format != ImageFormat::from_extension(extension) {
        return complain(format!("{format:?} instead of {extension}"));
    }
    Ok(None)
}
