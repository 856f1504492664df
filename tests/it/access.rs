//! Accounts, sessions, tokens and roles.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tests::{TestApp, User, id, mask, seat};

const PASSWORD: &str = "correct horse battery";

fn ada() -> Value {
    json!({ "email": "Ada@Example.org", "password": PASSWORD, "name": "Ada Лавлейс 🎭", "locale": "ru" })
}

async fn register(app: &TestApp, key: &str, body: &Value) -> tests::Reply {
    app.ask("POST", "/users").key(key).json(body).send().await
}

async fn sign_in(app: &TestApp, email: &str, password: &str) -> tests::Reply {
    let body = json!({ "email": email, "password": password });
    app.ask("POST", "/sessions").json(&body).send().await
}

async fn refresh(app: &TestApp, token: &Value) -> tests::Reply {
    app.ask("POST", "/sessions/refresh").json(&json!({ "refresh_token": token })).send().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_opened_once() {
    let app = TestApp::start().await;
    let first = register(&app, "k", &ada()).await.expect(201);
    insta::assert_json_snapshot!(mask(&first), @r#"
    {
      "email": "Ada@Example.org",
      "id": "usr_[id]",
      "locale": "ru",
      "name": "Ada Лавлейс 🎭",
      "roles": [
        "buyer"
      ]
    }
    "#);
    assert_eq!(register(&app, "k", &ada()).await.expect(201), first, "the same request again");
    let mut other = ada();
    other["name"] = json!("Eve");
    register(&app, "k", &other).await.problem(409, "idempotency_key_reused");
    let mut guess = ada();
    guess["password"] = json!("a guess at it");
    register(&app, "k", &guess).await.problem(409, "idempotency_key_reused");
    let mut spelt = ada();
    spelt["email"] = json!(" ada@example.ORG ");
    register(&app, "l", &spelt).await.problem(409, "email_taken");

    let at_once = futures_util::future::join_all((0..4).map(|n| {
        let body = json!({ "email": "bob@example.org", "password": PASSWORD, "name": "Bob" });
        let app = &app;
        async move { register(app, &format!("bob{n}"), &body).await.status }
    }));
    let mut statuses = at_once.await;
    statuses.sort();
    assert_eq!(statuses, [201, 409, 409, 409], "one address, one account");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_signs_in_and_changes_their_profile() {
    let app = TestApp::start().await;
    let account = register(&app, "k", &ada()).await.expect(201);
    let wrong = sign_in(&app, "ada@example.org", "wrong password").await.problem(401, "credentials_wrong");
    let unknown = sign_in(&app, "nobody@example.org", PASSWORD).await.problem(401, "credentials_wrong");
    assert_eq!(wrong["detail"], unknown["detail"], "whether there is an account is nobody's business");

    let reply = sign_in(&app, "ADA@example.org", PASSWORD).await;
    assert_eq!(reply.header("cache-control"), "no-store");
    let tokens = reply.expect(201);
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(900)));
    let ada = User::with_token(tokens["access_token"].as_str().expect("a text"));
    assert_eq!(app.get(&ada, "/me").await.expect(200), account);
    let change = json!({ "name": "Countess", "locale": "en" });
    let changed = app.ask("PATCH", "/me").by(&ada).json(&change).send().await.expect(200);
    assert_eq!((&changed["name"], &changed["locale"]), (&change["name"], &change["locale"]));
    assert_eq!(app.get(&ada, "/me").await.expect(200), changed);
    let unchanged = app.ask("PATCH", "/me").by(&ada).json(&json!({})).send().await.expect(200);
    assert_eq!(unchanged, changed);
    app.ask("PATCH", "/me").by(&ada).json(&json!({ "email": "x@y.z" })).send().await.problem(422, "invalid");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_is_good_once() {
    let app = TestApp::start().await;
    register(&app, "k", &ada()).await.expect(201);
    let first = sign_in(&app, "ada@example.org", PASSWORD).await.expect(201);
    let other_device = sign_in(&app, "ada@example.org", PASSWORD).await.expect(201);
    let second = refresh(&app, &first["refresh_token"]).await.expect(201);
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    let third = refresh(&app, &second["refresh_token"]).await.expect(201);

    // Somebody shows a token that was used: one of the two has a copy, and the session is over for both.
    refresh(&app, &second["refresh_token"]).await.problem(401, "refresh_token_invalid");
    refresh(&app, &third["refresh_token"]).await.problem(401, "refresh_token_invalid");
    let other_device = refresh(&app, &other_device["refresh_token"]).await.expect(201);

    let sign_out = |token: Value| app.ask("DELETE", "/sessions").json(&json!({ "refresh_token": token })).send();
    assert_eq!(sign_out(other_device["refresh_token"].clone()).await.status, 204);
    refresh(&app, &other_device["refresh_token"]).await.problem(401, "refresh_token_invalid");

    let late = sign_in(&app, "ada@example.org", PASSWORD).await.expect(201);
    let token = late["refresh_token"].as_str().expect("a text");
    for forged in [token.replace("ses_", "ses_0"), token[..token.len() - 4].to_owned(), "x".into(), String::new()] {
        refresh(&app, &json!(forged)).await.problem(401, "refresh_token_invalid");
    }
    app.advance(30 * 86_400);
    refresh(&app, &json!(token)).await.problem(401, "refresh_token_invalid");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_refreshes_at_once_one_wins() {
    let app = TestApp::start().await;
    register(&app, "k", &ada()).await.expect(201);
    let tokens = sign_in(&app, "ada@example.org", PASSWORD).await.expect(201);
    let replies = futures_util::future::join_all((0..8).map(|_| refresh(&app, &tokens["refresh_token"]))).await;
    let won = replies.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(won, 1, "a token makes one other");
    assert!(replies.iter().all(|reply| matches!(reply.status, 201 | 401)));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_say_who_may_do_what() {
    let app = TestApp::start().await;
    let account = register(&app, "k", &ada()).await.expect(201);
    let roles = format!("/admin/users/{}/roles", id(&account));
    let set = |by: &User, roles_of: &str, roles: Value| {
        app.ask("PUT", roles_of).by(by).json(&json!({ "roles": roles })).send()
    };
    let token = async || {
        let tokens = sign_in(&app, "ada@example.org", PASSWORD).await.expect(201);
        User::with_token(tokens["access_token"].as_str().expect("a text"))
    };
    let venue = json!({ "name": "V", "city": "C", "address": "A", "time_zone": "Europe/Paris" });

    let buyer = token().await;
    set(&buyer, &roles, json!(["admin"])).await.problem(403, "forbidden");
    app.post(&buyer, "/admin/venues", &venue).await.problem(403, "forbidden");
    set(&app.admin, &roles, json!(["admin", "buyer", "admin"])).await.expect(200);
    app.post(&buyer, "/admin/venues", &venue).await.problem(403, "forbidden");
    let admin = token().await;
    app.post(&admin, "/admin/venues", &venue).await.expect(201);
    set(&admin, &roles, json!(["buyer"])).await.problem(409, "own_roles");
    let unknown = "/admin/users/usr_00000000000000000000000000/roles";
    set(&admin, unknown, json!(["gate"])).await.problem(404, "not_found");
    set(&app.admin, &roles, json!(["owner"])).await.problem(422, "invalid");
    set(&app.admin, &roles, json!(["gate"])).await.expect(200);
    let gate = token().await;
    app.get(&gate, "/orders").await.problem(403, "forbidden");
    app.post(&gate, "/admin/venues", &venue).await.problem(403, "forbidden");
    app.finish().await;
}

/// A token of these parts, signed by this.
fn forge(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn changed(value: &Value, name: &str, to: Value) -> Value {
    let mut value = value.clone();
    value[name] = to;
    value
}

/// Name and private half of a key, as its secret holds it.
fn key(secret: &str) -> (Value, SigningKey) {
    let secret: Value = serde_json::from_str(secret).expect("it is JSON");
    let seed = URL_SAFE_NO_PAD.decode(secret["seed"].as_str().expect("a text")).expect("it is base64");
    (secret["kid"].clone(), SigningKey::from_bytes(&seed.try_into().expect("32 bytes")))
}

fn hmac(secret: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// Somebody who has our key, and so can change one thing at a time.
struct Forger {
    ours: SigningKey,
    header: Value,
    claims: Value,
}

impl Forger {
    fn new(app: &TestApp, buyer: &User) -> Self {
        let (kid, ours) = key(&app.running.secrets.token_signing_key);
        let now = app.app("buy").now().as_second();
        let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": kid });
        let claims = json!({
            "iss": "boxoffice", "aud": "boxoffice", "sub": buyer.id.to_string(), "iat": now, "exp": now + 900,
            "sid": "ses_00000000000000000000000001", "roles": ["buyer", "admin"],
        });
        Self { ours, header, claims }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        forge(header, claims, |text| self.ours.sign(text).to_vec())
    }

    fn good(&self) -> String {
        self.sign(&self.header, &self.claims)
    }

    fn claim(&self, name: &str, to: Value) -> String {
        self.sign(&self.header, &changed(&self.claims, name, to))
    }

    fn without(&self, name: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().expect("an object").remove(name);
        self.sign(&self.header, &claims)
    }

    fn head(&self, name: &str, to: Value) -> String {
        self.sign(&changed(&self.header, name, to), &self.claims)
    }

    /// With another algorithm in the header, and whatever that one makes of the text.
    fn by(&self, algorithm: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        forge(&changed(&self.header, "alg", json!(algorithm)), &self.claims, sign)
    }

    /// Our signature under other claims.
    fn swapped(&self) -> String {
        let good = self.good();
        let [head, _, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("a token has three parts") };
        let claims = changed(&self.claims, "sub", json!("usr_00000000000000000000000001"));
        format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_tokens_that_we_signed_for_this_are_believed() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.buy(&buyer, &event, &json!([seat("Stalls", 1, 1)])).await;
    let ticket = order["seats"][0]["ticket_id"].as_str().expect("a text");
    let forger = Forger::new(&app, &buyer);
    let (good, now) = (forger.good(), app.app("buy").now().as_second());
    let (ticket_kid, tickets) = key(&app.running.secrets.ticket_signing_key);
    let foreign = SigningKey::from_bytes(&[7; 32]);
    let public = forger.ours.verifying_key().to_bytes();
    let (x, jwks) = (URL_SAFE_NO_PAD.encode(public), app.running.secrets.public_keys.clone());
    let of_tickets = changed(&forger.header, "kid", ticket_kid);

    assert_eq!(app.get(&User::with_token(&good), "/orders").await.status, 200, "the forge works");
    let expired = app.get(&User::with_token(forger.claim("exp", json!(now))), "/orders").await;
    expired.problem(401, "token_expired");
    for (name, token) in [
        ("no token at all", "x".into()),
        ("another audience", forger.claim("aud", json!("elsewhere"))),
        ("several audiences", forger.claim("aud", json!(["boxoffice"]))),
        ("another issuer", forger.claim("iss", json!("elsewhere"))),
        ("of the future", forger.claim("iat", json!(now + 61))),
        ("an unknown role", forger.claim("roles", json!(["root"]))),
        ("no expiry", forger.without("exp")),
        ("no audience", forger.without("aud")),
        ("other claims under the signature", forger.swapped()),
        ("no signature", forger.by("EdDSA", |_| Vec::new())),
        ("none", forger.by("none", |_| Vec::new())),
        ("none in capitals", forger.by("NONE", |_| Vec::new())),
        ("HS256 by the public key", forger.by("HS256", |text| hmac(&public, text))),
        ("HS256 by its base64", forger.by("HS256", |text| hmac(x.as_bytes(), text))),
        ("HS256 by the key set", forger.by("HS256", |text| hmac(jwks.as_bytes(), text))),
        ("another key under our name", forger.by("EdDSA", |text| foreign.sign(text).to_vec())),
        ("the tickets' key", forge(&of_tickets, &forger.claims, |text| tickets.sign(text).to_vec())),
        ("an unknown key", forger.head("kid", json!("token-other"))),
        ("no key named", forger.head("kid", Value::Null)),
        ("an ID token", forger.head("typ", json!("JWT"))),
        ("no type", forger.head("typ", Value::Null)),
        ("a ticket's code", app.code(&buyer, ticket).await),
        ("more than one would read", format!("{good}{}", "A".repeat(4000))),
    ] {
        let reply = app.get(&User::with_token(token), "/orders").await;
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, "Bearer"), "{name}");
        reply.problem(401, "token_invalid");
    }
    // The other way round: an access token lets nobody in.
    app.check_in(&event, ticket, &good).await.problem(422, "invalid");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_sent_as_bearer() {
    let app = TestApp::start().await;
    let good = Forger::new(&app, &app.buyer()).good();
    let send = async |header: &str| app.ask("GET", "/orders").header("authorization", header).send().await;
    app.look("/orders").await.problem(401, "token_missing");
    for header in ["Basic YTpi", "Bearer", "Bearer ", &good] {
        send(header).await.problem(401, "token_missing");
    }
    // The scheme's case does not matter (RFC 9110, section 11.1).
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(send(&format!("{scheme} {good}")).await.status, 200, "{scheme}");
    }
    app.advance(900);
    send(&format!("Bearer {good}")).await.problem(401, "token_expired");
    app.finish().await;
}
