//! What a dispatcher says about itself at its admin address.
//!
//! It lives for as long as it answers: a restart would bring no lost broker back, and no slow one nearer.

use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use workfleet_link::admin::HealthCheck;
use workfleet_link::broker::Broker;

/// How far the process is.
#[derive(Debug)]
pub(crate) struct Health {
    state: Mutex<State>,
    stopping: CancellationToken,
}

#[derive(Debug)]
enum State {
    /// Not yet, for this reason.
    Waiting(String),
    /// The ports are open.
    Serving(Box<Broker>),
}

impl Health {
    pub(crate) fn new(stopping: CancellationToken) -> Self {
        let state = Mutex::new(State::Waiting("no connection to the broker yet".to_owned()));
        Self { state, stopping }
    }

    pub(crate) fn waiting(&self, reason: String) {
        self.set(State::Waiting(reason));
    }

    pub(crate) fn serving(&self, broker: Broker) {
        self.set(State::Serving(Box::new(broker)));
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl HealthCheck for Health {
    fn live(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        if self.stopping.is_cancelled() {
            return Err("stopping".to_owned());
        }
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Waiting(reason) => Err(reason.clone()),
            State::Serving(broker) if broker.is_connected() => Ok(()),
            State::Serving(_) => Err("the broker cannot be reached".to_owned()),
        }
    }
}
