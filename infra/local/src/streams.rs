//! Delivery of a table's stream to the function that the template names for it.
//!
//! The position is kept after a batch was handled, so that a crash repeats a batch and never loses one.

use crate::engine::StreamRecord;
use crate::error::Error;
use crate::events;
use crate::host::Host;
use crate::journal::Journal;
use crate::queues::Queues;
use crate::storage::Storage;
use crate::template::{StreamSource, stream_arn};
use platform::Clock;
use platform::bus::QueueMessage;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// After a write, how long more of them are waited for, so that a busy table's records come in batches.
const GATHER_MILLISECONDS: u64 = 4;
/// How often a stream is looked at although nobody told of a write: a client may have given up on a call that the
/// engine then carried out.
const LOOK_MILLISECONDS: u64 = 500;
/// Handled records that are left before they are deleted.
const TRIM_RECORDS: usize = 1_000;
/// The pause before a failed batch is tried again: doubled each time, up to the second figure.
const RETRY_MILLISECONDS: (u64, u64) = (50, 5_000);

/// One stream and the function that takes from it.
pub struct StreamReader {
    pub handler: String,
    pub source: StreamSource,
    pub host: Arc<Host>,
    pub storage: Storage,
    pub journal: Arc<Journal>,
    pub queues: Arc<Queues>,
    pub clock: Clock,
    pub position: Arc<AtomicI64>,
}

/// A run of records that is tried together.
struct Part {
    records: Vec<StreamRecord>,
    attempts: u32,
}

impl StreamReader {
    /// Finds out where to go on. A stream that was never read starts where the template says.
    pub async fn restore(&self) -> Result<(), Error> {
        let position = match self.journal.position(&self.name())? {
            Some(position) => position,
            None if self.source.from_start => 0,
            None => self.storage.stream_end(&self.source.table).await?,
        };
        self.position.store(position, Ordering::Release);
        Ok(())
    }

    /// Delivers until `stop` changes. `written` changes when there may be new records.
    pub async fn run(self, mut written: watch::Receiver<()>, mut stop: watch::Receiver<bool>) {
        let mut untrimmed = 0;
        loop {
            match self.deliver_some(&mut stop).await {
                Ok(0) => {
                    let look = Duration::from_millis(LOOK_MILLISECONDS);
                    tokio::select! {
                        _ = stop.wait_for(|stopped| *stopped) => return,
                        // Told or not, it is time to look.
                        _ = tokio::time::timeout(look, written.changed()) => {}
                    }
                    tokio::time::sleep(Duration::from_millis(GATHER_MILLISECONDS)).await;
                }
                Ok(handled) => untrimmed += handled,
                Err(error) => {
                    tracing::error!(table = self.source.table, %error, "cannot read the stream");
                    tokio::time::sleep(Duration::from_millis(RETRY_MILLISECONDS.1)).await;
                }
            }
            if untrimmed >= TRIM_RECORDS {
                let more = self.storage.trim_stream(&self.source.table, self.position.load(Ordering::Acquire));
                match more {
                    Ok(true) => {}
                    Ok(false) => untrimmed = 0,
                    Err(error) => tracing::warn!(table = self.source.table, %error, "old stream records stay"),
                }
            }
            if *stop.borrow() {
                return;
            }
        }
    }

    /// Delivers one batch, and returns how many records it had.
    async fn deliver_some(&self, stop: &mut watch::Receiver<bool>) -> Result<usize, Error> {
        let position = self.position.load(Ordering::Acquire);
        let records = self.storage.stream_records(&self.source.table, position, self.source.batch_records_max).await?;
        let count = records.len();
        let mut parts = VecDeque::new();
        if count > 0 {
            parts.push_back(Part { records, attempts: 0 });
        }
        while let Some(part) = parts.pop_front() {
            if self.deliver(part, &mut parts, stop).await?.is_stopped() {
                break;
            }
        }
        Ok(count)
    }

    /// Tries one part, and puts what is left of it at the front of `parts`.
    async fn deliver(
        &self,
        part: Part,
        parts: &mut VecDeque<Part>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Progress, Error> {
        let Part { mut records, attempts } = part;
        let Some(last) = records.last().map(|record| record.sequence) else { return Ok(Progress::GoOn) };
        let events: Vec<&Value> = records.iter().map(|record| &record.event).collect();
        let reply = self.host.invoke(&self.handler, json!({ "Records": events })).await;
        let failed_at = match reply {
            Ok(reply) if self.source.reports_failures => first_failure(&reply, &records),
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        };
        let reason = match &failed_at {
            Ok(None) => {
                self.reach(last)?;
                return Ok(Progress::GoOn);
            }
            Ok(Some(_)) => "the function reports failures".to_owned(),
            Err(error) => error.clone(),
        };
        tracing::warn!(function = self.handler, table = self.source.table, attempts, reason, "a batch failed");
        if let Ok(Some(index @ 1..)) = failed_at {
            // What came before the first failure is done.
            self.reach(records[index - 1].sequence)?;
            records.drain(..index);
        } else if self.source.bisects && records.len() > 1 && attempts > 0 {
            let second = records.split_off(records.len() / 2);
            parts.push_front(Part { records: second, attempts });
            parts.push_front(Part { records, attempts });
            return Ok(Progress::GoOn);
        }
        if self.source.retries_max.is_some_and(|retries_max| attempts >= retries_max) {
            self.give_up(&records, attempts)?;
            self.reach(last)?;
            return Ok(Progress::GoOn);
        }
        parts.push_front(Part { records, attempts: attempts + 1 });
        let (first, longest) = RETRY_MILLISECONDS;
        let pause = first.saturating_mul(1 << attempts.min(16)).min(longest);
        tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => Ok(Progress::Stopped),
            () = tokio::time::sleep(Duration::from_millis(pause)) => Ok(Progress::GoOn),
        }
    }

    fn reach(&self, position: i64) -> Result<(), Error> {
        self.journal.keep_position(&self.name(), position)?;
        self.position.store(position, Ordering::Release);
        Ok(())
    }

    /// Tells the on-failure queue where the records are that were given up; it never gets the records themselves.
    fn give_up(&self, records: &[StreamRecord], attempts: u32) -> Result<(), Error> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        tracing::error!(table = self.source.table, records = records.len(), "stream records are given up");
        let Some(queue) = &self.source.on_failure else { return Ok(()) };
        let number = |record: &StreamRecord| record.event["dynamodb"]["SequenceNumber"].clone();
        let body = json!({
            "requestContext": {
                "functionArn": self.handler,
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": attempts + 1,
            },
            "version": "1.0",
            "timestamp": self.clock.now().to_string(),
            "DDBStreamBatchInfo": {
                "shardId": "shardId-00000000000000000000",
                "startSequenceNumber": number(first),
                "endSequenceNumber": number(last),
                "approximateArrivalOfFirstRecord": instant(first.created_at_seconds),
                "approximateArrivalOfLastRecord": instant(last.created_at_seconds),
                "batchSize": records.len(),
                "streamArn": stream_arn(&self.source.table),
            },
        });
        self.queues.send(queue, vec![QueueMessage { body: body.to_string(), delay_seconds: 0 }])
    }

    /// The name under which the position is kept.
    fn name(&self) -> String {
        format!("{} {}", self.source.table, self.handler)
    }
}

enum Progress {
    GoOn,
    Stopped,
}

impl Progress {
    fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped)
    }
}

fn instant(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|at| at.to_string()).unwrap_or_default()
}

/// The index of the first record that the reply names as failed.
fn first_failure(reply: &Value, records: &[StreamRecord]) -> Result<Option<usize>, String> {
    let failures = events::failures(reply)?;
    let number = |record: &StreamRecord| record.event["dynamodb"]["SequenceNumber"].as_str().map(str::to_owned);
    let first = records.iter().position(|record| number(record).is_some_and(|number| failures.contains(&number)));
    match (first, failures.is_empty()) {
        (None, false) => Err("batchItemFailures names none of the records".to_owned()),
        (first, _) => Ok(first),
    }
}
