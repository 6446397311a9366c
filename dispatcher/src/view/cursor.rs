//! Where a reader of a task's events stands: `<run>.<attempt>.<sequence>`, or `<run>.<attempt>.end`.

use std::fmt;
use std::str::FromStr;

/// A place in a task's life. Later places are greater, so a reader is never taken backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor {
    /// Counts redrives, from 1; 0 before any event.
    pub run: u32,
    /// Counts the attempts of the run.
    pub attempt: u32,
    /// Where in the attempt.
    pub position: Position,
}

/// A place in one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Position {
    /// An event, by its sequence.
    Event(u32),
    /// The task's end. Nothing of the run is later.
    End,
}

impl Default for Position {
    fn default() -> Self {
        Self::Event(0)
    }
}

impl Cursor {
    /// Before any event: scheduled, or queued for the first time.
    pub const START: Self = Self { run: 0, attempt: 0, position: Position::Event(0) };
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Position::Event(sequence) => write!(f, "{}.{}.{sequence}", self.run, self.attempt),
            Position::End => write!(f, "{}.{}.end", self.run, self.attempt),
        }
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut parts = text.split('.');
        let (Some(run), Some(attempt), Some(position), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(CursorError);
        };
        let number = |part: &str| part.parse::<u32>().map_err(|_| CursorError);
        let position = if position == "end" { Position::End } else { Position::Event(number(position)?) };
        Ok(Self { run: number(run)?, attempt: number(attempt)?, position })
    }
}

/// The text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is `<run>.<attempt>.<sequence>` or `<run>.<attempt>.end`, as it was given in an event's id")]
pub struct CursorError;

#[cfg(test)]
mod tests {
    use super::Cursor;

    fn cursor(text: &str) -> Cursor {
        text.parse().expect("a cursor")
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for text in ["0.0.0", "1.2.17", "3.1.end"] {
            assert_eq!(cursor(text).to_string(), text);
        }
        assert_eq!(Cursor::default(), Cursor::START);
        for bad in ["", "1", "1.2", "1.2.x", "1.2.3.4", "-1.0.0", "1.2.End", "99999999999.1.1", "1.2.\u{661}"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }

    #[test]
    fn later_in_life_is_greater() {
        let life = ["0.0.0", "1.1.1", "1.1.2", "1.1.10", "1.2.0", "1.2.1", "1.2.end", "2.1.0", "2.1.end"];
        assert!(life.windows(2).all(|pair| cursor(pair[0]) < cursor(pair[1])));
    }
}
