//! `sweep`: puts every order that is due on the Payments queue. It decides nothing and moves no money.

use crate::Error;
use crate::commands::Command;
use domain::orders::DUE_SHARDS;
use platform::App;

/// Orders of one shard that one run sends; the next run, a minute later, sends what is still due.
const SHARD_ORDERS_MAX: i32 = 1000;

pub async fn handle(app: App) -> Result<(), Error> {
    let now = app.now();
    let queue = app.config.get("PAYMENTS_QUEUE_URL")?;
    for shard in 0..DUE_SHARDS {
        let due = app.orders.due(shard, now, SHARD_ORDERS_MAX).await?;
        if due.is_empty() {
            continue;
        }
        let messages = due.into_iter().map(|(buyer, order)| Command::OrderDue { buyer, order }.message(0)).collect();
        app.clients.bus.send(queue, messages).await?;
    }
    Ok(())
}
