//! SNS as far as the template uses it, and the bus that functions send on.

use crate::queues::Queues;
use crate::template::{Pattern, Subscription, System};
use platform::bus::{BusError, BusFuture, InProcessBus, QueueMessage, TopicMessage};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sends to the template's queues and topics.
pub struct LocalBus {
    queues: Arc<Queues>,
    /// By the topic's ARN.
    subscriptions: BTreeMap<String, Vec<Subscription>>,
}

impl LocalBus {
    pub fn new(system: &mut System, queues: Arc<Queues>) -> Self {
        let mut subscriptions: BTreeMap<String, Vec<Subscription>> =
            system.topics.iter().map(|topic| (crate::template::topic_arn(topic), vec![])).collect();
        for subscription in system.subscriptions.drain(..) {
            subscriptions.entry(crate::template::topic_arn(&subscription.topic)).or_default().push(subscription);
        }
        Self { queues, subscriptions }
    }

    fn deliver(&self, topic_arn: &str, messages: &[TopicMessage]) -> Result<(), String> {
        let subscriptions = self.subscriptions.get(topic_arn).ok_or("there is no such topic")?;
        let sends = subscriptions.iter().map(|subscription| {
            let wanted = messages.iter().filter(|message| accepts(subscription, &message.kind));
            let copies = wanted.map(|message| {
                (QueueMessage { body: message.body.clone(), delay_seconds: 0 }, Some(message.kind.clone()))
            });
            (subscription.queue.as_str(), copies.collect())
        });
        self.queues.send_to(sends).map_err(|error| error.to_string())
    }
}

impl InProcessBus for LocalBus {
    fn send<'a>(&'a self, queue_url: &'a str, messages: Vec<QueueMessage>) -> BusFuture<'a> {
        let sent = match self.queues.by_url(queue_url) {
            None => Err("there is no such queue".to_owned()),
            Some(name) => self.queues.send(name, messages).map_err(|error| error.to_string()),
        };
        let sent = sent.map_err(|cause| BusError { destination: queue_url.to_owned(), cause });
        Box::pin(std::future::ready(sent))
    }

    fn publish<'a>(&'a self, topic_arn: &'a str, messages: Vec<TopicMessage>) -> BusFuture<'a> {
        let published = self.deliver(topic_arn, &messages);
        let published = published.map_err(|cause| BusError { destination: topic_arn.to_owned(), cause });
        Box::pin(std::future::ready(published))
    }
}

/// Whether a subscription wants what is published with this `type`.
pub fn accepts(subscription: &Subscription, kind: &str) -> bool {
    let Some(patterns) = &subscription.filter else { return true };
    patterns.iter().any(|pattern| match pattern {
        Pattern::Exactly(text) => text == kind,
        Pattern::Prefix(prefix) => kind.starts_with(prefix),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(filter: Option<Vec<Pattern>>, kind: &str, accepted: bool) {
        let subscription = Subscription { topic: "T".to_owned(), queue: "Q".to_owned(), filter };
        assert_eq!(accepts(&subscription, kind), accepted, "{kind}");
    }

    #[test]
    fn a_filter_lets_through_what_it_names() {
        let exactly = |text: &str| Pattern::Exactly(text.to_owned());
        let policy = Some(vec![exactly("a.b"), Pattern::Prefix("c.".to_owned())]);
        check(None, "anything", true);
        check(policy.clone(), "a.b", true);
        check(policy.clone(), "a.bc", false);
        check(policy.clone(), "c.d", true);
        check(policy, "c", false);
        check(Some(vec![]), "a.b", false);
    }
}
