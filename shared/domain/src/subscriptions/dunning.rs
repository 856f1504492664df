//! What a declined charge means: try again on schedule, ask its holder to confirm, or never try that card again.
//!
//! Only words that say so are in the table; every other decline is tried again on schedule.

use super::periods::{NoSuchDate, days_after};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A decline in the provider's words, as its error has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decline {
    /// The error's `code`, such as `card_declined` or `expired_card`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decline_code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice_code: Option<String>,
    /// The card network's own code, of ISO 8583's field 39.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_decline_code: Option<String>,
}

/// What is recorded where the provider would not even try the saved method, such as one that was detached there.
const METHOD_UNUSABLE: &str = "method_unusable";
/// What the provider says, in one field or another, where the holder has to confirm.
const AUTHENTICATION_REQUIRED: &str = "authentication_required";

impl From<&crate::payments::Decline> for Decline {
    fn from(told: &crate::payments::Decline) -> Self {
        let decline_code = if told.needs_authentication {
            Some(AUTHENTICATION_REQUIRED.to_owned())
        } else {
            told.decline_code.clone()
        };
        let (advice_code, network_decline_code) = (told.advice_code.clone(), told.network_decline_code.clone());
        Self { code: Some(told.code.clone()), decline_code, advice_code, network_decline_code }
    }
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The same card may work on another day.
    Retry,
    /// Its holder has to confirm at the bank: send a link.
    Confirm,
    /// Never this card again: ask for another, or for its right data.
    NewCard,
}

/// Which of the provider's fields a row reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `decline_code`, or `code` where there is none: Stripe says `expired_card` and `incorrect_cvc` there.
    Code,
    Advice,
    Network,
}

/// Words of a field, and what they mean.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub field: Field,
    pub words: &'static [&'static str],
    pub verdict: Verdict,
    pub source: &'static str,
}

/// Read from the top: the first row that a decline has a word of decides.
pub const TABLE: &[Row] = &[
    Row {
        field: Field::Advice,
        words: &["do_not_try_again"],
        verdict: Verdict::NewCard,
        source: "Stripe, Card declines, Retrying issuer declines (docs.stripe.com/declines/card): the issuer asks not to",
    },
    Row {
        field: Field::Code,
        words: &["authentication_required", "authentication_not_handled"],
        verdict: Verdict::Confirm,
        source: "Stripe, Decline codes (docs.stripe.com/declines/codes): off-session, ask the customer to come and confirm",
    },
    Row {
        field: Field::Code,
        words: &[
            "incorrect_number",
            "invalid_number",
            "lost_card",
            "pickup_card",
            "stolen_card",
            "revocation_of_authorization",
            "revocation_of_all_authorizations",
            "stop_payment_order",
            "transaction_not_allowed",
            "highest_risk_level",
        ],
        verdict: Verdict::NewCard,
        source: "Stripe Billing, Smart Retries, hard declines (docs.stripe.com/billing/revenue-recovery/smart-retries)",
    },
    Row {
        field: Field::Code,
        words: &[
            "expired_card",
            "incorrect_cvc",
            "invalid_cvc",
            "invalid_expiry_month",
            "invalid_expiry_year",
            "invalid_account",
            "new_account_information_available",
            "card_not_supported",
            "currency_not_supported",
            "fraudulent",
            "merchant_blacklist",
            "restricted_card",
            "security_violation",
            "testmode_decline",
        ],
        verdict: Verdict::NewCard,
        source: "Stripe, Decline codes (docs.stripe.com/declines/codes): another card, right data, or a call to the bank",
    },
    Row {
        field: Field::Code,
        words: &[METHOD_UNUSABLE],
        verdict: Verdict::NewCard,
        source: "ours: the provider refuses the saved method itself, so no bank was asked, and none will be",
    },
    Row {
        field: Field::Network,
        words: &["04", "07", "12", "15", "41", "43", "46", "57", "R0", "R1", "R3"],
        verdict: Verdict::NewCard,
        source: "Visa, decline category 1 (checkout.com/docs/developer-resources/codes/visa-response-codes): never to be tried again",
    },
    Row {
        field: Field::Network,
        words: &["14", "54"],
        verdict: Verdict::NewCard,
        source: "Visa, response codes 14 and 54: the number or the date is wrong; only with other data again",
    },
    Row {
        field: Field::Network,
        words: &["1A", "65"],
        verdict: Verdict::Confirm,
        source: "Visa (1A) and Mastercard (65), soft decline: strong customer authentication is required",
    },
    Row {
        field: Field::Advice,
        words: &["confirm_card_data"],
        verdict: Verdict::NewCard,
        source: "Stripe, Card declines, Retrying issuer declines: the data is to be corrected first",
    },
    Row {
        field: Field::Advice,
        words: &["try_again_later"],
        verdict: Verdict::Retry,
        source: "Stripe, Card declines, Retrying issuer declines: another time may do",
    },
];

impl Decline {
    /// There is no saved method, or the provider would not even try it.
    pub fn method_unusable() -> Self {
        Self { code: Some(METHOD_UNUSABLE.to_owned()), ..Self::default() }
    }

    fn word(&self, field: Field) -> Option<&str> {
        match field {
            Field::Code => self.decline_code.as_deref().or(self.code.as_deref()),
            Field::Advice => self.advice_code.as_deref(),
            Field::Network => self.network_decline_code.as_deref(),
        }
    }

    /// The row that decides, if any does.
    pub fn row(&self) -> Option<&'static Row> {
        TABLE.iter().find(|row| self.word(row.field).is_some_and(|word| row.words.contains(&word)))
    }

    pub fn verdict(&self) -> Verdict {
        self.row().map_or(Verdict::Retry, |row| row.verdict)
    }

    /// The word that a history shows: the most telling that there is.
    pub fn reason(&self) -> &str {
        self.word(Field::Code).or(self.word(Field::Network)).unwrap_or("unknown")
    }
}

/// When a charge first due at `first` is tried again: on the first day of the schedule after `now`, at the same time of
/// day; none where the schedule is over.
pub fn next_try(
    first: Timestamp,
    now: Timestamp,
    retry_days: &[u8],
    zone: &str,
) -> Result<Option<Timestamp>, NoSuchDate> {
    for &days in retry_days {
        let at = days_after(first, zone, days.into())?;
        if at > now {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_declines_mean() {
        use Verdict::{Confirm, NewCard, Retry};
        // code, decline_code, advice_code, network_decline_code
        for (code, decline, advice, network, expected) in [
            ("card_declined", "generic_decline", "", "", Retry),
            ("card_declined", "insufficient_funds", "try_again_later", "51", Retry),
            ("card_declined", "do_not_honor", "", "05", Retry),
            ("card_declined", "generic_decline", "do_not_try_again", "", NewCard),
            ("authentication_required", "authentication_required", "", "", Confirm),
            ("card_declined", "authentication_required", "", "", Confirm),
            ("authentication_required", "authentication_required", "do_not_try_again", "", NewCard),
            ("card_declined", "stolen_card", "", "43", NewCard),
            ("card_declined", "stolen_card", "try_again_later", "", NewCard),
            ("card_declined", "generic_decline", "try_again_later", "R1", NewCard),
            ("card_declined", "generic_decline", "", "1A", Confirm),
            ("expired_card", "", "", "", NewCard),
            ("incorrect_cvc", "", "confirm_card_data", "", NewCard),
            ("processing_error", "", "", "", Retry),
            ("", "", "", "", Retry),
        ] {
            let word = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let decline = Decline {
                code: word(code),
                decline_code: word(decline),
                advice_code: word(advice),
                network_decline_code: word(network),
            };
            assert_eq!(decline.verdict(), expected, "{decline:?}");
        }
    }

    #[test]
    fn no_word_means_two_things() {
        let words = TABLE.iter().flat_map(|row| row.words.iter().map(|word| format!("{:?} {word}", row.field)));
        let mut words: Vec<_> = words.collect();
        words.sort();
        let count = words.len();
        words.dedup();
        assert_eq!(words.len(), count);
        assert!(TABLE.iter().all(|row| !row.source.is_empty()));
    }

    #[test]
    fn retries_follow_the_schedule_at_the_same_time_of_day() {
        // The clocks change in the night of the 29th.
        let first: Timestamp = "2026-03-28T11:00:00Z".parse().unwrap();
        for (hours, expected) in [
            (0, Some("2026-03-29T10:00:00Z")),
            (22, Some("2026-03-29T10:00:00Z")),
            (23, Some("2026-03-31T10:00:00Z")),
            (6 * 24, Some("2026-04-04T10:00:00Z")),
            (7 * 24, None),
        ] {
            let now = first + jiff::SignedDuration::from_hours(hours);
            let next = next_try(first, now, &[1, 3, 5, 7], "Europe/Berlin").unwrap();
            assert_eq!(next.map(|at| at.to_string()).as_deref(), expected, "{hours}");
        }
    }
}
