//! For each function the event that is sent to it, made from its sample under `events/`, and the answer that it gives.

use super::world::World;
use crate::Failed;
use serde_json::{Value, json};

/// One function and what is asked of it.
pub struct Case {
    pub handler: &'static str,
    /// For people.
    pub what: &'static str,
    sample: &'static str,
    answer: Answer,
}

/// What the right answer is.
enum Answer {
    Status(u16),
    /// All messages or records of a batch are handled.
    Batch,
    Nothing,
}

macro_rules! case {
    ($handler:literal, $what:literal, $answer:expr) => {
        Case {
            handler: $handler,
            what: $what,
            sample: include_str!(concat!("../../../../events/", $handler, ".json")),
            answer: $answer,
        }
    };
}

/// The function whose first answer is a night's work, which nobody waits for: the journals of all events of three and a
/// half years are read through.
pub const AT_NIGHT: &str = "reconcile";

pub const CASES: [Case; 18] = [
    // Signing up hashes a password, which takes 19 MiB and its time on purpose.
    case!("register", "GET /me", Answer::Status(200)),
    case!("catalog", "GET /events", Answer::Status(200)),
    case!("buy", "POST /orders", Answer::Status(201)),
    case!("refund", "POST /orders/{id}/refund-quotes", Answer::Status(200)),
    case!("subscribe", "POST /subscriptions", Answer::Status(201)),
    case!("payment-webhook", "POST /payments/webhook/stripe", Answer::Status(204)),
    case!("admin", "POST /admin/venues", Answer::Status(201)),
    case!("marketing", "POST /marketing/promotions", Answer::Status(201)),
    case!("messenger", "POST /alerts", Answer::Status(201)),
    case!("settle", "a payment to capture", Answer::Batch),
    case!("offers", "seats are free, nobody waits", Answer::Batch),
    case!("notify", "an order was paid", Answer::Batch),
    case!("relay", "3 records, one effect", Answer::Batch),
    case!("republish", "one effect", Answer::Batch),
    case!("sweep", "nothing is due", Answer::Nothing),
    case!("renew", "nothing is due", Answer::Nothing),
    case!("remind", "nothing begins soon", Answer::Nothing),
    case!("reconcile", "a day, 43 months of events", Answer::Nothing),
];

impl Case {
    /// The event of this invocation, which no other has.
    pub fn event(&self, world: &World, number: usize) -> Result<Value, Failed> {
        let found = &world.found;
        let code = format!("SPRING{number}");
        let known = [
            ("ACCESS_TOKEN", found.token.as_str()),
            ("ORDER_ID", &found.order),
            ("USER_ID", &found.user),
            ("EVENT_ID", &found.events[0]),
            ("PAYMENT_ID", found.payment(number)),
            ("PLAN_ID", &found.plan),
            ("SPRING27", &code),
        ];
        let text = known.iter().fold(self.sample.to_owned(), |text, (name, value)| text.replace(name, value));
        let mut event: Value = serde_json::from_str(&text)?;
        if event["headers"]["idempotency-key"].is_string() {
            event["headers"]["idempotency-key"] = json!(format!("cold start {number}"));
        }
        match self.handler {
            "register" => {
                event["requestContext"]["http"]["method"] = json!("GET");
                for path in ["/rawPath", "/requestContext/http/path"] {
                    *event.pointer_mut(path).expect("the sample has it") = json!("/me");
                }
                event["headers"]["authorization"] = json!(format!("Bearer {}", found.token));
                event["body"].take();
            }
            "buy" => event["body"] = json!(found.order_body(number)),
            // One has one subscription, and few alerts: the same request again is answered as before.
            "subscribe" | "messenger" => event["headers"]["idempotency-key"] = json!("cold start"),
            "payment-webhook" => {
                let now = platform::Clock::default().now().as_second();
                let body = event["body"].as_str().unwrap_or_default();
                let signature = sandbox::signature(&world.secrets.stripe_webhook_secret, now, body);
                event["headers"]["stripe-signature"] = json!(signature);
            }
            // The second message of these samples is one that cannot be handled.
            "settle" | "offers" | "notify" | "republish" => {
                event["Records"].as_array_mut().expect("the sample has it").truncate(1)
            }
            _ => {}
        }
        Ok(event)
    }

    /// Fails if the answer is not the one that is expected.
    pub fn check(&self, answer: &Value) -> Result<(), Failed> {
        let is_right = match self.answer {
            Answer::Status(status) => answer["statusCode"] == status,
            Answer::Batch => *answer == json!({ "batchItemFailures": [] }),
            Answer::Nothing => answer.is_null(),
        };
        let text = || Failed::Because(format!("{}: this is not the right answer: {answer}", self.handler));
        is_right.then_some(()).ok_or_else(text)
    }
}
