//! Updates: sent to the webhook as Telegram does, those of one chat in their order, each again until it is taken.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::task::JoinSet;

use super::Bot;
use super::api;
use super::door::Params;
use super::state::Webhook;

/// At most so many updates are under way at once.
const IN_FLIGHT_MAX: usize = 16;
/// How long an idle loop sleeps before it looks at the clock again.
const IDLE_MS_MAX: i64 = 60_000;

/// Delivers updates, until it is dropped.
pub(super) async fn run(bot: Bot) {
    // Built when there is something to send: it costs milliseconds.
    let mut client = None;
    let mut under_way = JoinSet::new();
    loop {
        let mut ready = Vec::new();
        let idle_ms = {
            let mut state = bot.state();
            state.now_ms = (state.settings.clock)();
            let webhook = state.webhook().cloned();
            if let Some(webhook) = &webhook {
                while under_way.len() + ready.len() < IN_FLIGHT_MAX {
                    let Some((id, body)) = state.next_update() else { break };
                    ready.push((webhook.clone(), id, body));
                }
            }
            let due = state.next_due_ms().filter(|due| webhook.is_some() && *due > state.now_ms);
            due.map_or(IDLE_MS_MAX, |due| due - state.now_ms).min(IDLE_MS_MAX)
        };
        for (webhook, id, body) in ready {
            let client = client.get_or_insert_with(crate::webhooks::client).clone();
            under_way.spawn(attempt(bot.clone(), client, webhook, id, body));
        }
        let idle = Duration::from_millis(u64::try_from(idle_ms).expect("it is in the future"));
        tokio::select! {
            () = bot.woken() => {}
            Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
            () = tokio::time::sleep(idle) => {}
        }
    }
}

/// Sends an update once, and notes what became of it.
async fn attempt(bot: Bot, client: reqwest::Client, webhook: Webhook, id: u64, body: String) {
    let sent = post(&client, &webhook, body).await;
    bot.with(|state| {
        if let Ok(Some(values)) = &sent
            && let Some(Value::String(method)) = values.get("method")
        {
            // A call in the answer ("Making requests when getting updates"). Whether it was done, nobody is told.
            let _ = api::answer(state, method, Params { values: values.clone(), ..Params::default() });
        }
        state.sent(id, sent.map(drop));
    });
}

async fn post(client: &reqwest::Client, webhook: &Webhook, body: String) -> Result<Option<Map<String, Value>>, String> {
    let mut request = client.post(&webhook.url).header("content-type", "application/json").body(body);
    if let Some(secret) = &webhook.secret {
        request = request.header("x-telegram-bot-api-secret-token", secret);
    }
    let answer = request.send().await.map_err(|error| error.without_url().to_string())?;
    let status = answer.status();
    // The connection is kept only if the answer is read.
    let said = answer.bytes().await.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if status.is_success() { Ok(said) } else { Err(format!("Wrong response from the webhook: {status}")) }
}
