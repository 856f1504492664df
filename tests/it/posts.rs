//! Messengers that integrate themselves: what is posted to them, what they post, and the check that their developers run.

use crate::messenger::account;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use boxoffice::Options;
use boxoffice::messenger_check::MessengerCheck;
use jiff::Timestamp;
use platform::webhooks::{self, Secret, TIMESTAMP, sign, verify};
use platform::{Clock, Rng};
use serde_json::{Value, json};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use tests::{Reply, TestApp, User, options, seat};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHERS: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What a messenger does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flaw {
    #[default]
    None,
    /// It looks at no signature.
    Trusting,
    /// It does not care how old something is.
    Timeless,
    /// It looks at the first signature only.
    FirstOnly,
    /// It takes messages for chats that there are not.
    AnyChat,
    /// It takes what comes again for an error.
    RefusesRepeats,
    /// It answers what it does not believe as if a chat were gone.
    GoneForForged,
    Broken,
}

/// A messenger that knows one of our secrets, with one chat. Clones are one.
#[derive(Clone, Default)]
struct Smoke {
    clock: Clock,
    flaw: Flaw,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// Ids and bodies of what came and was believed, whatever it was answered.
    posts: Vec<(String, Value)>,
    unbelieved: usize,
    /// What the next are answered with, and a `Retry-After`.
    answers: VecDeque<(u16, &'static str)>,
}

fn secret(text: &str) -> Secret {
    text.parse().expect("it is a secret")
}

impl Smoke {
    /// It listens; its address.
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let url = format!("http://{}/hook", listener.local_addr().expect("it is bound"));
        let router = Router::new().fallback(Self::take).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic holds this lock")
    }

    async fn take(State(smoke): State<Self>, mut headers: HeaderMap, body: Bytes) -> Response {
        if smoke.flaw == Flaw::FirstOnly {
            let first = headers.get("webhook-signature").and_then(|all| all.to_str().ok()?.split(' ').next());
            let first = HeaderValue::from_str(first.unwrap_or_default()).expect("it was one");
            headers.insert("webhook-signature", first);
        }
        let sent = headers.get(TIMESTAMP).and_then(|at| Timestamp::from_second(at.to_str().ok()?.parse().ok()?).ok());
        let now = if smoke.flaw == Flaw::Timeless { sent.unwrap_or_default() } else { smoke.clock.now() };
        // In the middle of a rotation: it has the new secret alone.
        let id = verify(&[secret(NEW)], &headers, &body, now).map(str::to_owned);
        let mut seen = smoke.seen();
        let id = match id {
            Ok(id) => id,
            Err(_) if smoke.flaw == Flaw::Trusting => "trusted".to_owned(),
            Err(_) => {
                seen.unbelieved += 1;
                let is_gone = smoke.flaw == Flaw::GoneForForged;
                return if is_gone { StatusCode::GONE } else { StatusCode::UNAUTHORIZED }.into_response();
            }
        };
        let body: Value = serde_json::from_slice(&body).expect("it is JSON");
        let is_known = ["c-1", "check"].contains(&body["data"]["chat"].as_str().unwrap_or_default());
        let is_again = seen.posts.iter().any(|(before, _)| *before == id);
        seen.posts.push((id, body));
        let (status, after) = seen.answers.pop_front().unwrap_or(match smoke.flaw {
            Flaw::Broken => (500, ""),
            Flaw::RefusesRepeats if is_again => (409, ""),
            Flaw::AnyChat => (202, ""),
            _ => (if is_known { 202 } else { 404 }, ""),
        });
        (StatusCode::from_u16(status).expect("a test names a status"), [(header::RETRY_AFTER, after)]).into_response()
    }

    fn answers(&self, answers: impl IntoIterator<Item = (u16, &'static str)>) {
        self.seen().answers.extend(answers);
    }

    /// What came since this was asked last.
    fn take_posts(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.seen().posts)
    }
}

/// A box office that writes to this messenger and, in vain, to another.
struct World {
    app: TestApp,
    smoke: Smoke,
    ada: User,
}

impl World {
    async fn new() -> Self {
        let options = options();
        let smoke = Smoke { clock: options.clock.clone(), ..Smoke::default() };
        let url = smoke.start().await;
        let messengers = json!({
            "smoke": { "url": url, "deep_link": "https://smoke.example/start?token={token}", "secrets": [OLD, NEW] },
            "fire": { "url": url, "deep_link": "https://fire.example/{token}", "secrets": [OTHERS] },
            "wrong": { "url": "http://elsewhere.example", "deep_link": "", "secrets": [] },
        });
        let app = TestApp::start_with(Options { messengers: messengers.to_string(), ..options }).await;
        let ada = account(&app, "ada", "en").await;
        Self { app, smoke, ada }
    }

    /// A token that Ada asked for.
    async fn token(&self, messenger: &str) -> String {
        let asked = json!({ "messenger": messenger });
        let link = self.app.post(&self.ada, "/messenger/links", &asked).await.expect(201);
        let deep_link = link["deep_link"].as_str().expect("it is there");
        let token = deep_link.strip_prefix("https://smoke.example/start?token=");
        token.or(deep_link.strip_prefix("https://fire.example/")).expect("it is as it was set up").to_owned()
    }

    /// Posts this under this id, signed by this secret.
    async fn post(&self, messenger: &str, by: &str, id: &str, body: &Value) -> Reply {
        let (now, body) = (self.app.app("messenger").now(), body.to_string());
        let mut ask = self.app.ask("POST", &format!("/messenger/{messenger}/webhook"));
        for (name, value) in sign(&[secret(by)], id, now, body.as_bytes()) {
            ask = ask.header(name.as_str(), &value);
        }
        ask.body(body).send().await
    }

    /// What the messenger has to say, under a new id.
    async fn says(&self, body: &Value) -> Reply {
        let id: String = Rng::System.bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
        self.post("smoke", NEW, &id, body).await
    }

    async fn link(&self, chat: &str) -> Reply {
        let token = self.token("smoke").await;
        self.says(&json!({ "type": "chat.link", "token": token, "chat": chat, "name": "Ада 🎭" })).await
    }

    async fn chats(&self) -> Vec<Value> {
        let listed = self.app.get(&self.ada, "/messenger/chats").await.expect(200);
        listed["items"].as_array().expect("it is a list").clone()
    }

    /// Buys so many seats of a row, and waits for so many seconds.
    async fn buy(&self, event: &str, row: u8, count: u8, seconds: i64) {
        let seats = (1..=count).map(|n| seat("Stalls", row, n)).collect();
        self.app.buy(&self.ada, event, &seats).await;
        self.wait(seconds).await;
    }

    async fn wait(&self, seconds: i64) {
        for _ in 0..seconds {
            self.app.advance(1);
            self.app.settled().await;
        }
    }

    /// What is kept, but for notes of which posts were worked on.
    async fn kept(&self) -> BTreeSet<String> {
        let all = self.app.everything().await.into_iter();
        all.filter(|item| !item.contains("\"pk\":\"update#")).collect()
    }

    async fn has(&self, part: &str) -> bool {
        self.kept().await.iter().any(|item| item.contains(part))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_is_linked_and_told_and_says_that_it_was() {
    let world = World::new().await;
    let event = world.app.on_sale().await;
    assert_eq!(world.link("c-1").await.expect(200), json!({ "account": "a***@example.org" }));
    let expected = json!([{
        "id": "smoke:c-1", "messenger": "smoke", "name": "Ада 🎭", "status": "linked", "linked_at": "2027-03-01T12:00:00Z",
    }]);
    assert_eq!(json!(world.chats().await), expected);

    world.buy(&event, 1, 2, 5).await;
    let posts = world.smoke.take_posts();
    assert_eq!((posts.len(), world.smoke.seen().unbelieved), (3, 0), "a text, and a code for each ticket: {posts:#?}");
    let (first, body) = &posts[0];
    assert!(first.starts_with("ntc_") && body["id"] == first.as_str() && body["type"] == "message", "{body}");
    let data = &body["data"];
    assert_eq!((&data["chat"], &body["at"]), (&json!("c-1"), &json!("2027-03-01T12:00:00Z")));
    assert!(data["html"].as_str().is_some_and(|html| html.contains("<b>The Cherry Orchard</b>")), "{data}");
    assert!(data["text"].as_str().is_some_and(|text| text.contains("The Cherry Orchard") && !text.contains('<')));
    let url = data["buttons"][0][0]["url"].as_str().expect("it has a button");
    assert!(url.starts_with(&format!("{}/#/orders/ord_", world.app.url)), "{url}");
    assert!(data.get("picture").is_none());
    assert!(
        posts[1..].iter().all(|(_, body)| body["data"]["picture"].as_str().is_some_and(|it| it.starts_with("iVBOR")))
    );
    let ids: BTreeSet<_> = posts.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 3);

    let delivered = json!({ "type": "message.delivered", "id": first });
    assert_eq!(world.says(&delivered).await.status, 204);
    assert!(world.has("\"receipt\":\"delivered\"").await);
    let failed = json!({ "type": "message.failed", "id": posts[1].0, "reason": "the phone is\n off" });
    assert_eq!(world.says(&failed).await.status, 204);
    assert!(world.has("\"receipt\":\"failed: the phone is off\"").await);
    for unknown in ["", "ntc_", "ntc_1-0-aa", &first.replacen("-0-", "-7-", 1), &format!("{first}0")] {
        world.says(&json!({ "type": "message.delivered", "id": unknown })).await.problem(404, "not_found");
    }
    world.post("fire", OTHERS, "1", &delivered).await.problem(404, "not_found");
    world.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_chats_are_told_of_one_notice_under_two_ids() {
    let world = World::new().await;
    let event = world.app.on_sale().await;
    world.link("c-1").await.expect(200);
    world.link("check").await.expect(200);
    world.buy(&event, 1, 1, 3).await;
    let posts = world.smoke.take_posts();
    let ids: BTreeSet<_> = posts.iter().map(|(id, _)| id).collect();
    assert_eq!((posts.len(), ids.len()), (2, 2), "whoever drops what it has seen loses neither");
    world.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_taken_waits_or_ends_as_the_messenger_says() {
    let world = World::new().await;
    let event = world.app.on_sale().await;
    world.link("c-1").await.expect(200);
    // Not before it says, and without an answer again under the same id.
    world.smoke.answers([(429, "20"), (500, ""), (302, "")]);
    world.buy(&event, 1, 1, 18).await;
    assert_eq!(world.smoke.seen().posts.len(), 1, "nobody tries before");
    world.wait(40).await;
    let posts = world.smoke.take_posts();
    assert_eq!(posts.len(), 4, "{posts:#?}");
    assert!(posts.iter().all(|post| *post == posts[0]), "the same each time: {posts:#?}");
    // Its answer was lost, and it says that it has it.
    world.smoke.answers([(500, "")]);
    world.buy(&event, 2, 1, 2).await;
    let [(lost, _)] = &world.smoke.take_posts()[..] else { panic!("one") };
    assert_eq!(world.says(&json!({ "type": "message.delivered", "id": lost })).await.status, 204);
    world.wait(10).await;
    assert_eq!(world.smoke.take_posts(), [], "it is not sent again");
    // What it refuses is wrong however often it is sent.
    world.smoke.answers([(400, "")]);
    world.buy(&event, 3, 1, 10).await;
    assert_eq!(world.smoke.take_posts().len(), 1);
    // The chat is gone.
    world.smoke.answers([(410, "")]);
    world.buy(&event, 4, 1, 3).await;
    assert_eq!((world.smoke.take_posts().len(), &world.chats().await[0]["status"]), (1, &json!("unreachable")));
    world.buy(&event, 5, 1, 3).await;
    assert_eq!(world.smoke.take_posts(), []);
    // Its person comes back.
    world.link("c-1").await.expect(200);
    assert_eq!(world.chats().await[0]["status"], "linked");
    world.buy(&event, 6, 1, 3).await;
    assert_eq!(world.smoke.take_posts().len(), 1);
    world.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_side_ends_it() {
    let world = World::new().await;
    for what in ["chat.blocked", "chat.unlink"] {
        let ended = json!({ "type": what, "chat": "c-1" });
        let before = world.kept().await;
        assert_eq!(world.says(&ended).await.status, 204, "one that is not linked stays so");
        assert_eq!(world.kept().await, before);
        world.link("c-1").await.expect(200);
        for _ in 0..2 {
            assert_eq!(world.says(&ended).await.status, 204);
        }
        let statuses: Vec<_> = world.chats().await.iter().map(|chat| chat["status"].clone()).collect();
        assert_eq!(statuses, if what == "chat.blocked" { vec![json!("unreachable")] } else { vec![] });
        world.says(&json!({ "type": "chat.unlink", "chat": "c-1" })).await;
    }
    world.link("c-2").await.expect(200);
    let gone = world.app.ask("DELETE", "/messenger/chats/smoke:c-2").by(&world.ada).send().await;
    assert_eq!((gone.status, world.chats().await.len()), (204, 0));
    world.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_for_one_chat_of_its_messenger_and_for_ten_minutes() {
    let world = World::new().await;
    let link = |token: &str, chat: &str| json!({ "type": "chat.link", "token": token, "chat": chat, "name": "A" });
    let token = world.token("smoke").await;
    let first = world.post("smoke", OLD, "one", &link(&token, "c-1")).await;
    assert_eq!(first.status, 200, "the old secret is still good");
    let before = world.kept().await;
    let again = world.post("smoke", NEW, "one", &link(&token, "c-1")).await;
    assert_eq!((again.status, &again.body), (200, &first.body), "answered the same");
    assert_eq!(world.post("smoke", NEW, "two", &link(&token, "c-1")).await.expect(200), first.body);
    world.says(&link(&token, "c-2")).await.problem(409, "link_used");
    assert_eq!(world.kept().await, before, "and nothing is written");
    // A post that comes late undoes nothing that was done since.
    let unlink = json!({ "type": "chat.unlink", "chat": "c-1" });
    assert_eq!(world.post("smoke", NEW, "three", &unlink).await.status, 204);
    world.link("c-1").await.expect(200);
    assert_eq!(world.post("smoke", NEW, "three", &unlink).await.status, 204);
    assert_eq!(world.chats().await.len(), 1);

    let (other, old) = (world.token("fire").await, world.token("smoke").await);
    world.says(&link(&other, "c-3")).await.problem(404, "link_unknown");
    world.says(&link("AAAAAAAAAAAAAAAAAAAAAA", "c-3")).await.problem(404, "link_unknown");
    world.says(&link(&"x".repeat(10_000), "c-3")).await.problem(404, "link_unknown");
    world.app.advance(601);
    world.says(&link(&old, "c-3")).await.problem(410, "link_expired");
    for chat in 2..=5 {
        world.link(&format!("c-{chat}")).await.expect(200);
    }
    world.link("c-6").await.problem(409, "chats_max");
    let long = world.token("smoke").await;
    world.says(&json!({ "type": "chat.unlink", "chat": "c-5" })).await;
    let named = json!({ "type": "chat.link", "token": long, "chat": "c-6", "name": "\u{202e}<b>".repeat(3_000) });
    world.says(&named).await.expect(200);
    assert!(
        world.chats().await.iter().all(|chat| chat["name"].as_str().is_some_and(|name| name.chars().count() <= 100))
    );
    world.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_messenger_itself_is_believed() {
    let world = World::new().await;
    let token = world.token("smoke").await;
    let body = json!({ "type": "chat.link", "token": token, "chat": "c-1", "name": "A" });
    let before = world.app.everything().await;
    let (now, bytes) = (world.app.app("messenger").now(), body.to_string());
    let minutes = jiff::SignedDuration::from_mins(6);
    let signed = |by: &str, at: Timestamp, body: &str| sign(&[secret(by)], "1", at, body.as_bytes());
    let post = async |messenger: &str, headers: &[(axum::http::HeaderName, String)]| {
        let mut ask = world.app.ask("POST", &format!("/messenger/{messenger}/webhook"));
        for (name, value) in headers {
            ask = ask.header(name.as_str(), value);
        }
        ask.body(bytes.clone()).send().await
    };
    for headers in [
        signed(OTHERS, now, &bytes).to_vec(),
        signed(NEW, now, "{}").to_vec(),
        signed(NEW, now - minutes, &bytes).to_vec(),
        signed(NEW, now + minutes, &bytes).to_vec(),
        signed(NEW, now, &bytes)[..2].to_vec(),
        vec![],
    ] {
        post("smoke", &headers).await.problem(401, "webhook_signature_invalid");
    }
    let good = signed(NEW, now, &bytes);
    for nobody in ["elsewhere", "email", "Smoke", "smoke%23"] {
        post(nobody, &good).await.problem(404, "not_found");
    }
    post("telegram", &good).await.problem(401, "webhook_secret_invalid");
    post("fire", &good).await.problem(401, "webhook_signature_invalid");
    post("wrong", &good).await.problem(503, "unavailable");
    for (wrong, status, code) in [
        (json!({}), 422, "invalid"),
        (json!({ "type": "chat.greet" }), 422, "invalid"),
        (json!({ "type": "chat.unlink" }), 422, "invalid"),
        (json!({ "type": "chat.unlink", "chat": 7 }), 422, "invalid"),
        (json!({ "type": "chat.unlink", "chat": "c-1", "more": 1 }), 422, "invalid"),
        (json!({ "type": "chat.unlink", "chat": "" }), 422, "invalid"),
        (json!({ "type": "chat.blocked", "chat": "a b" }), 422, "invalid"),
        (json!({ "type": "chat.blocked", "chat": "c".repeat(65) }), 422, "invalid"),
        (json!({ "type": "message.failed", "id": "x" }), 422, "invalid"),
        (json!({ "type": "chat.unlink", "chat": "c".repeat(300_000) }), 413, "too_large"),
    ] {
        world.says(&wrong).await.problem(status, code);
    }
    world.says(&Value::String("x".into())).await.problem(422, "invalid");
    world.app.check_unwritten(&before, "a post that is wrong or forged").await;
    for (messenger, status, code) in [("elsewhere", 422, "invalid"), ("wrong", 503, "unavailable")] {
        let asked = json!({ "messenger": messenger });
        world.app.post(&world.ada, "/messenger/links", &asked).await.problem(status, code);
    }
    assert_eq!(post("smoke", &good).await.status, 200);
    world.app.finish().await;
}

/// What the check says to a messenger with this flaw.
async fn checked(flaw: Flaw) -> (Result<(), String>, Vec<String>) {
    let url = Smoke { flaw, ..Smoke::default() }.start().await;
    let check = MessengerCheck::new(&url, NEW, "check").expect("it is an address and a secret");
    let mut lines = Vec::new();
    let result = check.run(|line| lines.push(line.to_owned())).await;
    (result, lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_tells_good_messengers_from_bad_ones() {
    let (result, lines) = checked(Flaw::None).await;
    assert_eq!(result, Ok(()), "{lines:#?}");
    assert!(lines.len() == 11 && lines.iter().all(|line| line.starts_with("ok ")), "{lines:#?}");
    let forged = ["without a signature", "somebody else", "body was changed", "id was changed"];
    let untimely = ["old message", "of the future"];
    for (flaw, failed) in [
        (Flaw::Trusting, [&forged[..], &untimely].concat()),
        (Flaw::Timeless, untimely.to_vec()),
        (Flaw::FirstOnly, vec!["one of several signatures"]),
        (Flaw::AnyChat, vec!["unknown chat"]),
        (Flaw::RefusesRepeats, vec!["the same message is taken again"]),
        (Flaw::GoneForForged, [&forged[..], &untimely].concat()),
        (Flaw::Broken, vec!["a signed message is taken", "again", "picture", "one of several", "unknown chat"]),
    ] {
        let (result, lines) = checked(flaw).await;
        let found: Vec<_> = lines.iter().filter(|line| line.starts_with("FAILED ")).collect();
        assert_eq!(result, Err(format!("{} of 11 checks failed", failed.len())), "{flaw:?}: {lines:#?}");
        assert!(failed.iter().all(|part| found.iter().any(|line| line.contains(part))), "{flaw:?}: {found:#?}");
    }
    // A secret of somebody else, and nobody at all.
    let url = Smoke::default().start().await;
    for (url, secret, failed) in [(url.as_str(), OTHERS, 5), ("http://127.0.0.1:9/", NEW, 11)] {
        let check = MessengerCheck::new(url, secret, "check").expect("it is an address and a secret");
        let mut lines = Vec::new();
        let result = check.run(|line| lines.push(line.to_owned())).await;
        assert_eq!(result, Err(format!("{failed} of 11 checks failed")), "{lines:#?}");
    }
    assert_eq!(webhooks::TOLERANCE_SECONDS, 300, "as the check takes it");
}
