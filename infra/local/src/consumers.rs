//! Delivery of a queue's messages to the function that the template names for it.

use crate::error::Error;
use crate::events;
use crate::host::Host;
use crate::journal::Message;
use crate::queues::Queues;
use crate::template::{QueueSource, arn_of_queue};
use platform::Clock;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// Invocations of one function by one queue at a time.
const INVOCATIONS_MAX: usize = 8;

/// One queue and the function that takes from it.
pub struct Consumer {
    pub handler: String,
    pub source: QueueSource,
    pub host: Arc<Host>,
    pub queues: Arc<Queues>,
    pub clock: Clock,
}

impl Consumer {
    /// Delivers until `stop` changes, then waits for what is under way.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let invocations_max = self.source.concurrency_max.unwrap_or(INVOCATIONS_MAX).clamp(1, INVOCATIONS_MAX);
        let permits = Arc::new(Semaphore::new(invocations_max));
        let consumer = Arc::new(self);
        loop {
            let permit = permits.clone().acquire_owned().await.expect("nobody closes this semaphore");
            let batch = tokio::select! {
                _ = stop.wait_for(|stopped| *stopped) => break,
                batch = consumer.queues.receive(&consumer.source.queue, consumer.source.batch_messages_max) => batch,
            };
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::error!(queue = consumer.source.queue, %error, "cannot receive");
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    continue;
                }
            };
            let consumer = consumer.clone();
            tokio::spawn(async move {
                if let Err(error) = consumer.deliver(batch).await {
                    tracing::error!(queue = consumer.source.queue, %error, "messages will be delivered again");
                }
                drop(permit);
            });
        }
        let all = u32::try_from(invocations_max).expect("the number is small");
        let _all = permits.acquire_many(all).await;
    }

    async fn deliver(&self, batch: Vec<Message>) -> Result<(), Error> {
        let queue = &self.source.queue;
        let event = events::queue_event(&arn_of_queue(queue), &batch, self.clock.now().as_millisecond());
        let reply = self.host.invoke(&self.handler, event).await;
        let failed = match &reply {
            Ok(reply) if self.source.reports_failures => events::failures(reply),
            Ok(_) => Ok(Default::default()),
            Err(error) => Err(error.clone()),
        };
        let known: Vec<(u64, String)> = batch.iter().map(|m| (m.id, events::message_id(m.id))).collect();
        let (failed, done): (Vec<_>, Vec<_>) = match failed {
            Ok(ids) if ids.iter().all(|id| known.iter().any(|(_, name)| name == id)) => {
                known.into_iter().partition(|(_, name)| ids.contains(name))
            }
            // A name that was not in the batch fails all of it, as on Lambda.
            Ok(_) => (known, vec![]),
            Err(error) => {
                tracing::error!(function = self.handler, error, messages = batch.len(), "the invocation failed");
                (known, vec![])
            }
        };
        let ids = |of: Vec<(u64, String)>| of.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        if !failed.is_empty() {
            tracing::warn!(queue, messages = failed.len(), "not handled; they are delivered again later");
            self.queues.fail(queue, &ids(failed))?;
        }
        self.queues.finish(queue, &ids(done))
    }
}
