//! x
use crate::config::Config;
/// Serves until `shutdown` is done, then finishes what is in flight.
///
/// # Errors
/// When it cannot start.
pub async fn serve(config: Config, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
    todo!()
}
/// Why the dispatcher cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {}
