//! What Stripe says of disputes, and of the balance that everything moves.

use super::{GatewayError, List, Stripe, purpose};
use crate::payments::MovementPage;
use axum::http::Method;
use domain::money::{Currency, Money};
use domain::payments::{DisputeState, Movement, MovementKind, ProviderDispute, Swing};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Disputes of one payment that are looked at; networks allow one, few methods more.
const DISPUTES_MAX: usize = 10;
/// ISO 4217: "the code assigned for transactions where no currency is involved".
const NO_CURRENCY: &str = "XXX";
/// Movements of one page; Stripe gives no more.
const PAGE_MOVEMENTS: usize = 100;

#[derive(Deserialize)]
struct Dispute {
    id: String,
    status: String,
    amount: i64,
    currency: String,
    #[serde(default)]
    balance_transactions: Vec<Txn>,
}

/// A balance transaction without what it is for.
#[derive(Deserialize)]
struct Txn {
    amount: i64,
    fee: i64,
    currency: String,
}

/// A balance transaction as it is listed.
#[derive(Deserialize)]
struct Listed {
    id: String,
    created: i64,
    r#type: String,
    reporting_category: Option<String>,
    #[serde(flatten)]
    txn: Txn,
    source: Option<Source>,
}

/// A charge, a refund or a dispute: what they have in common.
#[derive(Deserialize)]
#[serde(untagged)]
enum Source {
    Expanded(Expanded),
    /// What cannot be expanded, such as a payout's.
    Id(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Expanded {
    id: String,
    amount: Option<i64>,
    amount_captured: Option<i64>,
    currency: Option<String>,
    payment_intent: Option<String>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
}

impl Stripe {
    pub(super) async fn list_disputes(&self, payment: &str) -> Result<Vec<ProviderDispute>, GatewayError> {
        let query = [("payment_intent", payment.to_owned()), ("limit", DISPUTES_MAX.to_string())];
        let list: List<Dispute> = self.call(Method::GET, "/v1/disputes", &query, None).await?;
        if list.has_more {
            return Err(GatewayError::Unknown(format!("a payment has more than {DISPUTES_MAX} disputes")));
        }
        Ok(list.data.into_iter().rev().filter_map(dispute).collect())
    }

    pub(super) async fn get_dispute(&self, id: &str) -> Result<Option<ProviderDispute>, GatewayError> {
        match self.call(Method::GET, &format!("/v1/disputes/{id}"), &[], None).await {
            Ok(found) => Ok(dispute(found)),
            Err(error) if error.code.as_deref() == Some("resource_missing") => Ok(None),
            Err(error) => Err(error.error),
        }
    }

    pub(super) async fn list_movements(
        &self,
        from: Timestamp,
        to: Timestamp,
        cursor: Option<&str>,
    ) -> Result<MovementPage, GatewayError> {
        let mut query = vec![
            ("created[gte]", from.as_second().to_string()),
            ("created[lt]", to.as_second().to_string()),
            ("limit", PAGE_MOVEMENTS.to_string()),
            ("expand[]", "data.source".to_owned()),
        ];
        query.extend(cursor.map(|id| ("starting_after", id.to_owned())));
        let list: List<Listed> = self.call(Method::GET, "/v1/balance_transactions", &query, None).await?;
        let next = list.data.last().filter(|_| list.has_more).map(|last| last.id.clone());
        let movements = list.data.into_iter().map(movement).collect::<Result<_, _>>()?;
        Ok(MovementPage { movements, next })
    }
}

/// A dispute that took money, or is about to. Inquiries (`warning_…`) and those that Stripe prevented take none.
fn dispute(found: Dispute) -> Option<ProviderDispute> {
    let state = match found.status.as_str() {
        "won" => DisputeState::Won,
        "lost" => DisputeState::Lost,
        "needs_response" | "under_review" => DisputeState::Open,
        _ if found.balance_transactions.is_empty() => return None,
        _ => DisputeState::Open,
    };
    let swing = |is_wanted: fn(i64) -> bool| {
        let wanted: Vec<_> = found.balance_transactions.iter().filter(|txn| is_wanted(txn.amount)).collect();
        let is_converted = wanted.iter().any(|txn| txn.currency != found.currency);
        let sum = wanted.iter().fold(Swing { amount: 0, fee: 0 }, |sum, txn| Swing {
            amount: sum.amount.saturating_add(txn.amount.saturating_abs()),
            fee: sum.fee.saturating_add(txn.fee),
        });
        // A balance in another currency: the journal counts what was disputed, and not a fee in that currency.
        let sum = if is_converted { Swing { amount: found.amount, fee: 0 } } else { sum };
        (!wanted.is_empty()).then_some(sum)
    };
    let (withdrawn, reinstated) = (swing(|amount| amount < 0), swing(|amount| amount > 0));
    Some(ProviderDispute { id: found.id, state, amount: found.amount, withdrawn, reinstated })
}

/// The `type`s and reporting categories: <https://docs.stripe.com/reports/balance-transaction-types>.
fn movement(listed: Listed) -> Result<Movement, GatewayError> {
    let source = match listed.source {
        Some(Source::Expanded(source)) => Some(source),
        Some(Source::Id(_)) | None => None,
    };
    let (mut amount, mut fee, mut code) = (listed.txn.amount, listed.txn.fee, listed.txn.currency);
    let data = |name: &str| source.as_ref()?.metadata.as_ref()?.get(name).cloned();
    let kind = match (listed.r#type.as_str(), listed.reporting_category.as_deref()) {
        ("charge" | "payment", _) => MovementKind::Capture,
        ("refund" | "payment_refund", _) => MovementKind::Refund(data("refund_id")),
        ("refund_failure" | "payment_failure_refund", _) => MovementKind::RefundReversed(data("refund_id")),
        ("adjustment", Some("dispute")) => MovementKind::DisputeWithdrawn,
        ("adjustment", Some("dispute_reversal")) => MovementKind::DisputeReinstated,
        _ => MovementKind::Other,
    };
    let purpose = source.as_ref().and_then(|source| purpose(source.metadata.as_ref()?));
    // The balance may be in another currency than the payment, by which the journal counts.
    if let Some(Expanded { amount: Some(own), currency: Some(currency), amount_captured, .. }) = &source
        && *currency != code
    {
        amount = amount_captured.unwrap_or(*own) * amount.signum();
        (fee, code) = (0, currency.clone());
    }
    // What nobody here can have sold in, such as a payout's: to be counted, and no reason not to compare the rest.
    let none = || Currency::from_code(NO_CURRENCY).expect("ISO 4217 has a code for none");
    let currency = Currency::from_code(&code.to_uppercase()).unwrap_or_else(none);
    let unreadable = |_| GatewayError::Unknown(format!("the movement {} has no time", listed.id));
    let at = Timestamp::from_second(listed.created).map_err(unreadable)?;
    let money = Money::new(amount, currency);
    let (payment, source) = source.map_or((None, listed.id.clone()), |source| (source.payment_intent, source.id));
    Ok(Movement { id: listed.id, at, kind, source, money, fee, payment, purpose })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::payments::Purpose;

    fn listed(json: &str) -> Movement {
        movement(serde_json::from_str(json).unwrap()).unwrap()
    }

    #[test]
    fn movements_say_what_they_are_of() {
        let refund = listed(
            r#"{"id":"txn_1","created":1800000000,"type":"refund","reporting_category":"refund","amount":-500,"fee":0,
            "currency":"eur","source":{"id":"re_1","amount":500,"currency":"eur","payment_intent":"pi_1",
            "metadata":{"refund_id":"rfd_x-1"}}}"#,
        );
        assert_eq!(refund.kind, MovementKind::Refund(Some("rfd_x-1".into())));
        assert_eq!((refund.source.as_str(), refund.payment.as_deref()), ("re_1", Some("pi_1")));
        assert_eq!((refund.money.amount, refund.purpose), (-500, None));
        let renewal = listed(
            r#"{"id":"txn_5","created":1800000000,"type":"charge","amount":500,"fee":44,"currency":"eur","source":{"id":
            "ch_2","amount":500,"currency":"eur","payment_intent":"pi_2","metadata":{"subscription_id":"s","period":"3",
            "user_id":"usr_00000000000000000000000002"}}}"#,
        );
        let (user, subscription, period) = (domain::ids::UserId(2), "s".into(), "3".into());
        assert_eq!(renewal.purpose, Some(Purpose::Subscription { user, subscription, period }));
        assert_eq!((renewal.order(), renewal.kind), (None, MovementKind::Capture));
        let converted = listed(
            r#"{"id":"txn_2","created":1800000000,"type":"charge","amount":1100,"fee":62,"currency":"usd",
            "source":{"id":"ch_1","amount":1200,"amount_captured":1000,"currency":"eur","payment_intent":"pi_1"}}"#,
        );
        assert_eq!((converted.money.to_string(), converted.fee), ("10.00 EUR".into(), 0));
        let payout = listed(
            r#"{"id":"txn_3","created":1800000000,"type":"payout","amount":-9,"fee":0,"currency":"eur","source":"po_1"}"#,
        );
        assert_eq!(payout.kind, MovementKind::Other);
        let strange = listed(
            r#"{"id":"txn_4","created":1800000000,"type":"payout","amount":-9,"fee":0,"currency":"usdc","source":"po_1"}"#,
        );
        assert_eq!((strange.kind, strange.money.currency.code()), (MovementKind::Other, "XXX"));
    }

    #[test]
    fn a_question_is_no_dispute() {
        let read = |status: &str, txns: &str| {
            let json = format!(
                r#"{{"id":"du_1","status":"{status}","amount":900,"currency":"eur","balance_transactions":[{txns}]}}"#
            );
            dispute(serde_json::from_str(&json).unwrap())
        };
        let (out, back) =
            (r#"{"amount":-900,"fee":1500,"currency":"eur"}"#, r#"{"amount":900,"fee":-1500,"currency":"eur"}"#);
        assert_eq!(read("warning_needs_response", ""), None);
        assert_eq!(read("needs_response", "").map(|found| found.withdrawn), Some(None));
        let won = read("won", &format!("{out},{back}")).unwrap();
        assert_eq!(won.withdrawn, Some(Swing { amount: 900, fee: 1500 }));
        assert_eq!(won.reinstated, Some(Swing { amount: 900, fee: -1500 }));
        let converted = read("lost", r#"{"amount":-990,"fee":1500,"currency":"usd"}"#).unwrap();
        assert_eq!(converted.withdrawn, Some(Swing { amount: 900, fee: 0 }));
    }
}
