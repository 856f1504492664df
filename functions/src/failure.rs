//! Why an event was not handled, and whether it is worth another try at once.

use crate::saga::SagaError;
use axum::http::StatusCode;
use domain::orders::RefundRefused;
use platform::bus::BusError;
use platform::config::Missing;
use platform::http::Problem;
use platform::payments::GatewayError;
use platform::store::StoreError;
use std::time::Duration;

/// Why an event was not handled; it will be delivered again.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct Error {
    cause: String,
    /// The fault may pass by itself: worth another try, though not before this.
    pub passes: Option<Duration>,
}

impl Error {
    /// A fault that stays until somebody repairs something.
    pub fn new(cause: impl ToString) -> Self {
        Self { cause: cause.to_string(), passes: None }
    }

    /// A fault that may have passed after this.
    pub fn passing(cause: impl ToString, after: Duration) -> Self {
        Self { cause: cause.to_string(), passes: Some(after) }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Throttled(_) | StoreError::Busy(_) | StoreError::Conflict => {
                Self::passing(error, Duration::ZERO)
            }
            StoreError::Missing(_) | StoreError::Failed(_) => Self::new(error),
        }
    }
}

impl From<GatewayError> for Error {
    fn from(error: GatewayError) -> Self {
        match error {
            GatewayError::Unknown(_) => Self::passing(error, Duration::ZERO),
            GatewayError::Resting(rest) => Self::passing(error, rest),
            GatewayError::Refused(_) | GatewayError::Misconfigured(_) => Self::new(error),
        }
    }
}

impl From<SagaError> for Error {
    fn from(error: SagaError) -> Self {
        match error {
            SagaError::Store(error) => error.into(),
            SagaError::Gateway(error) => error.into(),
            SagaError::Refused(_) | SagaError::RefundRefused(_) | SagaError::NoEvent | SagaError::Restless => {
                Self::new(error)
            }
        }
    }
}

/// Of a part that is a request's elsewhere; who asked for too much there comes again here.
impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        let cause = problem.cause().unwrap_or(problem.code);
        match problem.status {
            StatusCode::SERVICE_UNAVAILABLE => Self::passing(cause, Duration::ZERO),
            _ => Self::new(cause),
        }
    }
}

impl From<BusError> for Error {
    fn from(error: BusError) -> Self {
        Self::passing(error, Duration::ZERO)
    }
}

impl From<Missing> for Error {
    fn from(error: Missing) -> Self {
        Self::new(error)
    }
}

impl From<RefundRefused> for Error {
    fn from(error: RefundRefused) -> Self {
        Self::new(error)
    }
}
