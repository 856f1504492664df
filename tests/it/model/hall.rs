//! The simple model: who has each seat, how each order stands, and what was taken and given back. It knows the
//! promises that buyers are made, and nothing of rows' items, streams or queues.

use super::ops::Card;
use std::fmt;

/// Rows of section `A`, by how many seats they have.
pub const ROWS: [usize; 2] = [5, 4];
/// Seats that have names; those of the standing area follow.
pub const SEATS: usize = ROWS[0] + ROWS[1];
/// Places of section `F`, where people stand.
pub const STANDING: usize = 3;
pub const PLACES: usize = SEATS + STANDING;
/// What a place costs in minor units; no share of either is round.
pub const PRICE_SEAT: i64 = 3_333;
pub const PRICE_STANDING: i64 = 1_001;
/// The service fee of each; a refund by wish keeps it.
pub const FEE: i64 = 77;
/// The share of the price that a refund gives.
pub const REFUND_PERCENT: i64 = 80;
const HOLD_SECONDS: i64 = 600;
/// A hold with less left when its payment starts is given the whole time once more.
const PAYMENT_SECONDS_MIN: i64 = 300;

/// Who has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Nobody,
    Held { order: usize, until: i64 },
    Sold { order: usize, nth: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Held,
    Paying,
    /// The buyer gave up while the provider works on the payment.
    Expiring,
    Paid,
    PartlyRefunded,
    Refunded,
    Expired,
    Lost,
    Cancelled,
}

/// How a payment stands at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Money {
    Waiting,
    Declined,
    /// The provider comes to an answer at that time: yes or no.
    Processing {
        at: i64,
        good: bool,
    },
    Authorised,
    Captured,
    Cancelled,
}

#[derive(Clone, Debug)]
pub struct Payment {
    pub money: Money,
    /// Whether the provider refuses the capture.
    pub capture_fails: bool,
}

#[derive(Clone, Debug)]
pub struct Order {
    pub buyer: usize,
    pub places: Vec<usize>,
    pub state: State,
    pub until: i64,
    /// When the sweeper looks at it, if it is not at rest by then.
    due: i64,
    /// When the hold ended before it was given more time.
    pub before: Option<i64>,
    pub payment: Option<Payment>,
    /// Of each place, once paid: whether its ticket is still valid.
    pub tickets: Vec<bool>,
    pub taken: i64,
    pub given_back: i64,
}

/// Why something is refused, as the code that clients are given.
pub type Refusal = &'static str;

#[derive(Clone, Debug)]
pub struct Hall {
    pub now: i64,
    pub owners: [Owner; PLACES],
    pub orders: Vec<Order>,
}

impl Order {
    pub fn total(&self) -> i64 {
        self.places.iter().map(|&place| price(place)).sum::<i64>() + self.fees()
    }

    pub fn fees(&self) -> i64 {
        self.places.len() as i64 * FEE
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Held | State::Paying)
    }

    pub fn is_sold(&self) -> bool {
        matches!(self.state, State::Paid | State::PartlyRefunded | State::Refunded)
    }

    pub fn money(&self) -> Option<Money> {
        self.payment.as_ref().map(|payment| payment.money)
    }
}

impl Hall {
    pub fn new(now: i64) -> Self {
        Self { now, owners: [Owner::Nobody; PLACES], orders: Vec::new() }
    }

    pub fn is_free(&self, place: usize) -> bool {
        match self.owners[place] {
            Owner::Nobody => true,
            Owner::Held { until, .. } => until < self.now,
            Owner::Sold { .. } => false,
        }
    }

    /// Of places asked for: the positions of those that somebody has, in the first row with any.
    pub fn taken(&self, places: &[usize]) -> Vec<usize> {
        let taken = |row: usize| {
            let of_row = places.iter().enumerate().filter(move |(_, place)| row_of(**place) == row);
            of_row.filter(|(_, place)| !self.is_free(**place)).map(|(nth, _)| nth).collect::<Vec<_>>()
        };
        (0..ROWS.len()).map(taken).find(|taken| !taken.is_empty()).unwrap_or_default()
    }

    /// Whether so many places can be had at once: neighbours, the longest runs of both rows, or any that stand.
    pub fn has_best(&self, quantity: usize, standing: bool) -> bool {
        if standing {
            return (SEATS..PLACES).filter(|&place| self.is_free(place)).count() >= quantity;
        }
        let runs = [self.longest_run(0..ROWS[0]), self.longest_run(ROWS[0]..SEATS)];
        let split = runs[0] > 0 && runs[1] > 0 && runs[0] + runs[1] >= quantity;
        split || runs.iter().any(|&run| run >= quantity)
    }

    fn longest_run(&self, row: std::ops::Range<usize>) -> usize {
        let (mut longest, mut run) = (0, 0);
        for place in row {
            run = if self.is_free(place) { run + 1 } else { 0 };
            longest = longest.max(run);
        }
        longest
    }

    /// A new order that holds these places, which are free; its number.
    pub fn hold(&mut self, buyer: usize, places: Vec<usize>) -> usize {
        let (order, until) = (self.orders.len(), self.now + HOLD_SECONDS);
        for &place in &places {
            assert!(self.is_free(place), "the model was asked before");
            self.owners[place] = Owner::Held { order, until };
        }
        self.orders.push(Order {
            buyer,
            places,
            state: State::Held,
            until,
            due: until,
            before: None,
            payment: None,
            tickets: Vec::new(),
            taken: 0,
            given_back: 0,
        });
        order
    }

    /// The buyer gives an order up.
    pub fn release(&mut self, order: usize) -> Result<(), Refusal> {
        match self.orders[order].state {
            State::Held | State::Paying if matches!(self.orders[order].money(), Some(Money::Processing { .. })) => {
                self.orders[order].state = State::Expiring;
                Err("order_busy")
            }
            State::Held | State::Paying => {
                self.close(order, State::Cancelled);
                Ok(())
            }
            State::Expired | State::Cancelled | State::Lost => Ok(()),
            State::Expiring => Err("order_busy"),
            State::Paid | State::PartlyRefunded | State::Refunded => Err("already_paid"),
        }
    }

    /// Starts the payment of an order, or asks for it again.
    pub fn start(&mut self, order: usize) -> Result<(), Refusal> {
        let now = self.now;
        let asked = &mut self.orders[order];
        match asked.state {
            State::Held | State::Paying if now >= asked.until => return Err("hold_ended"),
            State::Expiring | State::Expired => return Err("hold_ended"),
            State::Cancelled | State::Lost => return Err("order_closed"),
            State::Paid | State::PartlyRefunded | State::Refunded | State::Paying => return Ok(()),
            State::Held => {}
        }
        asked.state = State::Paying;
        asked.payment.get_or_insert(Payment { money: Money::Waiting, capture_fails: false });
        if asked.until - now < PAYMENT_SECONDS_MIN && asked.before.is_none() {
            asked.before = Some(asked.until);
            asked.until = now + HOLD_SECONDS;
            let (until, places) = (asked.until, asked.places.clone());
            places.into_iter().for_each(|place| self.owners[place] = Owner::Held { order, until });
        }
        Ok(())
    }

    /// The buyer confirms a payment with a card. False if the provider takes no card for it any more.
    pub fn confirm(&mut self, order: usize, card: Card) -> bool {
        let (now, total) = (self.now, self.orders[order].total());
        let asked = &mut self.orders[order];
        let payment = asked.payment.as_mut().expect("the payment was started");
        if !matches!(payment.money, Money::Waiting | Money::Declined) {
            return false;
        }
        payment.capture_fails = card == Card::CaptureFails;
        payment.money = match card {
            Card::Good | Card::CaptureFails => Money::Authorised,
            Card::Declined => Money::Declined,
            Card::Slow { seconds, good } => Money::Processing { at: now + i64::from(seconds), good },
            Card::AtOnce => Money::Captured,
        };
        if card == Card::AtOnce {
            asked.taken = total;
        }
        self.look(order);
        true
    }

    /// What is done about an order whenever anybody looks at it. Doing it again changes nothing.
    pub fn look(&mut self, order: usize) {
        let looked = &self.orders[order];
        let money = looked.money();
        match looked.state {
            // How the provider ends decides, however long that takes.
            _ if matches!(money, Some(Money::Processing { .. })) => {}
            State::Held | State::Paying | State::Expiring
                if matches!(money, Some(Money::Authorised | Money::Captured)) =>
            {
                self.settle(order);
            }
            State::Held | State::Paying if self.now >= looked.until => self.close(order, State::Expired),
            State::Paying if money == Some(Money::Declined) => self.orders[order].state = State::Held,
            State::Expiring => self.close(order, State::Cancelled),
            _ => {}
        }
    }

    /// Time passes: slow payments come to their answers, and then (`sweep`) every order whose first hold has ended is
    /// looked at.
    pub fn wait(&mut self, seconds: i64, sweep: bool) {
        self.now += seconds;
        for order in 0..self.orders.len() {
            let now = self.now;
            let Some(payment) = &mut self.orders[order].payment else { continue };
            if let Money::Processing { at, good } = payment.money
                && at <= now
            {
                payment.money = if good { Money::Authorised } else { Money::Declined };
                self.look(order);
            }
        }
        if sweep {
            let due: Vec<_> = (0..self.orders.len()).filter(|&order| self.orders[order].due <= self.now).collect();
            due.into_iter().for_each(|order| self.look(order));
        }
    }

    /// Tickets are given back; the amount, or why not. None asks for all that are valid.
    pub fn refund(&mut self, order: usize, tickets: Option<&[usize]>) -> Result<i64, Refusal> {
        if !self.orders[order].is_sold() {
            return Err("not_paid");
        }
        let valid = self.orders[order].tickets.clone();
        let all: Vec<usize> = (0..valid.len()).filter(|&nth| valid[nth]).collect();
        let tickets = tickets.unwrap_or(&all);
        if tickets.is_empty() || tickets.iter().any(|&nth| !valid[nth]) {
            return Err("ticket_refunded");
        }
        let mut amount = 0;
        for &nth in tickets {
            let place = self.orders[order].places[nth];
            assert_eq!(self.owners[place], Owner::Sold { order, nth }, "a valid ticket has its seat");
            self.owners[place] = Owner::Nobody;
            self.orders[order].tickets[nth] = false;
            amount += refunded(place);
        }
        let given = &mut self.orders[order];
        given.given_back += amount;
        given.state = if given.tickets.contains(&true) { State::PartlyRefunded } else { State::Refunded };
        Ok(amount)
    }

    /// Money is set aside or taken: every place is sold to the order, or nothing is kept.
    fn settle(&mut self, order: usize) {
        let places = self.orders[order].places.clone();
        let payment = self.orders[order].payment.clone().expect("money is there");
        let has = |&place: &usize| self.is_free(place) || self.is_own(place, order);
        let is_refused = payment.capture_fails && payment.money == Money::Authorised;
        if !places.iter().all(has) || is_refused {
            self.free(order);
            let lost = &mut self.orders[order];
            lost.state = State::Lost;
            match payment.money {
                Money::Captured => lost.given_back = lost.taken,
                _ => lost.payment.as_mut().expect("money is there").money = Money::Cancelled,
            }
            return;
        }
        places.iter().enumerate().for_each(|(nth, &place)| self.owners[place] = Owner::Sold { order, nth });
        let sold = &mut self.orders[order];
        sold.payment.as_mut().expect("money is there").money = Money::Captured;
        (sold.state, sold.taken, sold.tickets) = (State::Paid, sold.total(), vec![true; places.len()]);
    }

    /// Ends an order that is not paid.
    fn close(&mut self, order: usize, as_what: State) {
        let closed = &mut self.orders[order];
        closed.state = as_what;
        if let Some(payment) = &mut closed.payment {
            payment.money = Money::Cancelled;
        }
        self.free(order);
    }

    fn free(&mut self, order: usize) {
        for place in 0..PLACES {
            if self.is_own(place, order) {
                self.owners[place] = Owner::Nobody;
            }
        }
    }

    fn is_own(&self, place: usize, order: usize) -> bool {
        matches!(self.owners[place], Owner::Held { order: own, .. } | Owner::Sold { order: own, .. } if own == order)
    }
}

impl State {
    /// As clients are told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Paying => "paying",
            Self::Expiring => "expiring",
            Self::Paid => "paid",
            Self::PartlyRefunded => "partly_refunded",
            Self::Refunded => "refunded",
            Self::Expired => "expired",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The row of a place; standing places are a row of their own.
fn row_of(place: usize) -> usize {
    if place < ROWS[0] { 0 } else { 1 + usize::from(place >= SEATS) }
}

pub fn price(place: usize) -> i64 {
    if place < SEATS { PRICE_SEAT } else { PRICE_STANDING }
}

/// What giving a place back gives, rounded up.
pub fn refunded(place: usize) -> i64 {
    (price(place) * REFUND_PERCENT + 99) / 100
}
