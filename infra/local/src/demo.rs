//! Demo data: two halls, a season of events, plans of subscriptions, accounts, and some seats sold, all made through the API
//! as people would.

use crate::error::Error;
use crate::runner::Running;
use domain::access::Role;
use domain::ids::UserId;
use jiff::Timestamp;
use reqwest::{Client, Method};
use serde_json::{Value, json};

/// Who has bought the seats that are sold.
const CROWD: &str = "crowd@boxoffice.test";
/// Orders of the crowd: so many of each event that sells well.
const CROWD_ORDERS: usize = 8;
const CROWD_ORDERS_TOTAL: usize = CROWD_ORDERS * 6;
/// Looks at an order until it is paid.
const PAID_LOOKS_MAX: usize = 200;
const PAID_LOOK_MILLISECONDS: u64 = 25;

/// The accounts, and the roles each has beside a buyer's.
const ACCOUNTS: [(&str, &[Role]); 4] = [
    (CROWD, &[Role::Buyer]),
    ("buyer@boxoffice.test", &[Role::Buyer]),
    ("admin@boxoffice.test", &[Role::Buyer, Role::Admin]),
    ("gate@boxoffice.test", &[Role::Buyer, Role::Gate]),
];

/// The accounts that a person is told of, and what each is for.
pub const SHOWN: [(&str, &str); 3] = [
    ("buyer@boxoffice.test", "buys"),
    ("admin@boxoffice.test", "events, halls, prices"),
    ("gate@boxoffice.test", "checks tickets in"),
];

/// Loads the demo into an empty store, or goes on where loading was cut short. Gives the password of its accounts;
/// `None` for a store that has no demo.
pub async fn prepare(running: &Running) -> Result<Option<String>, Error> {
    let password = running.secrets.demo_password.clone();
    let mut caller = Caller { http: Client::new(), running, token: String::new() };
    if !running.fresh {
        // The crowd's account is made first, the last of its orders last.
        match sign_in(&caller, CROWD, &password).await {
            Ok(token) => caller.token = token,
            Err(_) => return Ok(None),
        }
        let orders = caller.call(Method::GET, "/orders?limit=100", "", None).await?;
        if orders["items"].as_array().is_some_and(|orders| orders.len() >= CROWD_ORDERS_TOTAL) {
            return Ok(Some(password));
        }
        caller.token.clear();
    }
    load(&mut caller, &password).await?;
    sell(&mut caller, &password).await?;
    Ok(Some(password))
}

/// An event of the season.
struct Show {
    name: &'static str,
    performer: &'static str,
    /// Days from today, and the hour of the start in UTC.
    day: i64,
    hour: i64,
    /// What the cheapest category costs, in minor units.
    from: i64,
    /// The service fee of a ticket, in minor units.
    fee: i64,
    sells_well: bool,
}

const fn show(name: &'static str, performer: &'static str, day: i64, hour: i64, from: i64, sells_well: bool) -> Show {
    Show { name, performer, day, hour, from, fee: 0, sells_well }
}

/// At the theatre in Moscow, in roubles, under the statute for performing arts.
const THEATRE: [Show; 7] = [
    show("The Seagull", "Chekhov Studio", 6, 16, 90_000, true),
    show("The Cherry Orchard", "Chekhov Studio", 9, 16, 90_000, false),
    show("Swan Lake", "Neva Ballet", 13, 16, 150_000, true),
    show("Swan Lake", "Neva Ballet", 14, 11, 150_000, false),
    show("Eugene Onegin", "Opera on the Quay", 21, 16, 120_000, false),
    show("The Government Inspector", "Chekhov Studio", 34, 16, 80_000, false),
    show("The Nutcracker", "Neva Ballet", 48, 11, 180_000, true),
];

/// At the arena in Berlin, in euros, on the organiser's own terms.
const ARENA: [Show; 6] = [
    show("Northern Lights Tour", "Aurora Line", 11, 19, 3_900, true),
    show("Northern Lights Tour", "Aurora Line", 12, 19, 3_900, false),
    show("City Derby", "Ice Hockey League", 19, 18, 2_500, false),
    Show { fee: 250, ..show("An Evening of Film Music", "Grand Symphony", 27, 19, 4_900, true) },
    show("Winter Gala on Ice", "Ice Theatre", 33, 18, 3_500, false),
    show("Stand-up Marathon", "Various Artists", 52, 19, 2_900, false),
];

/// A caller of the API.
struct Caller<'a> {
    http: Client,
    running: &'a Running,
    token: String,
}

/// Makes the accounts, the halls and the events. Every request has a fixed key, so that loading again is no loading.
async fn load(caller: &mut Caller<'_>, password: &str) -> Result<(), Error> {
    let running = caller.running;
    for (email, roles) in ACCOUNTS {
        let body = json!({ "email": email, "password": password, "name": email.split('@').next() });
        let user = caller.make("/users", email, &body).await?;
        let id: UserId = text(&user, "id")?.parse().map_err(failed)?;
        let accounts = running.app("register")?.accounts;
        let account = accounts.get(id).await.map_err(failed)?;
        let mut account = account.ok_or_else(|| Error::Failed("a demo account is not there".into()))?;
        if account.roles != roles {
            account.roles = roles.to_vec();
            account.v += 1;
            accounts.save(&account).await.map_err(failed)?;
        }
    }
    caller.token = sign_in(caller, "admin@boxoffice.test", password).await?;
    let theatre = json!({ "name": "Theatre on the Quay", "city": "Moscow", "address": "Naberezhnaya 1", "time_zone": "Europe/Moscow" });
    let policy = json!({ "statute": "ru_performing_arts", "tiers": [{ "notice": { "days": 7 }, "share": 8000 }] });
    season(caller, "theatre", theatre, include_str!("../../demo/theatre.json"), &THEATRE, "RUB", policy).await?;
    let arena =
        json!({ "name": "Spree Arena", "city": "Berlin", "address": "Uferweg 10", "time_zone": "Europe/Berlin" });
    let policy =
        json!({ "tiers": [{ "notice": { "days": 14 }, "share": 10000 }, { "notice": { "days": 3 }, "share": 5000 }] });
    season(caller, "arena", arena, include_str!("../../demo/arena.json"), &ARENA, "EUR", policy).await?;
    plans(caller).await
}

/// Two plans of the arena's currency, by the month and for a year, and a code for the first.
async fn plans(caller: &Caller<'_>) -> Result<(), Error> {
    let price = |amount: i64| json!({ "amount": amount, "currency": "EUR" });
    let perks = json!([{ "kind": "presale", "hours": 48 }, { "kind": "discount", "off": 1000 }]);
    let monthly = json!({
        "name": { "ru": "Друг сцены", "en": "Friend of the stage" }, "price": price(990), "billing": "monthly",
        "trial_days": 14, "perks": perks, "cancel_refund": "pro_rata", "law": "eu_withdrawal", "notice_days": 3,
    });
    let monthly = caller.make("/admin/plans", "monthly", &monthly).await?;
    let yearly = json!({
        "name": { "ru": "Меценат на год", "en": "Patron for a year" }, "price": price(9_900),
        "billing": { "once": { "months": 12 } }, "law": "eu_withdrawal",
        "perks": [
            { "kind": "presale", "hours": 72 }, { "kind": "discount", "off": 2000 }, { "kind": "service_fee", "off": 10_000 },
            { "kind": "hidden_events" },
        ],
    });
    caller.make("/admin/plans", "yearly", &yearly).await?;
    let code = json!({
        "name": { "ru": "Добро пожаловать", "en": "Welcome" }, "code": "WELCOME", "gift": { "percent": 5000 }, "periods": 3,
        "plans": [monthly["id"]], "from": "2026-01-01T00:00:00Z", "until": "2036-01-01T00:00:00Z", "audience": "new",
    });
    caller.make("/marketing/promotions", "welcome", &code).await?;
    Ok(())
}

async fn season(
    caller: &Caller<'_>,
    key: &str,
    venue: Value,
    scheme: &str,
    shows: &[Show],
    currency: &str,
    policy: Value,
) -> Result<(), Error> {
    let venue = caller.make("/admin/venues", key, &venue).await?;
    let mut scheme: Value = serde_json::from_str(scheme).map_err(failed)?;
    let categories: Vec<_> = scheme["categories"].as_array().into_iter().flatten().cloned().collect();
    scheme["venue_id"] = venue["id"].clone();
    let layout = caller.make("/admin/layouts", key, &scheme).await?;
    let now = caller.running.now();
    let midnight = now.as_second() - now.as_second().rem_euclid(86_400);
    for (nth, show) in shows.iter().enumerate() {
        let performer = caller.make("/admin/performers", show.performer, &json!({ "name": show.performer })).await?;
        // The dearest category comes first in a scheme; each is a fifth dearer than the next.
        let price = |place: usize| json!(show.from * (5 + (categories.len() - 1 - place) as i64) / 5 / 100 * 100);
        let prices = categories.iter().enumerate();
        let prices: serde_json::Map<_, _> =
            prices.filter_map(|(place, category)| Some((category["id"].as_str()?.to_owned(), price(place)))).collect();
        let event = json!({
            "name": show.name, "performer_id": performer["id"],
            "layout_id": layout["id"], "layout_version": layout["version"],
            "starts_at": Timestamp::from_second(midnight + show.day * 86_400 + show.hour * 3600).map_err(failed)?,
            "on_sale_from": Timestamp::from_second(midnight - 86_400).map_err(failed)?,
            "currency": currency, "prices": prices, "service_fee": show.fee, "refund_policy": policy,
        });
        let event = caller.make("/admin/events", &format!("{key} {nth}"), &event).await?;
        caller.make(&format!("/admin/events/{}/publication", text(&event, "id")?), "publish", &json!({})).await?;
    }
    Ok(())
}

/// Buys some seats of the events that sell well, as a crowd would: held, paid at the sandbox, ticketed.
async fn sell(caller: &mut Caller<'_>, password: &str) -> Result<(), Error> {
    caller.token = sign_in(caller, CROWD, password).await?;
    let events = caller.call(Method::GET, "/events?limit=100", "", None).await?;
    for event in events["items"].as_array().into_iter().flatten() {
        let at = |show: &Show| event["name"] == show.name && show.sells_well && day_of(event, caller) == show.day;
        if !THEATRE.iter().chain(&ARENA).any(at) {
            continue;
        }
        for nth in 0..CROWD_ORDERS {
            let quantity = 2 + nth % 5;
            let ask = json!({ "event_id": event["id"], "best": { "quantity": quantity } });
            let key = format!("crowd {} {nth}", text(event, "id")?);
            let order = caller.make("/orders", &key, &ask).await?;
            buy(caller, text(&order, "id")?).await?;
        }
    }
    Ok(())
}

/// Days from today to an event's start.
fn day_of(event: &Value, caller: &Caller<'_>) -> i64 {
    let starts_at = event["starts_at"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    starts_at.map_or(0, |at| at.as_second() / 86_400 - caller.running.now().as_second() / 86_400)
}

async fn buy(caller: &Caller<'_>, order: &str) -> Result<(), Error> {
    let payment = caller.make(&format!("/orders/{order}/payment"), "pay", &json!({})).await?;
    let confirm =
        format!("{}/v1/payment_intents/{}/confirm", text(&payment, "api_base")?, text(&payment, "payment_id")?);
    let form = [("client_secret", text(&payment, "client_secret")?), ("payment_method", "pm_card_visa")];
    let request = caller.http.post(confirm).basic_auth(text(&payment, "publishable_key")?, Some("")).form(&form);
    request.send().await.map_err(failed)?;
    for _ in 0..PAID_LOOKS_MAX {
        if caller.call(Method::GET, &format!("/orders/{order}"), "", None).await?["status"] == "paid" {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(PAID_LOOK_MILLISECONDS)).await;
    }
    Err(Error::Failed("a demo order is not paid".into()))
}

async fn sign_in(caller: &Caller<'_>, email: &str, password: &str) -> Result<String, Error> {
    let body = json!({ "email": email, "password": password });
    let tokens = caller.call(Method::POST, "/sessions", "", Some(&body)).await?;
    Ok(text(&tokens, "access_token")?.to_owned())
}

impl Caller<'_> {
    async fn make(&self, path: &str, key: &str, body: &Value) -> Result<Value, Error> {
        self.call(Method::POST, path, &format!("demo {key}"), Some(body)).await
    }

    async fn call(&self, method: Method, path: &str, key: &str, body: Option<&Value>) -> Result<Value, Error> {
        let mut request = self.http.request(method, format!("{}{path}", self.running.url));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let reply = request.send().await.map_err(failed)?;
        let status = reply.status();
        let body: Value = reply.json().await.map_err(failed)?;
        if status.is_success() { Ok(body) } else { Err(Error::Failed(format!("demo data: {path}: {body}"))) }
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, Error> {
    value[name].as_str().ok_or_else(|| Error::Failed(format!("demo data: a reply has no {name}")))
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Failed(error.to_string())
}
