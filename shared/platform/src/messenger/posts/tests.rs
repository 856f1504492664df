use super::*;
use crate::transport::{Answer, NoAnswer};
use axum::http::Response;
use std::sync::Mutex;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Answers with this, and keeps what was asked.
struct Peer {
    answer: Result<(u16, &'static str), &'static str>,
    asked: Mutex<Vec<(HeaderMap, Bytes)>>,
}

impl Transport for Peer {
    fn send(&self, request: Request<Bytes>, _: Duration) -> Answer<'_> {
        let (head, body) = request.into_parts();
        self.asked.lock().unwrap().push((head.headers, body));
        let answer = self.answer.map_err(|cause| NoAnswer(cause.into()));
        let answer = answer.map(|(status, after)| {
            Response::builder().status(status).header("retry-after", after).body(Bytes::from("anything")).unwrap()
        });
        Box::pin(std::future::ready(answer))
    }
}

fn peer(answer: Result<(u16, &'static str), &'static str>) -> Arc<Peer> {
    Arc::new(Peer { answer, asked: Mutex::default() })
}

fn setup() -> Value {
    json!({ "url": "https://smoke.example/hook", "deep_link": "https://smoke.example/start?token={token}", "secrets": [SECRET] })
}

fn find(setup: &str, name: &str, peer: Arc<Peer>) -> Result<Option<Posts>, &'static str> {
    Posts::find(setup, name, peer, Clock::default())
}

fn posts(peer: Arc<Peer>) -> Posts {
    find(&json!({ "smoke": setup() }).to_string(), "smoke", peer).expect("it is right").expect("it is there")
}

fn message(html: &str) -> Outgoing {
    Outgoing { id: "ntc_1-0-aa".into(), html: html.into(), ..Outgoing::default() }
}

#[test]
fn a_setup_is_right_or_says_what_is_wrong() {
    let find = |setup: &str| find(setup, "smoke", peer(Ok((204, ""))));
    assert!(find("{}").is_ok_and(|found| found.is_none()));
    assert!(find(&json!({ "smoke": setup(), "bad": 1 }).to_string()).is_ok_and(|found| found.is_some()));
    for (name, change, problem) in [
        ("url", json!("http://smoke.example/"), "url"),
        ("url", json!("ftp://smoke.example/"), "url"),
        ("url", json!("https://user@smoke.example/"), "url"),
        ("url", json!("/hook"), "url"),
        ("url", json!(format!("https://a/{}", "a".repeat(500))), "url"),
        ("deep_link", json!("https://smoke.example/"), "deep_link"),
        ("deep_link", json!("https://smoke.example/{token}/{token}"), "deep_link"),
        ("deep_link", json!("javascript:alert({token})"), "deep_link"),
        ("secrets", json!([]), "1 to 4"),
        ("secrets", json!([SECRET, SECRET, SECRET, SECRET, SECRET]), "1 to 4"),
        ("secrets", json!(["whsec_hush"]), "24 to 64 bytes"),
        ("secrets", json!("hush"), "{url, deep_link, secrets}"),
        ("more", json!("hush"), "{url, deep_link, secrets}"),
    ] {
        let mut own = setup();
        own[name] = change;
        let error = find(&json!({ "smoke": own }).to_string()).err().unwrap_or_default();
        assert!(error.contains(problem) && !error.contains("hush"), "{own}: {error}");
    }
    let many: BTreeMap<_, _> = (0..51).map(|n| (format!("m{n}"), setup())).collect();
    for wrong in ["", "[]", "hush", &json!(many).to_string(), &" ".repeat(70_000)] {
        assert!(find(wrong).is_err(), "{wrong}");
    }
    check(&json!({ "smoke": setup(), "other2": setup() }).to_string()).expect("it is right");
    for (wrong, problem) in [(json!({ "telegram": setup() }), "\"telegram\""), (json!({ "a": 1 }), "a: ")] {
        assert!(check(&wrong.to_string()).is_err_and(|error| error.contains(problem)), "{wrong}");
    }
    for local in ["http://127.0.0.1:1/x", "http://localhost/x", "https://a.example"] {
        assert!(is_address(local), "{local}");
    }
    for name in ["telegram", "email", "", "Smoke", "a b", "a#b"] {
        assert!(!is_name(name), "{name}");
    }
}

#[tokio::test]
async fn every_answer_has_its_meaning() {
    for (answer, expected) in [
        (Ok((200, "")), "Ok"),
        (Ok((204, "")), "Ok"),
        (Ok((404, "")), "Err(Unreachable"),
        (Ok((410, "")), "Err(Unreachable"),
        (Ok((429, "7")), "Err(TooMany(7s"),
        (Ok((429, "0")), "Err(TooMany(1s"),
        (Ok((429, "Mon, 01 Mar 2027 12:00:00 GMT")), "Err(TooMany(1s"),
        (Ok((429, "99999999")), "Err(TooMany(86400s"),
        (Ok((400, "")), "Err(Refused"),
        (Ok((403, "")), "Err(Refused"),
        (Ok((401, "")), "Err(Misconfigured"),
        (Ok((302, "")), "Err(Unknown"),
        (Ok((408, "")), "Err(Unknown"),
        (Ok((500, "")), "Err(Unknown"),
        (Ok((503, "")), "Err(Unknown"),
        (Err("reset"), "Err(Unknown"),
    ] {
        let sent = format!("{:?}", posts(peer(answer)).send("1", &message("x")).await);
        assert!(sent.starts_with(expected) && !sent.contains("anything"), "{answer:?}: {sent}");
    }
}

#[tokio::test]
async fn a_post_is_signed_and_has_all_that_is_said() {
    let peer = peer(Ok((204, "")));
    let posts = posts(peer.clone());
    let buttons = vec![
        vec![Button::Press { text: "Yes".into(), data: "x".into() }],
        vec![Button::Link { text: "Pay".into(), url: "https://pay.example".into() }],
    ];
    let html =
        "<b>&lt;Cats&gt; &amp; &quot;Co&quot;</b> &amp;lt; 🎭 <a href=\"https://a.example/?a&amp;b\">there</a> < &";
    posts
        .send("c-1", &Outgoing { buttons, pictures: vec![vec![1, 2, 3]], ..message(html) })
        .await
        .expect("it is taken");
    let (headers, bytes) = peer.asked.lock().unwrap().remove(0);
    assert_eq!(posts.verify(&headers, &bytes), Ok("ntc_1-0-aa"));
    let data = json!({
        "chat": "c-1", "html": html, "text": "<Cats> & \"Co\" &lt; 🎭 there < &",
        "buttons": [[{ "text": "Pay", "url": "https://pay.example" }]], "picture": "AQID",
    });
    let body: Value = serde_json::from_slice(&bytes).expect("it is JSON");
    assert_eq!(body, json!({ "type": "message", "id": "ntc_1-0-aa", "at": "1970-01-01T00:00:00Z", "data": data }));
    for wrong in [Outgoing::default(), Outgoing { pictures: vec![vec![0; POST_BYTES_MAX]], ..message("x") }] {
        assert!(matches!(posts.send("1", &wrong).await, Err(SendError::Refused(_))));
    }
    assert!(peer.asked.lock().unwrap().is_empty());
    assert_eq!(posts.deep_link("AZ_-09").unwrap(), "https://smoke.example/start?token=AZ_-09");
    assert!(posts.deep_link("a&b").is_err());
}
