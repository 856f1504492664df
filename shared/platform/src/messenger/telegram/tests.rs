use super::*;
use crate::transport::{Answer, NoAnswer};
use axum::http::{Response, Uri};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

const TOKEN: &str = "4711:AA-secret_of_the_bot";

/// Answers from a script, and keeps what was asked.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<(u16, String), String>>>,
    asked: Mutex<Vec<(String, String)>>,
    rest: Option<Duration>,
}

impl Transport for Script {
    fn send(&self, request: Request<Bytes>, _: Duration) -> Answer<'_> {
        let body = String::from_utf8_lossy(request.body()).into_owned();
        self.asked.lock().unwrap().push((request.uri().to_string(), body));
        let next = self.answers.lock().unwrap().pop_front();
        let answer = match next.unwrap_or_else(|| Ok((200, r#"{"ok":true,"result":true}"#.into()))) {
            Ok((status, body)) => Ok(Response::builder().status(status).body(body.into()).unwrap()),
            Err(cause) => Err(NoAnswer(cause)),
        };
        Box::pin(std::future::ready(answer))
    }

    fn rest(&self, _: &Uri) -> Option<Duration> {
        self.rest
    }
}

fn telegram(script: Arc<Script>, token: &str) -> Telegram {
    let settings = [
        ("TELEGRAM_API_BASE", "https://api.example"),
        ("TELEGRAM_BOT", "boxoffice_bot"),
        ("TELEGRAM_TOKEN", "token"),
        ("TELEGRAM_WEBHOOK_SECRET", "webhook"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let secrets = [("token", token), ("webhook", "hush")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    Telegram::new(&Config::from_map(BTreeMap::from(settings)), Secrets::fixed(secrets), script)
}

fn text(html: &str) -> Outgoing {
    Outgoing { html: html.into(), ..Outgoing::default() }
}

/// The JSON bodies of all calls to this method.
fn bodies(script: &Script, method: &str) -> Vec<Value> {
    let asked = script.asked.lock().unwrap();
    let of_method = asked.iter().filter(|(url, _)| *url == format!("https://api.example/bot{TOKEN}/{method}"));
    of_method.map(|(_, body)| serde_json::from_str(body).unwrap()).collect()
}

#[tokio::test]
async fn every_answer_has_its_meaning() {
    let refusal = |status: u16, description: &str| {
        Ok((status, json!({ "ok": false, "error_code": status, "description": description }).to_string()))
    };
    let slow = |seconds: u64| {
        let description = format!("Too Many Requests: retry after {seconds}");
        let parameters = json!({ "retry_after": seconds });
        Ok((429, json!({ "ok": false, "description": description, "parameters": parameters }).to_string()))
    };
    for (answer, expected) in [
        (slow(7), "TooMany(7s)"),
        (slow(u64::MAX), "TooMany(86400s)"),
        (Ok((429, "<html>".into())), "TooMany(1s)"),
        (refusal(403, "Forbidden: bot was blocked by the user"), "Unreachable"),
        (refusal(400, "Bad Request: chat not found"), "Unreachable"),
        (refusal(400, "Bad Request: user is deactivated"), "Unreachable"),
        (refusal(400, "Bad Request: can't parse entities: Unsupported start tag \"x\""), "Refused"),
        (refusal(404, "Not Found"), "Refused"),
        (refusal(401, "Unauthorized"), "Misconfigured"),
        (refusal(500, "Internal Server Error"), "Unknown"),
        (Ok((502, "<html>Bad Gateway</html>".into())), "Unknown"),
        (Ok((403, "<html>of a proxy</html>".into())), "Unknown"),
        (Ok((404, String::new())), "Unknown"),
        (Ok((200, "{\"ok\":".into())), "Unknown"),
        (Ok((302, String::new())), "Unknown"),
        (Err(format!("https://api.example/bot{TOKEN}/sendMessage: reset")), "Unknown"),
        (refusal(400, &format!("Bad Request: bot{TOKEN}")), "Refused"),
    ] {
        let script = Arc::new(Script { answers: Mutex::new([answer.clone()].into()), ..Script::default() });
        let error = telegram(script, TOKEN).send("1", &text("x")).await.expect_err("it is no success");
        let told = format!("{error:?} {error}");
        assert!(told.starts_with(expected), "{answer:?}: {told}");
        assert!(!told.contains("secret_of_the_bot"), "{told}");
    }
}

#[tokio::test]
async fn what_is_not_set_up_or_rests_is_not_asked() {
    let script = Arc::new(Script { rest: Some(Duration::from_secs(2)), ..Script::default() });
    let resting = telegram(script.clone(), TOKEN).send("1", &text("x")).await;
    assert!(matches!(resting, Err(SendError::Resting(rest)) if rest.as_secs() == 2), "{resting:?}");
    for token in ["", "4711", "4711:", ":key", "4711:a/../b", "4711:a\n"] {
        let error = telegram(script.clone(), token).send("1", &text("x")).await;
        assert!(matches!(error, Err(SendError::Misconfigured(_))), "{token:?}: {error:?}");
    }
    let nameless = telegram(script.clone(), TOKEN).send("@channel", &text("x")).await;
    assert!(matches!(nameless, Err(SendError::Refused(_))), "{nameless:?}");
    let bare = Telegram::new(&Config::default(), Secrets::fixed([]), script.clone());
    assert!(matches!(bare.send("1", &text("x")).await, Err(SendError::Misconfigured(_))));
    assert!(matches!(bare.deep_link("x"), Err(SendError::Misconfigured(_))));
    assert!(script.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_message_is_what_the_bot_api_takes() {
    let script = Arc::new(Script::default());
    let telegram = telegram(script.clone(), TOKEN);
    let buttons = vec![vec![
        Button::Press { text: "Yes".into(), data: "link:x".into() },
        Button::Link { text: "Pay".into(), url: "https://pay.example".into() },
    ]];
    telegram.send("-4711", &Outgoing { buttons, ..text("<b>a</b>") }).await.unwrap();
    let keys = json!([[{ "text": "Yes", "callback_data": "link:x" }, { "text": "Pay", "url": "https://pay.example" }]]);
    let expected = json!({
        "chat_id": -4711, "text": "<b>a</b>", "parse_mode": "HTML", "link_preview_options": { "is_disabled": true },
        "reply_markup": { "inline_keyboard": keys },
    });
    assert_eq!(bodies(&script, "sendMessage"), [expected]);
    telegram.send("1", &text(&"я".repeat(5_000))).await.unwrap();
    let long = &bodies(&script, "sendMessage")[1];
    assert_eq!(long["text"].as_str().unwrap().chars().count(), TEXT_CHARS_MAX);
    assert!(long.get("reply_markup").is_none());
    telegram.answer("77", &"x".repeat(300)).await.unwrap();
    telegram.answer("78", "").await.unwrap();
    let answers = [json!({ "callback_query_id": "77", "text": "x".repeat(200) }), json!({ "callback_query_id": "78" })];
    assert_eq!(bodies(&script, "answerCallbackQuery"), answers);
    telegram.set_webhook("https://tickets.example/messenger/telegram/webhook").await.unwrap();
    let hook = json!({
        "url": "https://tickets.example/messenger/telegram/webhook", "secret_token": "hush",
        "allowed_updates": ["message", "callback_query", "my_chat_member"],
    });
    assert_eq!(bodies(&script, "setWebhook"), [hook]);
    assert_eq!(telegram.deep_link("a_B-9").unwrap(), "https://t.me/boxoffice_bot?start=a_B-9");
    for wrong in ["", "a b", "ы", &"x".repeat(65)] {
        assert!(telegram.deep_link(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn a_long_text_comes_after_its_picture() {
    let script = Arc::new(Script::default());
    let telegram = telegram(script.clone(), TOKEN);
    let buttons = vec![vec![Button::Press { text: "Yes".into(), data: "y".into() }]];
    let pictures = vec![b"\x89PNG\r\n--x".to_vec()];
    let short = Outgoing { buttons: buttons.clone(), pictures: pictures.clone(), ..text("<i>Q2</i>") };
    telegram.send("1", &short).await.unwrap();
    telegram.send("1", &Outgoing { html: "y".repeat(1_025), buttons, pictures, ..text("") }).await.unwrap();
    let asked = script.asked.lock().unwrap();
    let methods: Vec<&str> = asked.iter().filter_map(|(url, _)| url.rsplit('/').next()).collect();
    assert_eq!(methods, ["sendPhoto", "sendPhoto", "sendMessage"]);
    let has = |at: usize, what: &str| asked[at].1.contains(what);
    assert!(has(0, "name=\"caption\"\r\n\r\n<i>Q2</i>\r\n") && has(0, "inline_keyboard") && has(0, "PNG\r\n--x\r\n--"));
    assert!(!has(1, "caption") && !has(1, "inline_keyboard") && has(1, "name=\"photo\"; filename="));
    assert!(has(2, "inline_keyboard"));
}
