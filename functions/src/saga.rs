//! Drives an order to rest. What to do next is decided by `domain::orders::Order::step`; here it is done, one write or
//! one call at a time, so that whoever comes after a crash goes on from what is written.

use crate::facts;
use crate::provider::{self, GivenBack};
use domain::ids::{OrderId, RefundId, UserId};
use domain::orders::{Order, OrderSeat, OrderState, RefundRefused, Refused, Step, TicketState};
use domain::payments::{DisputeState, Payment, PaymentStatus, ProviderDispute, ProviderRefund, Purpose};
use domain::seating::Block;
use platform::http::Problem;
use platform::payments::{GatewayError, NewRefund};
use platform::store::{Own, StoreError};
use platform::{App, telemetry};
use std::collections::BTreeMap;

/// Steps that one drive takes; the longest way, late money for a lost order, has six.
const STEPS_MAX: usize = 12;
/// Writes of one order that news of a dispute loses to others before its message is delivered again.
const DISPUTE_TRIES_MAX: usize = 5;

#[derive(Debug, thiserror::Error)]
pub enum SagaError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    RefundRefused(#[from] RefundRefused),
    #[error("the event of an order is not there")]
    NoEvent,
    #[error("the order does not come to rest")]
    Restless,
}

impl From<SagaError> for Problem {
    fn from(error: SagaError) -> Self {
        match error {
            SagaError::Store(error) => error.into(),
            SagaError::Gateway(error) => provider_problem(&error),
            SagaError::Refused(refused) => crate::views::order_problem(refused),
            SagaError::RefundRefused(refused) => crate::views::refund_problem(refused),
            SagaError::NoEvent | SagaError::Restless => Problem::internal(error.to_string()),
        }
    }
}

/// What a buyer is told when the provider cannot be asked.
pub fn provider_problem(error: &GatewayError) -> Problem {
    provider::unavailable(error, "Your seats stay held")
}

/// Drives an order as far as it goes now. `None` if there is no such order.
pub async fn drive(app: &App, buyer: UserId, id: OrderId) -> Result<Option<Order>, SagaError> {
    let Some((order, payment)) = look(app, buyer, id).await? else { return Ok(None) };
    drive_from(app, order, payment).await.map(Some)
}

/// An order and its payment as they are now; nothing is written.
pub async fn look(app: &App, buyer: UserId, id: OrderId) -> Result<Option<(Order, Option<Payment>)>, SagaError> {
    let Some(order) = app.orders.get(buyer, id).await? else { return Ok(None) };
    let payment = fetch_payment(app, &order).await?;
    Ok(Some((order, payment)))
}

/// The same for an order and a payment that were just read.
pub async fn drive_from(app: &App, order: Order, payment: Option<Payment>) -> Result<Order, SagaError> {
    telemetry::about(order.id);
    tidy(app, &order).await?;
    let (mut order, mut payment) = (order, payment);
    for _ in 0..STEPS_MAX {
        let step = order.step(payment.as_ref(), app.now());
        if step == Step::Nothing {
            return Ok(order);
        }
        tracing::info!(order = %order.id, state = ?order.state, ?step, "order step");
        match take(app, &order, payment.as_ref(), step).await {
            Ok(next) => order = next,
            Err(SagaError::Store(StoreError::Conflict)) => {
                let stored = app.orders.get(order.buyer, order.id).await?;
                order = stored.ok_or(SagaError::Restless)?;
                tidy(app, &order).await?;
            }
            Err(error) => return Err(error),
        }
        // What was seen before `settling` was written is enough: the capture itself finds out what has changed.
        if order.state != OrderState::Settling {
            payment = fetch_payment(app, &order).await?;
        }
    }
    Err(SagaError::Restless)
}

/// The payment of an order whose next step depends on it.
async fn fetch_payment(app: &App, order: &Order) -> Result<Option<Payment>, SagaError> {
    use OrderState::{Paid, PartlyRefunded, Refunded, Refunding};
    match &order.payment {
        Some(id) if !matches!(order.state, Paid | Refunding | PartlyRefunded | Refunded) => {
            let payment = app.gateway.fetch(id).await?;
            // Not that there is nothing to pay: money may wait there.
            Ok(Some(payment.ok_or_else(|| GatewayError::Misconfigured("it does not know an order's payment".into()))?))
        }
        _ => Ok(None),
    }
}

/// One step: gives the order as it is written now.
async fn take(app: &App, order: &Order, payment: Option<&Payment>, step: Step) -> Result<Order, SagaError> {
    let next = match step {
        Step::Nothing => return Ok(order.clone()),
        Step::Settle if order.state == OrderState::Settling => return settle(app, order, payment).await,
        Step::Settle => order.settling(),
        Step::Decline => {
            let next = facts::save(app, order.declined(), &[]).await?;
            facts::declined(app);
            return Ok(next);
        }
        Step::BeginClosing(why) => order.closing(why)?,
        Step::FinishClosing => {
            if let Some(payment) = payment.filter(|payment| payment.status != PaymentStatus::Cancelled) {
                app.gateway.cancel(&payment.id).await?;
            }
            release(app, order).await?;
            let next = facts::save(app, order.closed(), &[]).await?;
            facts::closed(app, &next);
            return Ok(next);
        }
        Step::FinishLosing => {
            if let Some(payment) = payment.filter(|payment| payment.status != PaymentStatus::Cancelled) {
                app.gateway.cancel(&payment.id).await?;
            }
            release(app, order).await?;
            order.given_up()
        }
        Step::CancelPayment => {
            let payment = payment.expect("this step is for an order with a payment");
            app.gateway.cancel(&payment.id).await?;
            return Ok(order.clone());
        }
        Step::RefundUnadopted => {
            release(app, order).await?;
            let captured = payment.expect("this step is for an order with a payment").captured;
            let (next, entry) = order.unadopted(captured, app.now());
            return Ok(facts::save(app, next, &[entry]).await?);
        }
        Step::Refund(id) => return refund(app, order, id).await,
        Step::FinishDispute => {
            let event = app.catalog.event(order.event).await?.ok_or(SagaError::NoEvent)?;
            if order.has_lost_dispute() {
                release_where(app, order, |_, seat| seat.ticket == Some(TicketState::Disputed)).await?;
            }
            order.dispute_finished(&event, app.now())?
        }
    };
    Ok(facts::save(app, next, &[]).await?)
}

/// From `settling` to `paid`, or to `lost` with nothing kept.
async fn settle(app: &App, order: &Order, payment: Option<&Payment>) -> Result<Order, SagaError> {
    let event = app.catalog.event(order.event).await?.ok_or(SagaError::NoEvent)?;
    let is_cancelled = event.status == domain::catalog::EventStatus::Cancelled;
    let owed = order.total();
    let is_owed = match payment {
        None if owed.amount > 0 => return Err(GatewayError::Misconfigured("an order has no payment".into()).into()),
        None => true,
        Some(payment) => payment.amount == owed,
    };
    if is_cancelled {
        return lose(app, order, "the event was cancelled").await;
    }
    if !is_owed {
        return lose(app, order, "the payment is of another amount").await;
    }
    if !sell(app, order).await? {
        return lose(app, order, "a seat is somebody else's").await;
    }
    if let Some(payment) = payment.filter(|payment| payment.status != PaymentStatus::Captured) {
        match app.gateway.capture(payment).await {
            Ok(_) => {}
            Err(GatewayError::Refused(cause)) => {
                tracing::warn!(order = %order.id, cause, "the capture was refused");
                return lose(app, order, "the capture was refused").await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let (next, entry) = order.paid(app.now());
    let next = facts::save(app, next, &[entry]).await?;
    tracing::info!(order = %order.id, seats = order.seats.len(), amount = order.total().amount, "order paid");
    Ok(next)
}

/// Writes that an order is lost. What it has is given back by the steps that follow, when nobody can make it paid.
async fn lose(app: &App, order: &Order, why: &str) -> Result<Order, SagaError> {
    let next = facts::save(app, order.lost(), &[]).await?;
    tracing::warn!(order = %order.id, why, "order lost");
    Ok(next)
}

/// Makes every seat sold, row by row in a fixed order. False if somebody else has one of them.
async fn sell(app: &App, order: &Order) -> Result<bool, SagaError> {
    let held = order.held_words();
    let own = Own { held: &held, channel: order.channel };
    for (block, seats) in by_block(order) {
        let sold: Vec<_> = seats.iter().map(|(index, seat)| (seat.index, order.sold_word(*index))).collect();
        if !app.seats.sell(order.event, &block, &sold, &own, app.now()).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Frees every seat that has a word of this order, held or sold, and gives its included tickets back to their month.
async fn release(app: &App, order: &Order) -> Result<(), SagaError> {
    release_where(app, order, |_, _| true).await?;
    give_back_included(app, order, |_| true).await
}

/// A month's included tickets are used by the write that places the order and by no other: once given back, they stay so.
async fn give_back_included(app: &App, order: &Order, which: impl Fn(u8) -> bool) -> Result<(), SagaError> {
    match order.included(which) {
        Some(unused) => Ok(app.subscriptions.give_back(&unused).await?),
        None => Ok(()),
    }
}

async fn release_where(app: &App, order: &Order, which: impl Fn(u8, &OrderSeat) -> bool) -> Result<(), SagaError> {
    let held = order.held_words();
    let own = by_block(order).into_iter().map(|(block, seats)| {
        let own = seats.into_iter().filter(|(index, seat)| which(*index, seat)).map(|(index, seat)| {
            let words = held.iter().cloned().chain([order.sold_word(index)]).collect();
            (seat.index, words)
        });
        (block, own.collect::<Vec<_>>())
    });
    let own: Vec<_> = own.filter(|(_, own)| !own.is_empty()).collect();
    if own.is_empty() {
        return Ok(());
    }
    let to = app.seats.waiting(order.event).await?;
    for (block, own) in own {
        app.seats.release(order.event, &block, &own, to).await?;
    }
    Ok(())
}

/// Takes back what a slow settling may have written after the order was over: seats without a ticket.
async fn tidy(app: &App, order: &Order) -> Result<(), SagaError> {
    match order.state {
        OrderState::Expired | OrderState::Cancelled | OrderState::Lost => release(app, order).await,
        OrderState::Paid | OrderState::Refunding | OrderState::Refunded | OrderState::PartlyRefunded => {
            release_where(app, order, |index, _| order.is_given_up(index)).await
        }
        _ => Ok(()),
    }
}

/// Frees the seats of a stored decision, moves its money, and writes that it is done.
async fn refund(app: &App, order: &Order, id: RefundId) -> Result<Order, SagaError> {
    let refund = order.refund(id).expect("the step names a refund of this order");
    // The tickets are void whatever the provider says: their seats are for others.
    let tickets = refund.tickets.clone();
    release_where(app, order, |index, _| tickets.contains(&index)).await?;
    give_back_included(app, order, |index| tickets.contains(&index)).await?;
    let provider_refund = match (&order.payment, refund.amount) {
        (Some(payment), 1..) => {
            let (key, amount) = (refund.provider_key(), refund.money(order.currency));
            let purpose = Purpose::Order { buyer: order.buyer, order: order.id };
            let new = NewRefund { payment, key: &key, amount, purpose: &purpose };
            match provider::give_back(app, &new, order.is_disputed()).await? {
                GivenBack::Made(made) => Some(made),
                GivenBack::NotMade { made, gave_way } => return not_refunded(app, order, id, made, gave_way).await,
            }
        }
        _ => None,
    };
    let (next, entry) = order.refund_done(id, provider_refund, app.now());
    let next = facts::save(app, next, &[entry]).await?;
    tracing::info!(order = %order.id, refund = %id, amount = refund.amount, "refund done");
    Ok(next)
}

/// Writes that what the provider made of a refund has failed, or that it made none, since the buyer's bank was first.
pub async fn refund_failed(
    app: &App,
    order: &Order,
    id: RefundId,
    made: Option<ProviderRefund>,
) -> Result<Order, SagaError> {
    let gave_way = made.as_ref().is_none_or(|made| made.gave_way);
    not_refunded(app, order, id, made.map(|made| made.id), gave_way).await
}

/// Writes that the provider could not give money back; a person has to, unless it gave way to the buyer's bank.
async fn not_refunded(
    app: &App,
    order: &Order,
    id: RefundId,
    made: Option<String>,
    gave_way: bool,
) -> Result<Order, SagaError> {
    let (next, reversal) = order.refund_failed(id, made, gave_way, app.now());
    let next = facts::save(app, next, reversal.as_slice()).await?;
    tracing::error!(order = %order.id, refund = %id, gave_way, "a refund failed at the provider");
    Ok(next)
}

/// Brings what the provider says of a payment's disputes into its order, and drives that to rest.
pub async fn disputed(app: &App, mut order: Order, payment: Payment) -> Result<Order, SagaError> {
    let id = payment.id.clone();
    if !order.is_booked() {
        // The news of the capture are on their way, or were lost: it comes first.
        order = drive_from(app, order, Some(payment)).await?;
    }
    if !order.is_booked() {
        return Ok(order);
    }
    for dispute in app.gateway.disputes(&id).await? {
        order = note_dispute(app, order, &dispute).await?;
    }
    let payment = fetch_payment(app, &order).await?;
    drive_from(app, order, payment).await
}

async fn note_dispute(app: &App, mut order: Order, dispute: &ProviderDispute) -> Result<Order, SagaError> {
    for _ in 0..DISPUTE_TRIES_MAX {
        let Some((next, entries)) = order.dispute_seen(dispute, app.now()) else { return Ok(order) };
        match facts::save(app, next, &entries).await {
            Ok(next) => {
                tracing::warn!(order = %order.id, dispute = dispute.id, state = ?dispute.state, "an order is disputed");
                if next.disputes.iter().any(|known| known.was_lost && known.state == DisputeState::Won) {
                    tracing::error!(order = %order.id, dispute = dispute.id, "a lost dispute was won: its tickets are void");
                }
                return Ok(next);
            }
            // A check-in, a refund or the same news came first.
            Err(StoreError::Conflict) => {
                order = app.orders.get(order.buyer, order.id).await?.ok_or(SagaError::Restless)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Throttled("one order is written too often".into()).into())
}

/// An order's seats by the item that locks them, in the one order in which every function visits them.
pub fn by_block(order: &Order) -> BTreeMap<Block, Vec<(u8, &OrderSeat)>> {
    let mut blocks: BTreeMap<Block, Vec<(u8, &OrderSeat)>> = BTreeMap::new();
    for (index, seat) in order.seats.iter().enumerate() {
        blocks.entry(seat.place().block).or_default().push((index as u8, seat));
    }
    blocks
}
