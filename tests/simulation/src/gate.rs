//! Every call that leaves a process waits here until the run decides what becomes of it.

use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// What kind of call it is, and so what may become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Read,
    /// A read that was eventually consistent.
    LaggingRead,
    Write,
    Transaction,
    /// To a queue or the topic.
    Bus,
    /// To the payment provider, by us.
    Provider,
    /// To the payment provider, by a buyer's browser.
    Browser,
    /// To us, by a person.
    Request,
    /// A person waits until others have done what they can.
    Pause,
    /// A person waits until holds have ended, and whoever came for the seats has gone.
    Later,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Done,
    /// It never arrives.
    Refused,
    /// It is carried out, and the answer is lost.
    ReplyLost,
    /// The table or the provider has too much to do.
    Throttled,
    /// Another transaction is at work on the same item.
    Conflict,
    /// The read shows what was there so many writes ago.
    Stale(usize),
    /// It is carried out, and the answer comes when nobody waits for it any more.
    Slow,
    /// The provider fails after it began, and says so again for the same key.
    Fault,
    /// The provider is down.
    Down,
    /// Some of the messages are sent, and an error is the answer.
    Partly,
    /// The process dies before the call leaves.
    DiesBefore,
    /// The process dies when the call is carried out, before it has the answer.
    DiesAfter,
    /// What a person got from us; nothing where no answer came.
    Answered(Option<Reply>),
}

/// An answer to a person's request.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub may_retry: bool,
    pub body: Value,
}

/// A person's request to us.
#[derive(Clone, Debug)]
pub struct Ask {
    pub who: tests::User,
    pub method: &'static str,
    pub path: String,
    pub key: Option<String>,
    pub body: Value,
}

/// A call that wants to leave.
#[derive(Clone, Debug)]
pub struct Call {
    pub kind: Kind,
    /// What it is, for the trace.
    pub text: String,
    /// What is asked of us, where it is a request.
    pub ask: Option<Ask>,
}

impl Call {
    pub fn new(kind: Kind, text: String) -> Self {
        Self { kind, text, ask: None }
    }
}

#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Whose calls arrive now.
    actor: usize,
    next: u64,
    parked: BTreeMap<u64, Parked>,
    is_listening: bool,
    /// What each actor has learnt so far: all that what it does next can depend on.
    learnt: BTreeMap<usize, String>,
}

struct Parked {
    actor: usize,
    call: Call,
    /// It is being answered: nothing is left to decide.
    is_started: bool,
    outcome: Option<Outcome>,
    waker: Waker,
}

/// A call at the gate, as the run sees it.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub id: u64,
    pub actor: usize,
    pub kind: Kind,
    pub text: String,
}

impl Gate {
    /// Waits for what becomes of a call.
    pub fn pass(&self, call: Call) -> Pass {
        Pass { gate: self.clone(), call: Some(call), id: 0 }
    }

    /// Says whose calls arrive from now on.
    pub fn enter(&self, actor: usize) {
        self.lock().actor = actor;
    }

    /// From now on, what actors are told is kept.
    pub fn listen(&self) {
        self.lock().is_listening = true;
    }

    /// Notes what the actor that is at work was told, where somebody asks for it.
    pub fn learn(&self, what: impl FnOnce() -> String) {
        let mut inner = self.lock();
        if !inner.is_listening {
            return;
        }
        let actor = inner.actor;
        let learnt = inner.learnt.entry(actor).or_default();
        learnt.push_str(&what());
        learnt.push('\n');
    }

    pub fn learnt(&self, actor: usize) -> String {
        self.lock().learnt.get(&actor).cloned().unwrap_or_default()
    }

    /// Calls to decide about, oldest first.
    pub fn waiting(&self) -> Vec<Waiting> {
        let inner = self.lock();
        let parked = inner.parked.iter().filter(|(_, parked)| !parked.is_started && parked.outcome.is_none());
        let waiting = parked.map(|(id, parked)| Waiting {
            id: *id,
            actor: parked.actor,
            kind: parked.call.kind,
            text: parked.call.text.clone(),
        });
        waiting.collect()
    }

    /// Whether an actor has a call here, decided or not: then it needs no timer to go on.
    pub fn holds(&self, actor: usize) -> bool {
        self.lock().parked.values().any(|parked| parked.actor == actor)
    }

    /// Takes the request out of a call that is to be answered later.
    pub fn start(&self, id: u64) -> Ask {
        let mut inner = self.lock();
        let parked = inner.parked.get_mut(&id).expect("a call that was just seen waits");
        parked.is_started = true;
        parked.call.ask.clone().expect("only requests are started")
    }

    pub fn decide(&self, id: u64, outcome: Outcome) {
        let mut inner = self.lock();
        // Whoever waited may have given up.
        if let Some(parked) = inner.parked.get_mut(&id) {
            parked.outcome = Some(outcome);
            parked.waker.wake_by_ref();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no panic holds this lock")
    }
}

/// See [`Gate::pass`].
pub struct Pass {
    gate: Gate,
    call: Option<Call>,
    id: u64,
}

impl Future for Pass {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let gate = self.gate.clone();
        let mut inner = gate.lock();
        if let Some(call) = self.call.take() {
            inner.next += 1;
            self.id = inner.next;
            let (actor, waker) = (inner.actor, context.waker().clone());
            inner.parked.insert(self.id, Parked { actor, call, is_started: false, outcome: None, waker });
            return Poll::Pending;
        }
        let parked = inner.parked.get_mut(&self.id).expect("it waits until it is decided");
        match parked.outcome.take() {
            None => {
                parked.waker = context.waker().clone();
                Poll::Pending
            }
            Some(outcome) => {
                inner.parked.remove(&self.id);
                Poll::Ready(outcome)
            }
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.lock().parked.remove(&self.id);
    }
}

/// Runs something with the gate wide open.
pub async fn open(gate: &Gate, work: impl Future<Output = ()>) {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        loop {
            if work.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let waiting = gate.waiting();
            if waiting.is_empty() {
                return Poll::Pending;
            }
            for call in waiting {
                gate.decide(call.id, Outcome::Done);
            }
        }
    })
    .await;
}
