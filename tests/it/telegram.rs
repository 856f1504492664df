//! The messenger that is built in, against the sandbox that speaks its wire protocol.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use domain::texts::escape;
use platform::messenger::{self, Button, Messenger, Outgoing, SendError};
use platform::{App, Config};
use sandbox::telegram::{Bot, Fault, Limits, Message};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tests::TestApp;

const CHAT: i64 = 4711;
const OTHER: i64 = 4712;

/// A box office, its bot, and the messenger as a function with the bot's settings has it.
struct World {
    app: TestApp,
    bot: Bot,
    function: App,
}

impl World {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let settings = [
            ("TELEGRAM_API_BASE", app.running.telegram.url.as_str()),
            ("TELEGRAM_BOT", boxoffice::telegram::BOT),
            ("TELEGRAM_TOKEN", "TelegramTokenSecret"),
            ("TELEGRAM_WEBHOOK_SECRET", "TelegramWebhookSecret"),
        ];
        let settings: BTreeMap<_, _> = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let own = app.app("register");
        let function = App::new(Config::from_map(settings), own.clients, own.clock, own.rng);
        let bot = app.running.telegram.bot.clone();
        // Nobody answers what is written: the tests look at what they send themselves.
        let token = &app.running.secrets.telegram_token;
        let silenced = app.http().post(format!("{}/bot{token}/deleteWebhook", app.running.telegram.url));
        assert!(silenced.send().await.expect("the sandbox answers").status().is_success());
        for chat in [CHAT, OTHER] {
            bot.write(chat, "/start");
        }
        Self { app, bot, function }
    }

    fn messenger(&self) -> Arc<dyn Messenger> {
        let mut built_in = self.function.messengers.iter();
        built_in.find(|messenger| messenger.name() == "telegram").expect("it is built in").clone()
    }

    async fn send(&self, chat: i64, message: &Outgoing) -> Result<(), SendError> {
        self.messenger().send(&chat.to_string(), message).await
    }

    /// What the bot wrote in a chat.
    fn read(&self, chat: i64) -> Vec<Message> {
        self.bot.messages(chat).into_iter().filter(|message| message.is_from_bot).collect()
    }
}

fn text(html: impl Into<String>) -> Outgoing {
    Outgoing { html: html.into(), ..Outgoing::default() }
}

/// As much of a PNG as tells its size.
fn png() -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    png.extend([300_u32.to_be_bytes(), 300_u32.to_be_bytes()].concat());
    png.extend(b"\r\n--\0\xff");
    png
}

#[tokio::test]
async fn whatever_somebody_is_called_arrives_as_it_is() {
    let world = World::new().await;
    for (name, read) in [
        ("Ада", "Ада"),
        ("🎭 Театр 👩‍👩‍👧", "🎭 Театр 👩‍👩‍👧"),
        ("שלום עולם", "\u{2068}שלום עולם\u{2069}"),
        ("\u{202e}evil", "evil"),
        ("<b>bold</b> & <script>", "<b>bold</b> & <script>"),
        ("</b></i>&lt;&#60;&nbsp;\"'", "</b></i>&lt;&#60;&nbsp;\"'"),
        ("_*[a](b)`~", "_*[a](b)`~"),
        ("a\0b\u{7}", "a b "),
    ] {
        world.send(CHAT, &text(format!("<b>{}</b>!", escape(name)))).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        let last = world.read(CHAT).pop().expect("it arrived");
        assert_eq!(last.text, format!("{read}!"));
        let whole = last.entities.iter().any(|it| it.r#type == "bold" && it.length == read.encode_utf16().count());
        assert!(whole, "{name}: {:?}", last.entities);
        assert!(!last.shown.contains("<script"), "{}", last.shown);
    }
    let refused = world.send(CHAT, &text("<x>")).await.expect_err("it is no markup");
    assert!(matches!(&refused, SendError::Refused(why) if why.contains("Unsupported start tag \"x\"")), "{refused}");
    let empty = world.send(CHAT, &text(" ")).await;
    assert!(matches!(empty, Err(SendError::Refused(_))), "{empty:?}");
    let long = format!("<i>{}</i>", "много слов &amp; ".repeat(1_000));
    world.send(CHAT, &text(long)).await.expect("it is cut");
    let last = world.read(CHAT).pop().expect("it arrived");
    assert!(last.text.ends_with("слов &…") || last.text.ends_with("слов…") || last.text.ends_with("много…"));
    assert!((4_000..=4_096).contains(&last.text.encode_utf16().count()));
}

#[tokio::test]
async fn buttons_are_pressed_and_answered_and_pictures_seen() {
    let world = World::new().await;
    let buttons = vec![
        vec![Button::Press { text: "Да 🎉".into(), data: "link:abc".into() }],
        vec![Button::Link { text: "Pay".into(), url: format!("{}/pay", world.app.url) }],
    ];
    let message = Outgoing { buttons, pictures: vec![png()], ..text("Seat <code>A&amp;1</code>") };
    world.send(CHAT, &message).await.expect("it arrives");
    let seen = world.read(CHAT).pop().expect("it arrived");
    assert_eq!((seen.text.as_str(), seen.picture), ("Seat A&1", Some(png())));
    assert_eq!(seen.buttons[0][0].data.as_deref(), Some("link:abc"));
    assert_eq!(seen.buttons[1][0].url, Some(format!("{}/pay", world.app.url)));
    assert_eq!(world.bot.press(CHAT, seen.id, "link:other"), None, "there is no such button");
    let press = world.bot.press(CHAT, seen.id, "link:abc").expect("there is").to_string();
    world.messenger().answer(&press, "Linked <b>").await.expect("it is shown");
    assert_eq!(world.bot.answers(CHAT), ["Linked <b>"]);
    let again = world.messenger().answer(&press, "").await;
    assert!(matches!(again, Err(SendError::Refused(_))), "{again:?}");
    let long = Outgoing { html: "y".repeat(1_025), ..message };
    world.send(CHAT, &long).await.expect("it arrives in two");
    let [.., picture, words] = &world.read(CHAT)[..] else { panic!("two messages") };
    assert!(picture.picture.is_some() && picture.text.is_empty() && picture.buttons.is_empty());
    assert!(words.picture.is_none() && words.text.len() == 1_025 && words.buttons.len() == 2);
    let no_picture = Outgoing { pictures: vec![b"<svg/>".to_vec()], ..text("x") };
    assert!(matches!(world.send(CHAT, &no_picture).await, Err(SendError::Refused(_))));
}

#[tokio::test]
async fn one_chat_stops_no_other() {
    let world = World::new().await;
    let hello = text("hello");
    world.bot.set_limits(Limits { chat_pause: Some(Duration::from_secs(3)), all_per_second_max: None });
    world.send(CHAT, &hello).await.expect("the first");
    // More often than a host may fail before it is left alone.
    for _ in 0..8 {
        let error = world.send(CHAT, &hello).await.expect_err("it is too soon");
        assert!(matches!(error, SendError::TooMany(wait) if wait.as_secs() == 3), "{error}");
    }
    world.send(OTHER, &hello).await.expect("others are written to");
    world.app.advance(2);
    let error = world.send(CHAT, &hello).await.expect_err("it is too soon");
    assert!(matches!(error, SendError::TooMany(wait) if wait.as_secs() == 1), "{error}");
    world.app.advance(1);
    world.send(CHAT, &hello).await.expect("it waited");
    world.bot.set_limits(Limits { chat_pause: None, all_per_second_max: Some(2) });
    world.app.advance(1);
    for (chat, goes) in [(CHAT, true), (OTHER, true), (OTHER, false)] {
        assert_eq!(world.send(chat, &hello).await.is_ok(), goes);
    }
}

#[tokio::test]
async fn who_cannot_be_written_to_is_told_from_what_fails() {
    let world = World::new().await;
    let hello = text("hello");
    world.bot.block(CHAT);
    let blocked = world.send(CHAT, &hello).await.expect_err("they do not want to hear of us");
    let words = "403 Forbidden: bot was blocked by the user";
    assert!(matches!(&blocked, SendError::Unreachable(why) if why == words), "{blocked:?}");
    world.bot.write(CHAT, "/start");
    world.send(CHAT, &hello).await.expect("they came back");
    let unknown = world.send(99, &hello).await;
    assert!(matches!(unknown, Err(SendError::Unreachable(_))), "{unknown:?}");
    let before = world.read(CHAT).len();
    for (fault, written) in [(Fault::Status(500), 0), (Fault::Lost, 1)] {
        world
            .bot
            .set_fault(move |method, chat| if (method, chat) == ("sendMessage", CHAT) { fault } else { Fault::None });
        let error = world.send(CHAT, &hello).await.expect_err("there is no answer");
        assert!(matches!(error, SendError::Unknown(_)), "{error:?}");
        assert!(!error.to_string().contains(&world.app.running.secrets.telegram_token), "{error}");
        world.send(OTHER, &hello).await.expect("one failure is not an outage");
        assert_eq!(world.read(CHAT).len(), before + written, "{fault:?}");
    }
    world.bot.set_fault(|_, _| Fault::Status(503));
    let mut last = Ok(());
    for _ in 0..6 {
        last = world.send(OTHER, &hello).await;
    }
    assert!(matches!(last, Err(SendError::Resting(_))), "an outage is: {last:?}");
}

/// A bot's webhook that answers with this status, and keeps the secret and the update that it was sent.
#[derive(Clone, Default)]
struct Hook {
    status: Arc<AtomicU16>,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Hook {
    async fn start(status: u16) -> (Self, String) {
        let hook = Self::default();
        hook.answers(status);
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let url = format!("http://{}/hook", listener.local_addr().expect("it is bound"));
        let router = Router::new().fallback(Self::take).with_state(hook.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (hook, url)
    }

    async fn take(State(hook): State<Self>, headers: HeaderMap, body: String) -> StatusCode {
        let secret = headers["x-telegram-bot-api-secret-token"].to_str().expect("it is a text").to_owned();
        let update = serde_json::from_str(&body).expect("it is JSON");
        hook.seen.lock().expect("no panic holds this lock").push((secret, update));
        StatusCode::from_u16(hook.status.load(Ordering::Relaxed)).expect("the test names a status")
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    fn take_seen(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.seen.lock().expect("no panic holds this lock"))
    }
}

#[tokio::test]
async fn updates_come_in_order_until_they_are_taken() {
    let world = World::new().await;
    let (hook, url) = Hook::start(500).await;
    let clients = world.function.clients.clone();
    let telegram = messenger::Telegram::new(&world.function.config, clients.secrets, clients.transport);
    telegram.set_webhook(&url).await.expect("it is set");
    for chat in [CHAT, OTHER] {
        world.bot.write(chat, "/start");
    }
    world.app.advance(3_600);
    let seen = async |count: usize| {
        let of_count = async || hook.seen.lock().expect("no panic holds this lock").len() >= count;
        world.app.eventually("it is told", of_count).await;
        hook.take_seen()
    };
    let of_chat = |seen: &[(String, Value)], chat: i64| -> Vec<(String, u64)> {
        let of_chat = seen.iter().filter(|(_, update)| update["message"]["chat"]["id"] == chat);
        let word = |update: &Value| update["message"]["text"].as_str().unwrap_or_default().to_owned();
        of_chat.map(|(_, update)| (word(update), update["update_id"].as_u64().expect("it has one"))).collect()
    };
    seen(2).await;
    hook.answers(204);
    world.bot.write(CHAT, "/events 🎭");
    world.app.advance(3_600);
    let told = seen(3).await;
    assert!(told.iter().all(|(secret, _)| *secret == world.app.running.secrets.telegram_webhook_secret));
    let [(first, first_id), (second, second_id)] = &of_chat(&told, CHAT)[..] else { panic!("{told:?}") };
    assert_eq!((first.as_str(), second.as_str()), ("/start", "/events 🎭"), "the second waits for the first");
    assert!(first_id < second_id);
    let command = told.iter().find(|(_, update)| update["message"]["text"] == "/events 🎭").expect("it is there");
    assert_eq!(command.1["message"]["entities"][0]["length"], 7);
    world.bot.block(OTHER);
    let blocked = seen(1).await;
    assert_eq!(blocked[0].1["my_chat_member"]["new_chat_member"]["status"], "kicked");
    world.app.settled().await;
    assert_eq!((hook.take_seen(), world.bot.updates_pending()), (vec![], 0));
}

#[tokio::test]
async fn a_person_can_chat_on_a_page() {
    let world = World::new().await;
    let (base, http) = (world.app.running.telegram.url.clone(), world.app.api.http().clone());
    let look = async |path: &str| {
        let reply = http.get(format!("{base}{path}")).send().await.expect("it answers");
        let policy = reply.headers().get("content-security-policy").cloned();
        (reply.status().as_u16(), policy.is_some(), reply.text().await.expect("it is text"))
    };
    let (status, is_guarded, new) = look("/chats/new?start=t%22%3Cx").await;
    assert!(status == 200 && is_guarded && new.contains("value=\"t&quot;&lt;x\""), "{new}");
    let post = async |path: &str, form: &[(&str, &str)]| {
        let reply = http.post(format!("{base}{path}")).form(form).send().await.expect("it answers");
        assert_eq!(reply.status(), 303, "{path}");
        reply.headers()["location"].to_str().expect("it is a path").to_owned()
    };
    let link = "https://t.me/boxoffice_bot?start=tok_1";
    let page = post("/chats", &[("name", "<b>Ада"), ("language", "ru"), ("start", link)]).await;
    let chat: i64 = page.rsplit('/').next().and_then(|id| id.parse().ok()).expect("it is a chat's page");
    assert_eq!(world.bot.messages(chat)[0].text, "/start tok_1");
    let buttons = vec![vec![Button::Press { text: "<i>".into(), data: "a\"b".into() }]];
    let message = Outgoing { buttons, pictures: vec![png()], ..text("<b>Да</b> &lt;script&gt;") };
    world.send(chat, &message).await.expect("it arrives");
    let (_, is_guarded, html) = look(&page).await;
    assert!(is_guarded && html.contains("&lt;b&gt;Ада") && html.contains("<b>Да</b> &lt;script&gt;"), "{html}");
    assert!(html.contains("value=\"a&quot;b\">&lt;i&gt;</button>"), "{html}");
    let id = world.read(chat)[0].id.to_string();
    let picture = http.get(format!("{base}{page}/pictures/{id}")).send().await.expect("it answers");
    assert_eq!(picture.bytes().await.expect("it is there"), png());
    post(&format!("{page}/presses"), &[("message", &id), ("data", "a\"b")]).await;
    post(&format!("{page}/messages"), &[("text", "<u>привет")]).await;
    assert!(look(&format!("{page}/messages")).await.2.contains("&lt;u&gt;привет"));
    post(&format!("{page}/block"), &[("blocks", "true")]).await;
    assert!(matches!(world.send(chat, &message).await, Err(SendError::Unreachable(_))));
    assert!(look("/chats").await.2.contains("has blocked the bot"));
    assert_eq!(look("/chats/1").await.0, 404);
}
