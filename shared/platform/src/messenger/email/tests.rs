use super::*;
use crate::transport::{Answer, NoAnswer};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Answers one call, and keeps what was asked.
struct Once {
    answer: Result<(u16, &'static str), &'static str>,
    asked: Mutex<Vec<Request<Bytes>>>,
}

impl Transport for Once {
    fn send(&self, request: Request<Bytes>, _: Duration) -> Answer<'_> {
        self.asked.lock().unwrap().push(request);
        let answer = match self.answer {
            Ok((status, kind)) => {
                let (kind, message) = kind.split_once(": ").unwrap_or((kind, ""));
                let body = Bytes::from(json!({ "message": message }).to_string());
                Ok(Response::builder().status(status).header("x-amzn-errortype", kind).body(body).unwrap())
            }
            Err(cause) => Err(NoAnswer(cause.into())),
        };
        Box::pin(std::future::ready(answer))
    }
}

fn config(settings: &[(&str, &str)]) -> Config {
    Config::from_map(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

const SETTINGS: [(&str, &str); 5] = [
    ("EMAIL_FROM", "Tickets <t@example.org>"),
    ("PUBLIC_URL", "https://tickets.example"),
    ("AWS_REGION", "eu-west-1"),
    ("AWS_ACCESS_KEY_ID", "AKID"),
    ("AWS_SECRET_ACCESS_KEY", "hush"),
];

fn message() -> Outgoing {
    let link = Button::Link { text: "Open <it>".into(), url: "https://tickets.example/?a=1&b=2".into() };
    let press = Button::Press { text: "x".into(), data: "y".into() };
    let html = "Your ticket: <b>Cats &amp; Dogs</b>\nStalls, row 1".to_owned();
    let pictures = vec![b"\x89PNG".to_vec(), vec![1]];
    Outgoing { html, buttons: vec![vec![link, press]], pictures, ..Outgoing::default() }
}

async fn sent(answer: Result<(u16, &'static str), &'static str>) -> (Result<(), SendError>, Vec<Request<Bytes>>) {
    let wire = Arc::new(Once { answer, asked: Mutex::default() });
    let clock = Clock::frozen_at("2027-01-02T03:04:05Z".parse().unwrap());
    let email = Email::new(&config(&SETTINGS), clock, wire.clone()).expect("it is set up");
    let done = email.send("ada@example.org", &message()).await;
    let asked = std::mem::take(&mut *wire.asked.lock().unwrap());
    (done, asked)
}

#[tokio::test]
async fn a_notice_is_one_signed_call() {
    let (done, asked) = sent(Ok((200, ""))).await;
    assert!(done.is_ok(), "{done:?}");
    let [request] = &asked[..] else { panic!("one call: {asked:?}") };
    assert_eq!(request.uri(), "https://email.eu-west-1.amazonaws.com/v2/email/outbound-emails");
    let signature = request.headers()["authorization"].to_str().unwrap();
    let scope = "AWS4-HMAC-SHA256 Credential=AKID/20270102/eu-west-1/ses/aws4_request";
    assert!(signature.starts_with(scope) && !signature.contains("hush"), "{signature}");
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    let simple = &body["Content"]["Simple"];
    assert_eq!(body["Destination"]["ToAddresses"], json!(["ada@example.org"]));
    assert_eq!(simple["Subject"]["Data"], "Your ticket: Cats & Dogs");
    let text = "Your ticket: Cats & Dogs\nStalls, row 1\n\nOpen <it>: https://tickets.example/?a=1&b=2";
    assert_eq!(simple["Body"]["Text"]["Data"], text);
    let html = simple["Body"]["Html"]["Data"].as_str().unwrap();
    assert!(html.contains("<b>Cats &amp; Dogs</b><br>\nStalls"), "{html}");
    assert!(html.contains("<a href=\"https://tickets.example/?a=1&amp;b=2\">Open &lt;it&gt;</a>"), "{html}");
    assert_eq!(simple["Headers"][0]["Value"], "<https://tickets.example/#/notices>");
    let attached = simple["Attachments"].as_array().unwrap();
    assert_eq!(attached.len(), 2);
    assert_eq!((&attached[0]["FileName"], &attached[0]["RawContent"]), (&json!("ticket-1.png"), &json!("iVBORw==")));
}

/// As SES says it, with the address that was written to.
const DENIED: &str =
    "AccessDeniedException: User: arn is not authorized to perform: ses:SendEmail on resource: identity/address@b.c";

#[tokio::test]
async fn every_answer_has_its_meaning() {
    for (answer, expected) in [
        (Ok((200, "")), "Ok(())"),
        (Ok((429, "TooManyRequestsException")), "Err(TooMany(1s))"),
        (Ok((400, "MessageRejected")), "Err(Refused("),
        (Ok((400, "BadRequestException")), "Err(Refused("),
        (Ok((400, "MessageRejected: Email address is not verified.")), "Err(Misconfigured("),
        (Ok((400, "SendingPausedException")), "Err(Misconfigured("),
        (Ok((400, "MailFromDomainNotVerifiedException")), "Err(Misconfigured("),
        (Ok((403, "AccessDeniedException")), "Err(Misconfigured("),
        (
            Ok((403, DENIED)),
            "Err(Misconfigured(\"403 Forbidden AccessDeniedException User: arn is not authorized to perform: ses:SendEmail\"))",
        ),
        (Ok((404, "NotFoundException")), "Err(Misconfigured("),
        (Ok((500, "InternalFailure")), "Err(Unknown("),
        (Err("cut off"), "Err(Unknown("),
    ] {
        let (done, _) = sent(answer).await;
        let done = format!("{done:?}");
        assert!(done.starts_with(expected), "{answer:?}: {done}");
        assert!(!done.contains("address"), "{done}");
    }
}

#[test]
fn a_subject_is_one_short_line() {
    assert_eq!(subject("a\u{7}<b>b</b>\nBcc: x"), "ab");
    assert_eq!(subject(&"ж".repeat(101)).chars().count(), SUBJECT_CHARS_MAX);
    assert_eq!(subject(""), "");
}

#[test]
fn without_an_address_to_write_from_there_is_none() {
    let settings: BTreeMap<_, _> = SETTINGS.into();
    for from in [None, Some("")] {
        let mut settings = settings.clone();
        match from {
            Some(from) => settings.insert("EMAIL_FROM", from),
            None => settings.remove("EMAIL_FROM"),
        };
        let settings: Vec<_> = settings.into_iter().collect();
        let wire = Arc::new(Once { answer: Err("never asked"), asked: Mutex::default() });
        assert!(Email::new(&config(&settings), Clock::default(), wire).is_none(), "{from:?}");
    }
}
