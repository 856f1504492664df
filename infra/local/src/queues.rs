//! SQS as far as the template uses it: visibility, delay, redelivery, dead letters.
//!
//! A message is *ready*, *waiting* (delayed, or hidden after a failure), or *in flight*. A message in flight that is
//! neither finished nor failed by the end of its visibility timeout is ready again: delivery is at least once.

use crate::error::Error;
use crate::journal::{Journal, Message};
use crate::template;
use platform::Clock;
use platform::bus::QueueMessage;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;

/// How often a queue looks at the clock while something in it waits: the clock may be moved under it.
const LOOK_MILLISECONDS_MAX: u64 = 100;
const MILLISECONDS_PER_SECOND: i64 = 1_000;

/// All queues of the template.
pub struct Queues {
    queues: Vec<Queue>,
    journal: Arc<Journal>,
    clock: Clock,
    next_id: AtomicU64,
    activity: AtomicU64,
}

struct Queue {
    definition: template::Queue,
    url: String,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Message>,
    /// By the time at which each becomes ready.
    waiting: BTreeMap<(i64, u64), Message>,
    /// By id, with the end of the visibility timeout.
    in_flight: BTreeMap<u64, (i64, Message)>,
    paused: bool,
}

/// How many messages a queue holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub ready: usize,
    pub waiting: usize,
    pub in_flight: usize,
}

impl Queues {
    /// The queues with the messages that the journal kept; all of those are to be delivered again.
    pub fn open(definitions: &[template::Queue], journal: Arc<Journal>, clock: Clock) -> Result<Self, Error> {
        let mut queues =
            Self { queues: vec![], journal, clock, next_id: AtomicU64::new(1), activity: AtomicU64::new(0) };
        for definition in definitions {
            let (url, definition) = (definition.url(), definition.clone());
            queues.queues.push(Queue { definition, url, state: Mutex::default(), changed: Notify::new() });
        }
        let mut next_id = 1;
        for (name, message) in queues.journal.messages()? {
            next_id = next_id.max(message.id + 1);
            match queues.named(&name) {
                Ok(queue) => queue.lock().waiting.insert((message.visible_at, message.id), message),
                Err(_) => {
                    tracing::warn!(queue = name, id = message.id, "a kept message has no queue any more");
                    None
                }
            };
        }
        queues.next_id.store(next_id, Ordering::Relaxed);
        Ok(queues)
    }

    pub fn by_url(&self, url: &str) -> Option<&str> {
        self.queues.iter().find(|queue| queue.url == url).map(|queue| queue.definition.name.as_str())
    }

    /// Puts messages on a queue. They are kept when this returns.
    pub fn send(&self, name: &str, messages: Vec<QueueMessage>) -> Result<(), Error> {
        self.send_to([(name, messages.into_iter().map(|message| (message, None)).collect())])
    }

    /// Puts messages on several queues, all or none of them.
    pub fn send_to<'a>(
        &self,
        sends: impl IntoIterator<Item = (&'a str, Vec<(QueueMessage, Option<String>)>)>,
    ) -> Result<(), Error> {
        let now = self.now();
        let mut sent: Vec<(&Queue, Message)> = Vec::new();
        for (name, messages) in sends {
            let queue = self.named(name)?;
            for (message, kind) in messages {
                let delay = match message.delay_seconds {
                    0 => queue.definition.delay.as_secs() as i64,
                    seconds => i64::from(seconds),
                };
                let visible_at = now + delay * MILLISECONDS_PER_SECOND;
                let (id, body) = (self.new_id(), message.body);
                sent.push((queue, Message { id, body, kind, sent_at: now, visible_at, receives: 0 }));
            }
        }
        self.journal.keep(sent.iter().map(|(queue, message)| (queue.definition.name.as_str(), message)))?;
        for (queue, message) in sent {
            queue.put(message, now);
        }
        self.count_activity();
        Ok(())
    }

    /// Waits for messages and takes up to `messages_max` of them, hidden from others for the visibility timeout.
    pub async fn receive(&self, name: &str, messages_max: usize) -> Result<Vec<Message>, Error> {
        let queue = self.named(name)?;
        loop {
            let changed = queue.changed.notified();
            let (taken, look_in) = self.take(queue, messages_max)?;
            if !taken.is_empty() {
                self.count_activity();
                return Ok(taken);
            }
            match look_in {
                None => changed.await,
                // Whichever comes first; neither outcome says more than that it is time to look.
                Some(look_in) => drop(tokio::time::timeout(look_in, changed).await),
            }
        }
    }

    /// What is ready now, and when to look again if nothing is.
    fn take(&self, queue: &Queue, messages_max: usize) -> Result<(Vec<Message>, Option<Duration>), Error> {
        let now = self.now();
        let visibility = queue.definition.visibility.as_millis() as i64;
        let mut state = queue.lock();
        let exhausted = queue.wake_up(&mut state, now);
        let mut taken = Vec::new();
        while taken.len() < messages_max && !state.paused {
            let Some(mut message) = state.ready.pop_front() else { break };
            message.receives += 1;
            state.in_flight.insert(message.id, (now + visibility, message.clone()));
            taken.push(message);
        }
        let look_in = state.next_event().map(|at| Duration::from_millis(at.saturating_sub(now).max(1).unsigned_abs()));
        drop(state);
        self.bury(queue, exhausted)?;
        Ok((taken, look_in.map(|look_in| look_in.min(Duration::from_millis(LOOK_MILLISECONDS_MAX)))))
    }

    /// Moves messages that were received too often to the dead letters.
    fn bury(&self, queue: &Queue, messages: Vec<Message>) -> Result<(), Error> {
        let Some(redrive) = queue.definition.redrive.as_ref().filter(|_| !messages.is_empty()) else { return Ok(()) };
        let target = self.queues.iter().find(|other| other.definition.arn() == redrive.dead_letters);
        let target = target.expect("the template was checked to have every dead-letter queue that it names");
        tracing::error!(
            queue = queue.definition.name,
            messages = messages.len(),
            "given up: moved to the dead letters"
        );
        self.journal.keep(messages.iter().map(|message| (target.definition.name.as_str(), message)))?;
        let now = self.now();
        for message in messages {
            target.put(message, now);
        }
        Ok(())
    }

    /// Deletes messages that were handled.
    pub fn finish(&self, name: &str, ids: &[u64]) -> Result<(), Error> {
        let queue = self.named(name)?;
        self.journal.forget(ids)?;
        let mut state = queue.lock();
        for id in ids {
            state.in_flight.remove(id);
        }
        self.count_activity();
        Ok(())
    }

    /// Leaves messages hidden until their visibility timeout ends, as SQS does with what a function did not handle.
    pub fn fail(&self, name: &str, ids: &[u64]) -> Result<(), Error> {
        let queue = self.named(name)?;
        let mut state = queue.lock();
        let mut failed = Vec::new();
        for id in ids {
            if let Some((until, mut message)) = state.in_flight.remove(id) {
                message.visible_at = until;
                failed.push(message);
            }
        }
        self.journal.keep(failed.iter().map(|message| (name, message)))?;
        for message in failed {
            state.waiting.insert((message.visible_at, message.id), message);
        }
        drop(state);
        self.count_activity();
        queue.changed.notify_one();
        Ok(())
    }

    /// The bodies of all messages of a queue, oldest first.
    pub fn bodies(&self, name: &str) -> Result<Vec<String>, Error> {
        let state = self.named(name)?.lock();
        let in_flight = state.in_flight.values().map(|(_, message)| message);
        let mut messages: Vec<&Message> = state.ready.iter().chain(state.waiting.values()).chain(in_flight).collect();
        messages.sort_by_key(|message| message.id);
        Ok(messages.into_iter().map(|message| message.body.clone()).collect())
    }

    pub fn depth(&self, name: &str) -> Result<Depth, Error> {
        let queue = self.named(name)?;
        let mut state = queue.lock();
        let exhausted = queue.wake_up(&mut state, self.now());
        let depth = Depth { ready: state.ready.len(), waiting: state.waiting.len(), in_flight: state.in_flight.len() };
        drop(state);
        self.bury(queue, exhausted)?;
        Ok(depth)
    }

    pub fn is_paused(&self, name: &str) -> Result<bool, Error> {
        Ok(self.named(name)?.lock().paused)
    }

    /// Stops or resumes delivery; messages are still accepted.
    pub fn pause(&self, name: &str, paused: bool) -> Result<(), Error> {
        let queue = self.named(name)?;
        queue.lock().paused = paused;
        queue.changed.notify_one();
        Ok(())
    }

    /// The queues that others give their messages up to, each with how many it holds.
    pub fn dead_letter_queues(&self) -> Result<Vec<(&str, usize)>, Error> {
        let targets = self.queues.iter().filter(|queue| {
            let gives_up_to = |redrive: &template::Redrive| redrive.dead_letters == queue.definition.arn();
            self.queues.iter().any(|other| other.definition.redrive.as_ref().is_some_and(gives_up_to))
        });
        let depths = targets.map(|queue| {
            let name = queue.definition.name.as_str();
            let Depth { ready, waiting, in_flight } = self.depth(name)?;
            Ok((name, ready + waiting + in_flight))
        });
        depths.collect()
    }

    /// The dead-letter queue of a queue, or the queue itself if it has none.
    pub fn dead_letters_of(&self, name: &str) -> Result<&str, Error> {
        let queue = self.named(name)?;
        let arn = queue.definition.redrive.as_ref().map(|redrive| &redrive.dead_letters);
        let target = arn.and_then(|arn| self.queues.iter().find(|other| other.definition.arn() == *arn));
        Ok(&target.unwrap_or(queue).definition.name)
    }

    /// Sends the messages of a dead-letter queue back to the queue that they came from, with their count of
    /// deliveries at zero. Returns how many they were.
    pub fn redrive(&self, dead_letters: &str) -> Result<usize, Error> {
        let from = self.named(dead_letters)?;
        let arn = from.definition.arn();
        let gives_up_to =
            |queue: &&Queue| queue.definition.redrive.as_ref().is_some_and(|redrive| redrive.dead_letters == arn);
        let to = self.queues.iter().find(gives_up_to);
        let to = to.ok_or_else(|| Error::Failed(format!("no queue gives up its messages to {dead_letters}")))?;
        let now = self.now();
        let mut state = from.lock();
        let back = |message: &Message| Message { receives: 0, visible_at: now, ..message.clone() };
        let messages: Vec<Message> = state.ready.iter().chain(state.waiting.values()).map(back).collect();
        // Until it is kept that they are there, they are here: nothing is lost where it cannot be kept.
        self.journal.keep(messages.iter().map(|message| (to.definition.name.as_str(), message)))?;
        (state.ready, state.waiting) = Default::default();
        drop(state);
        let count = messages.len();
        for message in messages {
            to.put(message, now);
        }
        self.count_activity();
        Ok(count)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.queues.iter().map(|queue| queue.definition.name.as_str())
    }

    /// A number that changes whenever messages are sent, taken, finished or failed.
    pub fn activity(&self) -> u64 {
        self.activity.load(Ordering::Acquire)
    }

    fn count_activity(&self) {
        self.activity.fetch_add(1, Ordering::AcqRel);
    }

    /// Makes every queue look at the clock.
    pub fn look(&self) {
        for queue in &self.queues {
            queue.changed.notify_one();
        }
    }

    fn named(&self, name: &str) -> Result<&Queue, Error> {
        let queue = self.queues.iter().find(|queue| queue.definition.name == name);
        queue.ok_or_else(|| Error::NoQueue(name.to_owned()))
    }

    fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic holds this lock")
    }

    fn put(&self, message: Message, now: i64) {
        let mut state = self.lock();
        if message.visible_at > now {
            state.waiting.insert((message.visible_at, message.id), message);
        } else {
            state.ready.push_back(message);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Makes ready what has waited long enough, and returns what was received too often.
    fn wake_up(&self, state: &mut State, now: i64) -> Vec<Message> {
        let mut woken = Vec::new();
        while let Some(entry) = state.waiting.first_entry().filter(|entry| entry.key().0 <= now) {
            woken.push(entry.remove());
        }
        let lapsed: Vec<u64> = state.in_flight.iter().filter(|(_, (at, _))| *at <= now).map(|(id, _)| *id).collect();
        woken.extend(lapsed.iter().filter_map(|id| state.in_flight.remove(id)).map(|(_, message)| message));
        let receives_max = self.definition.redrive.as_ref().map_or(u32::MAX, |redrive| redrive.receives_max);
        let (exhausted, ready): (Vec<_>, Vec<_>) = woken.into_iter().partition(|m| m.receives >= receives_max);
        state.ready.extend(ready);
        exhausted
    }
}

impl State {
    fn next_event(&self) -> Option<i64> {
        let waiting = self.waiting.first_key_value().map(|((at, _), _)| *at);
        let in_flight = self.in_flight.values().map(|(at, _)| *at).min();
        waiting.into_iter().chain(in_flight).min()
    }
}

#[cfg(test)]
mod tests;
