//! A table that is read key by key: what is wrong with a key, what is missing, what nobody knows.

use std::net::IpAddr;
use std::time::Duration;

use toml::{Table, Value};

use super::Quantity;

/// Largest amount of bytes that is taken: 1 PiB.
const BYTES_MAX: u64 = 1 << 50;
/// Longest name in DNS.
const HOST_BYTES_MAX: usize = 253;

/// A table and, where it has no key, the one with the defaults.
pub(super) struct Section<'t> {
    place: String,
    table: &'t Table,
    defaults: Option<&'t Table>,
    asked: Vec<&'static str>,
    mistakes: Vec<String>,
}

impl<'t> Section<'t> {
    pub(super) fn new(place: &str, table: &'t Table, defaults: Option<&'t Table>) -> Self {
        Self { place: place.to_owned(), table, defaults, asked: Vec::new(), mistakes: Vec::new() }
    }

    /// Reads a key that may be missing.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&'t Value) -> Result<T, String>,
    ) -> Option<T> {
        self.asked.push(key);
        let own = self.table.get(key).map(|value| (self.place.as_str(), value));
        let default = || self.defaults.and_then(|table| table.get(key)).map(|value| ("defaults", value));
        let (place, value) = own.or_else(default)?;
        match read(value) {
            Ok(read) => Some(read),
            Err(mistake) => {
                self.mistakes.push(format!("{place}.{key}: {mistake}"));
                None
            }
        }
    }

    /// Reads a key that has to be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&'t Value) -> Result<T, String>,
    ) -> Option<T> {
        let known = |table: &Table| table.contains_key(key);
        if !known(self.table) && !self.defaults.is_some_and(known) {
            self.mistakes.push(format!("{}.{key}: missing", self.place));
        }
        self.optional(key, read)
    }

    /// Notes what only the caller can know.
    pub(super) fn mistake(&mut self, key: &str, mistake: &str) {
        self.mistakes.push(format!("{}.{key}: {mistake}", self.place));
    }

    /// Every mistake, keys that nobody asked for included.
    pub(super) fn finish(mut self) -> Vec<String> {
        let unknown = self.table.keys().filter(|key| !self.asked.contains(&key.as_str()));
        let known = self.asked.join(", ");
        let unknown = unknown.map(|key| format!("{}.{key}: unknown; the keys here are {known}", self.place));
        self.mistakes.extend(unknown.collect::<Vec<_>>());
        self.mistakes
    }
}

/// A table.
pub(super) fn table(value: &Value) -> Result<&Table, String> {
    value.as_table().ok_or_else(|| "not a table".to_owned())
}

/// A text that is not empty.
pub(super) fn text(value: &Value) -> Result<String, String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.map(ToOwned::to_owned).ok_or_else(|| "not a text".to_owned())
}

/// `true` or `false`.
pub(super) fn switch(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "neither true nor false".to_owned())
}

/// A whole number within bounds.
pub(super) fn number(min: u32, max: u32) -> impl Fn(&Value) -> Result<u32, String> {
    move |value| {
        let number = value.as_integer().ok_or_else(|| "not a whole number".to_owned())?;
        let bounded = u32::try_from(number).ok().filter(|number| (min..=max).contains(number));
        bounded.ok_or_else(|| format!("{number} is not from {min} to {max}"))
    }
}

/// Whole seconds, at least one: Kubernetes counts in them.
pub(super) fn seconds(value: &Value) -> Result<u64, String> {
    let wrong = || "not whole seconds; write \"10s\" or \"5m\"".to_owned();
    let duration: Duration = humantime::parse_duration(value.as_str().ok_or_else(wrong)?).map_err(|_| wrong())?;
    if duration.subsec_nanos() == 0 && duration.as_secs() > 0 { Ok(duration.as_secs()) } else { Err(wrong()) }
}

/// An amount of bytes.
pub(super) fn quantity(value: &Value) -> Result<Quantity, String> {
    let wrong = || "not an amount of bytes; write \"512Mi\" or \"10Gi\"".to_owned();
    let text = value.as_str().ok_or_else(wrong)?;
    let split = text.len().saturating_sub(2);
    let (number, unit) = (text.get(..split).ok_or_else(wrong)?, text.get(split..).ok_or_else(wrong)?);
    let shift = match unit {
        "Mi" => 20,
        "Gi" => 30,
        "Ti" => 40,
        _ => return Err(wrong()),
    };
    let number = number.parse::<u32>().map_err(|_| wrong())?;
    let bytes = u64::from(number) << shift;
    if bytes == 0 || bytes > BYTES_MAX {
        return Err(format!("{text} is too small or too large"));
    }
    Ok(Quantity { text: text.to_owned(), bytes })
}

/// Cores: `250m` or `2`.
pub(super) fn cores(value: &Value) -> Result<String, String> {
    let text = value.as_str().unwrap_or_default();
    let number = text.strip_suffix('m').unwrap_or(text).parse::<u32>();
    match number {
        Ok(number) if number > 0 => Ok(text.to_owned()),
        _ => Err("not an amount of cores; write \"250m\" or \"2\"".to_owned()),
    }
}

/// A list of names.
pub(super) fn names(value: &Value) -> Result<Vec<String>, String> {
    let list = value.as_array().ok_or_else(|| "not a list of names".to_owned())?;
    list.iter().map(name).collect()
}

/// Names of a host as DNS has them, without a wildcard.
pub(super) fn hosts(value: &Value) -> Result<Vec<String>, String> {
    let list = value.as_array().ok_or_else(|| "not a list of names".to_owned())?;
    list.iter().map(host).collect()
}

fn host(value: &Value) -> Result<String, String> {
    let text = value.as_str().unwrap_or_default();
    let is_name = text.split('.').all(|label| name(&Value::String(label.to_owned())).is_ok());
    if is_name && text.len() <= HOST_BYTES_MAX && text.parse::<IpAddr>().is_err() {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no name of a host; write \"workfleet.example.com\""))
    }
}

/// A name as Kubernetes takes it for nearly everything: RFC 1123, up to 63 characters.
pub(super) fn name(value: &Value) -> Result<String, String> {
    let text = value.as_str().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = text.bytes().next().is_some_and(plain) && text.bytes().last().is_some_and(plain);
    if ends && text.len() <= 63 && text.bytes().all(|byte| plain(byte) || byte == b'-') {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no name; use a-z, 0-9 and - between them, up to 63 characters"))
    }
}
