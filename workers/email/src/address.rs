//! Addresses that strangers wrote: `ada@example.org`, or `Ada Lovelace <ada@example.org>`.
//!
//! RFC 5322 allows far more: comments, quoted local parts with any character in them, groups, several addresses in one
//! line. None of it is needed to reach anybody, and each has been used to make two programs see two different
//! addresses. What is taken here is read in one way only. A general parser, as the mail library has one, was the
//! alternative.

use lettre::Address;
use lettre::message::Mailbox;

use crate::error::MailError;
use crate::headers::has_encoded_word;

/// Longest address with its name, in bytes.
const MAILBOX_BYTES_MAX: usize = 512;
/// Longest part before the @, and longest domain, by RFC 5321.
const LOCAL_BYTES_MAX: usize = 64;
const DOMAIN_BYTES_MAX: usize = 253;
/// Longest part of a domain between dots.
const LABEL_BYTES_MAX: usize = 63;

/// Reads the address that stands in `field`.
pub(crate) fn mailbox(field: impl Into<String>, text: &str) -> Result<Mailbox, MailError> {
    read(text).map_err(|reason| MailError::InvalidAddress { field: field.into(), reason })
}

fn read(text: &str) -> Result<Mailbox, &'static str> {
    if text.len() > MAILBOX_BYTES_MAX {
        return Err("more than 512 bytes");
    }
    if text.chars().any(char::is_control) {
        return Err("a line break or another control character");
    }
    let text = text.trim();
    let Some(inner) = text.strip_suffix('>') else {
        return Ok(Mailbox::new(None, address(text)?));
    };
    let (name, address_text) = inner.rsplit_once('<').ok_or("a > without a <")?;
    let name = display_name(name.trim())?;
    if has_encoded_word(&name) {
        return Err("an encoded word in the name: write the name itself");
    }
    Ok(Mailbox::new((!name.is_empty()).then_some(name), address(address_text)?))
}

/// The name before an address, with its quotes taken off.
fn display_name(text: &str) -> Result<String, &'static str> {
    let Some(quoted) = text.strip_prefix('"') else {
        // An @ is allowed in quotes alone, so that nobody takes the name for the address by mistake.
        let harmless = !text.contains(['"', '<', '>', '@', '\\']);
        return if harmless { Ok(text.to_owned()) } else { Err("a name with one of \" < > @ \\ outside quotes") };
    };
    let mut name = String::new();
    let mut rest = quoted.chars();
    loop {
        match rest.next().ok_or("a quote that does not end")? {
            '"' => break,
            '\\' => name.push(rest.next().ok_or("a quote that does not end")?),
            other => name.push(other),
        }
    }
    if rest.as_str().is_empty() { Ok(name) } else { Err("something between the name and the <") }
}

fn address(text: &str) -> Result<Address, &'static str> {
    let (local, domain) = text.rsplit_once('@').ok_or("no @")?;
    if !text.is_ascii() {
        return Err("not ASCII: write the domain in its xn-- form");
    }
    if !is_local(local) {
        return Err("the part before the @ is none");
    }
    if !is_domain(domain) {
        return Err("the domain is none");
    }
    Address::new(local, domain).map_err(|_| "it is no address")
}

fn is_local(local: &str) -> bool {
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    local.len() <= LOCAL_BYTES_MAX && local.split('.').all(is_atom)
}

/// Whether this is the name of a domain. An address of a machine in brackets is none.
pub(crate) fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.len() <= DOMAIN_BYTES_MAX && domain.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn an_address_with_or_without_a_name_is_read() {
        for (text, name, address) in [
            ("ada@example.org", None, "ada@example.org"),
            (" <ada+lists@mail.example.org> ", None, "ada+lists@mail.example.org"),
            ("Ada Lovelace <ada@example.org>", Some("Ada Lovelace"), "ada@example.org"),
            ("Lovelace, Ada <ada@example.org>", Some("Lovelace, Ada"), "ada@example.org"),
            (r#""Ada \"A.\" <x@y>" <ada@example.org>"#, Some(r#"Ada "A." <x@y>"#), "ada@example.org"),
            ("Ädä 💌 <o'hara@localhost>", Some("Ädä 💌"), "o'hara@localhost"),
        ] {
            let mailbox = read(text).unwrap_or_else(|reason| panic!("{text}: {reason}"));
            assert_eq!((mailbox.name.as_deref(), mailbox.email.as_ref()), (name, address), "{text}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_address() {
        let long_local = format!("{}@example.org", "a".repeat(65));
        let long_name = format!("{} <ada@example.org>", "a".repeat(512));
        for text in [
            "",
            "ada",
            "@example.org",
            "ada@",
            "ada@@example.org",
            "ada@example.org, bob@example.org",
            "ada@example.org\r\nBcc: eve@example.org",
            "Ada\r\nBcc: eve@example.org <ada@example.org>",
            "Ada\0 <ada@example.org>",
            "ada@example.org>\nRCPT TO:<eve@example.org",
            "<ada@example.org> <eve@example.org>",
            "eve@example.org <ada@example.org>",
            "\"Ada <ada@example.org>",
            "\"Ada\" x <ada@example.org>",
            "\"a b\"@example.org",
            "ada@example.org (a comment)",
            "ada@[127.0.0.1]",
            "ada@exa mple.org",
            "ada@-example.org",
            "ada@example..org",
            ".ada@example.org",
            "=?utf-8?q?eve=40example.org?= <ada@example.org>",
            "\"=?utf-8?q?eve=40example.org?=\" <ada@example.org>",
            "ädä@example.org",
            "ada@bücher.example",
            "ada@example.org\u{85}",
            &long_local,
            &long_name,
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
