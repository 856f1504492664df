//! What clients see of subscriptions, and the problems of what they ask for.

use crate::views::{MoneyOut, sentence};
use axum::http::StatusCode;
use domain::ids::{PlanId, PromotionId, SubscriptionId};
use domain::subscriptions::periods::{NoSuchDate, Period};
use domain::subscriptions::perks::Perk;
use domain::subscriptions::plans::{Billing, Names};
use domain::subscriptions::promotions::{Gift, Granted, NotGranted};
use domain::subscriptions::{
    CONSENT_CHARS_MAX, ChargeKind, ChargeRef, Owed, PendingChange, Refused, State, Subscription,
};
use jiff::Timestamp;
use platform::http::{FieldError, Problem};
use serde::Serialize;
use utoipa::ToSchema;

/// A name in each language of the product.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NamesOut {
    pub ru: String,
    pub en: String,
}

impl From<&Names> for NamesOut {
    fn from(names: &Names) -> Self {
        Self { ru: names.ru.clone(), en: names.en.clone() }
    }
}

/// Where a subscription stands, on the terms of the day on which it began or changed its plan.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SubscriptionOut {
    #[schema(value_type = String, example = "sub_01jd8z3v8e7x0m4q2r6t9w1y5b")]
    id: SubscriptionId,
    /// `pending`, `trialing`, `active`, `past_due`, `lapsed` or `ended`.
    #[schema(value_type = String)]
    status: State,
    /// Whether its perks hold now.
    perks_hold: bool,
    #[schema(value_type = String)]
    plan_id: PlanId,
    plan_version: u32,
    name: NamesOut,
    /// For the term, or for each month.
    price: MoneyOut,
    /// `"monthly"`, or `{"once": {"months": 12}}`.
    #[schema(value_type = Object)]
    billing: Billing,
    #[schema(value_type = Vec<Object>)]
    perks: Vec<Perk>,
    /// What is paid for, or the trial; absent until it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<PeriodOut>,
    /// The next renewal, if it renews.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_charge: Option<NextChargeOut>,
    /// When it ends, if it does not renew.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Timestamp>,
    cancel_at_end: bool,
    /// Until when perks hold although the renewal is not paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    grace_until: Option<Timestamp>,
    /// The charge that it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    open_charge: Option<OpenChargeOut>,
    /// The saved card.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_method: Option<MethodOut>,
    /// Another plan that is to come.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<ChangeOut>,
    promotions: Vec<GrantedOut>,
    /// `trial_used`: its trial did not begin, since its card had one before. It begins once its first payment is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    trial_refused: Option<&'static str>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When perks first held.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PeriodOut {
    /// 0 for the trial.
    pub number: u32,
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
}

impl PeriodOut {
    /// The period; none where it has not begun.
    pub fn of(period: &Period) -> Option<Self> {
        (period.from < period.to).then_some(Self { number: period.number, from: period.from, to: period.to })
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct NextChargeOut {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// With the promotions that it has.
    amount: MoneyOut,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct OpenChargeOut {
    #[schema(value_type = String)]
    charge_id: ChargeRef,
    /// `first`, `renewal` or `proration`.
    #[schema(value_type = String)]
    kind: ChargeKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    next_try_at: Option<Timestamp>,
    /// When it is given up.
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
}

impl From<&Owed> for OpenChargeOut {
    fn from(owed: &Owed) -> Self {
        Self { charge_id: owed.charge, kind: owed.kind, next_try_at: owed.next_try, until: owed.until }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct MethodOut {
    #[schema(example = "visa")]
    brand: String,
    last4: String,
    exp_year: i16,
    exp_month: i8,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct ChangeOut {
    #[schema(value_type = String)]
    plan_id: PlanId,
    plan_version: u32,
    name: NamesOut,
    price: MoneyOut,
    /// Once its difference is paid; with the next period otherwise.
    at_once: bool,
}

impl From<&PendingChange> for ChangeOut {
    fn from(change: &PendingChange) -> Self {
        Self {
            plan_id: change.plan.id,
            plan_version: change.plan.version,
            name: (&change.terms.name).into(),
            price: change.terms.price.into(),
            at_once: change.now,
        }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct GrantedOut {
    #[schema(value_type = String)]
    promotion_id: PromotionId,
    /// `{"percent": 5000}` (ten-thousandths), `{"amount": {…}}` or `{"free_months": 2}`.
    #[schema(value_type = Object)]
    gift: Gift,
    /// Payments that it still lowers.
    payments_left: u8,
}

impl From<&Granted> for GrantedOut {
    fn from(granted: &Granted) -> Self {
        Self { promotion_id: granted.promotion, gift: granted.gift, payments_left: granted.left }
    }
}

impl SubscriptionOut {
    pub fn new(subscription: &Subscription, now: Timestamp) -> Self {
        let terms = &subscription.terms;
        let runs = matches!(subscription.state, State::Trialing | State::Active);
        let renews = terms.billing == Billing::Monthly && !subscription.cancel_at_end;
        let to = subscription.period.to;
        let next_charge = NextChargeOut { at: to, amount: subscription.next_price().price.into() };
        let method = subscription.method.as_ref().map(|method| MethodOut {
            brand: method.brand.clone(),
            last4: method.last4.clone(),
            exp_year: method.exp_year,
            exp_month: method.exp_month,
        });
        Self {
            id: subscription.id,
            status: subscription.state,
            perks_hold: subscription.holds(now),
            plan_id: subscription.plan.id,
            plan_version: subscription.plan.version,
            name: (&terms.name).into(),
            price: terms.price.into(),
            billing: terms.billing,
            perks: terms.perks.clone(),
            period: PeriodOut::of(&subscription.period),
            next_charge: (runs && renews).then_some(next_charge),
            ends_at: (runs && !renews).then_some(to),
            cancel_at_end: subscription.cancel_at_end,
            grace_until: (subscription.state == State::PastDue).then_some(subscription.grace_until),
            open_charge: subscription.owed.as_ref().map(Into::into),
            payment_method: method,
            change: subscription.change.as_ref().map(Into::into),
            promotions: subscription.promotions.iter().map(Into::into).collect(),
            trial_refused: subscription.trial_refused.then_some("trial_used"),
            created_at: subscription.created_at,
            started_at: subscription.started_at,
        }
    }
}

/// Why a subscription cannot be done what was asked, for the client.
pub fn problem(refused: Refused) -> Problem {
    let code = match &refused {
        Refused::OtherCurrency(_) => {
            return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "other_currency", sentence(&refused.to_string()));
        }
        Refused::NoConsent => {
            return Problem::field("/consent_text", format!("must have 1 to {CONSENT_CHARS_MAX} characters"));
        }
        Refused::Date(NoSuchDate::UnknownZone(_)) => return Problem::field("/time_zone", "is not an IANA time zone"),
        Refused::Date(NoSuchDate::TooFar) => return Problem::internal(refused.to_string()),
        Refused::Promotion(refused) => return not_granted(*refused, "/codes"),
        Refused::Withdrawn => "plan_withdrawn",
        Refused::SubscribedAlready => "subscribed_already",
        Refused::Pending => "subscription_pending",
        Refused::Over => "subscription_over",
        Refused::NotLapsed => "subscription_not_lapsed",
        Refused::Busy => "subscription_busy",
        Refused::PastDue => "past_due",
        Refused::CancelAsked => "cancel_asked",
        Refused::NoMethod => "no_payment_method",
        Refused::SamePlan => "same_plan",
        Refused::OtherBilling => "other_billing",
        Refused::TooOften => "too_often",
        Refused::ChargeClosed => "nothing_to_pay",
        Refused::NoSuchRefund => return Problem::not_found(),
        Refused::RefundNotFailed => "refund_not_failed",
        Refused::Disputed => "charge_disputed",
    };
    Problem::conflict(code, sentence(&refused.to_string()))
}

/// Why a code is not granted; `pointer` says which it is.
pub fn not_granted(refused: NotGranted, pointer: &str) -> Problem {
    let code = match refused {
        NotGranted::Unknown => "promotion_unknown",
        NotGranted::Expired(_) => "promotion_expired",
        NotGranted::NotYet(_) => "promotion_not_yet",
        NotGranted::Exhausted => "promotion_exhausted",
        NotGranted::UsedAlready => "promotion_used_already",
        NotGranted::NotForYou => "promotion_not_for_you",
        NotGranted::OtherCurrency(_) => "promotion_other_currency",
        NotGranted::OtherPlan => "promotion_other_plan",
        NotGranted::NotStackable => "promotion_not_stackable",
    };
    let status = if refused == NotGranted::Unknown { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::CONFLICT };
    let detail = sentence(&refused.to_string());
    Problem::new(status, code, detail.clone()).with_errors([FieldError { pointer: pointer.to_owned(), detail }])
}

/// A bank's reason as its card's holder may see it: who stole a card must not learn that this is known.
/// Source: <https://docs.stripe.com/declines/codes>, on codes that are to be shown as a generic decline.
pub fn public_reason(reason: &str) -> &str {
    match reason {
        "fraudulent" | "lost_card" | "stolen_card" | "pickup_card" | "merchant_blacklist" | "restricted_card" => {
            "generic_decline"
        }
        other => other,
    }
}
