//! Server-sent events, as `workfleet get --follow` reads them. The reader belongs to the program `workfleet`, which is no
//! library, so its file is compiled here once more.
//!
//! The first byte says how large the pieces are in which the rest arrives.

#[path = "../../../dispatcher/src/commands/sse.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)]
mod sse;

mod fault {
    //! As much of the command line's errors as the reader knows.

    #[derive(Debug)]
    pub(crate) enum Fault {
        Unreachable(#[allow(dead_code)] String),
    }
}

/// Reads one stream twice: in one piece, and in many.
pub fn run(data: &[u8]) {
    let [size, stream @ ..] = data else { return };
    let whole = read(stream, stream.len());
    let pieces = read(stream, usize::from(*size));
    assert_eq!(whole, pieces, "it depends on how the connection cuts the stream");
    let bytes: usize = whole.iter().flatten().map(|event| event.data.len()).sum();
    // What is not UTF-8 is replaced, three bytes for one.
    assert!(bytes <= 3 * stream.len(), "{bytes} bytes of data from {}", stream.len());
    assert!(whole.iter().flatten().all(|event| !event.data.is_empty() && !event.name.contains('\n')));
}

fn read(stream: &[u8], size: usize) -> Option<Vec<sse::Event>> {
    let mut parser = sse::Parser::default();
    let mut events = Vec::new();
    for piece in stream.chunks(size.max(1)) {
        events.extend(parser.feed(piece).ok()?);
    }
    Some(events)
}
