//! Bodies that are a message of `workfleet.v1`, of one task or of many, behind a path that names the same.
//!
//! The caller's permission is for what the path names. So a message may leave that out, and may name nothing else.

use axum::body::Bytes;
use prost::Message;

use crate::error::{ApiError, Code};

/// Reads the body, a message with this name.
///
/// # Errors
/// When it is none.
pub(super) fn read<M: Message + Default>(name: &str, bytes: Bytes) -> Result<M, ApiError> {
    M::decode(bytes)
        .map_err(|error| ApiError::new(Code::InvalidPayload, format!("the body is no workfleet.v1.{name}: {error}")))
}

/// Refuses a message whose `field`, where it says anything, says something else than the path.
///
/// # Errors
/// When it does.
pub(super) fn agrees(field: &str, said: &str, path: &str) -> Result<(), ApiError> {
    if said.is_empty() || said == path {
        return Ok(());
    }
    Err(ApiError::invalid_option(field, "the path names another one"))
}

#[cfg(test)]
mod tests {
    use super::{agrees, read};
    use crate::error::Code;
    use axum::body::Bytes;
    use workfleet_proto::v1::CancelManyRequest;

    #[test]
    fn a_message_names_what_the_path_names_or_nothing() {
        assert!(agrees("queue", "", "mail").is_ok() && agrees("queue", "mail", "mail").is_ok());
        let other = agrees("queue", "post", "mail").expect_err("another queue");
        assert_eq!((other.code, other.field.as_deref()), (Code::InvalidOption, Some("queue")));
    }

    #[test]
    fn a_body_that_is_no_message_is_refused_by_the_name_of_what_it_should_be() {
        let error =
            read::<CancelManyRequest>("CancelManyRequest", Bytes::from_static(b"\xff")).expect_err("no message");
        assert!(error.code == Code::InvalidPayload && error.detail.contains("CancelManyRequest"), "{error}");
    }
}
