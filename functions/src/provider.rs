//! What orders and subscriptions both ask of the payment provider, and tell their clients of it.

use domain::payments::{DisputeState, ProviderRefundStatus};
use platform::App;
use platform::http::Problem;
use platform::payments::{GatewayError, NewRefund};

/// How a client reaches the provider with its own page or library.
pub struct PayAt {
    pub publishable_key: String,
    pub api_base: String,
    /// A page where a person can pay.
    pub pay_url: Option<String>,
}

/// How a client reaches the provider; with a page for the payment or setup of this id and secret, where there is one.
pub fn pay_at(app: &App, id: &str, client_secret: &str) -> Result<PayAt, Problem> {
    // Stripe's own library mounts its form in the client's page; the sandbox has a page of its own.
    let page = |url: &str| format!("{url}/{id}?client_secret={client_secret}");
    Ok(PayAt {
        publishable_key: app.config.get("STRIPE_PUBLISHABLE_KEY")?.to_owned(),
        api_base: app.config.get("STRIPE_API_BASE")?.to_owned(),
        pay_url: app.config.get("STRIPE_PAY_URL").ok().map(page),
    })
}

/// What a client is told when the provider cannot be asked; `kept` says what it does not lose meanwhile.
pub fn unavailable(error: &GatewayError, kept: &str) -> Problem {
    let detail = format!("The payment provider does not answer. {kept}; try again shortly.");
    let problem = Problem::unavailable("payment_provider_unavailable", detail, error.to_string());
    match error {
        GatewayError::Resting(rest) => problem.retry_after(*rest),
        _ => problem,
    }
}

/// What became of money that was to go back.
pub enum GivenBack {
    /// The provider took it on, under this id.
    Made(String),
    /// It did not, or what it made has failed; `gave_way` where the payer's bank has the money.
    NotMade { made: Option<String>, gave_way: bool },
}

/// Asks the provider for the money. While the payer's bank has it, only what was asked for before is looked for: what goes
/// back twice does not come back.
pub async fn give_back(app: &App, new: &NewRefund<'_>, is_disputed: bool) -> Result<GivenBack, GatewayError> {
    let found = match is_disputed {
        true => app.gateway.find_refund(new.payment, new.key).await,
        false => app.gateway.refund(new).await.map(Some),
    };
    match found {
        Ok(Some(made)) if made.status != ProviderRefundStatus::Failed => Ok(GivenBack::Made(made.id)),
        Ok(Some(made)) => Ok(GivenBack::NotMade { made: Some(made.id), gave_way: made.gave_way }),
        Ok(None) => Ok(GivenBack::NotMade { made: None, gave_way: true }),
        Err(GatewayError::Refused(cause)) => {
            // The bank may have been there before its news.
            let disputes = app.gateway.disputes(new.payment).await?;
            let gave_way = disputes.iter().any(|dispute| dispute.state != DisputeState::Won);
            tracing::warn!(refund = new.key, cause, gave_way, "the refund was refused");
            Ok(GivenBack::NotMade { made: None, gave_way })
        }
        Err(error) => Err(error),
    }
}
