//! HTTP to everybody who is not AWS. The one place where such a call leaves the process.

mod breaker;

pub use breaker::Breaker;

use axum::http::{Request, Response, Uri};
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

/// Bytes of an answer; what is longer is read no further. A page of a hundred of the payment provider's objects has some 300 KB.
const ANSWER_BYTES_MAX: usize = 8 * 1_024 * 1_024;

/// There is no answer: whatever was asked may or may not have been done.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no answer: {0}")]
pub struct NoAnswer(pub String);

/// Among a request's extensions: that too much is asked (429) is said of whom this request is for, and not of the host,
/// which goes on with all others.
#[derive(Clone, Copy, Debug)]
pub struct PerTarget;

pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, NoAnswer>> + Send + 'a>>;

/// Carries a request out and its answer back.
pub trait Transport: Send + Sync {
    /// Waits for an answer, whatever its status, but no longer than `limit`.
    fn send(&self, request: Request<Bytes>, limit: Duration) -> Answer<'_>;

    /// For how long this host is not asked, whoever wants to: `None` if it is asked now.
    fn rest(&self, _: &Uri) -> Option<Duration> {
        None
    }
}

/// The network, without following redirects.
#[derive(Default)]
pub struct Internet {
    /// Built at the first call: it costs milliseconds of a start.
    client: OnceLock<reqwest::Client>,
}

impl Internet {
    fn client(&self) -> &reqwest::Client {
        self.client.get_or_init(|| {
            // An error means that another part of the process has installed one.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
            client.build().expect("the client's settings are valid")
        })
    }
}

impl Transport for Internet {
    fn send(&self, request: Request<Bytes>, limit: Duration) -> Answer<'_> {
        Box::pin(async move {
            let failed = |error: reqwest::Error| NoAnswer(error.without_url().to_string());
            let mut request = reqwest::Request::try_from(request).map_err(failed)?;
            *request.timeout_mut() = Some(limit);
            let mut reply = self.client().execute(request).await.map_err(failed)?;
            let mut answer = Response::new(Bytes::new());
            (*answer.status_mut(), *answer.headers_mut()) = (reply.status(), reply.headers().clone());
            let mut body = Vec::new();
            while let Some(chunk) = reply.chunk().await.map_err(failed)? {
                if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                    return Err(NoAnswer(format!("it is longer than {ANSWER_BYTES_MAX} bytes")));
                }
                body.extend_from_slice(&chunk);
            }
            *answer.body_mut() = body.into();
            Ok(answer)
        })
    }
}
