//! `boxoffice redrive`: sends dead letters back to the queue that gave them up, on this machine or on AWS.

use crate::door;
use crate::secrets::LocalSecrets;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::QueueAttributeName;
use axum::http::{Method, Request, StatusCode};
use platform::transport::{Internet, Transport};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the running box office may take to answer.
const ANSWER_SECONDS_MAX: u64 = 60;
/// How long a move on AWS is watched, and how often it is looked at.
const MOVE_SECONDS_MAX: u64 = 900;
const LOOK_SECONDS: u64 = 1;
/// Pages of queues that are looked through, and queues of each (the service's own limit).
const QUEUE_PAGES_MAX: usize = 10;
const PAGE_QUEUES_MAX: i32 = 1_000;
/// What every dead-letter queue's name has in it (tests hold the template to it).
const DEAD_LETTERS: &str = "DeadLetters";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    /// The dead-letter queue, or the queue it belongs to; absent, all are listed.
    pub queue: Option<String>,
    pub place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The box office that answers here, and the directory that it is kept in, where its token is.
    Local { url: String, data: PathBuf },
    /// The account that the environment's credentials are for.
    Aws,
}

#[derive(Deserialize)]
struct Listed {
    queues: Vec<Held>,
}

/// A dead-letter queue and how many messages it holds.
#[derive(Deserialize)]
struct Held {
    name: String,
    messages: u64,
}

#[derive(Deserialize)]
struct Moved {
    name: String,
    moved: u64,
}

/// Does it. The text is for whoever asked, and so is the error.
pub async fn run(ask: &Redrive) -> Result<String, String> {
    match &ask.queue {
        None => {
            let held = match &ask.place {
                Place::Local { url, data } => local::<Listed>(url, data, Method::GET, door::PATH).await?.queues,
                Place::Aws => Account::open().await?.list().await?,
            };
            Ok(held.iter().map(|Held { name, messages }| format!("{messages:>8}  {name}\n")).collect())
        }
        Some(queue) => {
            let Moved { name, moved } = match &ask.place {
                Place::Local { url, data } => {
                    local(url, data, Method::POST, &format!("{}/{queue}", door::PATH)).await?
                }
                Place::Aws => Account::open().await?.redrive(queue).await?,
            };
            Ok(format!("{moved:>8}  moved back from {name}\n"))
        }
    }
}

async fn local<T: for<'a> Deserialize<'a>>(url: &str, data: &Path, method: Method, path: &str) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Refused {
        detail: String,
    }
    let token = LocalSecrets::operator_token_of(&LocalSecrets::path(data))?;
    let request = Request::builder().method(method).uri(format!("{url}{path}")).header(door::OPERATOR, token);
    let request = request.body(Default::default()).map_err(|error| format!("{url}: {error}"))?;
    let answer = Internet::default().send(request, Duration::from_secs(ANSWER_SECONDS_MAX)).await;
    let answer = answer.map_err(|error| format!("no box office answers at {url}: {error}"))?;
    if answer.status() != StatusCode::OK {
        let refused: Result<Refused, _> = serde_json::from_slice(answer.body());
        return Err(refused.map_or_else(|_| format!("{url} answers {}", answer.status()), |refused| refused.detail));
    }
    serde_json::from_slice(answer.body()).map_err(|error| format!("{url} is no box office: {error}"))
}

/// The dead-letter queues of an account.
struct Account {
    sqs: Client,
    /// Addresses of queues; the last part of each is its name.
    urls: Vec<String>,
}

fn name(url: &str) -> &str {
    url.rsplit(['/', ':']).next().unwrap_or(url)
}

fn failed(error: impl std::error::Error) -> String {
    DisplayErrorContext(error).to_string()
}

impl Account {
    async fn open() -> Result<Self, String> {
        let sqs = Client::new(&platform::aws::sdk().await);
        let (mut urls, mut token) = (Vec::new(), None);
        for _ in 0..QUEUE_PAGES_MAX {
            let page = sqs.list_queues().max_results(PAGE_QUEUES_MAX).set_next_token(token).send().await;
            let page = page.map_err(failed)?;
            urls.extend(page.queue_urls().iter().filter(|url| name(url).contains(DEAD_LETTERS)).cloned());
            token = page.next_token;
            if token.is_none() {
                return Ok(Self { sqs, urls });
            }
        }
        Err(format!("there are more than {} queues", QUEUE_PAGES_MAX as i32 * PAGE_QUEUES_MAX))
    }

    async fn list(&self) -> Result<Vec<Held>, String> {
        let mut all = Vec::new();
        for url in &self.urls {
            let messages = self.attribute(url, QueueAttributeName::ApproximateNumberOfMessages).await?;
            let messages = messages.parse().map_err(|_| format!("{url} holds {messages:?} messages"))?;
            all.push(Held { name: name(url).to_owned(), messages });
        }
        Ok(all)
    }

    async fn attribute(&self, url: &str, attribute: QueueAttributeName) -> Result<String, String> {
        let reply = self.sqs.get_queue_attributes().queue_url(url).attribute_names(attribute.clone()).send().await;
        let found = reply.map_err(failed)?.attributes.and_then(|mut all| all.remove(&attribute));
        found.ok_or_else(|| format!("{url} has no {attribute}"))
    }

    /// Moves a queue's messages back to where they came from, and waits until that is done.
    async fn redrive(&self, queue: &str) -> Result<Moved, String> {
        let url = find(&self.urls, queue)?;
        let arn = self.attribute(url, QueueAttributeName::QueueArn).await?;
        self.sqs.start_message_move_task().source_arn(&arn).send().await.map_err(failed)?;
        for _ in 0..MOVE_SECONDS_MAX / LOOK_SECONDS {
            let tasks = self.sqs.list_message_move_tasks().source_arn(&arn).max_results(1).send().await;
            let tasks = tasks.map_err(failed)?;
            if let Some(task) = tasks.results().first() {
                match task.status().unwrap_or_default() {
                    "COMPLETED" => {
                        let moved = u64::try_from(task.approximate_number_of_messages_moved()).unwrap_or(0);
                        return Ok(Moved { name: name(url).to_owned(), moved });
                    }
                    "FAILED" | "CANCELLED" => {
                        return Err(format!("the move ended: {}", task.failure_reason().unwrap_or("it was cancelled")));
                    }
                    _ => {}
                }
            }
            tokio::time::sleep(Duration::from_secs(LOOK_SECONDS)).await;
        }
        Err(format!("the messages of {} are still on their way back", name(url)))
    }
}

/// The one queue that is meant: by its name or ARN, or by its name in the template, which CloudFormation puts between
/// the stack's name and letters of its own; or the one that belongs to a queue so named.
fn find<'a>(urls: &'a [String], asked: &str) -> Result<&'a String, String> {
    let asked = name(asked);
    if let Some(url) = urls.iter().find(|url| name(url) == asked) {
        return Ok(url);
    }
    let parts = [format!("-{asked}-"), format!("-{asked}{DEAD_LETTERS}-")];
    let meant: Vec<_> = urls.iter().filter(|url| parts.iter().any(|part| name(url).contains(part))).collect();
    match meant[..] {
        [url] => Ok(url),
        [] => Err(format!("there is no dead-letter queue {asked}")),
        _ => Err(format!("{asked} may be any of {}", meant.iter().map(|url| name(url)).collect::<Vec<_>>().join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(asked: &str, found: Result<&str, &str>) {
        let names = ["dev-PaymentsDeadLetters-AB1", "prod-PaymentsDeadLetters-CD2", "dev-UnpublishedDeadLetters-EF3"];
        let urls = names.map(|name| format!("https://sqs.eu-central-1.amazonaws.com/123456789012/{name}"));
        match (find(&urls, asked), found) {
            (Ok(url), Ok(expected)) => assert_eq!(name(url), expected),
            (Err(error), Err(part)) => assert!(error.contains(part), "{asked}: {error}"),
            (result, _) => panic!("{asked}: {result:?}"),
        }
    }

    #[test]
    fn a_queue_is_meant_by_any_of_its_names() {
        check("dev-PaymentsDeadLetters-AB1", Ok("dev-PaymentsDeadLetters-AB1"));
        check("arn:aws:sqs:eu-central-1:123456789012:prod-PaymentsDeadLetters-CD2", Ok("prod-PaymentsDeadLetters-CD2"));
        check("UnpublishedDeadLetters", Ok("dev-UnpublishedDeadLetters-EF3"));
        check("Unpublished", Ok("dev-UnpublishedDeadLetters-EF3"));
        check("Payments", Err("dev-PaymentsDeadLetters-AB1, prod-PaymentsDeadLetters-CD2"));
        check("Refunds", Err("no dead-letter queue Refunds"));
    }
}
