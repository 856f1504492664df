//! Stripe's objects: what is kept of each, and how it looks on the wire.
//!
//! A struct holds what can vary. [`render`] adds what every such object has: `object`, `livemode`, and the fields that
//! are always null here; and it drops what is only kept for ourselves.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cards::{Card, card};
use crate::disputes::EVIDENCE;
use crate::form::Metadata;

/// The kinds of objects, and the numbers of their kinds of records in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Intent = 1,
    Charge = 2,
    Refund = 3,
    Customer = 4,
    Setup = 5,
    Method = 6,
    Txn = 7,
    Dispute = 12,
}

/// What all objects have in common.
pub(crate) trait Object: Serialize + DeserializeOwned {
    const KIND: Kind;
    /// Name in `object`, and in the path of its list.
    const NAME: &'static str;
    /// Fields that are null unless the struct says otherwise.
    const NULLS: &'static [&'static str];
    /// Fields of the struct that are not on the wire.
    const HIDDEN: &'static [&'static str];
    fn id(&self) -> &str;
    fn created(&self) -> i64;
    /// Adds what follows from other fields.
    fn complete(&self, _wire: &mut Map<String, Value>) {}
}

/// The fields that are not null, as they are kept.
pub(crate) fn compact<T: Object>(object: &T) -> String {
    let mut fields = fields(object);
    fields.retain(|_, value| !value.is_null());
    Value::Object(fields).to_string()
}

/// The object as Stripe shows it.
pub(crate) fn render<T: Object>(object: &T) -> Value {
    let mut wire = fields(object);
    for hidden in T::HIDDEN {
        wire.remove(*hidden);
    }
    for null in T::NULLS {
        wire.insert((*null).to_owned(), Value::Null);
    }
    wire.insert("object".to_owned(), json!(T::NAME));
    wire.insert("livemode".to_owned(), json!(false));
    object.complete(&mut wire);
    Value::Object(wire)
}

fn fields<T: Object>(object: &T) -> Map<String, Value> {
    match serde_json::to_value(object) {
        Ok(Value::Object(fields)) => fields,
        other => unreachable!("an object serialises to a map, not to {other:?}"),
    }
}

macro_rules! object {
    ($type:ident, $kind:ident, $name:literal, nulls [$($null:literal)*], hidden [$($hidden:literal)*]
        $(, $complete:item)?) => {
        impl Object for $type {
            const KIND: Kind = Kind::$kind;
            const NAME: &'static str = $name;
            const NULLS: &'static [&'static str] = &[$($null),*];
            const HIDDEN: &'static [&'static str] = &[$($hidden),*];
            fn id(&self) -> &str {
                &self.id
            }
            fn created(&self) -> i64 {
                self.created
            }
            $($complete)?
        }
    };
}

/// Where a payment intent, or a setup intent, stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    #[default]
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    Processing,
    RequiresCapture,
    Canceled,
    Succeeded,
}

impl Status {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::RequiresPaymentMethod => "requires_payment_method",
            Status::RequiresConfirmation => "requires_confirmation",
            Status::RequiresAction => "requires_action",
            Status::Processing => "processing",
            Status::RequiresCapture => "requires_capture",
            Status::Canceled => "canceled",
            Status::Succeeded => "succeeded",
        }
    }
}

/// A payment.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Intent {
    pub(crate) id: String,
    pub(crate) amount: i64,
    pub(crate) amount_capturable: i64,
    pub(crate) amount_received: i64,
    pub(crate) automatic_payment_methods: Option<Value>,
    pub(crate) canceled_at: Option<i64>,
    pub(crate) cancellation_reason: Option<String>,
    pub(crate) capture_method: String,
    pub(crate) client_secret: String,
    pub(crate) confirmation_method: String,
    pub(crate) created: i64,
    pub(crate) currency: String,
    pub(crate) customer: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) last_payment_error: Option<Value>,
    pub(crate) latest_charge: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) next_action: Option<Value>,
    pub(crate) payment_method: Option<String>,
    pub(crate) payment_method_types: Vec<String>,
    pub(crate) receipt_email: Option<String>,
    pub(crate) setup_future_usage: Option<String>,
    pub(crate) statement_descriptor: Option<String>,
    pub(crate) statement_descriptor_suffix: Option<String>,
    pub(crate) status: Status,
    pub(crate) transfer_group: Option<String>,
    /// Rows of its refunds.
    pub(crate) refunds: Vec<usize>,
    pub(crate) return_url: Option<String>,
}

object!(Intent, Intent, "payment_intent", nulls [
    "application" "application_fee_amount" "on_behalf_of" "payment_method_configuration_details"
    "payment_method_options" "processing" "review" "shipping" "source" "transfer_data" "customer_account"
    "excluded_payment_method_types" "payment_record"
], hidden ["refunds" "return_url"],
fn complete(&self, wire: &mut Map<String, Value>) {
    wire.insert("amount_details".to_owned(), json!({"tip": {}}));
});

/// A charge of a payment intent.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Charge {
    pub(crate) id: String,
    pub(crate) amount: i64,
    pub(crate) amount_captured: i64,
    pub(crate) amount_refunded: i64,
    pub(crate) balance_transaction: Option<String>,
    pub(crate) captured: bool,
    pub(crate) created: i64,
    pub(crate) currency: String,
    pub(crate) customer: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) disputed: bool,
    /// Id of its dispute.
    pub(crate) dispute: Option<String>,
    /// What the issuer said, beside the code.
    pub(crate) advice_code: Option<String>,
    pub(crate) decline_code: Option<String>,
    pub(crate) network_decline_code: Option<String>,
    pub(crate) failure_code: Option<String>,
    pub(crate) failure_message: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) paid: bool,
    pub(crate) payment_intent: String,
    pub(crate) payment_method: String,
    pub(crate) refunded: bool,
    pub(crate) status: String,
    /// Name of the test method, which decides what becomes of captures and refunds.
    pub(crate) token: String,
}

object!(Charge, Charge, "charge", nulls [
    "application" "application_fee" "application_fee_amount" "calculated_statement_descriptor"
    "failure_balance_transaction" "fraud_details" "on_behalf_of" "receipt_email" "receipt_number" "receipt_url"
    "review" "shipping" "source" "source_transfer" "statement_descriptor" "statement_descriptor_suffix"
    "transfer_data" "transfer_group"
], hidden ["dispute" "token" "advice_code" "decline_code" "network_decline_code"],
fn complete(&self, wire: &mut Map<String, Value>) {
    wire.insert("billing_details".to_owned(), billing_details());
    wire.insert("payment_method_details".to_owned(), json!({"type": "card", "card": card_details(&self.token)}));
    let (network, kind, message) = match self.paid {
        true => ("approved_by_network", "authorized", "Payment complete."),
        false => (
            "declined_by_network",
            "issuer_declined",
            "The bank did not return any further details with this decline.",
        ),
    };
    let reason = self.decline_code.as_ref().or(self.failure_code.as_ref());
    let mut outcome = json!({"network_status": network, "reason": reason, "risk_level": "normal",
        "network_advice_code": null, "network_decline_code": self.network_decline_code,
        "seller_message": message, "type": kind});
    if let Some(advice) = &self.advice_code {
        outcome["advice_code"] = json!(advice);
    }
    wire.insert("outcome".to_owned(), outcome);
});

/// Money on its way back.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Refund {
    pub(crate) id: String,
    pub(crate) amount: i64,
    pub(crate) balance_transaction: Option<String>,
    pub(crate) charge: String,
    pub(crate) created: i64,
    pub(crate) currency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure_balance_transaction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure_reason: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) payment_intent: String,
    pub(crate) reason: Option<String>,
    pub(crate) status: String,
}

object!(Refund, Refund, "refund", nulls [
    "receipt_number" "source_transfer_reversal" "transfer_reversal"
], hidden [],
fn complete(&self, wire: &mut Map<String, Value>) {
    wire.remove("livemode");
    wire.insert("destination_details".to_owned(), json!({"type": "card", "card": {
        "reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"}}));
});

/// Somebody who pays.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Customer {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) description: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) name: Option<String>,
    pub(crate) phone: Option<String>,
    pub(crate) default_payment_method: Option<String>,
    pub(crate) deleted: bool,
    /// Rows of its intents.
    pub(crate) intents: Vec<usize>,
    /// Rows of its payment methods.
    pub(crate) methods: Vec<usize>,
}

object!(Customer, Customer, "customer", nulls [
    "address" "currency" "default_source" "discount" "shipping" "test_clock"
], hidden ["default_payment_method" "deleted" "intents" "methods"],
fn complete(&self, wire: &mut Map<String, Value>) {
    if self.deleted {
        *wire = Map::from_iter([
            ("id".to_owned(), json!(self.id)),
            ("object".to_owned(), json!("customer")),
            ("deleted".to_owned(), json!(true)),
        ]);
        return;
    }
    let settings = json!({"custom_fields": null, "default_payment_method": self.default_payment_method,
        "footer": null, "rendering_options": null});
    for (name, value) in [("balance", json!(0)), ("delinquent", json!(false)), ("invoice_settings", settings),
        ("invoice_prefix", json!(self.id[4..12].to_uppercase())), ("next_invoice_sequence", json!(1)),
        ("preferred_locales", json!([])), ("tax_exempt", json!("none"))] {
        wire.insert(name.to_owned(), value);
    }
});

/// A payment method being saved.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Setup {
    pub(crate) id: String,
    pub(crate) automatic_payment_methods: Option<Value>,
    pub(crate) cancellation_reason: Option<String>,
    pub(crate) client_secret: String,
    pub(crate) created: i64,
    pub(crate) customer: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) last_setup_error: Option<Value>,
    pub(crate) metadata: Metadata,
    pub(crate) next_action: Option<Value>,
    pub(crate) payment_method: Option<String>,
    pub(crate) payment_method_types: Vec<String>,
    pub(crate) status: Status,
    pub(crate) usage: String,
    pub(crate) return_url: Option<String>,
}

object!(Setup, Setup, "setup_intent", nulls [
    "application" "flow_directions" "latest_attempt" "mandate" "on_behalf_of" "payment_method_configuration_details"
    "payment_method_options" "single_use_mandate" "customer_account" "excluded_payment_method_types"
], hidden ["return_url"]);

/// A card.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Method {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) customer: Option<String>,
    pub(crate) metadata: Metadata,
    /// Whether it was taken from its customer, so that nobody can use it any more.
    pub(crate) detached: bool,
    /// Whether its holder agreed to charges while they are away.
    pub(crate) set_up: bool,
    /// Name of the test method that it was made from.
    pub(crate) token: String,
}

object!(
    Method,
    Method,
    "payment_method",
    nulls["customer_account"],
    hidden["detached" "set_up" "token"],
    fn complete(&self, wire: &mut Map<String, Value>) {
        wire.insert("type".to_owned(), json!("card"));
        wire.insert("card".to_owned(), card_details(&self.token));
        wire.insert("billing_details".to_owned(), billing_details());
        wire.insert("allow_redisplay".to_owned(), json!("unspecified"));
    }
);

/// A movement of the account's balance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Txn {
    pub(crate) id: String,
    pub(crate) amount: i64,
    pub(crate) created: i64,
    pub(crate) currency: String,
    pub(crate) description: Option<String>,
    pub(crate) fee: i64,
    /// Where it says more than `type`.
    pub(crate) reporting_category: Option<String>,
    pub(crate) source: String,
    pub(crate) r#type: String,
}

impl Txn {
    /// What it is in Stripe's reports, which tell a dispute from other adjustments.
    pub(crate) fn category(&self) -> &str {
        self.reporting_category.as_deref().unwrap_or(&self.r#type)
    }
}

object!(Txn, Txn, "balance_transaction", nulls ["exchange_rate"], hidden [],
fn complete(&self, wire: &mut Map<String, Value>) {
    wire.remove("livemode");
    let what = if self.category() == "dispute" { "Dispute fee" } else { "Stripe processing fees" };
    let details = match self.fee {
        0 => json!([]),
        fee => json!([{"amount": fee, "application": null, "currency": self.currency,
            "description": what, "type": "stripe_fee"}]),
    };
    for (name, value) in [("net", json!(self.amount - self.fee)), ("fee_details", details),
        ("available_on", json!(self.created)), ("balance_type", json!("payments")), ("status", json!("available")),
        ("reporting_category", json!(self.category()))] {
        wire.insert(name.to_owned(), value);
    }
});

/// Where a dispute stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisputeStatus {
    #[default]
    NeedsResponse,
    UnderReview,
    Won,
    Lost,
}

impl DisputeStatus {
    /// Whether the issuer has decided.
    pub fn is_decided(self) -> bool {
        matches!(self, DisputeStatus::Won | DisputeStatus::Lost)
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            DisputeStatus::NeedsResponse => "needs_response",
            DisputeStatus::UnderReview => "under_review",
            DisputeStatus::Won => "won",
            DisputeStatus::Lost => "lost",
        }
    }
}

/// Money that an issuer took back for its card holder.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Dispute {
    pub(crate) id: String,
    pub(crate) amount: i64,
    /// Copies: a movement never changes.
    pub(crate) balance_transactions: Vec<Txn>,
    pub(crate) charge: String,
    pub(crate) created: i64,
    pub(crate) currency: String,
    pub(crate) due_by: i64,
    /// What was given, by the names of [`crate::disputes::EVIDENCE`].
    pub(crate) evidence: Metadata,
    pub(crate) metadata: Metadata,
    /// Whether the evidence came after `due_by`.
    pub(crate) past_due: bool,
    pub(crate) payment_intent: String,
    pub(crate) reason: String,
    pub(crate) status: DisputeStatus,
    pub(crate) submission_count: u32,
    /// Name of the test method, which names the network.
    pub(crate) token: String,
}

object!(Dispute, Dispute, "dispute", nulls [
    "intended_submission_method"
], hidden ["due_by" "past_due" "submission_count" "token"],
fn complete(&self, wire: &mut Map<String, Value>) {
    let given = |name: &str| (name.to_owned(), json!(self.evidence.get(name)));
    let mut evidence: Map<String, Value> = EVIDENCE.into_iter().map(given).collect();
    evidence.insert("enhanced_evidence".to_owned(), json!({}));
    let method = if self.submission_count == 0 { "not_submitted" } else { "manual" };
    let details = json!({"due_by": self.due_by, "enhanced_eligibility": {}, "has_evidence": !self.evidence.is_empty(),
        "past_due": self.past_due, "submission_count": self.submission_count, "submission_method": method});
    let Card { brand, .. } = card(&self.token).expect("only test methods become objects");
    // Each network's word for fraud where the card was not present.
    let code = if brand == "mastercard" { "4837" } else { "10.4" };
    let method = json!({"type": "card", "card": {"brand": brand, "case_type": "chargeback", "network": brand,
        "network_reason_code": code}});
    let txns: Vec<Value> = self.balance_transactions.iter().map(render).collect();
    for (name, value) in [("balance_transactions", json!(txns)), ("evidence", json!(evidence)),
        ("evidence_details", details), ("enhanced_eligibility_types", json!([])),
        ("is_charge_refundable", json!(self.status == DisputeStatus::Won)), ("payment_method_details", method)] {
        wire.insert(name.to_owned(), value);
    }
});

fn billing_details() -> Value {
    json!({"address": {"city": null, "country": null, "line1": null, "line2": null, "postal_code": null,
        "state": null}, "email": null, "name": null, "phone": null, "tax_id": null})
}

fn card_details(token: &str) -> Value {
    let Card { brand, last4, expiry, .. } = card(token).expect("only test methods become objects");
    json!({"brand": brand, "country": "US", "display_brand": brand, "exp_month": expiry.month, "exp_year": expiry.year,
        "fingerprint": format!("sandbox{last4}"), "funding": "credit", "last4": last4, "network": brand,
        "networks": {"available": [brand], "preferred": null}, "three_d_secure": null, "wallet": null,
        "checks": {"address_line1_check": null, "address_postal_code_check": null, "cvc_check": "pass"},
        "three_d_secure_usage": {"supported": true}, "generated_from": null, "regulated_status": "unregulated"})
}
