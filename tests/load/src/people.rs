//! Accounts, and access tokens that do not run out.

use crate::Failed;
use crate::http::Connection;
use futures_util::{StreamExt, TryStreamExt};
use hyper::Request;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::http::request::Builder;
use serde::Deserialize;
use serde_json::json;
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// Passwords are hashed at sign-up and at sign-in, which takes milliseconds and megabytes: so many at once.
const SIGN_UPS_AT_ONCE_MAX: usize = 4;
/// A token that is older than this is changed for a new one; it is good for 900 seconds.
const TOKEN_SECONDS_MAX: u64 = 600;

/// Somebody with an account.
pub struct Person {
    tokens: RefCell<Tokens>,
}

struct Tokens {
    authorization: HeaderValue,
    refresh: String,
    since: Instant,
}

#[derive(Deserialize)]
struct TokensOut {
    access_token: String,
    refresh_token: String,
}

impl TokensOut {
    fn tokens(self) -> Result<Tokens, Failed> {
        let authorization = HeaderValue::try_from(format!("Bearer {}", self.access_token));
        let authorization = authorization.map_err(|error| Failed::Because(error.to_string()))?;
        Ok(Tokens { authorization, refresh: self.refresh_token, since: Instant::now() })
    }
}

impl Person {
    /// Signs somebody in who has an account.
    pub async fn sign_in(connection: &mut Connection, email: &str, password: &str) -> Result<Self, Failed> {
        let body = json!({ "email": email, "password": password }).to_string();
        let answer = connection.send_json(Request::post("/sessions"), body).await?.expect(201)?;
        Ok(Self { tokens: RefCell::new(answer.json::<TokensOut>()?.tokens()?) })
    }

    /// Puts this person's name on a request.
    pub fn sign(&self, request: Builder) -> Builder {
        request.header(AUTHORIZATION, &self.tokens.borrow().authorization)
    }

    /// Sees to it that the token is good for some minutes. Two may not do this for one person at the same time.
    pub async fn keep_signed_in(&self, connection: &mut Connection) -> Result<(), Failed> {
        if self.tokens.borrow().since.elapsed() < Duration::from_secs(TOKEN_SECONDS_MAX) {
            return Ok(());
        }
        let body = json!({ "refresh_token": self.tokens.borrow().refresh }).to_string();
        let answer = connection.send_json(Request::post("/sessions/refresh"), body).await?.expect(201)?;
        let tokens = answer.json::<TokensOut>()?.tokens()?;
        self.tokens.replace(tokens);
        Ok(())
    }
}

/// Opens so many accounts and signs them in.
pub async fn sign_up(url: &str, count: usize) -> Result<Vec<Person>, Failed> {
    let people = (0..count).map(async |index| {
        let mut connection = Connection::open(url).await?;
        let (email, password) = (format!("buyer{index}@load.test"), format!("password of {index}"));
        let body = json!({ "email": email, "password": password, "name": format!("Buyer {index}") }).to_string();
        let request = Request::post("/users").header("idempotency-key", "sign-up");
        connection.send_json(request, body).await?.expect(201)?;
        Person::sign_in(&mut connection, &email, &password).await
    });
    futures_util::stream::iter(people).buffered(SIGN_UPS_AT_ONCE_MAX).try_collect().await
}
