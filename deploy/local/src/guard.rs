//! Why nothing stays behind.
//!
//! A supervisor that is killed by SIGKILL cannot stop its children. So each child is started as this very program, which
//! asks the kernel to be killed when its parent dies and then *becomes* (exec) the child: the process id stays, and the
//! wish survives the exec. A pipe that children would have to watch needs help from every program, and a reaper process
//! can be killed too.
//!
//! The kernel watches the thread that started the child, see `block_on`. A parent that died before the wish was made is
//! noticed by looking at who the parent is now.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::cli::GuardArgs;

/// Does not return, unless it fails.
pub(crate) fn become_program(args: &GuardArgs) -> io::Error {
    if let Err(error) = die_with_parent(args.parent) {
        return error;
    }
    match args.program.split_first() {
        Some((program, words)) => Command::new(program).args(words).exec(),
        None => io::Error::new(io::ErrorKind::InvalidInput, "no program is named"),
    }
}

fn die_with_parent(parent: u32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    if std::os::unix::process::parent_id() == parent { Ok(()) } else { Err(io::Error::other("the supervisor is gone")) }
}
