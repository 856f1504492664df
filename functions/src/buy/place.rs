//! From a wish for seats to a held order: check, lock the rows, write the order. Two writes for one row, after a query for
//! the buyer's subscription, which is on its way beside the reads of an event and a hall that nobody has read just now.

use super::perks::{self, Put, Standing};
use super::{BestIn, OrderIn, SeatIn};
use crate::facts;
use crate::views::{order_problem, sentence};
use domain::catalog::{Event, NotOnSale};
use domain::ids::{EventId, OrderId, UserId};
use domain::layout::{Found, Hall};
use domain::orders::{NewOrder, Order, OrderSeat, OrderState, check_total, hold_expiry};
use domain::seating::best::BestAsk;
use domain::seating::words::{Channel, Hold, Stamp};
use domain::seating::{Block, Place, SeatName};
use domain::subscriptions::perks::{Applied, Perks};
use futures_util::future::try_join;
use jiff::Timestamp;
use platform::App;
use platform::http::{FieldError, Problem};
use platform::seatmap::seat_map;
use platform::store::{Locked, Own, StoreError};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Rounds of looking for best seats, and groups that each tries, before the buyer is told that there are none.
const ROUNDS_MAX: usize = 4;
const ROUND_GROUPS_MAX: usize = 4;
/// Prices that an order is tried to be placed at, while others use the included tickets that it counts on.
const PRICES_MAX: usize = 4;

/// Seats of one row that this call locked, or found locked for this order.
struct Lock {
    block: Block,
    indexes: Vec<u8>,
    expiry: Timestamp,
    is_new: bool,
}

/// Seats at the buyer's prices.
struct Chosen {
    seats: Vec<OrderSeat>,
    applied: Option<Applied>,
}

/// A held order of this id: a new one, or the one that the same request made before (or another: compare `request`).
pub async fn place(app: &App, buyer: UserId, id: OrderId, request: &str, ask: &OrderIn) -> Result<Order, Problem> {
    place_for(app, buyer, id, request, ask, None).await
}

/// The same for somebody of a channel, who may have the seats that are set aside for it too.
pub async fn place_for(
    app: &App,
    buyer: UserId,
    id: OrderId,
    request: &str,
    ask: &OrderIn,
    channel: Option<Channel>,
) -> Result<Order, Problem> {
    let at = app.now();
    let ((event, hall), standing) = try_join(shown(app, ask.event_id), Standing::of(app, buyer, at)).await?;
    let perks = standing.perks()?;
    if !perks.sees(&event) {
        return Err(Problem::not_found());
    }
    perks.check_on_sale(&event, at).map_err(not_on_sale)?;
    let hold = Hold::of(id);
    let wish = Wish { app, buyer, order: id, event: &event, hall: &hall, hold, channel, standing: &standing, perks };
    let (chosen, locks) = match (&ask.seats, &ask.best) {
        (Some(seats), None) => wish.named(seats).await?,
        (None, Some(best)) => wish.best(best).await?,
        _ => return Err(Problem::field("", "must have either seats or best")),
    };
    // Words of different calls: the earlier ones may be those of an order that is there, which knows no others.
    if locks.iter().any(|lock| lock.expiry != locks[0].expiry) {
        match app.orders.get(buyer, id).await {
            Ok(None) => {}
            Ok(Some(existing)) => {
                wish.release_foreign(&locks, &existing).await?;
                return Ok(existing);
            }
            Err(error) => {
                wish.let_go(&locks).await;
                return Err(error.into());
            }
        }
    }
    let (hold_until, locks) = wish.agree(locks).await?;
    wish.put(chosen, hold_until, &locks, request).await
}

/// An event that somebody may see, and its hall.
async fn shown(app: &App, id: EventId) -> Result<(Arc<Event>, Arc<Hall>), Problem> {
    let event = app.recent_event(id).await?.filter(|event| event.is_public()).ok_or_else(Problem::not_found)?;
    let hall = app.hall(event.layout).await?.ok_or_else(|| Problem::internal("the event's layout is not there"))?;
    Ok((event, hall))
}

struct Wish<'a> {
    app: &'a App,
    buyer: UserId,
    order: OrderId,
    event: &'a Event,
    hall: &'a Hall,
    hold: Hold,
    channel: Option<Channel>,
    standing: &'a Standing,
    perks: Perks<'a>,
}

impl Wish<'_> {
    async fn named(&self, seats: &[SeatIn]) -> Result<(Chosen, Vec<Lock>), Problem> {
        let most = self.perks.seats_max();
        if seats.is_empty() || seats.len() > most {
            return Err(Problem::field("/seats", format!("must name 1 to {most} seats")));
        }
        let mut chosen = Vec::with_capacity(seats.len());
        let mut errors = Vec::new();
        let mut seen = HashSet::new();
        for (index, seat) in seats.iter().enumerate() {
            let name = SeatName { section: seat.section.clone(), row: seat.row.clone(), seat: seat.seat.clone() };
            let found = self.hall.find(&name);
            let detail = match found.and_then(|found| self.order_seat(name.clone(), &found)) {
                Some(seat) if seen.insert(name) => {
                    chosen.push(seat);
                    continue;
                }
                Some(_) => "is named twice",
                None => "is not a seat that this event sells",
            };
            errors.push(FieldError { pointer: format!("/seats/{index}"), detail: detail.into() });
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        let chosen = self.priced(chosen, self.standing.used)?;
        match self.lock(&chosen.seats).await? {
            Ok(locks) => Ok((chosen, locks)),
            Err((block, taken)) => Err(seats_taken(&chosen.seats, &block, &taken)),
        }
    }

    async fn best(&self, ask: &BestIn) -> Result<(Chosen, Vec<Lock>), Problem> {
        let most = self.perks.seats_max();
        if ask.quantity == 0 || usize::from(ask.quantity) > most {
            return Err(Problem::field("/best/quantity", format!("must be 1 to {most}")));
        }
        let layout = self.hall.layout();
        if ask.section.as_ref().is_some_and(|id| !layout.sections.iter().any(|section| section.id == *id)) {
            return Err(Problem::field("/best/section", "is not a section of this hall"));
        }
        if ask.category.as_ref().is_some_and(|id| !self.event.prices.contains_key(id)) {
            return Err(Problem::field("/best/category", "is not a category that this event sells"));
        }
        let BestIn { quantity, category, section, accessible } = ask.clone();
        let wanted = BestAsk { quantity, section, category, accessible };
        let map = seat_map(self.app, self.event).await?;
        // The map is up to a second old: what turns out to be taken is noted in it, and the next round knows.
        for _ in 0..ROUNDS_MAX {
            for places in map.best(&wanted, ROUND_GROUPS_MAX, &self.app.rng) {
                let chosen = self.priced(self.order_seats(&places)?, self.standing.used)?;
                match self.lock(&chosen.seats).await? {
                    Ok(locks) => {
                        map.take(places);
                        return Ok((chosen, locks));
                    }
                    Err((block, taken)) => {
                        map.take(taken.into_iter().map(|index| Place { block: block.clone(), index }));
                    }
                }
            }
        }
        Err(Problem::conflict("seats_taken", "There are not so many such seats free just now."))
    }

    fn order_seats(&self, places: &[Place]) -> Result<Vec<OrderSeat>, Problem> {
        let seats = places.iter().map(|place| {
            let (found, name) = (self.hall.at(place)?, self.hall.name_of(place)?);
            self.order_seat(name, &found)
        });
        seats.collect::<Option<_>>().ok_or_else(|| Problem::internal("best seats are not of this hall"))
    }

    fn order_seat(&self, name: SeatName, found: &Found<'_>) -> Option<OrderSeat> {
        let price = self.event.price(found.category)?;
        Some(OrderSeat {
            section: name.section,
            row: name.row,
            seat: name.seat,
            block: found.place.block.row.clone(),
            index: found.place.index,
            category: found.category.to_owned(),
            price,
            ticket: None,
            used_by: None,
        })
    }

    /// The same seats at what they cost this buyer, if that can be paid.
    fn priced(&self, seats: Vec<OrderSeat>, used: u8) -> Result<Chosen, Problem> {
        let list = |seat: &OrderSeat| self.event.price(&seat.category).expect("the event sells what was chosen").ticket;
        let asked: Vec<_> = seats.iter().map(|seat| (seat.category.as_str(), list(seat))).collect();
        let priced = self.perks.apply(self.event, &asked, used, self.standing.at);
        check_total(self.event.currency, priced.seats.iter().copied()).map_err(order_problem)?;
        let seats = seats.into_iter().zip(priced.seats).map(|(seat, price)| OrderSeat { price, ..seat });
        Ok(Chosen { seats: seats.collect(), applied: priced.applied })
    }

    /// Writes the order of seats that are locked. Where others use up the included tickets meanwhile, at what it costs then.
    async fn put(
        &self,
        mut chosen: Chosen,
        hold_until: Timestamp,
        locks: &[Lock],
        request: &str,
    ) -> Result<Order, Problem> {
        for _ in 0..PRICES_MAX {
            let order = Order::place(self.new_order(&chosen, request), hold_until, self.app.now());
            match perks::put_new(self.app, &order, self.perks.month_tickets()).await {
                Ok(Put::Now) => {
                    facts::held(self.app, &order);
                    return Ok(order);
                }
                Ok(Put::Before(existing)) => {
                    self.release_foreign(locks, &existing).await?;
                    return Ok(*existing);
                }
                Ok(Put::TicketsUsed) => {}
                Err(StoreError::Throttled(cause)) => {
                    self.let_go(locks).await;
                    return Err(StoreError::Throttled(cause).into());
                }
                // It may be there, or may yet come: then the seats are its. Otherwise they are free when the hold ends.
                Err(error) => return Err(error.into()),
            }
            let counted = self.standing.count_used(self.app).await;
            chosen = match counted.and_then(|used| self.priced(chosen.seats, used)) {
                Ok(chosen) => chosen,
                Err(problem) => {
                    self.let_go(locks).await;
                    return Err(problem);
                }
            };
        }
        self.let_go(locks).await;
        Err(Problem::busy("the included tickets of a month are used by too many orders at once"))
    }

    fn new_order(&self, chosen: &Chosen, request: &str) -> NewOrder {
        NewOrder {
            id: self.order,
            buyer: self.buyer,
            event: self.event.id,
            request: request.to_owned(),
            currency: self.event.currency,
            seats: chosen.seats.clone(),
            policy: self.perks.refund_policy(&self.event.refund_policy),
            applied: chosen.applied.clone(),
            channel: self.channel,
        }
    }

    fn stamp(&self, expiry: Timestamp) -> Stamp {
        Stamp { hold: self.hold, channel: self.channel, expiry }
    }

    /// Locks every row in a fixed order; if one cannot be had, lets go of what this call locked.
    async fn lock(&self, seats: &[OrderSeat]) -> Result<Result<Vec<Lock>, (Block, Vec<u8>)>, Problem> {
        let mut blocks: BTreeMap<Block, Vec<u8>> = BTreeMap::new();
        for seat in seats {
            blocks.entry(seat.place().block).or_default().push(seat.index);
        }
        let now = self.app.now();
        let expiry = hold_expiry(now);
        let mut locks: Vec<Lock> = Vec::with_capacity(blocks.len());
        for (block, indexes) in blocks {
            let stamp = self.stamp(expiry);
            let refused = match self.app.seats.lock(self.event.id, &block, &indexes, &stamp, now).await {
                Ok(Locked::Now) => {
                    locks.push(Lock { block, indexes, expiry, is_new: true });
                    continue;
                }
                Ok(Locked::Before(expiry)) => {
                    locks.push(Lock { block, indexes, expiry, is_new: false });
                    continue;
                }
                Ok(Locked::Taken(taken)) => Ok(Err((block, taken))),
                Err(error) => Err(error.into()),
            };
            self.let_go(&locks).await;
            return refused;
        }
        Ok(Ok(locks))
    }

    /// Lets go of what this call locked and no order has: the same request may have come twice, and the other one may have
    /// taken these locks for its own. A table that is too busy for that leaves them to the end of the hold.
    async fn let_go(&self, locks: &[Lock]) {
        if !locks.iter().any(|lock| lock.is_new) {
            return;
        }
        let released = match self.app.orders.get(self.buyer, self.order).await {
            Ok(Some(existing)) => self.release_foreign(locks, &existing).await,
            Ok(None) => self.release_new(locks).await,
            Err(error) => Err(error.into()),
        };
        if let Err(problem) = released {
            tracing::warn!(code = problem.code, cause = problem.cause(), "locks are left to the end of their hold");
        }
    }

    async fn release_new(&self, locks: &[Lock]) -> Result<(), Problem> {
        for lock in locks.iter().filter(|lock| lock.is_new) {
            self.unlock(lock, &lock.indexes).await?;
        }
        Ok(())
    }

    async fn unlock(&self, lock: &Lock, indexes: &[u8]) -> Result<(), Problem> {
        let word = self.stamp(lock.expiry).word();
        let seats: Vec<_> = indexes.iter().map(|&index| (index, vec![word.clone()])).collect();
        Ok(self.app.seats.release(self.event.id, &lock.block, &seats, self.channel).await?)
    }

    /// One expiry for all rows: where an earlier call for this order locked some of them, those are stamped afresh.
    async fn agree(&self, locks: Vec<Lock>) -> Result<(Timestamp, Vec<Lock>), Problem> {
        let latest = locks.iter().map(|lock| lock.expiry).max().expect("an order has seats");
        let mut agreed = locks;
        for nth in 0..agreed.len() {
            let lock = &agreed[nth];
            if lock.expiry == latest {
                continue;
            }
            let words = [self.stamp(latest).word(), self.stamp(lock.expiry).word()];
            let own = Own { held: &words, channel: self.channel };
            let extended = self.app.seats.extend(self.event.id, &lock.block, &lock.indexes, &own, self.app.now());
            let refused = match extended.await {
                Ok(true) => None,
                Ok(false) => Some(Problem::conflict("seats_taken", "Some of these seats have just been taken.")),
                Err(error) => Some(error.into()),
            };
            if let Some(refused) = refused {
                self.let_go(&agreed).await;
                return Err(refused);
            }
            agreed[nth].expiry = latest;
        }
        Ok((latest, agreed))
    }

    /// The order was there already: lets go of the seats locked by this call that are not that order's.
    async fn release_foreign(&self, locks: &[Lock], existing: &Order) -> Result<(), Problem> {
        let is_open = matches!(
            existing.state,
            OrderState::Held | OrderState::Paying | OrderState::Settling | OrderState::Expiring
        );
        let words = existing.held_words();
        for lock in locks.iter().filter(|lock| lock.is_new) {
            let is_its = |index: u8| {
                let has = existing.seats.iter().any(|seat| seat.index == index && seat.place().block == lock.block);
                is_open && has && words.contains(&self.stamp(lock.expiry).word())
            };
            let foreign: Vec<_> = lock.indexes.iter().copied().filter(|&index| !is_its(index)).collect();
            if !foreign.is_empty() {
                self.unlock(lock, &foreign).await?;
            }
        }
        Ok(())
    }
}

fn not_on_sale(refused: NotOnSale) -> Problem {
    let code = match refused {
        NotOnSale::Cancelled => "event_cancelled",
        NotOnSale::Started => "event_started",
        NotOnSale::NotYet(_) | NotOnSale::Ended => "not_on_sale",
    };
    Problem::conflict(code, sentence(&refused.to_string()))
}

/// Names the seats that somebody else has.
fn seats_taken(seats: &[OrderSeat], block: &Block, taken: &[u8]) -> Problem {
    let is_taken = |seat: &OrderSeat| seat.place().block == *block && taken.contains(&seat.index);
    let gone = seats.iter().enumerate().filter(|(_, seat)| is_taken(seat));
    let errors: Vec<_> = gone
        .map(|(index, seat)| FieldError {
            pointer: format!("/seats/{index}"),
            detail: format!("{} is taken", seat.name()),
        })
        .collect();
    let names: Vec<_> = errors.iter().map(|error| error.detail.as_str()).collect();
    let detail = sentence(&names.join(", "));
    Problem::conflict("seats_taken", detail).with_errors(errors)
}
