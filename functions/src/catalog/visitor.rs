//! Who looks at the catalogue: anybody, or a subscriber to whom more is shown.

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, Request, StatusCode, header};
use domain::ids::UserId;
use domain::subscriptions::perks::Perks;
use platform::App;
use platform::http::{Buyer, Problem};

/// Somebody who looks; with an account, if they sent a token.
pub struct Visitor(Option<UserId>);

impl Visitor {
    /// Reads the token, where there is one. One that is not good is refused, so that who has an old one asks for another
    /// and is not shown less.
    pub async fn of(app: &App, headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(token) = headers.get(header::AUTHORIZATION) else { return Ok(Self(None)) };
        let mut request = Request::new(());
        request.headers_mut().insert(header::AUTHORIZATION, token.clone());
        let (mut parts, ()) = request.into_parts();
        match Buyer::from_request_parts(&mut parts, app).await {
            Ok(buyer) => Ok(Self(Some(buyer.id))),
            // Staff who may not buy see what anybody sees.
            Err(problem) if problem.status == StatusCode::FORBIDDEN => Ok(Self(None)),
            Err(problem) => Err(problem),
        }
    }

    /// Whether the answer may be theirs alone.
    pub fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// Whether they are shown hidden events: one query, for those with an account.
    pub async fn sees_hidden(&self, app: &App) -> Result<bool, Problem> {
        let Some(user) = self.0 else { return Ok(false) };
        for subscription in app.subscriptions.of_user(user).await? {
            let perks = Perks::of(Some(&subscription), app.now());
            if perks.map_err(|error| Problem::internal(error.to_string()))?.sees_hidden() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
