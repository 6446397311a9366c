//! Where a page ended: what a reader hands back to get the next one.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::stage::Stage;

/// A place in a list. It means something to us alone; readers are not to take it apart, so it is not written to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) stage: Stage,
    /// Forwards the next sequence to read, backwards the last one that was read; 0: at the stage's beginning.
    pub(crate) sequence: u64,
    /// Forwards the sequence behind the list's last, so that a list ends however fast tasks come in; backwards how many
    /// sequences the last read went over, so that a page begins with what has proved right.
    pub(crate) extent: u64,
}

impl Place {
    /// Where a stage begins, which is seen when it is read.
    pub(crate) fn before(stage: Stage) -> Self {
        Self { stage, sequence: 0, extent: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{}.{}", self.stage.letter(), self.sequence, self.extent);
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(text))
    }
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| NoPlace)?;
        let plain = String::from_utf8(bytes).map_err(|_| NoPlace)?;
        let parts: Vec<&str> = plain.split('.').collect();
        let [stage, sequence, extent] = parts[..] else { return Err(NoPlace) };
        let place = Self {
            stage: Stage::from_letter(stage).ok_or(NoPlace)?,
            sequence: sequence.parse().map_err(|_| NoPlace)?,
            extent: extent.parse().map_err(|_| NoPlace)?,
        };
        // One spelling each: `+1` and `01` are numbers to a parser, and were never given to anybody.
        if place.to_string() == text { Ok(place) } else { Err(NoPlace) }
    }
}

/// The text was never given as a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor; take `next` of the page before as it is, or leave it out to begin")]
pub(crate) struct NoPlace;

#[cfg(test)]
mod tests {
    use super::{Place, Stage};
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_in_no_other_spelling() {
        for stage in [Stage::Queue, Stage::Due, Stage::Delay, Stage::Ended, Stage::Dead] {
            let place = Place { stage, sequence: 17, extent: u64::MAX };
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        let encoded = |plain: &str| BASE64_URL_SAFE_NO_PAD.encode(plain);
        assert!(encoded("q.1.2").parse::<Place>().is_ok());
        for bad in ["q.1", "q.1.2.3", "z.1.2", "q.+1.2", "q.01.2", "q.-1.2", "q.1.99999999999999999999", "", "qq.1.2"] {
            assert!(encoded(bad).parse::<Place>().is_err(), "{bad}");
        }
        for bad in ["", "q.1.2", "???", "cS4xLjI=", "\u{661}", &"A".repeat(10_000)] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
