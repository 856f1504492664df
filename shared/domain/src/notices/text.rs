//! The words of notices, from the templates `notice-…`.

use super::kinds::{Kind, Show};
use crate::catalog::ChangeKind;
use crate::effects::SubscriptionNews as News;
use crate::ids::{EventId, OrderId, SubscriptionId};
use crate::layout::STANDING_ROW;
use crate::seating::SeatName;
use crate::subscriptions::dunning::Verdict;
use crate::texts::{Arg, Locale};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What a notice says: markup of `b`, with everything else escaped, and where to go from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub html: String,
    pub links: Vec<Link>,
}

/// A link below a text; `path` begins where the box office's own address ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub text: String,
    pub path: String,
}

type Args = Vec<(&'static str, Arg)>;

pub(super) fn text(kind: &Kind, locale: Locale) -> Text {
    let say = |id: &str, show: &Show, more: Args| locale.html(id, &[of_show(show, locale), more].concat());
    let to_order = |order: &OrderId| vec![order_link(*order, "notice-link-order", locale)];
    let money = |amount| Arg::Text(locale.money(amount));
    let (html, links) = match kind {
        Kind::OrderPaid { order, show, seats, total } => {
            let more = vec![("seats", seat_list(seats, locale)), ("total", money(*total)), count(seats.len())];
            (say("notice-order-paid", show, more), to_order(order))
        }
        Kind::OrderLost { order, show } => (say("notice-order-lost", show, vec![]), to_order(order)),
        Kind::OrderRefunded { order, show, amount } => {
            let id = if amount.amount == 0 { "notice-order-refunded-free" } else { "notice-order-refunded" };
            (say(id, show, vec![("amount", money(*amount))]), to_order(order))
        }
        Kind::RefundFailed { order, show, amount } => {
            (say("notice-refund-failed", show, vec![("amount", money(*amount))]), to_order(order))
        }
        Kind::EventChanged { order, show, performer, changes } => {
            let is = |kind| changes.contains(&kind);
            let id = match (is(ChangeKind::Moved), is(ChangeKind::Replaced)) {
                (true, true) => "notice-event-moved-replaced",
                (false, true) => "notice-event-replaced",
                _ => "notice-event-moved",
            };
            (say(id, show, vec![("performer", Arg::from(performer.as_str()))]), to_order(order))
        }
        Kind::EventCancelled { order, show } => (say("notice-event-cancelled", show, vec![]), to_order(order)),
        Kind::Reminder { order, show, seats } => {
            let more = vec![("seats", seat_list(seats, locale)), count(seats.len())];
            (say("notice-reminder", show, more), to_order(order))
        }
        Kind::Subscription { subscription, plan, zone, news } => {
            let name = match locale {
                Locale::En => &plan.en,
                Locale::Ru => &plan.ru,
            };
            return of_subscription(*subscription, name, &zone_of(zone), news, locale);
        }
        Kind::OnSale { show, from } => {
            let from = locale.date(*from, &zone_of(&show.zone));
            (say("notice-on-sale", show, vec![("from", from.into())]), vec![event_link(show.event, locale)])
        }
        Kind::SeatsBack { show, seats } => {
            let more = vec![("count", Arg::Number(i64::from(*seats)))];
            (say("notice-seats-back", show, more), vec![event_link(show.event, locale)])
        }
        Kind::Offer { order, show, seats, total, until } => {
            let until = locale.date(*until, &zone_of(&show.zone));
            let more = vec![("seats", seat_list(seats, locale)), ("total", money(*total)), ("until", until.into())];
            (say("notice-offer", show, more), vec![order_link(*order, "notice-link-pay", locale)])
        }
    };
    Text { html, links }
}

/// What stands below the picture of one ticket's code.
pub(super) fn ticket(show: &Show, seat: &SeatName, locale: Locale) -> Text {
    let args = [of_show(show, locale), vec![("seat", Arg::Text(seat_name(seat, locale)))]].concat();
    Text { html: locale.html("notice-ticket", &args), links: vec![] }
}

fn of_subscription(id: SubscriptionId, plan: &str, zone: &TimeZone, news: &News, locale: Locale) -> Text {
    let at = |at: Timestamp| Arg::Text(locale.date(at, zone));
    let money = |amount| Arg::Text(locale.money(amount));
    let (name, mut args): (_, Args) = match news {
        News::Started { until, trial: true } => ("notice-subscription-trial", vec![("until", at(*until))]),
        News::Started { until, .. } => ("notice-subscription-started", vec![("until", at(*until))]),
        News::Charged { amount, until, .. } => {
            ("notice-subscription-charged", vec![("amount", money(*amount)), ("until", at(*until))])
        }
        News::ChargeFailed { verdict, next_try, grace_until, .. } => match (verdict, next_try) {
            (Verdict::NewCard, _) => ("notice-subscription-charge-failed-card", vec![("grace", at(*grace_until))]),
            (_, Some(next)) => {
                ("notice-subscription-charge-failed-again", vec![("next", at(*next)), ("grace", at(*grace_until))])
            }
            (_, None) => ("notice-subscription-charge-failed", vec![("grace", at(*grace_until))]),
        },
        News::ConfirmationNeeded { grace_until, .. } => {
            ("notice-subscription-confirm", vec![("grace", at(*grace_until))])
        }
        News::RenewalSoon { at: when, amount } => {
            ("notice-subscription-renewal", vec![("at", at(*when)), ("amount", money(*amount))])
        }
        News::CardExpiring { at: when, last4 } => {
            ("notice-subscription-card", vec![("at", at(*when)), ("last4", Arg::from(last4.as_str()))])
        }
        News::Cancelled { at: when } => ("notice-subscription-cancelled", vec![("at", at(*when))]),
        News::Resumed { at: when } => ("notice-subscription-resumed", vec![("at", at(*when))]),
        News::PlanChanged { from } => ("notice-subscription-plan", vec![("at", at(*from))]),
        News::PlanNotChanged => ("notice-subscription-plan-kept", vec![]),
        News::MethodChanged { last4 } => ("notice-subscription-method", vec![("last4", Arg::from(last4.as_str()))]),
        News::Lapsed => ("notice-subscription-lapsed", vec![]),
        News::Ended => ("notice-subscription-ended", vec![]),
        News::Refunded { amount, .. } => ("notice-subscription-refunded", vec![("amount", money(*amount))]),
        News::RefundFailed { .. } => ("notice-subscription-refund-failed", vec![]),
        News::TrialRefused => ("notice-subscription-trial-refused", vec![]),
        News::ChargeDue { .. }
        | News::ChargeDropped { .. }
        | News::RefundRequested { .. }
        | News::Disputed { .. }
        | News::DisputeReversed { .. } => unreachable!("`is_told` says that nobody is told of {}", news.kind()),
    };
    args.push(("plan", Arg::from(plan)));
    let path = format!("/#/subscriptions/{id}");
    let link = Link { text: locale.plain("notice-link-subscription", &[]), path };
    Text { html: locale.html(name, &args), links: vec![link] }
}

fn of_show(show: &Show, locale: Locale) -> Args {
    let when = locale.date(show.starts_at, &zone_of(&show.zone));
    vec![("event", show.name.as_str().into()), ("place", show.place.as_str().into()), ("when", when.into())]
}

fn seat_list(seats: &[SeatName], locale: Locale) -> Arg {
    Arg::Text(seats.iter().map(|seat| seat_name(seat, locale)).collect::<Vec<_>>().join("\n"))
}

/// What somebody calls a seat, in their language.
pub fn seat_name(seat: &SeatName, locale: Locale) -> String {
    let section = ("section", Arg::from(seat.section.as_str()));
    if seat.row == STANDING_ROW {
        return locale.plain("standing", &[section]);
    }
    let (row, number) = (("row", Arg::from(seat.row.as_str())), ("seat", Arg::from(seat.seat.as_str())));
    locale.plain("seat", &[section, row, number])
}

fn count(seats: usize) -> (&'static str, Arg) {
    ("count", Arg::Number(i64::try_from(seats).expect("an order has few seats")))
}

fn order_link(order: OrderId, name: &str, locale: Locale) -> Link {
    Link { text: locale.plain(name, &[]), path: format!("/#/orders/{order}") }
}

fn event_link(event: EventId, locale: Locale) -> Link {
    Link { text: locale.plain("notice-link-event", &[]), path: format!("/#/events/{event}") }
}

/// A zone that the database has lost since is no reason to say nothing.
fn zone_of(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}
