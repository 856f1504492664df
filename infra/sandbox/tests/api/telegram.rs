//! The messenger's sandbox through its own door: calls as clients make them, Telegram's words for what it refuses, restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sandbox::telegram::{Bot, Settings};
use serde_json::{Value, json};

use crate::harness::Disk;

const TOKEN: &str = "4711:sandbox";
const NOW_MS: i64 = 1_800_000_000_000;

/// A sandbox that is served, and a client of it.
struct Served {
    bot: Bot,
    url: String,
    http: reqwest::Client,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn serve(settings: Settings) -> Served {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bot = Bot::open(settings).expect("it opens");
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let server = tokio::spawn(bot.clone().serve(listener, std::future::pending()));
    let http = reqwest::Client::builder().no_proxy().build().expect("the client's settings are valid");
    Served { bot, url, http, server }
}

impl Served {
    async fn ask(&self, path: &str, request: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder) -> Value {
        let reply = request(self.http.post(format!("{}{path}", self.url))).send().await.expect("it answers");
        let status = reply.status().as_u16();
        let body: Value = reply.json().await.expect("it is JSON");
        let expected = if body["ok"] == true { 200 } else { body["error_code"].as_u64().expect("it has one") };
        assert_eq!(u64::from(status), expected, "{body}");
        body
    }

    async fn call(&self, method: &str, body: Value) -> Value {
        self.ask(&format!("/bot{TOKEN}/{method}"), |request| request.json(&body)).await
    }
}

/// Each call is refused with this description.
async fn check(served: &Served, cases: &[(&str, Value, &str)]) {
    for (method, body, description) in cases {
        let answer = served.call(method, body.clone()).await;
        assert_eq!((&answer["ok"], &answer["description"]), (&json!(false), &json!(description)), "{method} {body}");
    }
}

#[tokio::test]
async fn calls_are_refused_in_telegrams_words() {
    let served = serve(Settings::default()).await;
    served.bot.name(7, "Ada", "en");
    let key = |button: Value| json!({ "chat_id": 7, "text": "x", "reply_markup": { "inline_keyboard": [[button]] } });
    let cases = [
        ("getUpdatesNow", json!({}), "Not Found"),
        ("sendMessage", json!({ "text": "x" }), "Bad Request: chat_id is empty"),
        ("sendMessage", json!({ "chat_id": 8, "text": "x" }), "Bad Request: chat not found"),
        ("sendMessage", json!({ "chat_id": "@x", "text": "x" }), "Bad Request: chat not found"),
        ("sendMessage", json!({ "chat_id": 7 }), "Bad Request: message text is empty"),
        (
            "sendMessage",
            json!({ "chat_id": 7, "text": "<b></b>", "parse_mode": "html" }),
            "Bad Request: message text is empty",
        ),
        ("sendMessage", json!({ "chat_id": 7, "text": "я".repeat(4_097) }), "Bad Request: message is too long"),
        (
            "sendMessage",
            json!({ "chat_id": 7, "text": "x", "parse_mode": "Word" }),
            "Bad Request: unsupported parse_mode",
        ),
        (
            "sendMessage",
            json!({ "chat_id": 7, "text": "<p>x</p>", "parse_mode": "HTML" }),
            "Bad Request: can't parse entities: Unsupported start tag \"p\" at byte offset 0",
        ),
        (
            "sendMessage",
            key(json!({ "text": "x", "callback_data": "я".repeat(33) })),
            "Bad Request: BUTTON_DATA_INVALID",
        ),
        (
            "sendMessage",
            key(json!({ "text": "", "callback_data": "x" })),
            "Bad Request: inline keyboard button text must be non-empty",
        ),
        (
            "sendMessage",
            key(json!({ "text": "x", "url": "pay here" })),
            "Bad Request: inline keyboard button URL 'pay here' is invalid: Wrong HTTP URL",
        ),
    ];
    check(&served, &cases).await;
    let stranger = served.ask("/bot4711:other/getMe", |request| request).await;
    assert_eq!(stranger["description"], "Unauthorized");
    assert!(served.bot.messages(7).is_empty(), "nothing came of them");
}

#[tokio::test]
async fn pictures_changes_presses_and_webhooks_are_refused_in_telegrams_words() {
    let served = serve(Settings::default()).await;
    let own = served.bot.write(7, "/start");
    let sent = served.call("sendMessage", json!({ "chat_id": 7, "text": "a" })).await;
    let id = sent["result"]["message_id"].as_u64().expect("it has an id");
    let edit = |message: u64, text: &str| json!({ "chat_id": 7, "message_id": message, "text": text });
    let cases = [
        ("sendPhoto", json!({ "chat_id": 7 }), "Bad Request: there is no photo in the request"),
        ("sendPhoto", json!({ "chat_id": 7, "photo": "x" }), "Bad Request: wrong file identifier/HTTP URL specified"),
        ("editMessageText", edit(99, "x"), "Bad Request: message to edit not found"),
        ("editMessageText", edit(own, "x"), "Bad Request: message can't be edited"),
        (
            "editMessageText",
            edit(id, "a"),
            "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a \
             current content and reply markup of the message",
        ),
        (
            "answerCallbackQuery",
            json!({ "callback_query_id": "1" }),
            "Bad Request: query is too old and response timeout expired or query ID is invalid",
        ),
        (
            "setWebhook",
            json!({ "url": "http://tickets.example/" }),
            "Bad Request: bad webhook: An HTTPS URL must be provided for webhook",
        ),
        (
            "setWebhook",
            json!({ "url": "https://tickets.example/", "secret_token": "a b" }),
            "Bad Request: secret token contains unallowed characters",
        ),
    ];
    check(&served, &cases).await;
    assert_eq!(served.bot.messages(7).len(), 2, "nothing came of them");
}

#[tokio::test]
async fn calls_come_as_clients_make_them() {
    let served = serve(Settings::default()).await;
    served.bot.name(7, "Ада", "ru");
    let me = served.ask(&format!("/bot{TOKEN}/getme"), |request| request).await;
    assert_eq!((&me["result"]["is_bot"], &me["result"]["username"]), (&json!(true), &json!("boxoffice_bot")));
    let path = format!("/bot{TOKEN}/sendMessage?chat_id=7");
    let by_form = served.ask(&path, |request| {
        request
            .form(&[("text", "a&b"), ("reply_markup", r#"{"inline_keyboard":[[{"text":"x","callback_data":"y"}]]}"#)])
    });
    let sent = by_form.await;
    let id = sent["result"]["message_id"].as_u64().expect("it has an id");
    assert_eq!(sent["result"]["reply_markup"]["inline_keyboard"][0][0]["callback_data"], "y");
    assert_eq!((&sent["result"]["chat"]["first_name"], &sent["result"]["text"]), (&json!("Ада"), &json!("a&b")));
    let text = json!({ "chat_id": 7, "message_id": id, "text": "<i>c</i>", "parse_mode": "HTML" });
    let edited = served.call("editMessageText", text).await;
    assert_eq!(edited["result"]["entities"], json!([{ "type": "italic", "offset": 0, "length": 1 }]));
    let buttons = json!({ "inline_keyboard": [[{ "text": "z", "url": "https://a.example" }]] });
    served.call("editMessageReplyMarkup", json!({ "chat_id": 7, "message_id": id, "reply_markup": buttons })).await;
    assert_eq!(served.bot.messages(7)[0].buttons[0][0].url.as_deref(), Some("https://a.example"));
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x10\0\0\0\x10".to_vec();
    let part = |head: &str, value: &[u8]| {
        [format!("--x\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes(), value, b"\r\n"].concat()
    };
    let form = [
        part("name=\"chat_id\"", b"7"),
        part("name=\"photo\"", b"attach://code"),
        part("name=\"caption\"", b"c"),
        part("name=\"code\"; filename=\"a.png\"", &png),
        b"--x--\r\n".to_vec(),
    ];
    let path = format!("/bot{TOKEN}/sendPhoto");
    let photo = served
        .ask(&path, |request| request.header("content-type", "multipart/form-data; boundary=x").body(form.concat()));
    let shown = photo.await;
    assert_eq!((&shown["result"]["caption"], &shown["result"]["photo"][0]["width"]), (&json!("c"), &json!(16)));
    assert_eq!(served.bot.messages(7)[1].picture, Some(png));
    served.call("setWebhook", json!({ "url": "https://127.0.0.1:1/", "allowed_updates": ["message"] })).await;
    served.bot.write(7, "hello");
    assert_eq!(served.bot.press(7, id, "y"), None, "that button is gone");
    let info = served.call("getWebhookInfo", json!({})).await;
    assert_eq!(
        (&info["result"]["pending_update_count"], &info["result"]["allowed_updates"]),
        (&json!(1), &json!(["message"]))
    );
    served.call("deleteWebhook", json!({ "drop_pending_updates": true })).await;
    let info = served.call("getWebhookInfo", json!({})).await;
    assert_eq!((&info["result"]["pending_update_count"], &info["result"]["url"]), (&json!(0), &json!("")));
}

#[tokio::test]
async fn chats_survive_a_restart() {
    let disk = Disk::new("telegram");
    let now_ms = Arc::new(AtomicI64::new(NOW_MS));
    let clock = now_ms.clone();
    let settings = Settings {
        database: Some(disk.file()),
        clock: Arc::new(move || clock.load(Ordering::Relaxed)),
        ..Settings::default()
    };
    let first = serve(settings.clone()).await;
    first.call("setWebhook", json!({ "url": "http://127.0.0.1:1/", "secret_token": "s" })).await;
    first.bot.name(7, "Ада", "ru");
    first.bot.write(7, "/start");
    let buttons = json!({ "inline_keyboard": [[{ "text": "x", "callback_data": "y" }]] });
    let sent = first.call("sendMessage", json!({ "chat_id": 7, "text": "🎭", "reply_markup": buttons })).await;
    let id = sent["result"]["message_id"].as_u64().expect("it has an id");
    let press = first.bot.press(7, id, "y").expect("there is such a button");
    first.bot.block(7);
    let messages = first.bot.messages(7);
    drop(first.bot);
    first.server.abort();
    assert!(first.server.await.is_err_and(|error| error.is_cancelled()));
    let second = serve(settings).await;
    assert_eq!(second.bot.messages(7), messages);
    let refused = second.call("sendMessage", json!({ "chat_id": 7, "text": "x" })).await;
    assert_eq!(refused["description"], "Forbidden: bot was blocked by the user");
    let info = second.call("getWebhookInfo", json!({})).await["result"].clone();
    assert_eq!((&info["url"], &info["pending_update_count"]), (&json!("http://127.0.0.1:1/"), &json!(3)));
    let old = second.call("answerCallbackQuery", json!({ "callback_query_id": press.to_string() })).await;
    assert_eq!(old["error_code"], 400, "a press is for a moment");
    assert!(second.bot.write(7, "again") > id && second.bot.press(7, id, "y") > Some(press), "no id comes twice");
    // A day later nobody waits for what the bot did not take.
    now_ms.fetch_add(25 * 60 * 60 * 1_000, Ordering::Relaxed);
    for _ in 0..500 {
        if second.bot.updates_left() == 0 {
            return;
        }
        second.bot.wake();
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("updates are left: {}", second.bot.updates_left());
}
