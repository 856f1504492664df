//! `register`: accounts, sign-in, refresh tokens, one's own profile and notices, and the public keys.

mod notices;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::access::Role;
use domain::ids::{self, SessionId, UserId};
use jiff::SignedDuration;
use platform::App;
use platform::auth::password::{self, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN};
use platform::auth::{ACCESS_SECONDS, sign_access};
use platform::http::{Buyer, Created, FieldError, IdempotencyKey, Json, Problem, finish};
use platform::store::{Account, Session, StoreError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Hours a refresh token is good for.
const REFRESH_HOURS: i64 = 30 * 24;
/// Characters of an e-mail address (RFC 5321, section 4.5.3.1: 64 + 1 + 255, and 254 in a path).
const EMAIL_CHARS_MAX: usize = 254;
const NAME_CHARS_MAX: usize = 100;
const LOCALES: [&str; 2] = ["en", "ru"];
/// Seconds for which the public keys may be kept by those who fetch them.
const JWKS_CACHE: &str = "public, max-age=300";

pub fn routes(app: App) -> OpenApiRouter {
    let router = OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(sign_in, sign_out))
        .routes(routes!(refresh))
        .routes(routes!(me, change_me))
        .routes(routes!(jwks))
        .merge(notices::routes());
    finish(app, router)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserIn {
    #[schema(example = "ada@example.org", max_length = 254)]
    email: String,
    #[schema(min_length = 8, max_length = 128)]
    password: String,
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// `en` or `ru`; `en` when absent.
    locale: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct UserOut {
    #[schema(value_type = String)]
    id: UserId,
    email: String,
    name: String,
    locale: String,
    #[schema(value_type = Vec<String>)]
    roles: Vec<Role>,
}

impl From<Account> for UserOut {
    fn from(account: Account) -> Self {
        Self { id: account.id, email: account.email, name: account.name, locale: account.locale, roles: account.roles }
    }
}

/// Open an account.
#[utoipa::path(
    post, path = "/users", tag = "access", request_body = UserIn,
    params(("Idempotency-Key" = String, Header)),
    responses((status = 201, body = UserOut), (status = 409, description = "`email_taken`, `idempotency_key_reused`"),
        (status = 422, description = "`invalid`"))
)]
async fn register(
    State(app): State<App>,
    IdempotencyKey(key): IdempotencyKey,
    Json(ask): Json<UserIn>,
) -> Result<Created<UserOut>, Problem> {
    let locale = check_user(&ask)?;
    let id = UserId(ids::keyed(&platform::store::email_key(&ask.email), "POST /users", &key));
    if let Some(account) = app.accounts.get(id).await? {
        return registered_before(ask, account).await;
    }
    let account = Account {
        id,
        email: ask.email.trim().to_owned(),
        name: ask.name.trim().to_owned(),
        locale,
        password_hash: password::hash(&app, ask.password.clone()).await?,
        roles: vec![Role::Buyer],
        created_at: app.now(),
        v: 1,
    };
    match app.accounts.put_new(&account).await {
        Ok(()) => Ok(Created(account.into())),
        Err(StoreError::Conflict) => match app.accounts.get(id).await? {
            Some(account) => registered_before(ask, account).await,
            None => Err(Problem::conflict("email_taken", "There is an account with this e-mail address.")),
        },
        Err(error) => Err(error.into()),
    }
}

/// The reply to a repeated registration: the account, to whoever knows its password.
async fn registered_before(ask: UserIn, account: Account) -> Result<Created<UserOut>, Problem> {
    let is_same = account.name == ask.name.trim() && ask.locale.is_none_or(|locale| locale == account.locale);
    if is_same && password::verify(ask.password, Some(account.password_hash.clone())).await? {
        return Ok(Created(account.into()));
    }
    Err(Problem::key_reused())
}

/// The locale of a new account whose fields are right.
fn check_user(ask: &UserIn) -> Result<String, Problem> {
    let mut errors = Vec::new();
    let mut require = |holds: bool, pointer: &str, detail: String| {
        if !holds {
            errors.push(FieldError { pointer: pointer.into(), detail });
        }
    };
    require(is_email(ask.email.trim()), "/email", "must be an e-mail address".into());
    let chars = ask.password.chars().count();
    let bounds = format!("must have {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters");
    require((PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&chars), "/password", bounds);
    require(is_name(&ask.name), "/name", name_rule());
    let locale = ask.locale.as_deref().unwrap_or("en");
    require(LOCALES.contains(&locale), "/locale", locale_rule());
    if errors.is_empty() { Ok(locale.to_owned()) } else { Err(Problem::invalid(errors)) }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.trim().chars().count()) && !name.chars().any(char::is_control)
}

fn name_rule() -> String {
    format!("must have 1 to {NAME_CHARS_MAX} characters")
}

fn locale_rule() -> String {
    format!("must be one of {}", LOCALES.join(", "))
}

/// Whether a text may be an address: whether mail arrives there is for a message to show.
fn is_email(text: &str) -> bool {
    let plain = text.len() <= EMAIL_CHARS_MAX && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    plain
        && text.split_once('@').is_some_and(|(local, domain)| {
            let labels = domain.split('.').all(|label| !label.is_empty());
            !local.is_empty() && local.len() <= 64 && domain.contains('.') && labels && !domain.contains('@')
        })
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SessionIn {
    email: String,
    password: String,
}

/// Tokens (RFC 6749, section 5.1).
#[derive(Serialize, ToSchema)]
struct TokensOut {
    access_token: String,
    refresh_token: String,
    /// Seconds the access token is good for.
    expires_in: i64,
    #[schema(example = "Bearer")]
    token_type: &'static str,
}

/// Sign in.
#[utoipa::path(
    post, path = "/sessions", tag = "access", request_body = SessionIn,
    responses((status = 201, body = TokensOut), (status = 401, description = "`credentials_wrong`"))
)]
async fn sign_in(State(app): State<App>, Json(ask): Json<SessionIn>) -> Result<impl IntoResponse, Problem> {
    let wrong = || Problem::unauthorized("credentials_wrong", "The e-mail address or the password is wrong.");
    if ask.password.chars().count() > PASSWORD_CHARS_MAX || ask.email.len() > EMAIL_CHARS_MAX {
        return Err(wrong());
    }
    let account = app.accounts.by_email(&ask.email).await?;
    let hash = account.as_ref().map(|account| account.password_hash.clone());
    let is_right = password::verify(ask.password, hash).await?;
    let account = account.filter(|_| is_right).ok_or_else(wrong)?;
    let secret: [u8; 32] = app.rng.bytes();
    let session = Session {
        user: account.id,
        id: SessionId(app.new_id()),
        secret_hash: digest(&secret),
        expires_at: app.now() + SignedDuration::from_hours(REFRESH_HOURS),
        v: 1,
    };
    app.accounts.put_session(&session).await?;
    let tokens = tokens(&app, &session, &secret, account.roles).await?;
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], axum::Json(tokens)))
}

async fn tokens(app: &App, session: &Session, secret: &[u8; 32], roles: Vec<Role>) -> Result<TokensOut, Problem> {
    let access_token = sign_access(app, session.user, session.id, roles).await?;
    let refresh_token = format!("{}.{}.{}", session.user, session.id, URL_SAFE_NO_PAD.encode(secret));
    Ok(TokensOut { access_token, refresh_token, expires_in: ACCESS_SECONDS, token_type: "Bearer" })
}

fn digest(secret: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefreshIn {
    refresh_token: String,
}

/// New tokens for a refresh token, which is good once: showing an older one again ends the session.
#[utoipa::path(
    post, path = "/sessions/refresh", tag = "access", request_body = RefreshIn,
    responses((status = 201, body = TokensOut), (status = 401, description = "`refresh_token_invalid`"))
)]
async fn refresh(State(app): State<App>, Json(ask): Json<RefreshIn>) -> Result<impl IntoResponse, Problem> {
    let session = find_session(&app, &ask.refresh_token).await?;
    let account = app.accounts.get(session.user).await?.ok_or_else(refresh_invalid)?;
    let secret: [u8; 32] = app.rng.bytes();
    let next = Session {
        secret_hash: digest(&secret),
        expires_at: app.now() + SignedDuration::from_hours(REFRESH_HOURS),
        v: session.v + 1,
        ..session
    };
    match app.accounts.save_session(&next).await {
        Ok(()) => {}
        // Two refreshed at once: one of them holds a token that is already used.
        Err(StoreError::Conflict) => return Err(refresh_invalid()),
        Err(error) => return Err(error.into()),
    }
    let tokens = tokens(&app, &next, &secret, account.roles).await?;
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], axum::Json(tokens)))
}

fn refresh_invalid() -> Problem {
    Problem::unauthorized("refresh_token_invalid", "The refresh token is not valid. Sign in again.")
}

/// The session whose good token this is. Any other of that session was copied or replayed: that ends the session.
async fn find_session(app: &App, token: &str) -> Result<Session, Problem> {
    let mut parts = token.split('.');
    let (user, id, secret) = (parts.next(), parts.next(), parts.next());
    let user: UserId = user.and_then(|text| text.parse().ok()).ok_or_else(refresh_invalid)?;
    let id: SessionId = id.and_then(|text| text.parse().ok()).ok_or_else(refresh_invalid)?;
    let secret = secret.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or_else(refresh_invalid)?;
    let session = app.accounts.session(user, id).await?.ok_or_else(refresh_invalid)?;
    let hash = digest(&secret);
    if session.secret_hash == hash && session.expires_at > app.now() {
        return Ok(session);
    }
    // Only somebody who had a token of this session knows its id: one that was used already has been copied.
    tracing::warn!(user = %user, session = %id, "a refresh token that is not good was shown: session ended");
    app.accounts.end_session(user, id).await?;
    Err(refresh_invalid())
}

/// Sign out: end the session of a refresh token. One that is over is over.
#[utoipa::path(
    delete, path = "/sessions", tag = "access", request_body = RefreshIn,
    responses((status = 204), (status = 401, description = "`refresh_token_invalid`"))
)]
async fn sign_out(State(app): State<App>, Json(ask): Json<RefreshIn>) -> Result<StatusCode, Problem> {
    let session = find_session(&app, &ask.refresh_token).await?;
    app.accounts.end_session(session.user, session.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One's own profile.
#[utoipa::path(
    get, path = "/me", tag = "access", security(("bearer" = [])),
    responses((status = 200, body = UserOut), (status = 401, description = "`token_missing`, `token_invalid`, `token_expired`"))
)]
async fn me(State(app): State<App>, buyer: Buyer) -> Result<axum::Json<UserOut>, Problem> {
    let account = app.accounts.get(buyer.id).await?.ok_or_else(Problem::not_found)?;
    Ok(axum::Json(account.into()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProfileIn {
    name: Option<String>,
    locale: Option<String>,
}

/// Change one's own profile; what is absent stays.
#[utoipa::path(
    patch, path = "/me", tag = "access", security(("bearer" = [])), request_body = ProfileIn,
    responses((status = 200, body = UserOut), (status = 409, description = "`changed_meanwhile`"), (status = 422, description = "`invalid`"))
)]
async fn change_me(
    State(app): State<App>,
    buyer: Buyer,
    Json(ask): Json<ProfileIn>,
) -> Result<axum::Json<UserOut>, Problem> {
    if ask.name.as_deref().is_some_and(|name| !is_name(name)) {
        return Err(Problem::field("/name", name_rule()));
    }
    if ask.locale.as_deref().is_some_and(|locale| !LOCALES.contains(&locale)) {
        return Err(Problem::field("/locale", locale_rule()));
    }
    let mut account = app.accounts.get(buyer.id).await?.ok_or_else(Problem::not_found)?;
    account.name = ask.name.map_or(account.name, |name| name.trim().to_owned());
    account.locale = ask.locale.unwrap_or(account.locale);
    account.v += 1;
    app.accounts.save(&account).await?;
    Ok(axum::Json(account.into()))
}

/// The public keys of access tokens and tickets (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "access", responses((status = 200, content_type = "application/json")))]
async fn jwks(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    let keys = app.secret("PUBLIC_KEYS").await?;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, JWKS_CACHE)];
    Ok((headers, keys.to_string()))
}
