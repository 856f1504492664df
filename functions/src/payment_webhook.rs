//! `payment-webhook`: the provider says that something changed. Its signature is checked, and what it hints at is put
//! on the Payments queue; nothing else of it is believed.

use crate::commands::{Command, Head};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use platform::App;
use platform::http::{Path, Problem, finish};
use platform::payments::stripe::{Hint, NotBelieved, read_webhook};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub fn routes(app: App) -> OpenApiRouter {
    finish(app, OpenApiRouter::new().routes(routes!(receive)))
}

/// The payment provider's webhook.
#[utoipa::path(
    post, path = "/payments/webhook/{provider}", tag = "payments",
    params(("provider" = String, Path, description = "`stripe`")),
    request_body(content = String, content_type = "application/json"),
    responses((status = 204), (status = 400, description = "`signature_invalid`, `signature_stale`"))
)]
async fn receive(
    State(app): State<App>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    if provider != app.gateway.name() {
        return Err(Problem::not_found());
    }
    let secret = app.secret("STRIPE_WEBHOOK_SECRET").await?;
    let signature = headers.get("stripe-signature").and_then(|value| value.to_str().ok()).unwrap_or("");
    let hint = read_webhook(&secret, signature, &body, app.now()).map_err(|error| {
        let code = match error {
            NotBelieved::Signature => "signature_invalid",
            NotBelieved::Stale => "signature_stale",
            NotBelieved::Body => "malformed_json",
        };
        Problem::bad_request(code, error.to_string())
    })?;
    let command = match hint {
        Hint::Payment(payment) => Command::PaymentChanged { payment },
        Hint::Refund { payment, refund } => Command::RefundChanged { payment, refund },
        Hint::Dispute { payment } => Command::DisputeChanged { payment },
        Hint::PeriodRefund { payment, key } => Command::PeriodRefundChanged { payment, key },
        Hint::Setup { setup } => Command::SetupChanged { setup },
        Hint::Nothing => return Ok(StatusCode::NO_CONTENT),
    };
    let Head { kind, payment, .. } = Head::of(&command.message(0).body);
    tracing::info!(kind, payment, "the provider has news");
    let sent = app.clients.bus.send(app.config.get("PAYMENTS_QUEUE_URL")?, vec![command.message(0)]).await;
    sent.map_err(|error| Problem::unavailable("busy", "Send it again.", error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}
