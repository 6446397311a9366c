//! `scale`: change a fleet that is up.

use crate::cli::ScaleArgs;
use crate::control;
use crate::error::LocalError;
use crate::terminal::Terminal;

/// Runs the command; returns when all that was asked for is so.
pub(crate) async fn scale(args: ScaleArgs, terminal: Terminal) -> Result<(), LocalError> {
    for replicas in &args.replicas {
        terminal.say(&control::ask(&args.data, replicas).await?);
    }
    Ok(())
}
