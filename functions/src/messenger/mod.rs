//! `messenger`: chats are linked with accounts, people say what they want to be told of, and the bot answers.

mod alerts;
mod bot;
mod linking;
mod links;
mod lists;
mod posts;
mod telegram;
mod webhook;

use platform::App;
use platform::http::finish;
use utoipa_axum::router::OpenApiRouter;

pub fn routes(app: App) -> OpenApiRouter {
    finish(app, OpenApiRouter::new().merge(links::routes()).merge(alerts::routes()).merge(webhook::routes()))
}
