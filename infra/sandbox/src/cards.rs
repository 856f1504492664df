//! The test payment methods: Stripe's own names where they exist, `pm_sandbox_…` for the rest.

use crate::error::ApiError;
use serde_json::json;

const DELAY_SECONDS_MAX: u32 = 86_400;
/// The last month of a card that does not say otherwise: it never comes.
const EXPIRY: Month = Month { year: 2034, month: 12 };

/// Why an issuer declines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decline {
    pub(crate) code: &'static str,
    pub(crate) decline_code: Option<&'static str>,
    /// What Stripe advises to do now.
    pub(crate) advice_code: Option<&'static str>,
    /// What the card network calls it: ISO 8583's response code.
    pub(crate) network_decline_code: Option<&'static str>,
    pub(crate) message: &'static str,
}

impl Decline {
    /// The error of it; members that say nothing are left out, as Stripe does.
    pub(crate) fn error(self) -> ApiError {
        let mut error = ApiError::card(self.code, self.message);
        for (name, value) in [
            ("decline_code", self.decline_code),
            ("advice_code", self.advice_code),
            ("network_decline_code", self.network_decline_code),
        ] {
            if let Some(value) = value {
                error = error.with(name, json!(value));
            }
        }
        error
    }
}

/// Which payments of a card go without its holder's authentication. On session none does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exempt {
    Nothing,
    /// Off session, once it was set up for that.
    OnceSetUp,
    /// Off session, as if it had been set up elsewhere.
    OffSession,
}

/// A month of a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Month {
    pub(crate) year: i64,
    pub(crate) month: i64,
}

impl Month {
    /// That of a Unix time: the civil calendar, counted from March so that a leap day is a year's last.
    pub(crate) fn of(seconds: i64) -> Month {
        let days = seconds.div_euclid(86_400) + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Month { year: era * 400 + year_of_era + i64::from(month <= 2), month }
    }
}

/// What happens when a method is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Succeeds,
    Declines(Decline),
    /// Saved without trouble, declined at each charge.
    DeclinesWhenCharged(Decline),
    /// The buyer must authenticate; nobody can when the buyer is away.
    Authenticates(Exempt),
    /// The same, and is declined when that is done.
    AuthenticatesInVain(Decline),
    /// Succeeds until its last month is over.
    Expires,
    /// Disputed as fraudulent as soon as it is captured.
    Disputes,
    /// Refunds succeed first and fail later.
    RefundFails,
    /// Refunds are pending first and succeed later.
    RefundPends,
    /// Authorised, but the answer comes too late for any client.
    Hangs,
    /// Processing, then authorised after so many seconds.
    Delays(u32),
    /// Processing, then declined after so many seconds.
    DeclinesAfter(u32),
    /// Authorised, and the capture is refused for good.
    CaptureFails,
    /// Captures even where the intent asks for manual capture.
    CapturesAtOnce,
}

/// A test payment method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Card {
    pub(crate) brand: &'static str,
    pub(crate) last4: &'static str,
    pub(crate) behaviour: Behaviour,
    /// The last month in which it is good.
    pub(crate) expiry: Month,
}

impl Card {
    /// Why its issuer has it no more, if so.
    pub(crate) fn expired(&self, now_seconds: i64) -> Option<Decline> {
        (self.behaviour == Behaviour::Expires && self.expiry < Month::of(now_seconds)).then_some(EXPIRED)
    }

    /// Why its issuer does not let it be saved, if so.
    pub(crate) fn unsaveable(&self, now_seconds: i64) -> Option<Decline> {
        match self.behaviour {
            Behaviour::Declines(why) => Some(why),
            _ => self.expired(now_seconds),
        }
    }
}

const TRY_LATER: Option<&str> = Some("try_again_later");
const NEVER_AGAIN: Option<&str> = Some("do_not_try_again");
const CONFIRM_DATA: Option<&str> = Some("confirm_card_data");

const fn declined(
    decline_code: &'static str,
    advice_code: Option<&'static str>,
    network: &'static str,
    message: &'static str,
) -> Decline {
    let (decline_code, network_decline_code) = (Some(decline_code), Some(network));
    Decline { code: "card_declined", decline_code, advice_code, network_decline_code, message }
}

/// The plain decline, as most issuers send it.
pub(crate) const GENERIC: Decline = declined("generic_decline", TRY_LATER, "01", "Your card was declined.");

/// The decline of a card that wants its holder present.
pub(crate) const AUTHENTICATION_REQUIRED: Decline = Decline {
    code: "authentication_required",
    decline_code: Some("authentication_required"),
    advice_code: None,
    network_decline_code: None,
    message: "Your card was declined. This transaction requires authentication.",
};

const INSUFFICIENT_FUNDS: Decline =
    declined("insufficient_funds", TRY_LATER, "51", "Your card has insufficient funds.");
const LOST: Decline = declined("lost_card", NEVER_AGAIN, "41", "Your card was declined.");
const STOLEN: Decline = declined("stolen_card", NEVER_AGAIN, "43", "Your card was declined.");
const EXPIRED: Decline = Decline {
    code: "expired_card",
    decline_code: None,
    advice_code: CONFIRM_DATA,
    network_decline_code: Some("54"),
    message: "Your card has expired.",
};
const INCORRECT_CVC: Decline = Decline {
    code: "incorrect_cvc",
    decline_code: None,
    advice_code: CONFIRM_DATA,
    network_decline_code: Some("N7"),
    message: "Your card's security code is incorrect.",
};
const PROCESSING_ERROR: Decline = Decline {
    code: "processing_error",
    decline_code: None,
    advice_code: TRY_LATER,
    network_decline_code: None,
    message: "An error occurred while processing your card. Try again in a little bit.",
};

/// The method of that name, if it is a test method.
pub(crate) fn card(token: &str) -> Option<Card> {
    let (brand, last4, behaviour) = match token {
        "pm_card_visa" => ("visa", "4242", Behaviour::Succeeds),
        "pm_card_mastercard" => ("mastercard", "4444", Behaviour::Succeeds),
        "pm_card_chargeDeclined" | "pm_card_visa_chargeDeclined" => ("visa", "0002", Behaviour::Declines(GENERIC)),
        "pm_card_chargeDeclinedInsufficientFunds" | "pm_card_visa_chargeDeclinedInsufficientFunds" => {
            ("visa", "9995", Behaviour::Declines(INSUFFICIENT_FUNDS))
        }
        "pm_card_chargeDeclinedLostCard" | "pm_card_visa_chargeDeclinedLostCard" => {
            ("visa", "9987", Behaviour::Declines(LOST))
        }
        "pm_card_chargeDeclinedStolenCard" | "pm_card_visa_chargeDeclinedStolenCard" => {
            ("visa", "9979", Behaviour::Declines(STOLEN))
        }
        "pm_card_chargeDeclinedProcessingError" => ("visa", "0119", Behaviour::Declines(PROCESSING_ERROR)),
        "pm_card_chargeDeclinedExpiredCard" => ("visa", "0069", Behaviour::Declines(EXPIRED)),
        "pm_card_chargeDeclinedIncorrectCvc" => ("visa", "0127", Behaviour::Declines(INCORRECT_CVC)),
        "pm_card_chargeCustomerFail" => ("visa", "0341", Behaviour::DeclinesWhenCharged(GENERIC)),
        "pm_card_authenticationRequired" => ("visa", "3184", Behaviour::Authenticates(Exempt::Nothing)),
        "pm_card_authenticationRequiredOnSetup" => ("visa", "3155", Behaviour::Authenticates(Exempt::OnceSetUp)),
        "pm_card_authenticationRequiredSetupForOffSession" => {
            ("visa", "0446", Behaviour::Authenticates(Exempt::OffSession))
        }
        "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds" => {
            ("visa", "3178", Behaviour::AuthenticatesInVain(INSUFFICIENT_FUNDS))
        }
        "pm_card_threeDSecure2Required" => ("visa", "3220", Behaviour::Authenticates(Exempt::Nothing)),
        "pm_card_createDispute" => ("visa", "0259", Behaviour::Disputes),
        "pm_card_refundFail" => ("visa", "3038", Behaviour::RefundFails),
        "pm_card_pendingRefund" => ("visa", "7726", Behaviour::RefundPends),
        "pm_sandbox_timeout" => ("visa", "9001", Behaviour::Hangs),
        "pm_sandbox_capture_fails" => ("visa", "9002", Behaviour::CaptureFails),
        "pm_sandbox_captures_at_once" => ("visa", "9003", Behaviour::CapturesAtOnce),
        _ => return saved(token).or_else(|| expiring(token)).or_else(|| delayed(token)),
    };
    Some(Card { brand, last4, behaviour, expiry: EXPIRY })
}

/// Cards that are saved without trouble, and then declined for this reason at each charge.
fn saved(token: &str) -> Option<Card> {
    let (last4, why) = match token.strip_prefix("pm_sandbox_saved_")? {
        "insufficient_funds" => ("9011", INSUFFICIENT_FUNDS),
        "lost_card" => ("9012", LOST),
        "stolen_card" => ("9013", STOLEN),
        "expired_card" => ("9014", EXPIRED),
        "processing_error" => ("9015", PROCESSING_ERROR),
        _ => return None,
    };
    Some(Card { brand: "visa", last4, behaviour: Behaviour::DeclinesWhenCharged(why), expiry: EXPIRY })
}

/// `pm_sandbox_expires_2031_04`: a card that is good until that month is over.
fn expiring(token: &str) -> Option<Card> {
    let (year, month) = token.strip_prefix("pm_sandbox_expires_")?.split_once('_')?;
    let expiry = Month { year: year.parse().ok()?, month: month.parse().ok()? };
    let is_real = (2000..=2099).contains(&expiry.year) && (1..=12).contains(&expiry.month);
    is_real.then_some(Card { brand: "visa", last4: "9006", behaviour: Behaviour::Expires, expiry })
}

fn delayed(token: &str) -> Option<Card> {
    let seconds = |text: &str| text.parse().ok().filter(|seconds| (1..=DELAY_SECONDS_MAX).contains(seconds));
    let (last4, behaviour) = if let Some(text) = token.strip_prefix("pm_sandbox_delay_") {
        ("9004", Behaviour::Delays(seconds(text)?))
    } else {
        ("9005", Behaviour::DeclinesAfter(seconds(token.strip_prefix("pm_sandbox_decline_after_")?)?))
    };
    Some(Card { brand: "visa", last4, behaviour, expiry: EXPIRY })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_good_until_its_month_is_over() {
        for (seconds, year, month) in [
            (0, 1970, 1),
            (951_782_400, 2000, 2),
            (951_868_800, 2000, 3),
            (1_798_761_599, 2026, 12),
            (1_798_761_600, 2027, 1),
            (4_107_542_399, 2100, 2),
            (4_107_542_400, 2100, 3),
        ] {
            assert_eq!(Month::of(seconds), Month { year, month }, "{seconds}");
        }
        let card = card("pm_sandbox_expires_2026_12").expect("a month");
        assert_eq!((card.expired(1_798_761_599), card.expired(1_798_761_600)), (None, Some(EXPIRED)));
        assert_eq!(super::card("pm_card_visa").and_then(|card| card.expired(i64::from(u32::MAX))), None);
        assert!(super::card("pm_sandbox_expires_2026_13").is_none());
    }
}
