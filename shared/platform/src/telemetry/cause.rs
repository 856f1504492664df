//! What the log is told of a call to AWS that failed.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;

/// Causes of causes that are told.
const CAUSES_MAX: usize = 8;

/// Why a call failed: the service's code and what it says, or how the call came to nothing. Never the request or the
/// answer, which the SDK's own `Debug` shows whole: an answer may be a secret's value.
pub fn cause<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    if let Some(code) = error.code() {
        return format!("{code}: {}", error.message().unwrap_or_default());
    }
    match error {
        SdkError::TimeoutError(_) => "no answer in time".to_owned(),
        SdkError::DispatchFailure(failure) => {
            failure.as_connector_error().map_or("no call was made".to_owned(), |error| told(error))
        }
        SdkError::ConstructionFailure(_) => "the request could not be built".to_owned(),
        _ => "the answer could not be read".to_owned(),
    }
}

/// An error and what it comes from.
fn told(error: &dyn Error) -> String {
    let (mut text, mut source) = (error.to_string(), error.source());
    for _ in 0..CAUSES_MAX {
        let Some(cause) = source else { break };
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
