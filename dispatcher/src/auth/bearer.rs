//! The token of a request.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::refusal::Refusal;

/// Longest token, in bytes. JWTs with many claims are the longest that there are.
pub(super) const TOKEN_BYTES_MAX: usize = 8 << 10;
const SCHEME: &str = "bearer";

/// The bearer token (RFC 6750, 2.1). Not from the query or a form, where it would end up in logs.
pub(super) fn token(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::NoToken)?;
    if values.next().is_some() {
        return Err(Refusal::Malformed("it is given twice"));
    }
    if value.len() > SCHEME.len() + 1 + TOKEN_BYTES_MAX {
        return Err(Refusal::Malformed("the token is too long"));
    }
    let text = value.to_str().map_err(|_| Refusal::Malformed("it is not ASCII"))?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(Refusal::Malformed("its scheme is not Bearer"));
    }
    let token = token.trim_matches(' ');
    // b64token.
    let fine = |c: u8| c.is_ascii_alphanumeric() || b"-._~+/=".contains(&c);
    if token.is_empty() || !token.bytes().all(fine) {
        return Err(Refusal::Malformed("there is no token behind Bearer"));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::{TOKEN_BYTES_MAX, token};
    use crate::auth::Refusal;
    use http::{HeaderMap, HeaderValue};

    fn read(values: &[&[u8]]) -> Result<String, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("authorization", HeaderValue::from_bytes(value).expect("a value"));
        }
        token(&headers).map(ToOwned::to_owned)
    }

    #[test]
    fn a_token_comes_behind_bearer() {
        for value in [&b"Bearer wf_abc"[..], b"bearer wf_abc", b"BEARER   wf_abc "] {
            assert_eq!(read(&[value]).as_deref(), Ok("wf_abc"));
        }
        assert_eq!(read(&[b"Bearer a.b-c_d~e+f/g=="]).as_deref(), Ok("a.b-c_d~e+f/g=="));
    }

    #[test]
    fn hostile_headers_are_refused() {
        assert_eq!(read(&[]), Err(Refusal::NoToken));
        let long = [b"Bearer ".as_slice(), &vec![b'a'; TOKEN_BYTES_MAX + 1]].concat();
        let values = [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Bearer  ",
            b"Basic dXNlcjpwYXNz",
            b"wf_abc",
            b"Bearerwf_abc",
            b"Bearer a b",
            b"Bearer a,b",
            b"Bearer \"a\"",
            b"Bearer \xff\xfe",
            b"Bearer a\tb",
            &long,
        ];
        for value in values {
            assert!(matches!(read(&[value]), Err(Refusal::Malformed(_))), "{value:?}");
        }
        assert_eq!(read(&[b"Bearer a", b"Bearer a"]), Err(Refusal::Malformed("it is given twice")));
        assert!(read(&[&long[..long.len() - 1]]).is_ok(), "the longest");
    }
}
