//! What a build script calls.
#![allow(clippy::print_stdout, reason = "a build script speaks to cargo on its standard output")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use prost_build::{Config, Service, ServiceGenerator};

use crate::kind::{CodegenError, kind_name, read_kind};

/// Generates Rust for the kinds in `paths` into `$OUT_DIR`, with an index `kinds.rs` that has a module for each file,
/// named like the file:
///
/// ```text
/// // build.rs
/// fn main() -> Result<(), workfleet_codegen::CodegenError> {
///     workfleet_codegen::generate_kinds(&["proto/wordcount.proto"])
/// }
/// // src/main.rs
/// include!(concat!(env!("OUT_DIR"), "/kinds.rs"));      // gives `wordcount::WordCountRequest` and so on
/// ```
///
/// # Errors
/// When a file is not a kind, see [`read_kind`], or the output cannot be written.
///
/// # Panics
/// Outside a build script, where `OUT_DIR` is not set.
pub fn generate_kinds<P: AsRef<Path>>(paths: &[P]) -> Result<(), CodegenError> {
    generate_kinds_in("", paths)
}

/// The same in a folder of `$OUT_DIR`: for two versions of one kind in one crate, as tests of rolling deploys have them.
///
/// # Errors
/// As [`generate_kinds`].
///
/// # Panics
/// As [`generate_kinds`].
pub fn generate_kinds_in<P: AsRef<Path>>(folder: &str, paths: &[P]) -> Result<(), CodegenError> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts")).join(folder);
    std::fs::create_dir_all(&out).map_err(|source| CodegenError::Write { path: out.clone(), source })?;
    let mut index = String::new();
    for path in paths {
        let path = path.as_ref();
        println!("cargo:rerun-if-changed={}", path.display());
        let kind = read_kind(path)?;
        let module = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let set = out.join(format!("{module}.descriptors"));
        write(&set, &kind.descriptor_set())?;
        Config::new()
            .out_dir(&out)
            .bytes(["."])
            .service_generator(Box::new(TaskGenerator { set }))
            .compile_fds(kind.files)
            .map_err(|source| CodegenError::Write { path: path.to_owned(), source })?;
        let _ = write!(
            index,
            "/// The kind in `{module}.proto`.\n#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, unused_qualifications)]\n\
             pub mod {module} {{ include!(concat!(env!(\"OUT_DIR\"), \"/{folder}/{}.rs\")); }}\n",
            kind.package
        );
    }
    write(&out.join("kinds.rs"), index.as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CodegenError> {
    std::fs::write(path, bytes).map_err(|source| CodegenError::Write { path: path.to_owned(), source })
}

/// Writes the `Task` implementation of a kind's input message.
struct TaskGenerator {
    set: PathBuf,
}

impl ServiceGenerator for TaskGenerator {
    fn generate(&mut self, service: Service, buffer: &mut String) {
        for method in &service.methods {
            let _ = write!(
                buffer,
                "impl ::workfleet_proto::Task for {input} {{\n    \
                     const KIND: &'static str = {kind:?};\n    \
                     const SERVICE: &'static str = \"{package}.{service}\";\n    \
                     const DESCRIPTORS: &'static [u8] = include_bytes!({set:?});\n    \
                     type Output = {output};\n}}\n",
                input = method.input_type,
                output = method.output_type,
                kind = kind_name(&service.proto_name),
                package = service.package,
                service = service.proto_name,
                set = self.set.display().to_string(),
            );
        }
    }
}
