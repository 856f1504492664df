use super::*;
use crate::money::Currency;
use crate::orders::tests::event;

fn money(amount: i64, code: &str) -> Money {
    Money::new(amount, Currency::from_code(code).unwrap())
}

fn alert(scope: Scope, when: When) -> Alert {
    Alert {
        id: AlertId(17),
        user: UserId(1),
        scope,
        when,
        quantity: 1,
        price_max: None,
        sections: Vec::new(),
        standing: false,
        priority: 0,
        created_at: Timestamp::UNIX_EPOCH,
        request: String::new(),
        ended_at: None,
    }
}

#[test]
fn what_is_wrong_with_an_alert_is_said() {
    let on = || Scope::Event(EventId(1));
    let check = |change: &dyn Fn(&mut Alert), scope: Scope, pointers: &[&str]| {
        let mut alert = alert(scope, When::SeatsBack);
        change(&mut alert);
        let found: Vec<_> = alert.validate().into_iter().map(|error| error.pointer).collect();
        assert_eq!(found, pointers, "{alert:?}");
    };
    let many = |n: usize| (0..n).map(|n| n.to_string()).collect::<Vec<_>>();
    check(&|_| {}, on(), &[]);
    check(&|it| it.quantity = 10, on(), &[]);
    check(&|it| it.quantity = 0, on(), &["/quantity"]);
    check(&|it| it.quantity = 11, on(), &["/quantity"]);
    check(&|it| it.price_max = Some(money(0, "EUR")), on(), &[]);
    check(&|it| it.price_max = Some(money(-1, "EUR")), on(), &["/price_max/amount"]);
    check(&|it| it.price_max = Some(money(i64::MAX, "EUR")), on(), &["/price_max/amount"]);
    check(&|_| {}, Scope::Any, &["/price_max"]);
    check(&|it| it.price_max = Some(money(1, "EUR")), Scope::Any, &[]);
    check(&|it| (it.price_max, it.standing) = (Some(money(1, "EUR")), true), Scope::Any, &["/standing"]);
    check(&|it| it.standing = true, on(), &[]);
    check(&|it| (it.standing, it.when) = (true, When::OnSale), on(), &["/standing"]);
    check(&|it| it.sections = many(20), on(), &[]);
    check(&|it| it.sections = many(21), on(), &["/sections"]);
    check(&|it| it.sections = vec!["a".into(), "a".into()], on(), &["/sections/1"]);
    check(&|it| it.sections = vec![String::new()], on(), &["/sections/0"]);
    check(&|it| it.sections = many(1), Scope::Venue(VenueId(1)), &[]);
    check(&|it| it.sections = many(1), Scope::City("Oslo".into()), &["/sections"]);
    check(&|it| (it.sections, it.when) = (many(1), When::OnSale), on(), &["/sections"]);
    check(&|_| {}, Scope::City(" ".into()), &["/scope/city"]);
    check(&|_| {}, Scope::City("a\nb".into()), &["/scope/city"]);
    check(&|_| {}, Scope::City("ж".repeat(200)), &[]);
    check(&|_| {}, Scope::City("ж".repeat(201)), &["/scope/city"]);
}

/// Seats side by side, of one section and category, that are free.
struct FreeRun {
    section: String,
    category: String,
    seats: u8,
}

/// Whether the alert asks for some of these seats.
fn matches(alert: &Alert, event: &Event, runs: &[FreeRun]) -> bool {
    alert.asks(event).iter().any(|ask| {
        let is_named = |name: &Option<String>, found: &String| name.as_ref().is_none_or(|name| name == found);
        let fits = |run: &FreeRun| is_named(&ask.section, &run.section) && is_named(&ask.category, &run.category);
        runs.iter().any(|run| fits(run) && run.seats >= ask.quantity)
    })
}

#[test]
fn seats_match_where_they_are_wanted() {
    let event = Event { service_fee: 100, ..event(EventStatus::Published) };
    let run = |section: &str, seats| FreeRun { section: section.into(), category: "A".into(), seats };
    let runs = [run("Left", 2), run("Right", 4)];
    let all = event.price("A").unwrap().total();
    let (code, here) = (event.currency.code(), Scope::Event(event.id));
    let standing = Alert { standing: true, ..alert(here.clone(), When::SeatsBack) };
    let of = |scope| alert(scope, When::SeatsBack);
    let price = |amount, code| Alert { price_max: Some(money(amount, code)), ..of(here.clone()) };
    let sections = |names: &[&str], quantity| Alert {
        sections: names.iter().map(|name| (*name).to_owned()).collect(),
        quantity,
        ..of(here.clone())
    };
    for (name, alert, matches) in [
        ("this event", of(here.clone()), true),
        ("held for them", standing, true),
        ("another event", of(Scope::Event(EventId(99))), false),
        ("its performer", of(Scope::Performer(event.performer.id)), true),
        ("another performer", of(Scope::Performer(PerformerId(99))), false),
        ("its venue", of(Scope::Venue(event.venue.id)), true),
        ("its city, spelt otherwise", of(Scope::City(event.venue.city.to_uppercase() + " ")), true),
        ("another city", of(Scope::City("Elsewhere".into())), false),
        ("everything", of(Scope::Any), true),
        ("its sale", alert(here.clone(), When::OnSale), false),
        ("just its price and fee", price(all, code), true),
        ("a little less", price(all - 1, code), false),
        ("another currency", price(all, "JPY"), false),
        ("four together", sections(&[], 4), true),
        ("five together", sections(&[], 5), false),
        ("two on the left", sections(&["Left"], 2), true),
        ("three on the left", sections(&["Left"], 3), false),
        ("three on either side", sections(&["Left", "Right"], 3), true),
        ("a section that is not free", sections(&["Roof"], 1), false),
    ] {
        assert_eq!(self::matches(&alert, &event, &runs), matches, "{name}");
    }
    let unsold = [FreeRun { section: "Left".into(), category: "B".into(), seats: 9 }];
    assert!(!self::matches(&price(all, code), &event, &unsold), "what has no price is not sold");
    let gone = Event { status: EventStatus::Cancelled, ..event.clone() };
    assert!(!self::matches(&of(here.clone()), &gone, &runs), "cancelled");
    let hidden = Event { hidden: true, ..event };
    let hears = |scope| self::matches(&of(scope), &hidden, &runs);
    assert!(hears(here) && !hears(Scope::Any), "only who named it hears of a hidden event");
}

#[test]
fn a_sale_is_told_to_those_who_can_pay_it() {
    let event = event(EventStatus::Published);
    let cheapest = event.prices.keys().map(|category| event.price(category).unwrap().total()).min().unwrap();
    let of = |amount| Alert {
        price_max: Some(money(amount, event.currency.code())),
        ..alert(Scope::City(event.venue.city.clone()), When::OnSale)
    };
    assert!(of(cheapest).on_sale(&event));
    assert!(!of(cheapest - 1).on_sale(&event));
    assert!(!alert(Scope::Event(event.id), When::SeatsBack).on_sale(&event));
    assert!(!of(cheapest).on_sale(&Event { status: EventStatus::Draft, ..event.clone() }));
}

#[test]
fn subscribers_come_first_and_then_who_came_first() {
    let at = |priority, millisecond, id| Alert {
        id: AlertId(id),
        priority,
        created_at: Timestamp::from_millisecond(millisecond).unwrap(),
        ..alert(Scope::Any, When::SeatsBack)
    };
    let fair = [at(9, 1_800_000_000_000, 3), at(1, 5, 2), at(0, 4, 9), at(0, 999_999, 1), at(0, 1_000_000, 1)];
    let ranks: Vec<_> = fair.iter().map(Alert::rank).collect();
    assert!(ranks.is_sorted(), "{ranks:?}");
    assert_eq!(ranks[0], format!("0#01800000000000#{}", AlertId(3)));
    assert!(fair.iter().all(|alert| alert.shard() < LINE_SHARDS));
}

#[test]
fn limits_are_an_accounts() {
    let one = |id: u128, standing| Alert { standing, ..alert(Scope::Event(EventId(id)), When::SeatsBack) };
    let others = |plain: u128, standing: u128| {
        let plain = (0..plain).map(|id| one(1000 + id, false));
        plain.chain((0..standing).map(|id| one(id, true))).collect::<Vec<_>>()
    };
    let (plain, standing) = (one(500, false), one(500, true));
    assert_eq!(plain.check_limits(&others(14, 5)), Ok(()));
    assert_eq!(plain.check_limits(&others(15, 5)), Err(TooMany::Alerts));
    assert_eq!(standing.check_limits(&others(10, 4)), Ok(()));
    assert_eq!(standing.check_limits(&others(0, 5)), Err(TooMany::Standing));
    assert_eq!(standing.check_limits(&[one(500, true)]), Err(TooMany::SameScope));
    assert_eq!(standing.check_limits(&[one(500, false)]), Ok(()), "to be told as well is no second offer");
    let city = |name: &str| Alert { standing: true, ..alert(Scope::City(name.into()), When::SeatsBack) };
    assert_eq!(city("oslo").check_limits(&[city(" Oslo")]), Err(TooMany::SameScope));
}
