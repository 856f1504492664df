//! What a subscription gives to whoever buys, and how an order says so.

use crate::views::MoneyOut;
use domain::ids::{PlanId, SubscriptionId, UserId};
use domain::money::Money;
use domain::orders::Order;
use domain::subscriptions::Subscription;
use domain::subscriptions::perks::{Applied, Given, Lowered, Perks, Why};
use jiff::Timestamp;
use platform::App;
use platform::http::Problem;
use platform::store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

/// A buyer's subscription at a moment, if they have one that holds.
pub struct Standing {
    held: Option<Subscription>,
    /// Included tickets of this month that are used.
    pub used: u8,
    /// The moment, so that an order is decided on at one.
    pub at: Timestamp,
}

impl Standing {
    /// Reads it: one query, and one item more where the plan includes tickets. Who cannot be told whether they have perks
    /// is told to come back, and not sold to at another price.
    pub async fn of(app: &App, buyer: UserId, at: Timestamp) -> Result<Self, Problem> {
        let held = app.subscriptions.of_user(buyer).await?.into_iter().find(|found| found.holds(at));
        let mut standing = Self { held, used: 0, at };
        standing.used = standing.count_used(app).await?;
        Ok(standing)
    }

    pub fn perks(&self) -> Result<Perks<'_>, Problem> {
        // A subscription is begun in a time zone that there is.
        Perks::of(self.held.as_ref(), self.at).map_err(|error| Problem::internal(error.to_string()))
    }

    /// Included tickets of the month that are used by now.
    pub async fn count_used(&self, app: &App) -> Result<u8, Problem> {
        let perks = self.perks()?;
        let Some(holder) = perks.holder().filter(|_| perks.month_tickets() > 0) else { return Ok(0) };
        let used = app.subscriptions.month_tickets(holder.subscription, holder.month).await?;
        Ok(u8::try_from(used).unwrap_or(u8::MAX))
    }
}

/// Writes a new order, with the included tickets that it uses. The order of this id if one is there already; nothing is
/// written, and none is there, where others have used those tickets meanwhile.
pub async fn put_new(app: &App, order: &Order, month_tickets: u8) -> Result<Put, StoreError> {
    let Some(uses) = order.included(|_| true) else {
        return Ok(app.orders.put_new(order).await?.err().map_or(Put::Now, |there| Put::Before(Box::new(there))));
    };
    match app.subscriptions.put_order(order, &uses, month_tickets, &app.orders).await {
        Ok(()) => Ok(Put::Now),
        Err(StoreError::Conflict) => {
            let there = app.orders.get(order.buyer, order.id).await?;
            Ok(there.map_or(Put::TicketsUsed, |there| Put::Before(Box::new(there))))
        }
        Err(error) => Err(error),
    }
}

/// What became of a new order's write.
pub enum Put {
    Now,
    /// An order of this id is there.
    Before(Box<Order>),
    /// The included tickets are not left any more.
    TicketsUsed,
}

/// What the buyer's subscription made of an order.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AppliedOut {
    #[schema(value_type = String)]
    pub subscription_id: SubscriptionId,
    #[schema(value_type = String)]
    pub plan_id: PlanId,
    /// The version of the plan that the subscriber has.
    pub plan_version: u32,
    pub perks: Vec<PerkOut>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PerkOut {
    /// `included`, `fixed_price`, `discount` or `service_fee`; `presale`, `more_seats`, `refund_terms` or `hidden_event`.
    pub kind: &'static str,
    /// Which of the order's seats it is about, counted from 0; none where it is about all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seat: Option<u8>,
    /// The ticket's price without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list_price: Option<MoneyOut>,
    /// The ticket's service fee without it, where the event has one and it is lower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list_fee: Option<MoneyOut>,
    /// Why, for people.
    pub text: String,
}

impl AppliedOut {
    pub fn new(order: &Order, applied: &Applied) -> Self {
        let fee_was = applied.fee_was.map(|was| Money::new(was, order.currency));
        let seats = applied.seats.iter().map(|lowered| seat_perk(order, lowered, fee_was));
        let fees = fee_was.into_iter().flat_map(|was| fee_perks(order, was));
        let perks = seats.chain(fees).chain(applied.given.iter().map(|given| given_perk(*given))).collect();
        let (plan_id, plan_version) = (applied.plan.id, applied.plan.version);
        Self { subscription_id: applied.subscription, plan_id, plan_version, perks }
    }
}

/// Why a ticket costs less. One for which nothing is paid has no service fee either.
fn seat_perk(order: &Order, lowered: &Lowered, fee_was: Option<Money>) -> PerkOut {
    let was = Money::new(lowered.was, order.currency);
    let (kind, why) = match lowered.by {
        Why::Included => ("included", "Included in this month of your subscription"),
        Why::FixedPrice => ("fixed_price", "The fixed price of your subscription"),
        Why::Discount => ("discount", "The discount of your subscription"),
    };
    let no_fee = fee_was.filter(|_| order.seats[usize::from(lowered.seat)].price.ticket == 0);
    let instead = no_fee.map_or(was.to_string(), |fee| format!("{was} and a service fee of {fee}"));
    PerkOut {
        kind,
        seat: Some(lowered.seat),
        list_price: Some(was.into()),
        list_fee: no_fee.map(MoneyOut::from),
        text: format!("{why}, instead of {instead}."),
    }
}

/// The tickets that are paid for, where they have less of a service fee than others'.
fn fee_perks(order: &Order, was: Money) -> impl Iterator<Item = PerkOut> {
    let lowered =
        order.seats.iter().zip(0..).filter(move |(seat, _)| seat.price.ticket > 0 && seat.price.fee < was.amount);
    lowered.map(move |(_, seat)| PerkOut {
        kind: "service_fee",
        seat: Some(seat),
        list_price: None,
        list_fee: Some(was.into()),
        text: format!("Less service fee with your subscription, instead of {was}."),
    })
}

fn given_perk(given: Given) -> PerkOut {
    let (kind, text) = match given {
        Given::Presale => ("presale", "Bought in the presale of your subscription."),
        Given::MoreSeats => ("more_seats", "More seats than others may have in one order."),
        Given::RefundTerms => ("refund_terms", "Terms of refund of your subscription beside the event's own."),
        Given::HiddenEvent => ("hidden_event", "An event that is shown with your subscription only."),
    };
    PerkOut { kind, seat: None, list_price: None, list_fee: None, text: text.to_owned() }
}
