//! How a subscription begins: the plan, the promotions that its subscriber is given, one write.

use super::views::{not_granted, problem};
use crate::facts;
use axum::http::StatusCode;
use domain::ids::{PlanId, SubscriptionId, UserId};
use domain::money::Currency;
use domain::subscriptions::plans::Plan;
use domain::subscriptions::promotions::{
    Audience, CODE_TRIES_AN_HOUR_MAX, Counted, Granted, NotGranted, Past, Person, Promotion, Reserve, STACKED_MAX,
    canonical_code, check_stack, discounted,
};
use domain::subscriptions::{Consent, NewSubscription, Refused, Subscription};
use platform::App;
use platform::http::{Buyer, Problem};
use platform::store::{StoreError, UsedBy};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// Writes of one request that lose to others before it is refused.
const WRITE_TRIES_MAX: usize = 5;
const HOUR_SECONDS: i64 = 3600;

/// What is subscribed to, and what was agreed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscribeIn {
    #[schema(value_type = String)]
    pub plan_id: PlanId,
    /// The currency that was shown, ISO 4217; refused where the plan is in another.
    #[schema(value_type = Option<String>, example = "EUR")]
    pub currency: Option<Currency>,
    /// The IANA time zone in which the subscriber's days and months are counted.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
    /// The words that were agreed to, as they were shown; 1 to 2,000 characters. They are kept, with the time.
    pub consent_text: String,
    /// A promotion's code.
    pub code: Option<String>,
    /// Several codes, where they can be combined; 4 in all.
    pub codes: Option<Vec<String>>,
}

impl SubscribeIn {
    /// The codes as they are stored, and where each stands.
    fn named(&self) -> Result<Vec<(String, String)>, Problem> {
        let one = self.code.iter().map(|code| ("/code".to_owned(), code));
        let several = self.codes.iter().flatten().enumerate().map(|(i, code)| (format!("/codes/{i}"), code));
        let codes: Vec<_> = one.chain(several).take(STACKED_MAX + 1).collect();
        if codes.len() > STACKED_MAX {
            return Err(Problem::field("/codes", format!("at most {STACKED_MAX} codes in all")));
        }
        Ok(codes.into_iter().map(|(pointer, code)| (pointer, canonical_code(code))).collect())
    }
}

/// A promotion that its subscriber asked for, and where its code stands in the request.
type Named = (String, Promotion);
type Given = (Granted, Reserve);

/// The subscription of this id: the one that the same request began before, or a new one.
pub async fn begin(
    app: &App,
    buyer: &Buyer,
    id: SubscriptionId,
    request: &str,
    ask: &SubscribeIn,
) -> Result<Subscription, Problem> {
    if let Some(known) = app.subscriptions.get(buyer.id, id).await? {
        return Ok(known);
    }
    let codes = ask.named()?;
    let plan = app.offers.plan(ask.plan_id).await?.ok_or_else(|| Problem::field("/plan_id", "is not a plan"))?;
    let mut named = Vec::new();
    for (pointer, code) in codes {
        let promotion = look_up(app, buyer.id, &code).await?;
        named.push((pointer.clone(), promotion.ok_or_else(|| not_granted(NotGranted::Unknown, &pointer))?));
    }
    for _ in 0..WRITE_TRIES_MAX {
        if let Some(begun) = try_begin(app, buyer, id, request, (ask, &plan, &named)).await? {
            return Ok(begun);
        }
    }
    Err(Problem::busy("others wrote first again and again"))
}

/// Decides by what is there now; none where somebody wrote meanwhile, so that it has to be decided again.
async fn try_begin(
    app: &App,
    buyer: &Buyer,
    id: SubscriptionId,
    request: &str,
    (ask, plan, named): (&SubscribeIn, &Plan, &[Named]),
) -> Result<Option<Subscription>, Problem> {
    let held = app.subscriptions.of_user(buyer.id).await?;
    if let Some(known) = held.iter().find(|known| known.id == id) {
        return Ok(Some(known.clone()));
    }
    let has_one = held.iter().any(Subscription::occupies);
    if has_one {
        return Err(problem(Refused::SubscribedAlready));
    }
    // Who never paid and had no trial is as new as before.
    let past = if held.iter().any(|one| one.started_at.is_some()) { Past::Had } else { Past::Never };
    let new = NewSubscription {
        id,
        user: buyer.id,
        request: request.to_owned(),
        plan,
        currency: ask.currency,
        zone: ask.time_zone.clone(),
        consent: Consent { text: ask.consent_text.clone(), at: app.now() },
        promotions: grants(app, buyer.id, plan, named, past).await?,
        has_one,
        had_trial: app.subscriptions.had_trial(buyer.id).await?,
    };
    let write = Subscription::begin(new, app.now()).map_err(problem)?;
    match facts::save_subscription(app, None, write).await {
        Ok(begun) => Ok(Some(begun)),
        Err(StoreError::Conflict) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The promotion of a code. A try is counted before it is made, and forgiven where the code is one: so no more than so many
/// unknown ones are answered in an hour, however many are asked for at once.
async fn look_up(app: &App, user: UserId, code: &str) -> Result<Option<Promotion>, Problem> {
    let (hour, seconds) = (app.now().as_second().div_euclid(HOUR_SECONDS), app.now().as_second());
    if !app.offers.count_code_try(user, hour, CODE_TRIES_AN_HOUR_MAX).await? {
        let detail = "Too many codes that there are not. Try again later.";
        let rest = HOUR_SECONDS - seconds.rem_euclid(HOUR_SECONDS);
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_codes", detail);
        return Err(problem.retry_after(Duration::from_secs(rest.unsigned_abs())));
    }
    let found = app.offers.promotion_of(code).await?;
    if found.is_some() {
        app.offers.forgive_code_try(user, hour).await?;
    }
    Ok(found)
}

/// What a subscriber is given: all that they named, or a refusal; and of the offers without a code what is best for them.
async fn grants(app: &App, user: UserId, plan: &Plan, named: &[Named], past: Past) -> Result<Vec<Given>, Problem> {
    let offers: Vec<_> = app.offers.promotions().await?.into_iter().filter(|offer| offer.code.is_none()).collect();
    let is_for_segment = |promotion: &Promotion| matches!(promotion.audience, Audience::Segment(_));
    let by_segment = named.iter().any(|(_, one)| is_for_segment(one)) || offers.iter().any(is_for_segment);
    let segments = if by_segment { app.offers.segments_of(user).await? } else { Vec::new() };
    let person = Person { used: 0, past, segments: &segments };
    let mut given = Vec::new();
    for (pointer, promotion) in named {
        let one = grant(app, user, plan, promotion, person).await?;
        given.push(one.map_err(|refused| not_granted(refused, pointer))?);
    }
    let all: Vec<Granted> = given.iter().map(|(granted, _)| granted.clone()).collect();
    check_stack(&all).map_err(|refused| not_granted(refused, "/codes"))?;
    let mut automatic = Vec::new();
    for offer in &offers {
        automatic.extend(grant(app, user, plan, offer, person).await?.ok());
    }
    Ok(best(plan, given, automatic))
}

/// Grants one promotion by what is counted of it now.
async fn grant(
    app: &App,
    user: UserId,
    plan: &Plan,
    promotion: &Promotion,
    person: Person<'_>,
) -> Result<Result<Given, NotGranted>, Problem> {
    let terms = (plan.reference(), &plan.terms);
    // Most are refused without a look at their counters.
    if let Err(refused) = promotion.grant(terms, &person, Counted::default(), app.now()) {
        return Ok(Err(refused));
    }
    let used = app.offers.used_by(promotion.id, UsedBy::Person(user)).await?;
    let counted = app.offers.counted(promotion.id).await?;
    Ok(promotion.grant(terms, &Person { used, ..person }, counted, app.now()))
}

/// What was named with all offers that can be combined with it; or, where nothing was named, one offer alone if that is
/// worth more.
fn best(plan: &Plan, named: Vec<Given>, automatic: Vec<Given>) -> Vec<Given> {
    let (stackable, alone): (Vec<_>, Vec<_>) = automatic.into_iter().partition(|(granted, _)| granted.stackable);
    let nothing_named = named.is_empty();
    let mut together = named;
    for given in stackable {
        let all: Vec<_> = together.iter().chain([&given]).map(|(granted, _)| granted.clone()).collect();
        if check_stack(&all).is_ok() {
            together.push(given);
        }
    }
    let alone = alone.into_iter().filter(|_| nothing_named).map(|given| vec![given]);
    let cost = |given: &Vec<Given>| {
        let granted: Vec<_> = given.iter().map(|(granted, _)| granted.clone()).collect();
        let saved: i64 = granted.iter().map(|one| one.reserved).sum();
        (discounted(plan.id, &plan.terms, &granted).price.amount, -saved)
    };
    [together].into_iter().chain(alone).min_by_key(cost).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_people_type_them() {
        let ask = |code: Option<&str>, codes: &[&str]| SubscribeIn {
            plan_id: PlanId(1),
            currency: None,
            time_zone: "UTC".into(),
            consent_text: "I agree".into(),
            code: code.map(str::to_owned),
            codes: Some(codes.iter().map(|code| (*code).to_owned()).collect()),
        };
        let named = ask(Some("spring-27"), &["a b c d"]).named().expect("two codes");
        assert_eq!(named, [("/code".into(), "SPRING27".into()), ("/codes/0".into(), "ABCD".into())]);
        assert!(ask(Some("A"), &["B", "C", "D", "E"]).named().is_err());
    }
}
