//! The test payment methods: Stripe's own names where they exist, `pm_sandbox_…` for the rest.

const DELAY_SECONDS_MAX: u32 = 86_400;

/// Why an issuer declines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decline {
    pub(crate) code: &'static str,
    pub(crate) decline_code: Option<&'static str>,
    pub(crate) message: &'static str,
}

/// What happens when a method is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Succeeds,
    Declines(Decline),
    /// Saved without trouble, declined at each charge.
    DeclinesWhenCharged(Decline),
    /// The buyer must authenticate; nobody can when the buyer is away.
    Authenticates,
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
}

/// The plain decline, as most issuers send it.
pub(crate) const GENERIC: Decline =
    Decline { code: "card_declined", decline_code: Some("generic_decline"), message: "Your card was declined." };

/// The decline of a card that wants its holder present.
pub(crate) const AUTHENTICATION_REQUIRED: Decline = Decline {
    code: "authentication_required",
    decline_code: Some("authentication_required"),
    message: "Your card was declined. This transaction requires authentication.",
};

const INSUFFICIENT_FUNDS: Decline = Decline {
    code: "card_declined",
    decline_code: Some("insufficient_funds"),
    message: "Your card has insufficient funds.",
};
const EXPIRED: Decline = Decline { code: "expired_card", decline_code: None, message: "Your card has expired." };
const INCORRECT_CVC: Decline =
    Decline { code: "incorrect_cvc", decline_code: None, message: "Your card's security code is incorrect." };

/// The method of that name, if it is a test method.
pub(crate) fn card(token: &str) -> Option<Card> {
    let (brand, last4, behaviour) = match token {
        "pm_card_visa" => ("visa", "4242", Behaviour::Succeeds),
        "pm_card_mastercard" => ("mastercard", "4444", Behaviour::Succeeds),
        "pm_card_chargeDeclined" | "pm_card_visa_chargeDeclined" => ("visa", "0002", Behaviour::Declines(GENERIC)),
        "pm_card_chargeDeclinedInsufficientFunds" | "pm_card_visa_chargeDeclinedInsufficientFunds" => {
            ("visa", "9995", Behaviour::Declines(INSUFFICIENT_FUNDS))
        }
        "pm_card_chargeDeclinedExpiredCard" => ("visa", "0069", Behaviour::Declines(EXPIRED)),
        "pm_card_chargeDeclinedIncorrectCvc" => ("visa", "0127", Behaviour::Declines(INCORRECT_CVC)),
        "pm_card_chargeCustomerFail" => ("visa", "0341", Behaviour::DeclinesWhenCharged(GENERIC)),
        "pm_card_authenticationRequired" => ("visa", "3184", Behaviour::Authenticates),
        "pm_card_threeDSecure2Required" => ("visa", "3220", Behaviour::Authenticates),
        "pm_card_createDispute" => ("visa", "0259", Behaviour::Disputes),
        "pm_card_refundFail" => ("visa", "3038", Behaviour::RefundFails),
        "pm_card_pendingRefund" => ("visa", "7726", Behaviour::RefundPends),
        "pm_sandbox_timeout" => ("visa", "9001", Behaviour::Hangs),
        "pm_sandbox_capture_fails" => ("visa", "9002", Behaviour::CaptureFails),
        "pm_sandbox_captures_at_once" => ("visa", "9003", Behaviour::CapturesAtOnce),
        _ => return delayed(token),
    };
    Some(Card { brand, last4, behaviour })
}

fn delayed(token: &str) -> Option<Card> {
    let seconds = |text: &str| text.parse().ok().filter(|seconds| (1..=DELAY_SECONDS_MAX).contains(seconds));
    let (last4, behaviour) = if let Some(text) = token.strip_prefix("pm_sandbox_delay_") {
        ("9004", Behaviour::Delays(seconds(text)?))
    } else {
        ("9005", Behaviour::DeclinesAfter(seconds(token.strip_prefix("pm_sandbox_decline_after_")?)?))
    };
    Some(Card { brand: "visa", last4, behaviour })
}
