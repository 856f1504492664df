//! The other ways out of a process: the bus, and HTTP to the payment provider.

use crate::gate::{Call, Gate, Kind, Outcome};
use crate::mutants::Mutant;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use platform::bus::{BusError, BusFuture, InProcessBus, QueueMessage, TopicMessage};
use platform::transport::{Answer, NoAnswer, Transport};
use sandbox::Stripe;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::ServiceExt;

/// Bytes of an answer that are read; the sandbox's are a few hundred.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Bytes of a digest in the trace.
const DIGEST_BYTES: usize = 4;

/// What was sent and is on its way.
#[derive(Clone, Debug)]
pub enum Sent {
    ToQueue(String, QueueMessage),
    ToTopic(String, TopicMessage),
}

/// Queues and topics: what passes the gate lies in `sent` until the run takes it out.
#[derive(Clone)]
pub struct Bus {
    pub gate: Gate,
    pub sent: Arc<Mutex<Vec<Sent>>>,
}

impl Bus {
    async fn carry(&self, destination: &str, messages: Vec<Sent>, about: String) -> Result<(), BusError> {
        let text = format!("send {} to {destination}: {about}", messages.len());
        let failed = || Err(BusError { destination: destination.to_owned(), cause: "the connection is gone".into() });
        let put = |messages: Vec<Sent>| self.sent.lock().expect("no panic holds this lock").extend(messages);
        match self.gate.pass(Call::new(Kind::Bus, text)).await {
            Outcome::Done => {
                self.gate.learn(|| "sent".to_owned());
                put(messages);
                Ok(())
            }
            Outcome::ReplyLost => {
                put(messages);
                failed()
            }
            Outcome::Partly => {
                let half = messages.len() / 2;
                put(messages.into_iter().take(half).collect());
                failed()
            }
            Outcome::DiesAfter => {
                put(messages);
                std::future::pending().await
            }
            _ => failed(),
        }
    }
}

impl InProcessBus for Bus {
    fn send<'a>(&'a self, queue_url: &'a str, messages: Vec<QueueMessage>) -> BusFuture<'a> {
        let about = digest(messages.iter().map(|message| message.body.as_str()));
        let messages = messages.into_iter().map(|message| Sent::ToQueue(queue_url.to_owned(), message)).collect();
        Box::pin(self.carry(queue_url, messages, about))
    }

    fn publish<'a>(&'a self, topic_arn: &'a str, messages: Vec<TopicMessage>) -> BusFuture<'a> {
        let about = digest(messages.iter().map(|message| message.body.as_str()));
        let messages = messages.into_iter().map(|message| Sent::ToTopic(topic_arn.to_owned(), message)).collect();
        Box::pin(self.carry(topic_arn, messages, about))
    }
}

fn digest<'a>(bodies: impl Iterator<Item = &'a str>) -> String {
    let digest = Sha256::digest(bodies.collect::<Vec<_>>().join("\n"));
    digest[..DIGEST_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The payment provider, spoken to by the real client's requests.
#[derive(Clone)]
pub struct Provider {
    pub gate: Gate,
    pub stripe: Stripe,
    pub router: Router,
    pub kind: Kind,
    pub mutant: Option<&'static Mutant>,
}

impl Provider {
    /// Carries a request out at the provider.
    async fn execute(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, NoAnswer> {
        if let Some(mutant) = self.mutant {
            mutant.at_provider(&mut request);
        }
        let is_look_up = request.method() == "GET" && request.uri().path() == "/v1/refunds";
        let answer = self.router.clone().oneshot(request.map(Body::from)).await.expect("a router always answers");
        let (head, body) = answer.into_parts();
        let mut body = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await.map_err(|e| NoAnswer(e.to_string()))?;
        if is_look_up && self.mutant.is_some_and(|mutant| mutant.hides_refunds()) {
            body = r#"{"object":"list","data":[],"has_more":false,"url":"/v1/refunds"}"#.into();
        }
        self.gate.learn(|| format!("{} {}", head.status, String::from_utf8_lossy(&body)));
        Ok(Response::from_parts(head, body))
    }

    async fn call(&self, request: Request<Bytes>, limit: Duration) -> Result<Response<Bytes>, NoAnswer> {
        let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or("-");
        let body = digest(std::iter::once(std::str::from_utf8(request.body()).unwrap_or_default()));
        let text = format!("{} {} key {key} {body}", request.method(), request.uri().path());
        let lost = || Err(NoAnswer("the connection is gone".into()));
        let status = |status: u16| {
            let body = r#"{"error":{"type":"api_error","message":"later"}}"#;
            let answer =
                Response::builder().status(status).header("retry-after", "1").body(Bytes::from_static(body.as_bytes()));
            Ok(answer.expect("the answer is well formed"))
        };
        match self.gate.pass(Call::new(self.kind, text)).await {
            Outcome::Done => self.execute(request).await,
            Outcome::ReplyLost => {
                self.execute(request).await?;
                lost()
            }
            Outcome::Slow => {
                self.execute(request).await?;
                tokio::time::sleep(limit).await;
                lost()
            }
            Outcome::Fault => {
                self.stripe.set_broken(true);
                let answer = self.execute(request).await;
                self.stripe.set_broken(false);
                answer
            }
            Outcome::DiesAfter => {
                self.execute(request).await?;
                std::future::pending().await
            }
            Outcome::Throttled => status(429),
            Outcome::Down => status(503),
            _ => lost(),
        }
    }
}

impl Transport for Provider {
    fn send(&self, request: Request<Bytes>, limit: Duration) -> Answer<'_> {
        Box::pin(self.call(request, limit))
    }
}
