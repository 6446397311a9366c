//! Where things lie: the workspace, its programs, and free ports.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// The root of the checkout.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

/// A program of the workspace, in the profile that the tests were built in.
///
/// # Panics
/// When it was not built: `cargo test` alone builds only the programs of the crate under test.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    built(name).unwrap_or_else(|| {
        panic!("{name} is not built; `make test` builds all programs first (or: cargo build --workspace --bins)")
    })
}

/// The same, if it is there.
#[must_use]
pub(crate) fn built(name: &str) -> Option<PathBuf> {
    // target/<profile>/deps/<test>: two levels up are the profile's programs.
    let test = std::env::current_exe().expect("a test knows its own file");
    let path = test.ancestors().nth(2).expect("tests lie in target/<profile>/deps").join(name);
    path.is_file().then_some(path)
}

/// A program that `make tools` or its like has put into `.tools/bin`, if it is there.
#[must_use]
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = workspace().join(".tools/bin").join(name);
    path.is_file().then_some(path)
}

/// A port of the loopback interface that nobody uses now. For programs that cannot say which port 0 became.
#[must_use]
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback interface has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
