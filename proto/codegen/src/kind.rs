//! One `.proto` file with one service: a kind.

use std::path::{Path, PathBuf};

use prost::Message;
use prost_types::FileDescriptorSet;

/// A kind as its file describes it.
#[derive(Debug, Clone)]
pub struct KindFile {
    /// The kind's name, for example `word-count`.
    pub kind: String,
    /// Full name of the service, for example `acme.kinds.wordcount.v1.WordCount`.
    pub service: String,
    /// Full name of the input message.
    pub input: String,
    /// Full name of the output message.
    pub output: String,
    /// The package of the file.
    pub package: String,
    /// The file and all that it imports, imports first.
    pub files: FileDescriptorSet,
}

impl KindFile {
    /// The descriptor set as bytes; their hash is the schema's name.
    #[must_use]
    pub fn descriptor_set(&self) -> Vec<u8> {
        self.files.encode_to_vec()
    }
}

/// Why a file is not a kind.
#[derive(Debug, thiserror::Error)]
pub enum CodegenError {
    /// The file does not compile, or cannot be read.
    #[error("{path}: {source}")]
    Compile {
        /// The file at fault.
        path: PathBuf,
        /// What the compiler says, with line and column.
        source: protox::Error,
    },
    /// The file compiles, but does not describe a kind.
    #[error("{path}: {reason}")]
    NotAKind {
        /// The file at fault.
        path: PathBuf,
        /// What to change.
        reason: String,
    },
    /// The generated code could not be written.
    #[error("{path}: {source}")]
    Write {
        /// The file that could not be written.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Reads the kind in `path`. Imports are looked for in the same folder; well-known types are always there.
///
/// # Errors
/// When the file cannot be read, does not compile, or has not exactly one service with one unary method `Run`.
pub fn read_kind(path: &Path) -> Result<KindFile, CodegenError> {
    let not_a_kind = |reason: &str| CodegenError::NotAKind { path: path.to_owned(), reason: reason.to_owned() };
    let folder = path.parent().ok_or_else(|| not_a_kind("the path has no folder"))?;
    let name = path.file_name().ok_or_else(|| not_a_kind("the path names no file"))?;
    // The file's name inside the set must not depend on where the checkout lies, or the hash would.
    let files =
        protox::compile([name], [folder]).map_err(|source| CodegenError::Compile { path: path.to_owned(), source })?;
    let file = files.file.last().ok_or_else(|| not_a_kind("the compiler gave no file"))?;
    let [service] = file.service.as_slice() else {
        return Err(not_a_kind("a kind's file has exactly one service"));
    };
    let [method] = service.method.as_slice() else {
        return Err(not_a_kind("a kind's service has exactly one method, `Run`"));
    };
    if method.name() != "Run" || method.client_streaming() || method.server_streaming() {
        return Err(not_a_kind("the service's method must be `rpc Run(Input) returns (Output)`, without streams"));
    }
    let full = |name: &str| name.trim_start_matches('.').to_owned();
    Ok(KindFile {
        kind: kind_name(service.name()),
        service: format!("{}.{}", file.package(), service.name()),
        input: full(method.input_type()),
        output: full(method.output_type()),
        package: file.package().to_owned(),
        files: files.clone(),
    })
}

/// The kind's name for a service's name: `WordCount` gives `word-count`.
#[must_use]
pub fn kind_name(service: &str) -> String {
    let mut name = String::with_capacity(service.len() + 4);
    for (at, character) in service.chars().enumerate() {
        if character.is_ascii_uppercase() && at > 0 {
            name.push('-');
        }
        name.extend(character.to_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::kind_name;

    #[test]
    fn a_service_name_becomes_a_kind_name_in_kebab_case() {
        assert_eq!(kind_name("Thumbnail"), "thumbnail");
        assert_eq!(kind_name("WordCount"), "word-count");
    }
}
