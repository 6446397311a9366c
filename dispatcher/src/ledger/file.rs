//! A ledger in a file, a line at a time: its size is nobody's bound.

use std::io::{BufRead, Read as _};

use super::{Entry, LedgerError, Line};

/// Longest line, in bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Reads NDJSON.
#[derive(Debug)]
pub struct LedgerFile<R> {
    name: String,
    reader: R,
    line: u64,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// A task.
    Task(Entry),
    /// A line that names none: `FILE:LINE`.
    Unreadable(String),
    /// The last line has no end: whoever wrote it died over it.
    Torn(String),
}

impl<R: BufRead> LedgerFile<R> {
    /// Reads from `reader`; `name` is for people.
    pub fn new(name: &str, reader: R) -> Self {
        Self { name: name.to_owned(), reader, line: 0 }
    }

    fn next_line(&mut self) -> std::io::Result<Option<Read>> {
        let mut text = Vec::new();
        loop {
            text.clear();
            if (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut text)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if !text.trim_ascii().is_empty() {
                break;
            }
        }
        let place = || format!("{}:{}", self.name, self.line);
        let is_whole = text.ends_with(b"\n");
        if !is_whole && text.len() as u64 == LINE_BYTES_MAX {
            let place = place();
            self.pass_line()?;
            return Ok(Some(Read::Unreadable(place)));
        }
        Ok(Some(match Line::entry(&text) {
            Some(entry) => Read::Task(entry),
            None if is_whole => Read::Unreadable(place()),
            None => Read::Torn(place()),
        }))
    }

    /// Passes the rest of a line that is too long.
    fn pass_line(&mut self) -> std::io::Result<()> {
        let mut rest = Vec::new();
        loop {
            rest.clear();
            let read = (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut rest)?;
            if read == 0 || rest.ends_with(b"\n") {
                return Ok(());
            }
        }
    }
}

impl<R: BufRead> Iterator for LedgerFile<R> {
    type Item = Result<Read, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().map_err(|error| LedgerError::File { file: self.name.clone(), error }).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES_MAX, LedgerFile, Read};

    const ID: &str = "mail_01h455vb4pex5vsknk084sn02q";

    fn read(text: &str) -> Vec<String> {
        let reads = LedgerFile::new("f", text.as_bytes()).map(|read| match read.expect("it reads") {
            Read::Task(entry) => entry.id.to_string(),
            Read::Unreadable(place) => format!("unreadable {place}"),
            Read::Torn(place) => format!("torn {place}"),
        });
        reads.collect()
    }

    #[test]
    fn what_is_no_task_is_named_by_its_line_and_hides_no_other() {
        let long = "x".repeat(usize::try_from(3 * LINE_BYTES_MAX).expect("small"));
        let text = format!("{ID}\n\nnonsense\n{long}\n{ID}\n{{\"id\":\"mai");
        assert_eq!(read(&text), [ID, "unreadable f:3", "unreadable f:4", ID, "torn f:6"]);
        assert_eq!(read(ID), [ID], "an end of the line may be missing");
        assert_eq!(read(""), Vec::<String>::new());
    }
}
