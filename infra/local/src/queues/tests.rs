use super::*;
use std::path::PathBuf;

const START: &str = "2026-01-01T00:00:00Z";

fn definitions() -> Vec<template::Queue> {
    let queue = |name: &str, redrive| template::Queue {
        name: name.to_owned(),
        visibility: Duration::from_secs(30),
        delay: Duration::ZERO,
        redrive,
    };
    let dead = queue("Dead", None);
    vec![queue("Work", Some(template::Redrive { dead_letters: dead.arn(), receives_max: 3 })), dead]
}

fn clock() -> Clock {
    Clock::frozen_at(START.parse().expect("it is an instant"))
}

fn open(journal: Journal, clock: &Clock) -> Queues {
    Queues::open(&definitions(), Arc::new(journal), clock.clone()).expect("the queues open")
}

fn send(queues: &Queues, body: &str, delay_seconds: u16) {
    queues.send("Work", vec![QueueMessage { body: body.to_owned(), delay_seconds }]).expect("it is sent");
}

/// The bodies of what can be received now, without waiting.
fn take(queues: &Queues, messages_max: usize) -> Vec<Message> {
    queues.take(queues.named("Work").expect("it is there"), messages_max).expect("it can be read").0
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.body.as_str()).collect()
}

/// A file of its own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let name: [u8; 8] = platform::Rng::System.bytes();
        let path = std::env::temp_dir().join(format!("queues-{:x}", u64::from_be_bytes(name)));
        std::fs::create_dir(&path).expect("the directory is new");
        Self(path)
    }

    fn journal(&self) -> Journal {
        Journal::open(&self.0.join("queues.sqlite")).expect("the file opens")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("the directory is ours");
    }
}

#[test]
fn a_message_is_hidden_while_it_is_worked_on_and_comes_back() {
    let clock = clock();
    let queues = open(Journal::none(), &clock);
    send(&queues, "a", 0);
    assert_eq!(bodies(&take(&queues, 10)), ["a"]);
    assert!(take(&queues, 10).is_empty());
    clock.advance(29);
    assert!(take(&queues, 10).is_empty());
    clock.advance(1);
    let again = take(&queues, 10);
    assert_eq!((bodies(&again), again[0].receives), (vec!["a"], 2));
    queues.finish("Work", &[again[0].id]).expect("it is finished");
    clock.advance(60);
    assert!(take(&queues, 10).is_empty());
}

#[test]
fn batches_keep_the_order_and_the_size() {
    let queues = open(Journal::none(), &clock());
    for body in ["a", "b", "c"] {
        send(&queues, body, 0);
    }
    assert_eq!(bodies(&take(&queues, 2)), ["a", "b"]);
    assert_eq!(bodies(&take(&queues, 2)), ["c"]);
}

#[test]
fn a_delayed_message_waits_for_its_time() {
    let clock = clock();
    let queues = open(Journal::none(), &clock);
    send(&queues, "later", 60);
    assert!(take(&queues, 10).is_empty());
    assert_eq!(queues.depth("Work").expect("it is there"), Depth { ready: 0, waiting: 1, in_flight: 0 });
    clock.advance(60);
    assert_eq!(bodies(&take(&queues, 10)), ["later"]);
}

#[test]
fn a_message_that_fails_too_often_is_a_dead_letter_and_can_be_sent_back() {
    let clock = clock();
    let queues = open(Journal::none(), &clock);
    send(&queues, "bad", 0);
    for _ in 0..3 {
        let taken = take(&queues, 10);
        assert_eq!(bodies(&taken), ["bad"]);
        queues.fail("Work", &[taken[0].id]).expect("it fails");
        clock.advance(30);
    }
    assert!(take(&queues, 10).is_empty());
    assert_eq!(queues.bodies("Dead").expect("it is there"), ["bad"]);
    assert_eq!(queues.redrive("Dead").expect("it is sent back"), 1);
    let again = take(&queues, 10);
    assert_eq!((bodies(&again), again[0].receives), (vec!["bad"], 1));
    assert!(queues.bodies("Dead").expect("it is there").is_empty());
}

#[test]
fn what_cannot_be_kept_elsewhere_stays_a_dead_letter() {
    let (clock, scratch) = (clock(), Scratch::new());
    let queues = open(scratch.journal(), &clock);
    send(&queues, "bad", 0);
    for _ in 0..3 {
        let taken = take(&queues, 1);
        queues.fail("Work", &[taken[0].id]).expect("it fails");
        clock.advance(30);
    }
    assert!(take(&queues, 1).is_empty(), "it is given up");
    let file = rusqlite::Connection::open(scratch.0.join("queues.sqlite")).expect("the file opens");
    let rename = |from: &str, to: &str| file.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}"));
    rename("messages", "elsewhere").expect("it is there");
    assert!(queues.redrive("Dead").is_err());
    assert_eq!(queues.bodies("Dead").expect("it is there"), ["bad"]);
    rename("elsewhere", "messages").expect("it is there");
    assert_eq!(queues.redrive("Dead").expect("it is sent back"), 1);
    assert_eq!(bodies(&take(&queues, 1)), ["bad"]);
}

#[test]
fn what_was_not_finished_is_there_after_a_crash() {
    let (clock, scratch) = (clock(), Scratch::new());
    let queues = open(scratch.journal(), &clock);
    for body in ["done", "in flight", "failed", "ready"] {
        send(&queues, body, 0);
    }
    send(&queues, "delayed", 600);
    let taken = take(&queues, 3);
    queues.finish("Work", &[taken[0].id]).expect("it is finished");
    queues.fail("Work", &[taken[2].id]).expect("it fails");
    drop(queues);

    let queues = open(scratch.journal(), &clock);
    let mut now = take(&queues, 10);
    now.sort_by_key(|message| message.id);
    assert_eq!(bodies(&now), ["in flight", "ready"]);
    clock.advance(30);
    let failed = take(&queues, 1);
    assert_eq!((bodies(&failed), failed[0].receives), (vec!["failed"], 2));
    clock.advance(570);
    assert!(bodies(&take(&queues, 10)).contains(&"delayed"));
    send(&queues, "new", 0);
    assert!(bodies(&take(&queues, 10)).contains(&"new"), "a new message replaced no kept one");
}

#[test]
fn a_paused_queue_accepts_and_does_not_deliver() {
    let queues = open(Journal::none(), &clock());
    queues.pause("Work", true).expect("it is there");
    send(&queues, "a", 0);
    assert!(take(&queues, 10).is_empty());
    queues.pause("Work", false).expect("it is there");
    assert_eq!(bodies(&take(&queues, 10)), ["a"]);
}

#[tokio::test]
async fn a_waiting_receiver_is_woken_at_once_and_by_the_clock() {
    let clock = clock();
    let queues = Arc::new(open(Journal::none(), &clock));
    let receiver = queues.clone();
    let waiting = tokio::spawn(async move { receiver.receive("Work", 10).await });
    tokio::task::yield_now().await;
    send(&queues, "now", 0);
    let taken = waiting.await.expect("it ends").expect("it receives");
    assert_eq!(bodies(&taken), ["now"]);
    send(&queues, "later", 60);
    let receiver = queues.clone();
    let waiting = tokio::spawn(async move { receiver.receive("Work", 10).await });
    tokio::task::yield_now().await;
    clock.advance(60);
    let taken = waiting.await.expect("it ends").expect("it receives");
    assert!(bodies(&taken).contains(&"later"));
}
