//! SQS as a run sees it: what is visible, what is in flight, what was given up.

use boxoffice::template::System;
use platform::bus::QueueMessage;

#[derive(Clone, Debug)]
pub struct Message {
    pub id: u64,
    pub body: String,
    /// The attribute `type` of what came from the topic.
    pub kind: Option<String>,
    pub receives: u32,
    visible_at_ms: i64,
    in_flight: bool,
}

impl Message {
    /// All that what becomes of it can depend on.
    pub fn state(&self) -> String {
        format!("{} {} {} {}", self.body, self.receives, self.visible_at_ms, self.in_flight)
    }
}

pub struct Queue {
    pub definition: boxoffice::template::Queue,
    /// The function that takes from it.
    pub handler: Option<String>,
    pub messages: Vec<Message>,
}

/// All queues of the template.
pub struct Queues {
    pub all: Vec<Queue>,
    next_id: u64,
    /// Messages that were given up so far.
    pub buried: usize,
    /// Messages that stay where they are: those that have this text.
    pub held_back: Option<&'static str>,
}

impl Queues {
    pub fn new(system: &System) -> Self {
        use boxoffice::template::Trigger;
        let handler = |name: &str| {
            let takes = |trigger: &Trigger| matches!(trigger, Trigger::Queue(source) if source.queue == name);
            system.functions.iter().find(|function| function.triggers.iter().any(takes))
        };
        let queue = |definition: &boxoffice::template::Queue| Queue {
            definition: definition.clone(),
            handler: handler(&definition.name).map(|function| function.handler.clone()),
            messages: Vec::new(),
        };
        Self { all: system.queues.iter().map(queue).collect(), next_id: 1, buried: 0, held_back: None }
    }

    pub fn put(&mut self, queue: usize, message: QueueMessage, kind: Option<String>, now_ms: i64) {
        let visible_at_ms = now_ms + i64::from(message.delay_seconds) * 1000;
        let id = self.next_id;
        self.next_id += 1;
        let message = Message { id, body: message.body, kind, receives: 0, visible_at_ms, in_flight: false };
        self.all[queue].messages.push(message);
    }

    pub fn by_url(&self, url: &str) -> usize {
        self.all
            .iter()
            .position(|queue| queue.definition.url() == url)
            .expect("functions send to the template's queues")
    }

    pub fn by_name(&self, name: &str) -> usize {
        self.all
            .iter()
            .position(|queue| queue.definition.name == name)
            .expect("subscriptions name the template's queues")
    }

    /// Indexes of messages that a function could be given now; those received too often are moved away first.
    pub fn visible(&mut self, queue: usize, now_ms: i64) -> Vec<usize> {
        self.bury(queue, now_ms);
        if self.all[queue].handler.is_none() {
            return Vec::new();
        }
        let messages = self.all[queue].messages.iter().enumerate();
        messages
            .filter(|(_, message)| !message.in_flight && message.visible_at_ms <= now_ms)
            .filter(|(_, message)| self.held_back.is_none_or(|text| !message.body.contains(text)))
            .map(|(at, _)| at)
            .collect()
    }

    /// Moves what was received too often to the dead letters.
    fn bury(&mut self, queue: usize, now_ms: i64) {
        let Some(redrive) = self.all[queue].definition.redrive.clone() else { return };
        let is_spent = |m: &Message| !m.in_flight && m.visible_at_ms <= now_ms && m.receives >= redrive.receives_max;
        let (spent, rest) = std::mem::take(&mut self.all[queue].messages).into_iter().partition(is_spent);
        self.all[queue].messages = rest;
        let spent: Vec<Message> = spent;
        self.buried += spent.len();
        let target = self.all.iter().position(|other| other.definition.arn() == redrive.dead_letters);
        self.all[target.expect("the template was checked")].messages.extend(spent);
    }

    /// As if all others who were given a message had failed: one more time, and it is a dead letter.
    pub fn wear_out(&mut self, queue: usize, at: usize) {
        let Queue { definition, messages, .. } = &mut self.all[queue];
        let receives_max = definition.redrive.as_ref().map_or(0, |redrive| redrive.receives_max);
        messages[at].receives = receives_max.saturating_sub(1);
    }

    /// Takes a message. A copy of it stays where it is to be delivered twice, whatever becomes of the first.
    pub fn take(&mut self, queue: usize, at: usize, twice: bool) -> Message {
        let copy = Message { id: self.next_id, ..self.all[queue].messages[at].clone() };
        if twice {
            self.next_id += 1;
            self.all[queue].messages.push(copy);
        }
        let message = &mut self.all[queue].messages[at];
        message.receives += 1;
        message.in_flight = true;
        message.clone()
    }

    /// A function is done with a message, or failed.
    pub fn end(&mut self, queue: usize, id: u64, failed: bool, now_ms: i64) {
        let visibility = self.all[queue].definition.visibility.as_millis() as i64;
        let messages = &mut self.all[queue].messages;
        if failed {
            if let Some(message) = messages.iter_mut().find(|message| message.id == id) {
                (message.in_flight, message.visible_at_ms) = (false, now_ms + visibility);
            }
        } else {
            messages.retain(|message| message.id != id);
        }
    }

    /// Sends dead letters back to where they came from. Returns how many they were.
    pub fn redrive(&mut self) -> usize {
        let mut moved = 0;
        for queue in 0..self.all.len() {
            let Some(redrive) = self.all[queue].definition.redrive.clone() else { continue };
            let from = self.all.iter().position(|other| other.definition.arn() == redrive.dead_letters);
            let letters = std::mem::take(&mut self.all[from.expect("the template was checked")].messages);
            moved += letters.len();
            self.all[queue].messages.extend(letters.into_iter().map(|letter| Message { receives: 0, ..letter }));
        }
        moved
    }

    /// Bodies of everything that waits anywhere.
    pub fn bodies(&self) -> impl Iterator<Item = &str> {
        self.all.iter().flat_map(|queue| queue.messages.iter().map(|message| message.body.as_str()))
    }

    /// Whether no message is left anywhere, dead letters among them.
    pub fn is_empty(&self) -> bool {
        self.all.iter().all(|queue| queue.messages.is_empty())
    }
}
