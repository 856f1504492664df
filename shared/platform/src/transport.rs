//! HTTP to everybody who is not AWS. The one place where such a call leaves the process.

mod breaker;

pub use breaker::Breaker;

use axum::http::{Request, Response, Uri};
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

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
            let reply = self.client().execute(request).await.map_err(failed)?;
            let mut answer = Response::new(Bytes::new());
            (*answer.status_mut(), *answer.headers_mut()) = (reply.status(), reply.headers().clone());
            *answer.body_mut() = reply.bytes().await.map_err(failed)?;
            Ok(answer)
        })
    }
}
