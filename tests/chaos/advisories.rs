//! What the servers tell of streams and consumers while a row runs: which message one of them gave up, and who led what. It
//! is read by people, when a row has lost something.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use async_nats::Client;
use futures::StreamExt as _;

const SUBJECTS: &str = "$JS.EVENT.ADVISORY.>";

/// Writes them down as they come, a line each, until the connection ends.
pub(crate) async fn write_down(client: Client, file: &Path) {
    let mut heard = client.subscribe(SUBJECTS).await.expect("connected");
    let mut lines = File::create(file).expect("the row's folder takes files");
    tokio::spawn(async move {
        while let Some(told) = heard.next().await {
            // A row whose folder is full is about something else.
            let _ = writeln!(
                lines,
                "{{\"subject\":\"{}\",\"told\":{}}}",
                told.subject,
                String::from_utf8_lossy(&told.payload)
            );
        }
    });
}
