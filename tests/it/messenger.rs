//! The bot, through the webhook that its messenger posts to: linking, unlinking, and who it believes.

mod commands;
mod sandbox;
mod texts;

use domain::access::Role;
use domain::chats::ChatRef;
use domain::ids::UserId;
use platform::store::Link;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use tests::http::new_key;
use tests::{Reply, TestApp, User, id};

const WEBHOOK: &str = "/messenger/telegram/webhook";
const SECRET: &str = "x-telegram-bot-api-secret-token";
const PASSWORD: &str = "correct horse battery";

/// Somebody's messenger, with the bot in it.
pub struct Phone<'a> {
    app: &'a TestApp,
    chat: i64,
    language: &'static str,
}

impl<'a> Phone<'a> {
    pub fn new(app: &'a TestApp, chat: i64, language: &'static str) -> Self {
        Self { app, chat, language }
    }

    fn from(&self) -> Value {
        json!({ "id": self.chat, "is_bot": false, "first_name": "Ада <b>", "last_name": "שלום 🎭", "language_code": self.language })
    }

    fn room(&self) -> Value {
        json!({ "id": self.chat, "type": "private", "first_name": "Ада <b>" })
    }

    fn message(&self, text: &str) -> Value {
        json!({ "message_id": 5, "date": 1_803_902_400, "chat": self.room(), "from": self.from(), "text": text })
    }

    /// What the bot says to a text: the method and parameters of its answer; null for nothing.
    pub async fn says(&self, text: &str) -> Value {
        said(update(self.app, json!({ "message": self.message(text) })).await)
    }

    /// What the bot says when a button of these data is pressed.
    pub async fn presses(&self, data: &str) -> Value {
        let press = json!({ "id": "77", "from": self.from(), "message": self.message("?"), "data": data });
        said(update(self.app, json!({ "callback_query": press })).await)
    }

    /// The person stops the bot (`kicked`), or lets it in (`member`).
    async fn becomes(&self, status: &str) {
        let member = json!({ "status": status, "user": { "id": 4711, "is_bot": true, "first_name": "Boxoffice" } });
        let change = json!({ "chat": self.room(), "from": self.from(), "date": 0, "new_chat_member": member });
        assert_eq!(said(update(self.app, json!({ "my_chat_member": change })).await), Value::Null);
    }
}

/// An update with a new id, and this in it.
fn numbered(mut what: Value) -> Value {
    static NEXT: AtomicI64 = AtomicI64::new(870_000_000);
    what["update_id"] = json!(NEXT.fetch_add(1, Ordering::Relaxed));
    what
}

/// Posts an update as the messenger does.
async fn posted(app: &TestApp, update: &Value) -> Reply {
    let secret = &app.running.secrets.telegram_webhook_secret;
    app.ask("POST", WEBHOOK).header(SECRET, secret).json(update).send().await
}

pub async fn update(app: &TestApp, what: Value) -> Reply {
    posted(app, &numbered(what)).await
}

#[track_caller]
pub fn said(reply: Reply) -> Value {
    assert!([200, 204].contains(&reply.status), "{} {}", reply.status, reply.text());
    assert_eq!(reply.status == 204, reply.body.is_null(), "{}", reply.text());
    reply.body
}

pub fn text(said: &Value) -> &str {
    said["text"].as_str().unwrap_or_else(|| panic!("it says something: {said}"))
}

/// The buttons below a message, by what they do.
pub fn buttons(said: &Value) -> Vec<&str> {
    let rows = said["reply_markup"]["inline_keyboard"].as_array().into_iter().flatten();
    let buttons = rows.flat_map(|row| row.as_array().into_iter().flatten());
    buttons.filter_map(|button| button["callback_data"].as_str().or(button["url"].as_str())).collect()
}

/// Somebody with an account.
pub async fn account(app: &TestApp, name: &str, locale: &str) -> User {
    let body = json!({ "email": format!("{name}@example.org"), "password": PASSWORD, "name": name, "locale": locale });
    let made = app.ask("POST", "/users").key(&new_key()).json(&body).send().await.expect(201);
    let id: UserId = id(&made).parse().expect("it is an account's");
    User::new(id, vec![Role::Buyer])
}

/// A token that this account asked for.
async fn token(app: &TestApp, user: &User) -> String {
    let link = app.post(user, "/messenger/links", &json!({ "messenger": "telegram" })).await.expect(201);
    let deep_link = link["deep_link"].as_str().expect("it is there");
    deep_link.strip_prefix("https://t.me/boxoffice_bot?start=").expect("it opens the bot").to_owned()
}

/// Links this phone's chat with an account.
pub async fn link(app: &TestApp, user: &User, phone: &Phone<'_>) {
    let token = token(app, user).await;
    phone.says(&format!("/start {token}")).await;
    phone.presses(&format!("link:{token}")).await;
    let here = format!("telegram:{}", phone.chat);
    assert!(chats(app, user).await.iter().any(|chat| chat["id"] == here.as_str()), "it is linked");
}

async fn chats(app: &TestApp, user: &User) -> Vec<Value> {
    app.get(user, "/messenger/chats").await.expect(200)["items"].as_array().expect("it is a list").clone()
}

/// Everything but the notes of which updates were worked on.
async fn kept(app: &TestApp) -> BTreeSet<String> {
    app.everything().await.into_iter().filter(|item| !item.contains("\"pk\":\"update#")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_is_linked_when_its_person_says_so() {
    let app = TestApp::start().await;
    let (ada, phone) = (account(&app, "ada", "en").await, Phone::new(&app, 11, "en"));
    let reply = app.post(&ada, "/messenger/links", &json!({ "messenger": "telegram" })).await;
    assert_eq!(reply.header("cache-control"), "no-store");
    let asked = reply.expect(201);
    assert_eq!(asked["expires_at"], "2027-03-01T12:10:00Z");
    assert!(asked["qr"].as_str().is_some_and(|qr| qr.starts_with("data:image/svg+xml;base64,")), "{asked}");
    let deep_link = asked["deep_link"].as_str().expect("it is there");
    let token = deep_link.strip_prefix("https://t.me/boxoffice_bot?start=").expect("it opens the bot");
    assert_eq!(token.len(), 22, "128 bits");
    assert!(!app.everything().await.iter().any(|item| item.contains(token)), "the token is not kept");
    assert_ne!(self::token(&app, &ada).await, token, "each is new");

    let question = phone.says(&format!("/start {token}")).await;
    assert_eq!((&question["method"], &question["chat_id"]), (&json!("sendMessage"), &json!(11)));
    assert!(text(&question).contains("a***@example.org"), "{question}");
    assert_eq!(buttons(&question), [format!("link:{token}"), format!("nolink:{token}")]);
    assert_eq!(chats(&app, &ada).await, Vec::<Value>::new(), "nothing happens before they say so");

    let done = phone.presses(&format!("link:{token}")).await;
    assert!(!app.everything().await.iter().any(|item| item.contains(token)), "not even in what was answered");
    assert_eq!((&done["method"], &done["message_id"]), (&json!("editMessageText"), &json!(5)));
    assert!(text(&done).contains("a***@example.org") && buttons(&done).is_empty(), "{done}");
    let linked = chats(&app, &ada).await;
    let expected = json!([{
        "id": "telegram:11", "messenger": "telegram", "name": "Ада <b> שלום 🎭", "status": "linked",
        "linked_at": "2027-03-01T12:00:00Z",
    }]);
    assert_eq!(json!(linked), expected);

    let before = kept(&app).await;
    assert_eq!(text(&phone.presses(&format!("link:{token}")).await), text(&done), "the same again");
    assert_eq!(text(&phone.says(&format!("/start {token}")).await), text(&done));
    assert_eq!(kept(&app).await, before, "and nothing is written");
    let other = Phone::new(&app, 12, "en");
    assert!(text(&other.says(&format!("/start {token}")).await).contains("used"));
    assert!(text(&other.presses(&format!("link:{token}")).await).contains("used"));
    assert_eq!(kept(&app).await, before);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_are_no_good_do_nothing() {
    let app = TestApp::start().await;
    let (ada, phone) = (account(&app, "ada", "en").await, Phone::new(&app, 11, "en"));
    let ru = Phone::new(&app, 12, "ru-RU");
    let (old, refused) = (token(&app, &ada).await, token(&app, &ada).await);
    let no = phone.presses(&format!("nolink:{refused}")).await;
    assert!(text(&no).starts_with("Nothing was linked"), "{no}");
    app.advance(601);
    let before = kept(&app).await;
    let long = "x".repeat(10_000);
    for (name, token, words) in [
        ("ten minutes old", old.as_str(), "more than ten minutes old"),
        ("refused", &refused, "used already"),
        ("unknown", "AAAAAAAAAAAAAAAAAAAAAA", "do not know this link"),
        ("too short", "A", "do not know this link"),
        ("very long", &long, "do not know this link"),
        ("a key's separator", "link#AAAAAAAAAAAAAAAAA", "do not know this link"),
    ] {
        for said in [
            phone.says(&format!("/start {token}")).await,
            phone.presses(&format!("link:{token}")).await,
            phone.presses(&format!("nolink:{token}")).await,
        ] {
            assert!(text(&said).contains(words), "{name}: {said}");
        }
    }
    assert!(text(&ru.says(&format!("/start {old}")).await).contains("больше десяти минут"));
    assert_eq!(kept(&app).await, before);
    app.post(&ada, "/messenger/links", &json!({ "messenger": "smoke" })).await.problem(422, "invalid");
    app.post(&ada, "/messenger/links", &json!({})).await.problem(422, "invalid");
    app.ask("POST", "/messenger/links")
        .json(&json!({ "messenger": "telegram" }))
        .send()
        .await
        .problem(401, "token_missing");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_died_while_linking_presses_again() {
    let app = TestApp::start().await;
    let (ada, phone) = (account(&app, "ada", "en").await, Phone::new(&app, 11, "en"));
    let token = token(&app, &ada).await;
    // What is there after the link was taken, and before the chat is linked.
    let links = app.app("messenger").links;
    let link = links.get(&token).await.expect("the table answers").expect("it is there");
    let at: ChatRef = "telegram:11".parse().expect("it is a chat");
    links.save(&Link { chat: Some(at), v: link.v + 1, ..link }).await.expect("nobody else writes");
    let other = Phone::new(&app, 12, "en");
    assert!(text(&other.presses(&format!("link:{token}")).await).contains("used"));
    assert!(text(&phone.presses(&format!("link:{token}")).await).contains("a***@example.org"));
    assert_eq!(chats(&app, &ada).await.len(), 1);
    let link = links.get(&token).await.expect("the table answers").expect("it is there");
    assert!(link.done && link.chat.is_some());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_is_of_one_account_and_an_account_has_five() {
    let app = TestApp::start().await;
    let (ada, eve) = (account(&app, "ada", "en").await, account(&app, "eve", "ru").await);
    for chat in 1..=5 {
        link(&app, &ada, &Phone::new(&app, chat, "en")).await;
    }
    let sixth = Phone::new(&app, 6, "en");
    let spare = token(&app, &ada).await;
    assert!(text(&sixth.presses(&format!("link:{spare}")).await).contains("5 chats already"));
    assert_eq!(chats(&app, &ada).await.len(), 5);

    // One of hers goes to somebody else, after its person is told what that means.
    let first = Phone::new(&app, 1, "en");
    let token = token(&app, &eve).await;
    let question = first.says(&format!("/start {token}")).await;
    assert!(text(&question).contains("другому аккаунту") && text(&question).contains("e***@example.org"), "{question}");
    assert_eq!((chats(&app, &ada).await.len(), chats(&app, &eve).await.len()), (5, 0));
    first.presses(&format!("link:{token}")).await;
    assert_eq!((chats(&app, &ada).await.len(), chats(&app, &eve).await.len()), (4, 1));

    // That made room, and the link that was refused is still good.
    sixth.presses(&format!("link:{spare}")).await;
    assert_eq!(chats(&app, &ada).await.len(), 5);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_side_unlinks() {
    let app = TestApp::start().await;
    let (ada, eve) = (account(&app, "ada", "en").await, account(&app, "eve", "en").await);
    let (one, two, three) = (Phone::new(&app, 1, "en"), Phone::new(&app, 2, "en"), Phone::new(&app, -3, "en"));
    for phone in [&one, &two, &three] {
        link(&app, &ada, phone).await;
    }
    let web = async |user: &User, chat: &str| {
        app.ask("DELETE", &format!("/messenger/chats/{chat}")).by(user).send().await.status
    };
    assert_eq!((web(&eve, "telegram:1").await, web(&ada, "nothing").await), (404, 404));
    assert_eq!((web(&ada, "telegram:1").await, web(&ada, "telegram:1").await), (204, 204), "it may be repeated");
    assert!(text(&two.says("/stop").await).contains("not linked any more"));
    assert!(text(&two.says("/stop").await).contains("not linked with an account"));
    let hello = three.says("/start").await;
    assert!(text(&hello).contains("a***@example.org") && buttons(&hello).contains(&"unlink"), "{hello}");
    assert!(text(&three.presses("unlink").await).contains("not linked any more"));
    assert_eq!(chats(&app, &ada).await, Vec::<Value>::new());
    assert!(text(&one.says("/start").await).starts_with("Hello!"));
    // And all of it again.
    link(&app, &eve, &one).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_the_bot_is_out_of_reach() {
    let app = TestApp::start().await;
    let (ada, phone) = (account(&app, "ada", "en").await, Phone::new(&app, 11, "en"));
    phone.becomes("member").await;
    link(&app, &ada, &phone).await;
    let status = async || chats(&app, &ada).await[0]["status"].clone();
    for (change, then) in
        [("kicked", "unreachable"), ("kicked", "unreachable"), ("member", "linked"), ("owner", "linked")]
    {
        phone.becomes(change).await;
        assert_eq!(status().await, then, "{change}");
    }
    phone.becomes("kicked").await;
    phone.says("/help").await;
    assert_eq!(status().await, "linked", "who writes can be written to");
    phone.becomes("kicked").await;
    assert!(text(&phone.says("/stop").await).contains("not linked any more"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_messenger_is_believed() {
    let app = TestApp::start().await;
    let (ada, phone) = (account(&app, "ada", "en").await, Phone::new(&app, 11, "en"));
    let token = token(&app, &ada).await;
    let press =
        json!({ "id": "77", "from": phone.from(), "message": phone.message("?"), "data": format!("link:{token}") });
    let press = numbered(json!({ "callback_query": press }));
    let before = app.everything().await;
    let secret = app.running.secrets.telegram_webhook_secret.clone();
    for (name, forged) in [
        ("another", "a".repeat(64)),
        ("half", secret[..32].to_owned()),
        ("more", format!("{secret}0")),
        ("nothing", String::new()),
        ("capitals", secret.to_uppercase()),
    ] {
        let reply = app.ask("POST", WEBHOOK).header(SECRET, &forged).json(&press).send().await;
        assert_eq!(reply.status, 401, "{name}");
        reply.problem(401, "webhook_secret_invalid");
    }
    app.ask("POST", WEBHOOK).json(&press).send().await.problem(401, "webhook_secret_invalid");
    let elsewhere = app.ask("POST", "/messenger/smoke/webhook").header(SECRET, &secret).json(&press).send().await;
    elsewhere.problem(404, "not_found");
    app.check_unwritten(&before, "a forgery").await;

    // A replay is answered as it was, and does nothing.
    let done = said(posted(&app, &press).await);
    assert_eq!(chats(&app, &ada).await.len(), 1);
    app.ask("DELETE", "/messenger/chats/telegram:11").by(&ada).send().await.expect(204);
    let before = app.everything().await;
    assert_eq!(said(posted(&app, &press).await), done);
    app.check_unwritten(&before, "a replay").await;
    let again = said(update(&app, json!({ "callback_query": press["callback_query"] })).await);
    assert!(text(&again).contains("used already"), "a link is good once, whatever the update: {again}");
    assert_eq!(chats(&app, &ada).await.len(), 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_that_came_at_once_are_one() {
    let app = TestApp::start().await;
    let (ada, phone) = (account(&app, "ada", "en").await, Phone::new(&app, 11, "en"));
    let token = token(&app, &ada).await;
    let press =
        json!({ "id": "77", "from": phone.from(), "message": phone.message("?"), "data": format!("link:{token}") });
    let press = numbered(json!({ "callback_query": press }));
    let replies = futures_util::future::join_all((0..8).map(|_| posted(&app, &press))).await;
    let statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
    assert!(statuses.iter().all(|status| [200, 409, 503].contains(status)), "{statuses:?}");
    assert!(text(&said(posted(&app, &press).await)).contains("a***@example.org"));
    assert_eq!(chats(&app, &ada).await.len(), 1);
    app.finish().await;
}
