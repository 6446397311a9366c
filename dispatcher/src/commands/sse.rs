//! Server-sent events, as far as a dispatcher sends them: `id`, `event` and `data`; comments are skipped.

use super::fault::Fault;

/// Largest event that is read: an output of 700 KiB is a third more in base64, and JSON stands around it.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Where to take the stream up again behind this event.
    pub(crate) id: Option<String>,
    /// `state`, `progress` or `error`.
    pub(crate) name: String,
    /// Its body.
    pub(crate) data: String,
}

/// Puts events together from the pieces in which a connection brings them.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    buffer: Vec<u8>,
    event: Event,
}

impl Parser {
    /// The events that are complete with these bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, Fault> {
        self.buffer.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut self.buffer);
        let (mut complete, mut begin) = (Vec::new(), 0);
        while let Some(length) = buffer[begin..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&buffer[begin..begin + length]);
            self.line(line.trim_end_matches('\r'), &mut complete);
            begin += length + 1;
        }
        // Once for all lines: what is behind would be moved for each of a thousand empty ones.
        self.buffer = buffer;
        self.buffer.drain(..begin);
        if self.buffer.len() + self.event.data.len() > EVENT_BYTES_MAX {
            return Err(Fault::Unreachable(format!("an event of more than {EVENT_BYTES_MAX} bytes: not a dispatcher")));
        }
        Ok(complete)
    }

    fn line(&mut self, line: &str, complete: &mut Vec<Event>) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if !event.data.is_empty() {
                complete.push(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // `retry` is for browsers, and an empty name is a comment.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Parser};

    const STREAM: &str =
        ": hello\n\nevent: state\r\nid: 1.1.2\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\ndata:x\n\n:\n\nid: 9\n";

    fn expected() -> Vec<Event> {
        vec![
            Event { id: Some("1.1.2".to_owned()), name: "state".to_owned(), data: "{\"a\":\n1}".to_owned() },
            Event { data: "x".to_owned(), ..Event::default() },
        ]
    }

    #[test]
    fn events_come_out_the_same_however_the_bytes_are_cut() {
        for size in [1, 2, 7, STREAM.len()] {
            let mut parser = Parser::default();
            let events: Vec<Event> =
                STREAM.as_bytes().chunks(size).flat_map(|piece| parser.feed(piece).expect("small")).collect();
            assert_eq!(events, expected(), "pieces of {size}");
        }
    }

    #[test]
    fn a_stream_without_an_end_is_not_kept_in_memory() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1 << 20];
        assert!((0..8).any(|_| parser.feed(&piece).is_err()));
    }
}
