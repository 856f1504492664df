//! What a subscription is for. A perk is one variant of [`Perk`], checked in [`Perk::check`], and asked about in one of the
//! functions of [`Perks`].

use super::periods::NoSuchDate;
use super::plans::PlanRef;
use super::state::Subscription;
use crate::catalog::{CATEGORIES_MAX, Event, NotOnSale, ORDER_SEATS_MAX, Price};
use crate::ids::{SeatIndex, SubscriptionId, TicketId};
use crate::layout::Invalid;
use crate::money::{BasisPoints, Currency, Money, PRICE_MINOR_UNITS_MAX};
use crate::refunds::RefundPolicy;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub const PRESALE_HOURS_MAX: u16 = 30 * 24;
pub const MONTH_TICKETS_MAX: u8 = 50;
/// Seats that an order may hold with a perk: as many as fit its item.
pub const PERK_SEATS_MAX: u8 = 20;
pub const PRIORITY_MAX: u8 = 9;

/// One thing that a plan gives, as an administrator posts it: `{"kind": "presale", "hours": 48}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Perk {
    /// May buy so many hours before the public sale.
    Presale { hours: u16 },
    /// So much off the service fee of each ticket, where the event has one; 10,000 for none at all.
    ServiceFee { off: BasisPoints },
    /// So much off the price of these categories; of all where none is named.
    Discount {
        off: BasisPoints,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        categories: Vec<String>,
    },
    /// A seat of this category for this price, in events of its currency that ask for more.
    FixedPrice { category: String, price: Money },
    /// So many tickets a month of the subscription for nothing, in these categories or all.
    Tickets {
        a_month: u8,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        categories: Vec<String>,
    },
    /// Terms of refund beside the event's own: the better counts.
    Refunds { policy: RefundPolicy },
    /// Ahead in waiting lists of those with less.
    WaitingList { priority: u8 },
    /// So many seats an order.
    SeatsAnOrder { max: u8 },
    /// Sees and buys what others are not shown.
    HiddenEvents {},
}

impl Perk {
    /// What is wrong with it, for a plan of this currency; pointers are relative to the perk.
    pub fn check(&self, currency: Currency) -> Vec<Invalid> {
        let mut errors = Vec::new();
        let mut wrong = |pointer: &str, message: String| errors.push(Invalid { pointer: pointer.into(), message });
        let mut range = |pointer: &str, value: u16, least: u16, most: u16| {
            if !(least..=most).contains(&value) {
                wrong(pointer, format!("{least} to {most}"));
            }
        };
        match self {
            Self::Presale { hours } => range("/hours", *hours, 1, PRESALE_HOURS_MAX),
            Self::ServiceFee { off } | Self::Discount { off, .. } => {
                range("/off", (*off).into(), 1, BasisPoints::WHOLE.into())
            }
            Self::Tickets { a_month, .. } => range("/a_month", (*a_month).into(), 1, MONTH_TICKETS_MAX.into()),
            Self::WaitingList { priority } => range("/priority", (*priority).into(), 1, PRIORITY_MAX.into()),
            Self::SeatsAnOrder { max } => {
                range("/max", (*max).into(), ORDER_SEATS_MAX as u16 + 1, PERK_SEATS_MAX.into())
            }
            Self::FixedPrice { price, .. } if price.currency != currency => {
                wrong("/price/currency", format!("{currency}, as the plan's"));
            }
            Self::FixedPrice { price, .. } if !(0..=PRICE_MINOR_UNITS_MAX).contains(&price.amount) => {
                wrong("/price/amount", format!("0 to {PRICE_MINOR_UNITS_MAX}"));
            }
            Self::FixedPrice { .. } | Self::HiddenEvents {} => {}
            Self::Refunds { policy } => {
                let found = policy.validate().err().unwrap_or_default();
                errors.extend(
                    found.into_iter().map(|error| Invalid { pointer: format!("/policy{}", error.pointer), ..error }),
                );
            }
        }
        if let Self::Discount { categories, .. } | Self::Tickets { categories, .. } = self
            && categories.len() > CATEGORIES_MAX
        {
            errors.push(Invalid { pointer: "/categories".into(), message: format!("at most {CATEGORIES_MAX}") });
        }
        errors
    }
}

/// The perks that somebody has at a moment; [`Perks::NONE`] for who has no subscription.
#[derive(Clone, Copy, Debug)]
pub struct Perks<'a> {
    holder: Option<Holder>,
    perks: &'a [Perk],
}

/// Whose perks they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    pub subscription: SubscriptionId,
    pub plan: PlanRef,
    /// The month of the subscription that included tickets are counted in.
    pub month: u32,
}

/// Why a ticket's price is not the list's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    Included,
    FixedPrice,
    Discount,
}

/// A seat of an order and what it would have cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lowered {
    pub seat: u8,
    /// The list price, in minor units.
    pub was: i64,
    pub by: Why,
}

/// What a subscription gave to an order beside its price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// It was placed before the public sale.
    Presale,
    /// It has more seats than others may hold.
    MoreSeats,
    /// Its terms of refund are more than the event's.
    RefundTerms,
    /// The event is not shown to others.
    HiddenEvent,
}

/// What a subscription made of an order, to be kept in the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    pub subscription: SubscriptionId,
    pub plan: PlanRef,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seats: Vec<Lowered>,
    /// The event's service fee of a ticket, where some of them have less or none by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_was: Option<i64>,
    /// The month of the subscription that the included tickets are of; none were used without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Given>,
}

/// Included tickets of one month of a subscription, by the tickets that use them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonthTickets {
    pub subscription: SubscriptionId,
    pub month: u32,
    pub tickets: Vec<TicketId>,
}

impl Applied {
    fn nothing(holder: Holder) -> Self {
        let Holder { subscription, plan, .. } = holder;
        Self { subscription, plan, seats: Vec::new(), fee_was: None, month: None, given: Vec::new() }
    }

    /// Included tickets that the order uses. They are to be reserved under the condition that as many are left, in the
    /// write that places the order, and given back where it ends unpaid or they are refunded.
    pub fn included(&self) -> u8 {
        self.included_seats().count() as u8
    }

    /// The seats that they are of.
    pub fn included_seats(&self) -> impl Iterator<Item = SeatIndex> {
        self.seats.iter().filter(|lowered| lowered.by == Why::Included).map(|lowered| lowered.seat)
    }
}

/// The price of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priced {
    /// Of each seat, in the order that they were asked about.
    pub seats: Vec<Price>,
    pub applied: Option<Applied>,
}

impl<'a> Perks<'a> {
    pub const NONE: Perks<'static> = Perks { holder: None, perks: &[] };

    /// The perks of a subscription at `now`; none where it does not hold.
    pub fn of(subscription: Option<&'a Subscription>, now: Timestamp) -> Result<Self, NoSuchDate> {
        match subscription.filter(|subscription| subscription.holds(now)) {
            None => Ok(Self::NONE),
            Some(held) => {
                let month = held.month_at(now)?;
                let holder = Holder { subscription: held.id, plan: held.plan, month };
                Ok(Self { holder: Some(holder), perks: &held.terms.perks })
            }
        }
    }

    pub fn holder(&self) -> Option<Holder> {
        self.holder
    }

    /// The prices of seats (category and list price in minor units), each with its service fee, where the event has one. Each
    /// seat gets the one perk that lowers it most; included tickets go to the seats that would cost most.
    pub fn price(&self, currency: Currency, seats: &[(&str, i64)], fee: i64, used_this_month: u8) -> Priced {
        assert!(seats.iter().all(|(_, price)| *price >= 0) && fee >= 0, "a price is never negative");
        let Some(holder) = self.holder else {
            return Priced { seats: seats.iter().map(|(_, price)| Price::new(*price, fee)).collect(), applied: None };
        };
        let lowest = |&(category, price): &(&str, i64)| self.lowest(currency, category, price);
        let mut found: Vec<_> = seats.iter().map(lowest).collect();
        self.include(seats, &mut found, used_this_month);

        let lowered = found.iter().enumerate().filter_map(|(seat, (_, by))| {
            Some(Lowered { seat: u8::try_from(seat).expect("an order has few seats"), was: seats[seat].1, by: (*by)? })
        });
        let lowered: Vec<_> = lowered.collect();
        let lower_fee = self.fee(currency, fee);
        let prices: Vec<_> = found.iter().map(|(price, _)| Price::new(*price, lower_fee)).collect();
        let month = lowered.iter().any(|lowered| lowered.by == Why::Included).then_some(holder.month);
        let is_lower = |((_, list), price): (&(&str, i64), &Price)| price.fee < Price::new(*list, fee).fee;
        let fee_was = seats.iter().zip(&prices).any(is_lower).then_some(fee);
        let applied = Applied { seats: lowered, fee_was, month, ..Applied::nothing(holder) };
        let applied = (!applied.seats.is_empty() || fee_was.is_some()).then_some(applied);
        Priced { seats: prices, applied }
    }

    /// What an order of these seats (category and list price) is placed with at `now`: the prices, and all that it owes to
    /// the subscription.
    pub fn apply(&self, event: &Event, seats: &[(&str, i64)], used_this_month: u8, now: Timestamp) -> Priced {
        let mut priced = self.price(event.currency, seats, event.service_fee, used_this_month);
        let given = [
            (Given::Presale, event.check_on_sale(now).is_err()),
            (Given::MoreSeats, seats.len() > ORDER_SEATS_MAX),
            (Given::RefundTerms, self.refund_policy(&event.refund_policy) != event.refund_policy),
            (Given::HiddenEvent, event.hidden),
        ];
        let given: Vec<_> = given.into_iter().filter(|(_, was)| *was).map(|(given, _)| given).collect();
        if let Some(holder) = self.holder.filter(|_| !given.is_empty()) {
            priced.applied.get_or_insert_with(|| Applied::nothing(holder)).given = given;
        }
        priced
    }

    /// The lowest price of a seat and what makes it so.
    fn lowest(&self, currency: Currency, category: &str, price: i64) -> (i64, Option<Why>) {
        let offers = self.perks.iter().filter_map(|perk| match perk {
            Perk::Discount { off, categories } if covers(categories, category) => {
                Some((price - Money::new(price, currency).share_up(*off).amount, Some(Why::Discount)))
            }
            Perk::FixedPrice { category: of, price } if of == category && price.currency == currency => {
                Some((price.amount, Some(Why::FixedPrice)))
            }
            _ => None,
        });
        offers.filter(|(offer, _)| *offer < price).min_by_key(|(offer, _)| *offer).unwrap_or((price, None))
    }

    fn include(&self, seats: &[(&str, i64)], found: &mut [(i64, Option<Why>)], used: u8) {
        let mut used = used;
        for perk in self.perks {
            let Perk::Tickets { a_month, categories } = perk else { continue };
            let left = usize::from(a_month.saturating_sub(used));
            used = used.saturating_sub(*a_month);
            let mut eligible: Vec<_> =
                (0..seats.len()).filter(|&at| found[at].0 > 0 && covers(categories, seats[at].0)).collect();
            eligible.sort_by_key(|&at| std::cmp::Reverse(found[at].0));
            for at in eligible.into_iter().take(left) {
                found[at] = (0, Some(Why::Included));
            }
        }
    }

    fn fee(&self, currency: Currency, fee: i64) -> i64 {
        let lower = self.perks.iter().filter_map(|perk| match perk {
            Perk::ServiceFee { off } => Some(fee - Money::new(fee, currency).share_up(*off).amount),
            _ => None,
        });
        lower.min().unwrap_or(fee)
    }

    /// Tickets a month that are included.
    pub fn month_tickets(&self) -> u8 {
        let each = self.perks.iter().map(|perk| if let Perk::Tickets { a_month, .. } = perk { *a_month } else { 0 });
        each.fold(0, u8::saturating_add)
    }

    /// When the sale of an event opens for them.
    pub fn on_sale_from(&self, public: Timestamp) -> Timestamp {
        presale_from(self.perks, public)
    }

    /// Whether they may hold seats at `now`: as everybody, or in the presale. The error says when it opens for them.
    pub fn check_on_sale(&self, event: &Event, now: Timestamp) -> Result<(), NotOnSale> {
        match event.check_on_sale(now) {
            Err(NotOnSale::NotYet(public)) if event.is_public() => {
                let own = self.on_sale_from(public);
                if now >= own { Ok(()) } else { Err(NotOnSale::NotYet(own)) }
            }
            other => other,
        }
    }

    /// Seats that an order of theirs may hold.
    pub fn seats_max(&self) -> usize {
        let more =
            self.perks.iter().map(|perk| if let Perk::SeatsAnOrder { max } = perk { usize::from(*max) } else { 0 });
        more.max().unwrap_or(0).max(ORDER_SEATS_MAX)
    }

    pub fn sees_hidden(&self) -> bool {
        self.perks.contains(&Perk::HiddenEvents {})
    }

    /// Whether an event is there for them.
    pub fn sees(&self, event: &Event) -> bool {
        event.is_public() && (!event.hidden || self.sees_hidden())
    }

    /// How far ahead in a waiting list: 0 for everybody else.
    pub fn waiting_priority(&self) -> u8 {
        self.perks
            .iter()
            .map(|perk| if let Perk::WaitingList { priority } = perk { *priority } else { 0 })
            .max()
            .unwrap_or(0)
    }

    /// The terms of refund that an order of theirs is placed with: the event's, and what the perks add. A decision takes the
    /// better of all tiers, so nobody loses by it.
    pub fn refund_policy(&self, own: &RefundPolicy) -> RefundPolicy {
        let mut policy = own.clone();
        for perk in self.perks {
            let Perk::Refunds { policy: better } = perk else { continue };
            policy.tiers.extend(better.tiers.iter().filter(|tier| !own.tiers.contains(tier)));
            policy.statute = policy.statute.or(better.statute);
            policy.returns_service_fee |= better.returns_service_fee;
        }
        policy
    }
}

/// When the sale of an event opens for who has these perks.
pub fn presale_from(perks: &[Perk], public: Timestamp) -> Timestamp {
    let hours = perks.iter().map(|perk| if let Perk::Presale { hours } = perk { *hours } else { 0 }).max();
    public.checked_sub(SignedDuration::from_hours(hours.unwrap_or(0).into())).unwrap_or(public)
}

fn covers(categories: &[String], category: &str) -> bool {
    categories.is_empty() || categories.iter().any(|of| of == category)
}

#[cfg(test)]
mod tests;
