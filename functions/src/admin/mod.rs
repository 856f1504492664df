//! `admin`: venues, halls, performers, events and their prices, blocked seats, plans of subscriptions, what became of somebody's,
//! roles, refunds that a person decides, and how the provider's books compare with ours.

mod events;
mod halls;
mod people;
mod plans;
mod reconciliations;
mod subscriptions;

use platform::App;
use platform::http::{Created, Problem, finish};
use platform::store::{Made, StoreError};
use utoipa_axum::router::OpenApiRouter;

pub fn routes(app: App) -> OpenApiRouter {
    let router = OpenApiRouter::new().merge(halls::routes()).merge(events::routes()).merge(people::routes());
    finish(app, router.merge(plans::routes()).merge(reconciliations::routes()).merge(subscriptions::routes()))
}

/// The reply to a request that makes something under an id that its key determines: the thing as it is, new or not.
fn made<T, O: From<T>>(new: Made<T>, stored: Result<Result<(), Made<T>>, StoreError>) -> Result<Created<O>, Problem> {
    match stored? {
        Ok(()) => Ok(Created(new.made.into())),
        Err(existing) if existing.request == new.request => Ok(Created(existing.made.into())),
        Err(_) => Err(Problem::key_reused()),
    }
}

/// Checks a name for people to read.
fn check_name(pointer: &str, name: &str) -> Result<(), Problem> {
    let most = domain::catalog::NAME_CHARS_MAX;
    let is_good = (1..=most).contains(&name.trim().chars().count()) && !name.chars().any(char::is_control);
    if is_good { Ok(()) } else { Err(Problem::field(pointer, format!("must have 1 to {most} characters"))) }
}
