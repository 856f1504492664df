//! Those who subscribe, and what they do with it as the months pass.

use crate::choices::Choices;
use crate::people::Door;
use domain::access::Role;
use domain::ids::UserId;
use serde_json::{Value, json};
use tests::User;

/// Days that pass at the end of a run: to the end of a trial, over a renewal, and to the end of grace.
pub const DAYS_TO_PASS: &[i64] = &[6, 28, 8];
/// How long somebody looks whether a subscription has begun.
const LOOKS_MAX: usize = 3;

/// Somebody who subscribes.
#[derive(Clone, Debug)]
pub struct Subscriber {
    pub user: UserId,
    pub key: &'static str,
    /// Which of the plans.
    pub plan: usize,
    pub card: &'static str,
    pub stays: Stays,
}

/// What becomes of a subscription once it has begun.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stays {
    Keeps,
    CancelsAtEnd,
    /// Cancels at once, and gets the rest back.
    CancelsNow,
    /// Cancels, and changes their mind.
    Resumes,
    /// Has another card saved, and what is unpaid tried with it.
    NewCard,
    /// Goes over to the other plan.
    OtherPlan,
}

impl Door {
    /// A subscriber's whole errand.
    pub async fn subscribe(self, errand: Subscriber) {
        let who = User::new(errand.user, vec![Role::Buyer]);
        let ask = json!({
            "plan_id": self.plans[errand.plan],
            "time_zone": "Europe/Moscow",
            "consent_text": "Each month until I cancel.",
        });
        let begun = self.insist(&who, "POST", "/subscriptions".to_owned(), errand.key, ask).await;
        let Some(begun) = begun.filter(|reply| reply.status == 201) else { return };
        let path = format!("/subscriptions/{}", begun.body["id"].as_str().unwrap_or_default());
        if !begun.body["payment"].is_null() {
            self.confirm(&begun.body["payment"], errand.card).await;
        }
        for _ in 0..LOOKS_MAX {
            self.pause("has it begun").await;
            let shown = self.ask(&who, "GET", path.clone(), None, Value::Null).await;
            if shown.is_some_and(|shown| matches!(shown.body["status"].as_str(), Some("active" | "trialing"))) {
                break;
            }
        }
        self.come_late("some days later").await;
        self.stay(&who, &path, &errand).await;
    }

    async fn stay(&self, who: &User, path: &str, errand: &Subscriber) {
        match errand.stays {
            Stays::Keeps => {}
            Stays::CancelsAtEnd => {
                self.repeat(who, "DELETE", path.to_owned(), None, Value::Null).await;
            }
            Stays::CancelsNow => {
                self.repeat(who, "DELETE", format!("{path}?at=now"), None, Value::Null).await;
            }
            Stays::Resumes => {
                self.repeat(who, "DELETE", path.to_owned(), None, Value::Null).await;
                self.pause("changes their mind").await;
                self.repeat(who, "POST", format!("{path}/resume"), None, Value::Null).await;
            }
            Stays::NewCard => {
                let asked = self.repeat(who, "PUT", format!("{path}/payment-method"), None, Value::Null).await;
                if let Some(asked) = asked.filter(|reply| reply.status == 200) {
                    self.confirm(&asked.body, "pm_card_visa").await;
                    self.pause("is it saved").await;
                    self.repeat(who, "POST", format!("{path}/retry"), None, Value::Null).await;
                    self.repeat(who, "POST", format!("{path}/return"), None, Value::Null).await;
                }
            }
            Stays::OtherPlan => {
                let other = json!({ "plan_id": self.plans[1 - errand.plan], "consent_text": "The other one." });
                self.repeat(who, "PUT", format!("{path}/plan"), None, other).await;
            }
        }
    }
}

/// Who subscribes: nobody in most runs, or up to two.
pub fn subscribers(choices: &mut Choices) -> Vec<Subscriber> {
    const CARDS: [&str; 9] = [
        "pm_card_visa",
        "pm_card_visa",
        "pm_card_visa",
        "pm_card_chargeCustomerFail",
        "pm_card_chargeDeclined",
        "pm_card_refundFail",
        "pm_card_createDispute",
        "pm_sandbox_saved_insufficient_funds",
        "pm_sandbox_delay_120",
    ];
    const STAYS: [Stays; 7] = [
        Stays::Keeps,
        Stays::Keeps,
        Stays::CancelsAtEnd,
        Stays::CancelsNow,
        Stays::Resumes,
        Stays::NewCard,
        Stays::OtherPlan,
    ];
    if !choices.once_in(8) {
        return Vec::new();
    }
    let mut subscribers = Vec::new();
    for user in 0..1 + choices.below(2) {
        let (plan, card) = (choices.below(2), CARDS[choices.below(CARDS.len())]);
        let (user, key) = (UserId(0x5b + user as u128), "subscribe");
        let stays = STAYS[choices.below(STAYS.len())];
        let subscriber = Subscriber { user, key, plan, card, stays };
        // From a second tab: the same again, or another.
        if choices.once_in(3) {
            let key = ["subscribe", "again"][choices.below(2)];
            subscribers.push(Subscriber { key, stays: Stays::Keeps, ..subscriber.clone() });
        }
        subscribers.push(subscriber);
    }
    subscribers
}
