//! Requests and replies, with as little ceremony as a test wants.

use domain::access::Role;
use domain::ids::{SessionId, UserId};
use platform::App;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a box office answers, and a client for it.
#[derive(Clone)]
pub struct Api {
    pub url: String,
    http: Client,
    /// Signs tokens for users that bring none.
    signer: Option<App>,
}

/// Somebody who asks.
#[derive(Clone, Debug)]
pub struct User {
    pub id: UserId,
    pub roles: Vec<Role>,
    /// The access token to send; where there is none, one is signed for each request.
    pub token: Option<String>,
}

impl User {
    pub fn new(id: UserId, roles: Vec<Role>) -> Self {
        Self { id, roles, token: None }
    }

    /// Whoever this token is for; the id does not matter to who sends it.
    pub fn with_token(token: impl Into<String>) -> Self {
        Self { id: UserId(0), roles: Vec::new(), token: Some(token.into()) }
    }
}

/// A request under construction.
pub struct Ask<'a> {
    api: &'a Api,
    request: reqwest::RequestBuilder,
    user: Option<User>,
}

/// What came back. `body` is null where it is not JSON.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
    pub body: Value,
}

impl Api {
    pub fn new(url: &str, signer: Option<App>) -> Self {
        // An error means that another part of the process has installed one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { url: url.to_owned(), http: http.build().expect("the client's settings are valid"), signer }
    }

    pub fn http(&self) -> &Client {
        &self.http
    }

    pub fn ask(&self, method: &str, path: &str) -> Ask<'_> {
        let method = Method::from_bytes(method.as_bytes()).expect("a test names a method");
        Ask { api: self, request: self.http.request(method, format!("{}{path}", self.url)), user: None }
    }

    pub async fn get(&self, user: &User, path: &str) -> Reply {
        self.ask("GET", path).by(user).send().await
    }

    /// A `GET` by nobody in particular.
    pub async fn look(&self, path: &str) -> Reply {
        self.ask("GET", path).send().await
    }

    /// A `POST` with an idempotency key of its own.
    pub async fn post(&self, user: &User, path: &str, body: &Value) -> Reply {
        self.ask("POST", path).by(user).key(&new_key()).json(body).send().await
    }

    pub async fn post_with_key(&self, user: &User, path: &str, key: &str, body: &Value) -> Reply {
        self.ask("POST", path).by(user).key(key).json(body).send().await
    }
}

/// An idempotency key that no other request of this process has.
pub fn new_key() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("key-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Ask<'_> {
    pub fn by(mut self, user: &User) -> Self {
        self.user = Some(user.clone());
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.header(name, value), ..self }
    }

    /// A JSON body; none for null.
    pub fn json(self, body: &Value) -> Self {
        if body.is_null() { self } else { Self { request: self.request.json(body), ..self } }
    }

    pub fn body(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self { request: self.request.body(bytes.into()), ..self }
    }

    pub async fn send(self) -> Reply {
        Reply::read(self.signed().await.send().await.expect("the box office answers")).await
    }

    /// The same for whoever expects that nobody answers, or that the answer breaks off: `None` then.
    pub async fn attempt(self) -> Option<Reply> {
        Reply::read_whole(self.signed().await.send().await.ok()?).await.ok()
    }

    async fn signed(self) -> reqwest::RequestBuilder {
        let mut request = self.request;
        if let Some(user) = self.user {
            let token = match user.token {
                Some(token) => token,
                None => {
                    let app = self.api.signer.as_ref().expect("a user without a token needs somebody who signs one");
                    let signed = platform::auth::sign_access(app, user.id, SessionId(1), user.roles).await;
                    signed.expect("the key is there")
                }
            };
            request = request.bearer_auth(token);
        }
        request
    }
}

impl Reply {
    pub async fn read(response: reqwest::Response) -> Self {
        Self::read_whole(response).await.expect("the reply arrives whole")
    }

    /// The error is that it does not arrive whole.
    pub async fn read_whole(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?.to_vec();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Self { status, headers, bytes, body })
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("our headers are texts"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The body of a reply with this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.body
    }

    /// The problem that a refusal with this status and code is, checked for its form.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Value {
        let text = self.text();
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{text}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{text}");
        assert_eq!(self.header("cache-control"), "no-store", "{text}");
        assert_eq!(self.body["status"], status, "{text}");
        assert_eq!(self.body["type"], format!("/problems/{code}"), "{text}");
        for member in ["title", "detail", "request_id"] {
            assert!(self.body[member].as_str().is_some_and(|value| !value.is_empty()), "no {member}: {text}");
        }
        self.body
    }
}
