//! The URL of a receiver.
//!
//! It is read once, by the parser that browsers agree on, and what is connected to is what that parser has made of it:
//! `http://2130706433`, `http://0x7f.1` and `http://127.1` are all 127.0.0.1 from here on. Two readers that differ are how
//! checks of addresses are got around.

use http::Uri;
use url::{Host, Url};

use crate::error::DeliveryError;

/// Longest URL.
const URL_BYTES_MAX: usize = 2_048;

/// Where a delivery goes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) uri: Uri,
    /// For the trace.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The URL without its query, which may be secret, for the trace.
    pub(crate) shown: String,
}

impl Target {
    pub(crate) fn read(text: &str) -> Result<Self, DeliveryError> {
        let wrong = |what: &str| DeliveryError::InvalidUrl(what.to_owned());
        if text.is_empty() {
            return Err(wrong("is missing"));
        }
        if text.len() > URL_BYTES_MAX {
            return Err(DeliveryError::InvalidUrl(format!("has more than {URL_BYTES_MAX} bytes")));
        }
        // The parser would drop them without a word.
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(wrong("has spaces or control characters in it"));
        }
        let url = Url::parse(text).map_err(|error| DeliveryError::InvalidUrl(format!("cannot be read: {error}")))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(wrong("does not begin with https:// or http://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("has a user or a password in it"));
        }
        if url.fragment().is_some() {
            return Err(wrong("has a fragment"));
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(wrong("has no host")),
        };
        let Some(port) = url.port_or_known_default().filter(|port| *port != 0) else {
            return Err(wrong("has no port"));
        };
        let uri =
            url.as_str().parse().map_err(|error| DeliveryError::InvalidUrl(format!("cannot be read: {error}")))?;
        let mut shown = url;
        shown.set_query(None);
        Ok(Self { uri, host, port, shown: shown.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::{Target, URL_BYTES_MAX};

    #[test]
    fn what_is_no_receivers_url_is_refused() {
        let long = format!("https://a.example/{}", "x".repeat(URL_BYTES_MAX));
        let wrong = [
            "",
            "a.example",
            "//a.example",
            "ftp://a.example",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https://",
            "https://user@a.example",
            "https://:pw@a.example",
            "https://a.example/#there",
            "https://a.example/#",
            "https://a.example:0/",
            "https://a.example:99999/",
            "https://a b.example/",
            "https://a.example/\nx",
            " https://a.example",
            "https://a.example/\u{7f}",
            "https://[::1",
            "http://256.256.256.256/",
            "https://%00/",
            &long,
        ];
        for url in wrong {
            assert_eq!(Target::read(url).map(|_| ()).unwrap_err().code(), "invalid_url", "{url}");
        }
    }

    #[test]
    fn odd_spellings_of_addresses_are_read_as_what_they_are() {
        let spellings =
            ["http://2130706433/", "http://0x7f.1/", "http://127.1/", "http://0177.0.0.1/", "http://127.0.0.1./"];
        for url in spellings {
            let target = Target::read(url).unwrap();
            assert_eq!((target.host.as_str(), target.uri.host()), ("127.0.0.1", Some("127.0.0.1")), "{url}");
        }
        assert_eq!(Target::read("http://[::ffff:127.0.0.1]/").unwrap().host, "::ffff:127.0.0.1");
        assert_eq!(Target::read("http://①②⑦.0.0.1/").unwrap().host, "127.0.0.1");
    }

    #[test]
    fn the_query_is_sent_and_not_shown() {
        let target = Target::read("https://A.example/in/box?token=s3cret").unwrap();
        assert_eq!(target.uri.to_string(), "https://a.example/in/box?token=s3cret");
        assert_eq!((target.shown.as_str(), target.port), ("https://a.example/in/box", 443));
    }
}
