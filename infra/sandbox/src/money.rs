//! Amounts: least and greatest charges, and how a person reads them.

use crate::error::ApiError;

/// Stripe's greatest amount: eight digits.
pub(crate) const AMOUNT_MAX: i64 = 99_999_999;
const AMOUNT_MIN_ELSEWHERE: i64 = 50;
const ZERO_DECIMAL: [&str; 15] =
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"];
const THREE_DECIMAL: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];
/// Currencies without decimals whose amounts are still given with two, which must be zero.
const WHOLE_HUNDREDS: [&str; 2] = ["isk", "ugx"];

/// The least charge, as <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts> lists it.
pub(crate) fn amount_min(currency: &str) -> i64 {
    match currency {
        "aed" | "myr" | "pln" | "ron" => 200,
        "bgn" => 100,
        "czk" => 1_500,
        "dkk" => 250,
        "gbp" => 30,
        "hkd" => 400,
        "huf" => 17_500,
        "mxn" | "thb" => 1_000,
        "nok" | "sek" => 300,
        _ => AMOUNT_MIN_ELSEWHERE,
    }
}

/// Digits behind the point.
pub(crate) fn decimals(currency: &str) -> usize {
    match currency {
        _ if ZERO_DECIMAL.contains(&currency) => 0,
        _ if THREE_DECIMAL.contains(&currency) => 3,
        _ => 2,
    }
}

/// `12.50 EUR`.
pub(crate) fn readable(amount: i64, currency: &str) -> String {
    let decimals = decimals(currency);
    let sign = if amount < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", amount.unsigned_abs(), width = decimals + 1);
    let (whole, rest) = digits.split_at(digits.len() - decimals);
    let point = if rest.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{rest} {}", currency.to_uppercase())
}

/// Checks an amount that shall be charged.
pub(crate) fn check(amount: i64, currency: &str) -> Result<(), ApiError> {
    if amount < 1 {
        let message = "This value must be greater than or equal to 1.";
        return Err(ApiError::invalid(message).code("parameter_invalid_integer").param("amount"));
    }
    let step = match currency {
        _ if THREE_DECIMAL.contains(&currency) => 10,
        _ if WHOLE_HUNDREDS.contains(&currency) => 100,
        _ => 1,
    };
    if amount % step != 0 {
        return Err(
            ApiError::invalid(format!("Invalid amount: must be divisible by {step} in {currency}.")).param("amount")
        );
    }
    if amount < amount_min(currency) {
        let message = format!("Amount must be at least {}", readable(amount_min(currency), currency));
        return Err(ApiError::invalid(message).code("amount_too_small").param("amount"));
    }
    if amount > AMOUNT_MAX {
        let message = format!("Amount must be no more than {}", readable(AMOUNT_MAX, currency));
        return Err(ApiError::invalid(message).code("amount_too_large").param("amount"));
    }
    Ok(())
}

/// Reads a three-letter code; Stripe shows it in lower case.
pub(crate) fn currency(text: &str) -> Result<String, ApiError> {
    match text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(ApiError::invalid(format!("Invalid currency: {text}.")).param("currency")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        for (amount, currency, readable_as) in [
            (1_250, "eur", "12.50 EUR"),
            (5, "usd", "0.05 USD"),
            (500, "jpy", "500 JPY"),
            (-1_010, "kwd", "-1.010 KWD"),
        ] {
            assert_eq!(readable(amount, currency), readable_as);
        }
    }

    #[test]
    fn amounts_out_of_range_are_refused() {
        for (amount, currency, allowed) in [
            (49, "usd", false),
            (50, "usd", true),
            (30, "gbp", true),
            (49, "jpy", false),
            (50, "jpy", true),
            (0, "eur", false),
            (-5, "eur", false),
            (AMOUNT_MAX, "rub", true),
            (AMOUNT_MAX + 1, "rub", false),
            (1_005, "kwd", false),
            (550, "isk", false),
        ] {
            assert_eq!(check(amount, currency).is_ok(), allowed, "{amount} {currency}");
        }
    }
}
