//! Bodies that are a JSON object of options, and objects within them.
//!
//! Whatever derives `Deserialize` is read from an array too, its members in their order, and one whose members may all be
//! left out is read from `[]`. Of a filter that would mean: everything.

use axum::body::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};

use crate::error::{ApiError, Code};

/// Reads the whole body.
///
/// # Errors
/// When it is not JSON, or JSON of another shape.
pub(super) fn body<'a, T: Deserialize<'a>>(text: &'a Bytes) -> Result<T, ApiError> {
    let unfit = |why: &str| ApiError::invalid_option("body", format!("the body does not fit: {why}"));
    let read = serde_json::from_slice(text).map_err(|error| {
        if error.is_data() {
            unfit(&error.to_string())
        } else {
            ApiError::new(Code::InvalidJson, format!("the body is not JSON: {error}"))
        }
    })?;
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') { Err(unfit("it is an array, and has to be an object")) } else { Ok(read) }
}

/// An object within a body.
#[derive(Debug, Clone, Default)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = serde_json::Map::deserialize(deserializer)?;
        T::deserialize(serde_json::Value::Object(members)).map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Object, body};
    use axum::body::Bytes;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        filter: Option<Object<Filter>>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Filter {
        code: Option<String>,
    }

    fn read(text: &'static str) -> Result<Asked, String> {
        body(&Bytes::from_static(text.as_bytes())).map_err(|error| error.code.name().to_owned())
    }

    #[test]
    fn an_array_is_no_object() {
        let asked = read(r#"{"filter": {"code": "timeout"}}"#).expect("an object");
        assert_eq!(asked.filter.and_then(|Object(filter)| filter.code).as_deref(), Some("timeout"));
        for wrong in ["[]", " [null]", r#"{"filter": []}"#, r#"{"filter": {"kode": "x"}}"#, "7"] {
            assert_eq!(read(wrong).expect_err(wrong), "invalid_option", "{wrong}");
        }
        assert_eq!(read("{").expect_err("half of one"), "invalid_json");
    }
}
