//! A ledger, as `workfleet audit` reads it: lines that somebody else's program wrote, and may have died over.

use workfleet_dispatcher::ledger::{LedgerFile, Read};

/// Reads one file.
pub fn run(data: &[u8]) {
    let lines = data.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
    let reads: Vec<Read> = LedgerFile::new("ledger", data).map(|read| read.expect("memory can be read")).collect();
    // Every line is one answer: what cannot be read hides no other.
    assert_eq!(reads.len(), lines);
    let torn = reads.iter().position(|read| matches!(read, Read::Torn(_)));
    assert!(torn.is_none_or(|at| at + 1 == lines), "only the last line can be torn");
    for read in &reads {
        match read {
            Read::Task(entry) => assert_eq!(entry.id.to_string().parse().as_ref(), Ok(&entry.id)),
            Read::Unreadable(place) | Read::Torn(place) => assert!(place.starts_with("ledger:")),
        }
    }
}
