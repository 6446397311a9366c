//! Reads variables: all at once, typed, and every mistake reported together.
//!
//! A process with three wrong variables that is started three times to hear of them one by one is a bad morning in a
//! cluster, where each start takes a minute. `clap` and the usual configuration crates stop at the first mistake.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::tls::PairFiles;

/// Variables by name, and the mistakes found in them so far.
#[derive(Debug, Default)]
pub struct Vars {
    values: HashMap<String, String>,
    mistakes: Vec<String>,
}

impl Vars {
    /// The variables of this process. Values that are not Unicode are left out; what needs them says that they are
    /// missing.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_pairs(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// Given variables, for tests and for flags that stand above variables.
    pub fn from_pairs<I, K, V>(pairs: I) -> Self
    where
        I: IntoIterator<Item = (K, V)>,
        K: Into<String>,
        V: Into<String>,
    {
        let values = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { values, mistakes: Vec::new() }
    }

    /// Sets a variable, as a flag does.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.values.insert(name.to_owned(), value.into());
    }

    /// A text, or nothing where it is absent or empty.
    #[must_use]
    pub fn optional_text(&mut self, name: &str) -> Option<String> {
        self.values.get(name).filter(|value| !value.is_empty()).cloned()
    }

    /// A text.
    #[must_use]
    pub fn text(&mut self, name: &str, default: &str) -> String {
        self.optional_text(name).unwrap_or_else(|| default.to_owned())
    }

    /// Anything that can be read from text.
    #[must_use]
    pub fn parsed<T>(&mut self, name: &str, default: T) -> T
    where
        T: FromStr,
        T::Err: Display,
    {
        self.optional_parsed(name).unwrap_or(default)
    }

    /// The same, or nothing where it is absent or empty.
    #[must_use]
    pub fn optional_parsed<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.optional_text(name)?;
        text.parse().map_err(|error| self.mistakes.push(format!("{name}={text:?}: {error}"))).ok()
    }

    /// A whole number within bounds, both included.
    #[must_use]
    pub fn number(&mut self, name: &str, default: u64, min: u64, max: u64) -> u64 {
        let number = self.parsed(name, default);
        if (min..=max).contains(&number) {
            return number;
        }
        self.mistakes.push(format!("{name}={number}: must be from {min} to {max}"));
        default
    }

    /// A time with its unit: `1500ms`, `10s`, `5m`.
    #[must_use]
    pub fn duration(&mut self, name: &str, default: Duration) -> Duration {
        let Some(text) = self.optional_text(name) else { return default };
        humantime::parse_duration(&text).unwrap_or_else(|error| {
            self.mistakes.push(format!("{name}={text:?}: {error} (write 1500ms, 10s or 5m)"));
            default
        })
    }

    /// `true` or `false`.
    #[must_use]
    pub fn switch(&mut self, name: &str, default: bool) -> bool {
        self.parsed(name, default)
    }

    /// What a file holds whose path the variable gives; `None` where it is not set, or no good. The error is told with
    /// the file's name, and must not repeat what the file holds.
    #[must_use]
    pub fn file<T, E: Display>(&mut self, name: &str, read: impl FnOnce(&Path) -> Result<T, E>) -> Option<T> {
        let path = PathBuf::from(self.optional_text(name)?);
        read(&path).map_err(|error| self.mistakes.push(format!("{name}={}: {error}", path.display()))).ok()
    }

    /// A certificate and its key, which are set both or neither and fit together.
    #[must_use]
    pub fn pair(&mut self, certificate: &str, key: &str) -> Option<PairFiles> {
        let [certificate_file, key_file] = [certificate, key].map(|name| self.optional_text(name).map(PathBuf::from));
        match (certificate_file, key_file) {
            (Some(certificate_file), Some(key_file)) => {
                let files = PairFiles { certificate: certificate_file, key: key_file };
                match files.read() {
                    Ok(_) => return Some(files),
                    Err(error) => self.mistakes.push(format!("{certificate} and {key}: {error}")),
                }
            }
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => {
                self.mistakes.push(format!("{certificate} and {key}: set both or neither"));
            }
        }
        None
    }

    /// Notes a mistake that only the caller can see.
    pub fn mistake(&mut self, text: impl Into<String>) {
        self.mistakes.push(text.into());
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Every mistake, where there was any.
    pub fn finish<C>(self, config: C) -> Result<C, ConfigError> {
        if self.mistakes.is_empty() { Ok(config) } else { Err(ConfigError { mistakes: self.mistakes }) }
    }
}

/// Every mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {}:\n  {}", count(.mistakes.len()), .mistakes.join("\n  "))]
pub struct ConfigError {
    /// One line each.
    pub mistakes: Vec<String>,
}

fn count(mistakes: usize) -> String {
    if mistakes == 1 { "a mistake".to_owned() } else { format!("{mistakes} mistakes") }
}

#[cfg(test)]
mod tests {
    use super::Vars;
    use std::time::Duration;

    #[test]
    fn every_mistake_is_reported_together() {
        let mut vars = Vars::from_pairs([("SLOTS", "0"), ("DRAIN", "ten"), ("PORT", "x")]);
        let _ = vars.number("SLOTS", 16, 1, 1_000);
        let _ = vars.duration("DRAIN", Duration::from_secs(1));
        let _: u16 = vars.parsed("PORT", 80);
        let error = vars.finish(()).expect_err("three mistakes");
        assert_eq!(error.mistakes.len(), 3);
        let text = error.to_string();
        assert!(["SLOTS", "DRAIN", "PORT", "3 mistakes"].iter().all(|part| text.contains(part)), "{text}");
    }

    #[test]
    fn what_is_absent_or_empty_has_its_default() {
        let mut vars = Vars::from_pairs([("EMPTY", "")]);
        assert_eq!(vars.text("EMPTY", "x"), "x");
        assert_eq!(vars.duration("MISSING", Duration::from_secs(2)), Duration::from_secs(2));
        assert!(vars.finish(()).is_ok());
    }
}
