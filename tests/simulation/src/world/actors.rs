//! Those at work: persons, and invocations of functions in processes that may die.

use super::{Shared, World};
use crate::gate::{Ask, Reply};
use axum::Router;
use functions::Trigger as Starts;
use platform::transport::Breaker;
use platform::{App, Clients, Clock, Config, Rng};
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A process of a function: what it remembers, and its routes.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) app: App,
    pub(super) router: Option<Router>,
    /// The restart that it was begun after.
    pub(super) generation: u32,
}

/// Somebody at work: a person, or an invocation of a function.
pub(super) struct Actor {
    pub(super) name: String,
    pub(super) work: Work,
    /// Where it runs, if it is no person.
    pub(super) process: Option<Process>,
    pub(super) future: Pin<Box<dyn Future<Output = Ended>>>,
    pub(super) flag: Arc<Flag>,
}

pub(super) enum Work {
    Person,
    Request { call: u64, ask: Ask, is_lost: bool },
    Messages { queue: usize, ids: Vec<u64> },
    Records { stream: usize, last: i64, numbers: Vec<(String, i64)> },
    Schedule,
    Webhook { id: u64, keep: bool },
}

pub(super) enum Ended {
    Person,
    Answered(Reply),
    Replied(Result<Value, String>),
}

pub(super) struct Flag {
    woken: AtomicBool,
    alarm: Arc<Notify>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.alarm.notify_one();
    }
}

impl World<'_> {
    /// A process dies: what it was doing stops between two calls, and what it remembered is gone.
    pub(super) fn kill(&mut self, actor: usize) {
        let Some(dead) = self.actors.remove(&actor) else { return };
        self.note(|| format!("{}#{actor} dies", dead.name));
        drop((dead.future, dead.process));
        self.ended(dead.work, Ended::Replied(Err("it died".to_owned())));
    }

    /// Everything that runs dies; people stay.
    pub(super) fn kill_all(&mut self) {
        let is_process = |actor: &&Actor| !matches!(actor.work, Work::Person);
        let at_work: Vec<usize> =
            self.actors.iter().filter(|(_, actor)| is_process(actor)).map(|(id, _)| *id).collect();
        at_work.into_iter().for_each(|actor| self.kill(actor));
    }

    /// A process for a function: one that waits, or a new one whose clock may be wrong.
    pub(super) fn process(&mut self, handler: &str) -> Process {
        let idle = self.warm.get_mut(handler).and_then(Vec::pop).filter(|_| self.explorer.is_none());
        if let Some(process) = idle.filter(|_| !self.faults.restarts(&mut self.choices)) {
            return process;
        }
        let skew = self.faults.skew(&mut self.choices, handler);
        let app = app(self.ground, handler, &self.clients, self.clock.skewed(skew), &self.rng);
        let trigger = functions::find(handler).map(|function| &function.trigger);
        let router = match trigger {
            Some(Starts::Http(routes)) => Some(routes(app.clone()).split_for_parts().0),
            _ => None,
        };
        if skew != 0 {
            self.note(|| format!("{handler} starts with a clock {skew} seconds wrong"));
        }
        Process { app, router, generation: self.generation }
    }

    /// When an invocation of a function that starts now is ended.
    pub(super) fn end(&self, handler: &str) -> Instant {
        let function = self.ground.system.function(handler).expect("the template has this function");
        Instant::now() + function.timeout
    }

    pub(super) fn admit(
        &mut self,
        name: String,
        about: &str,
        work: Work,
        process: Option<Process>,
        future: Pin<Box<dyn Future<Output = Ended>>>,
    ) {
        let flag = Arc::new(Flag { woken: AtomicBool::new(true), alarm: self.alarm.clone() });
        self.gate.enter(self.next_actor);
        self.gate.learn(|| about.to_owned());
        self.actors.insert(self.next_actor, Actor { name, work, process, future, flag });
        self.current = self.next_actor;
        self.next_actor += 1;
    }

    /// Lets everybody go on until they wait at the gate. Who waits for a timer is waited for: time here is not real.
    pub(super) async fn settle_down(&mut self) {
        loop {
            self.run_woken();
            let sleeps = self.actors.keys().any(|actor| !self.gate.holds(*actor));
            if !sleeps {
                break;
            }
            self.alarm.notified().await;
        }
        self.collect();
    }

    pub(super) fn run_woken(&mut self) {
        let woken = |actor: &Actor| actor.flag.woken.swap(false, Ordering::AcqRel);
        while let Some(id) = self.actors.iter().find(|(_, actor)| woken(actor)).map(|(id, _)| *id) {
            self.gate.enter(id);
            let actor = self.actors.get_mut(&id).expect("it was just seen");
            let waker = Waker::from(actor.flag.clone());
            let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                actor.future.as_mut().poll(&mut Context::from_waker(&waker))
            }));
            let ended = match polled {
                Ok(Poll::Pending) => continue,
                Ok(Poll::Ready(ended)) => ended,
                Err(panic) => {
                    let text =
                        panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
                    self.scandals.push(format!("{}#{id} panicked: {}", actor.name, text.unwrap_or("?")));
                    Ended::Replied(Err("it panicked".to_owned()))
                }
            };
            let Actor { name, work, process, .. } = self.actors.remove(&id).expect("it was just polled");
            let is_well =
                |process: &Process| process.generation == self.generation && !matches!(ended, Ended::Replied(Err(_)));
            self.warm.entry(name).or_default().extend(process.filter(is_well));
            self.ended(work, ended);
        }
    }
}

/// A function's view of the world.
pub(super) fn app(ground: &Shared, handler: &str, clients: &Clients, clock: Clock, rng: &Rng) -> App {
    let function = ground.system.function(handler).expect("the template has this function");
    let config = Config::from_map(function.environment.clone());
    // Each process has seen its own failures of the provider.
    let transport = Arc::new(Breaker::new(clients.transport.clone(), rng.clone()));
    App::new(config, Clients { transport, ..clients.clone() }, clock, rng.clone())
}
