//! x
use std::path::Path;
/// Queues as an operator writes them down.
#[derive(Debug, Clone)]
pub struct QueuesFile {}
impl QueuesFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Every mistake in it, together.
    pub fn read(path: &Path) -> Result<Self, QueuesFileError> { todo!() }
}
/// Every mistake in a queues file.
#[derive(Debug, thiserror::Error)]
#[error("{}", .mistakes.join("\n"))]
pub struct QueuesFileError { pub mistakes: Vec<String> }
