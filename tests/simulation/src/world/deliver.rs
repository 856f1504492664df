//! What reaches a function, and what becomes of it: requests, messages, stream records, webhooks.

use super::actors::{Ended, Work};
use super::{Webhook, World};
use crate::gate::{Ask, Outcome, Reply};
use crate::queues::Message;
use crate::wires::Sent;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use boxoffice::template::Trigger;
use platform::App;
use platform::http::Deadline;
use serde_json::{Value, json};
use tower::ServiceExt;

/// Bytes of an answer to a person.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Stream records that one invocation is given.
const BATCH_RECORDS_MAX: usize = 10;

/// The queues of what people are told and offered.
const TELLING: [&str; 2] = ["Deliveries", "Offers"];

impl World<'_> {
    /// Starts the function that answers a person.
    pub(super) fn answer(&mut self, call: u64, is_lost: bool) {
        let ask = self.gate.start(call);
        let about = format!("{} {} {:?}", ask.method, ask.path, ask.key);
        let handler = self.route(ask.method, &ask.path);
        let Some(handler) = handler else { panic!("the template has no route for {} {}", ask.method, ask.path) };
        let process = self.process(&handler);
        let mut signer = self.signer.clone();
        signer.clock = process.app.clock.clone();
        let router = process.router.clone().expect("HTTP starts this function");
        let end = Deadline(self.end(&handler));
        let work = Work::Request { call, ask: ask.clone(), is_lost };
        let future = Box::pin(async move { Ended::Answered(answer(router, signer, end, ask).await) });
        self.admit(handler, &about, work, Some(process), future);
    }

    /// The function that the template gives a route to.
    pub(super) fn route(&self, method: &str, path: &str) -> Option<String> {
        let path: Vec<&str> = path.split('?').next().unwrap_or_default().split('/').collect();
        let fits = |pattern: &str| {
            let pattern: Vec<&str> = pattern.split('/').collect();
            pattern.len() == path.len() && pattern.iter().zip(&path).all(|(p, s)| p == s || p.starts_with('{'))
        };
        let functions = self.ground.system.functions.iter();
        let mut takes = functions.filter(|function| {
            function
                .triggers
                .iter()
                .any(|trigger| matches!(trigger, Trigger::Http(route) if route.method == method && fits(&route.path)))
        });
        takes.next().map(|function| function.handler.clone())
    }

    pub(super) fn deliver_records(&mut self, at: usize) {
        let stream = &self.streams[at];
        let records = self.tables.store().stream_records(&stream.source.table, stream.position, BATCH_RECORDS_MAX);
        let records = records.expect("the stream can be read");
        let count = records.len() - self.faults.left_over(&mut self.choices, records.len());
        let records = &records[..count];
        let last = records.last().expect("somebody saw a record").sequence;
        let number = |event: &Value| event["dynamodb"]["SequenceNumber"].as_str().unwrap_or_default().to_owned();
        let numbers = records.iter().map(|record| (number(&record.event), record.sequence)).collect();
        let events: Vec<&Value> = records.iter().map(|record| &record.event).collect();
        let (handler, event) = (self.streams[at].handler.clone(), json!({ "Records": events }));
        self.note(|| format!("stream {at}: {count} records"));
        self.streams[at].is_busy = true;
        self.invoke(&handler, event, Work::Records { stream: at, last, numbers });
    }

    /// Gives a function a message, and maybe some of those behind it.
    pub(super) fn deliver_message(&mut self, queue: usize, at: usize, twice: bool) {
        let now_ms = self.clock.now().as_millisecond();
        let visible = self.queues.visible(queue, now_ms);
        if self.faults.happens(&mut self.choices, "message on its last try") {
            self.queues.wear_out(queue, at);
        }
        let behind = visible.into_iter().filter(|other| *other > at).take(self.batch(queue) - 1);
        let behind: Vec<usize> = behind.collect();
        let more = self.faults.more(&mut self.choices, behind.len());
        let mut batch = vec![self.queues.take(queue, at, twice)];
        batch.extend(behind.into_iter().take(more).map(|other| self.queues.take(queue, other, false)));
        let name = self.queues.all[queue].definition.name.clone();
        for message in &batch {
            self.note(|| format!("{name}: message {}, time {}: {}", message.id, message.receives, message.body));
        }
        let handler = self.queues.all[queue].handler.clone().expect("only messages with a consumer are visible");
        let records: Vec<Value> = batch.iter().map(record).collect();
        let work = Work::Messages { queue, ids: batch.iter().map(|message| message.id).collect() };
        self.invoke(&handler, json!({ "Records": records }), work);
    }

    /// How many messages of a queue an invocation is given at most.
    fn batch(&self, queue: usize) -> usize {
        let name = &self.queues.all[queue].definition.name;
        let triggers = self.ground.system.functions.iter().flat_map(|function| &function.triggers);
        let mut sizes = triggers.filter_map(|trigger| match trigger {
            Trigger::Queue(source) if source.queue == *name => Some(source.batch_messages_max),
            _ => None,
        });
        sizes.next().unwrap_or(1)
    }

    pub(super) fn deliver_webhook(&mut self, id: u64) {
        let at = self.webhooks.iter().position(|webhook| webhook.id == id).expect("it was just seen");
        if self.faults.happens(&mut self.choices, "webhook never") {
            let lost = self.webhooks.remove(at);
            return self.note(|| format!("webhook {id} {} is never delivered", lost.kind));
        }
        let keep = self.faults.happens(&mut self.choices, "webhook twice");
        let webhook = &mut self.webhooks[at];
        webhook.is_busy = true;
        let (kind, body) = (webhook.kind.clone(), webhook.body.clone());
        self.note(|| format!("webhook {id} {kind}"));
        let kind = format!("{kind} {body}");
        let at = self.clock.now().as_second();
        let signature = sandbox::signature(&self.ground.keys.webhook, at, &body);
        let process = self.process("payment-webhook");
        let router = process.router.clone().expect("HTTP starts this function");
        let request = Request::post("/payments/webhook/stripe").header("stripe-signature", signature);
        let request = request.body(Body::from(body)).expect("the request is well formed");
        let future = Box::pin(async move { Ended::Answered(reply(router, request).await) });
        self.admit("payment-webhook".to_owned(), &kind, Work::Webhook { id, keep }, Some(process), future);
    }

    pub(super) fn invoke(&mut self, handler: &str, event: Value, work: Work) {
        let (process, end, about) = (self.process(handler), self.end(handler), event.to_string());
        let (app, handler, name) = (process.app.clone().until(end), handler.to_owned(), handler.to_owned());
        let future = Box::pin(async move {
            let reply = functions::invoke(app, &handler, event).await;
            Ended::Replied(reply.map_err(|error| error.to_string()))
        });
        self.admit(name, &about, work, Some(process), future);
    }

    /// What follows from the end of somebody's work.
    pub(super) fn ended(&mut self, work: Work, ended: Ended) {
        let now_ms = self.clock.now().as_millisecond();
        match work {
            Work::Person | Work::Schedule => {}
            Work::Request { call, ask, is_lost } => {
                let reply = match ended {
                    Ended::Answered(reply) => Some(reply),
                    _ => None,
                };
                if let Some(reply) = reply.as_ref().filter(|reply| reply.status >= 500) {
                    self.check_excuse(reply);
                }
                if let Some(reply) = &reply {
                    self.note(|| format!("answered {} {}", reply.status, reply.body["code"].as_str().unwrap_or("")));
                }
                if let Some(reply) = reply.as_ref().filter(|_| ask.key.is_some()) {
                    self.answers.push((ask, reply.clone()));
                }
                self.gate.decide(call, Outcome::Answered(reply.filter(|_| !is_lost)));
            }
            Work::Messages { queue, ids } => {
                for id in ids {
                    let failed = match &ended {
                        Ended::Replied(Ok(reply)) => fails(reply, &id.to_string()),
                        _ => true,
                    };
                    if failed {
                        self.note(|| format!("message {id} failed"));
                    }
                    self.queues.end(queue, id, failed, now_ms);
                }
            }
            Work::Records { stream, last, numbers } => {
                let reached = match ended {
                    Ended::Replied(Ok(reply)) => match numbers.iter().position(|(number, _)| fails(&reply, number)) {
                        None => Some(last),
                        Some(0) => None,
                        Some(first) => Some(numbers[first - 1].1),
                    },
                    _ => None,
                };
                self.streams[stream].is_busy = false;
                self.streams[stream].position = reached.unwrap_or(self.streams[stream].position);
            }
            Work::Webhook { id, keep } => {
                let is_taken = matches!(ended, Ended::Answered(reply) if reply.status < 300);
                if let Some(at) = self.webhooks.iter().position(|webhook| webhook.id == id) {
                    self.webhooks[at].is_busy = false;
                    if is_taken && !keep {
                        self.webhooks.remove(at);
                    }
                }
            }
        }
    }

    /// A server's error must be one that the client can wait out.
    pub(super) fn check_excuse(&mut self, reply: &Reply) {
        if reply.status != 503 || !reply.may_retry {
            self.scandals.push(format!("an answer without an excuse: {reply:?}"));
        }
    }

    /// Brings what was sent to where it goes, and notes what the provider wants to tell.
    pub(super) fn collect(&mut self) {
        let sent = std::mem::take(&mut *self.bus.sent.lock().expect("no panic holds this lock"));
        let now_ms = self.clock.now().as_millisecond();
        for sent in sent {
            match sent {
                Sent::ToQueue(url, message) => {
                    let queue = self.queues.by_url(&url);
                    self.queues.put(queue, message, None, now_ms);
                }
                Sent::ToTopic(arn, message) => {
                    let body: Value = serde_json::from_str(&message.body).unwrap_or_default();
                    self.published.extend(body["id"].as_str().map(str::to_owned));
                    for subscription in &self.ground.system.subscriptions {
                        let is_for = boxoffice::template::topic_arn(&subscription.topic) == arn;
                        let is_left = !self.is_told && TELLING.contains(&subscription.queue.as_str());
                        if is_for && !is_left && boxoffice::topic::accepts(subscription, &message.kind) {
                            let queue = self.queues.by_name(&subscription.queue);
                            let copy = platform::bus::QueueMessage { body: message.body.clone(), delay_seconds: 0 };
                            self.queues.put(queue, copy, Some(message.kind.clone()), now_ms);
                        }
                    }
                }
            }
        }
        for webhook in self.stripe.take_webhooks() {
            let (id, kind, body) = (self.next_webhook, webhook.kind, webhook.body);
            self.next_webhook += 1;
            self.webhooks.push(Webhook { id, kind, body, is_busy: false });
        }
    }
}

/// A message as Lambda hands it over.
fn record(message: &Message) -> Value {
    json!({
        "messageId": message.id.to_string(),
        "body": message.body,
        "eventSource": "aws:sqs",
        "attributes": { "ApproximateReceiveCount": message.receives.to_string() },
        "messageAttributes": message.kind.as_ref().map_or(json!({}), |kind| {
            json!({ "type": { "stringValue": kind, "dataType": "String" } })
        }),
    })
}

/// Whether a partial batch response names this item.
fn fails(reply: &Value, name: &str) -> bool {
    let failures = reply["batchItemFailures"].as_array();
    failures.is_some_and(|items| items.iter().any(|item| item["itemIdentifier"] == name))
}

async fn answer(router: Router, signer: App, end: Deadline, ask: Ask) -> Reply {
    let session = domain::ids::SessionId(1);
    let token = platform::auth::sign_access(&signer, ask.who.id, session, ask.who.roles).await;
    let token = token.unwrap_or_else(|problem| panic!("no token: {problem:?}"));
    let mut request = Request::builder().method(ask.method).uri(ask.path);
    request = request.header("authorization", format!("Bearer {token}"));
    if let Some(key) = ask.key {
        request = request.header("idempotency-key", key);
    }
    let body = if ask.body.is_null() {
        Body::empty()
    } else {
        request = request.header("content-type", "application/json");
        Body::from(ask.body.to_string())
    };
    reply(router, request.extension(end).body(body).expect("the request is well formed")).await
}

async fn reply(router: Router, request: Request<Body>) -> Reply {
    let answer = router.oneshot(request).await.expect("a router always answers");
    let (head, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await.expect("answers are small and whole");
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Reply { status: head.status.as_u16(), may_retry: head.headers.contains_key("retry-after"), body }
}
