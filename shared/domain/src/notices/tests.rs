use super::*;
use crate::catalog::ChangeKind;
use crate::effects::SubscriptionNews as News;
use crate::ids::{EventId, OrderId, RefundId, SubscriptionId};
use crate::money::{Currency, Money};
use crate::seating::SeatName;
use crate::subscriptions::ChargeRef;
use crate::subscriptions::dunning::Verdict;
use crate::subscriptions::plans::Names;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn rub(amount: i64) -> Money {
    Money::new(amount, Currency::from_code("RUB").unwrap())
}

fn show(name: &str) -> Show {
    let (zone, place) = ("Europe/Moscow".to_owned(), "House, Moscow".to_owned());
    Show { event: EventId(3), name: name.to_owned(), starts_at: at("2027-06-01T16:00:00Z"), zone, place }
}

fn seats(count: u8) -> Vec<SeatName> {
    let seat = |n: u8| SeatName { section: "Stalls".into(), row: "1".into(), seat: n.to_string() };
    (1..=count).map(seat).collect()
}

fn news() -> Vec<News> {
    let (until, amount, last4) = (at("2027-04-01T09:30:00Z"), rub(29_900), "4242".to_owned());
    let charge = ChargeRef { subscription: SubscriptionId(2), period: 1, change: 0 };
    let failed = |verdict, next_try| News::ChargeFailed { charge, verdict, next_try, grace_until: until };
    vec![
        News::Started { until, trial: false },
        News::Started { until, trial: true },
        News::Charged { charge, amount, until },
        failed(Verdict::Retry, Some(at("2027-03-28T09:30:00Z"))),
        failed(Verdict::Retry, None),
        failed(Verdict::NewCard, None),
        News::ConfirmationNeeded { charge, grace_until: until },
        News::RenewalSoon { at: until, amount },
        News::CardExpiring { at: until, last4: last4.clone() },
        News::Cancelled { at: until },
        News::Resumed { at: until },
        News::PlanChanged { from: until },
        News::PlanNotChanged,
        News::MethodChanged { last4 },
        News::Lapsed,
        News::Ended,
        News::Refunded { charge, refund: RefundId(5), amount },
        News::RefundFailed { charge, refund: RefundId(5) },
        News::TrialRefused,
    ]
}

/// One of each.
fn kinds(name: &str) -> Vec<Kind> {
    let (order, show, total) = (OrderId(4), || show(name), rub(300_000));
    let changed = |changes: &[ChangeKind]| {
        let (performer, changes) = ("The Players".to_owned(), changes.to_vec());
        Kind::EventChanged { order, show: show(), performer, changes }
    };
    let standing = SeatName { section: "Floor".into(), row: crate::layout::STANDING_ROW.into(), seat: "7".into() };
    let mut kinds = vec![
        Kind::OrderPaid { order, show: show(), seats: seats(2), total },
        Kind::OrderPaid { order, show: show(), seats: vec![standing], total: rub(0) },
        Kind::OrderLost { order, show: show() },
        Kind::OrderRefunded { order, show: show(), amount: total },
        Kind::OrderRefunded { order, show: show(), amount: rub(0) },
        Kind::RefundFailed { order, show: show(), amount: total },
        changed(&[ChangeKind::Moved]),
        changed(&[ChangeKind::Replaced]),
        changed(&[ChangeKind::Moved, ChangeKind::Replaced]),
        Kind::EventCancelled { order, show: show() },
        Kind::Reminder { order, show: show(), seats: seats(1) },
        Kind::OnSale { show: show(), from: at("2027-01-01T07:00:00Z") },
        Kind::SeatsBack { show: show(), seats: 3 },
        Kind::Offer { order, show: show(), seats: seats(2), total, until: at("2027-03-01T12:10:00Z") },
    ];
    let plan = || Names { ru: format!("{name}, друг"), en: format!("{name} friend") };
    let (subscription, zone) = (SubscriptionId(2), "Europe/Moscow");
    let of = |news| Kind::Subscription { subscription, plan: plan(), zone: zone.into(), news };
    kinds.extend(news().into_iter().map(of));
    kinds
}

fn notice(kind: Kind) -> Notice {
    Notice::new("ord_x.5.0", UserId(1), kind, at("2027-03-01T12:00:00Z"))
}

/// All that is said in a language, one kind after the other.
fn all_texts(locale: Locale) -> String {
    let told = |kind: Kind| {
        let (name, notice) = (kind.name(), notice(kind));
        let text = notice.text(locale);
        let links: Vec<_> = text.links.iter().map(|link| format!("[{}]({})", link.text, link.path)).collect();
        format!("{name}\n{}\n{}\n", text.html, links.join(" "))
    };
    let ticket = notice(kinds("Cats").remove(0)).part_text(2, locale).html;
    kinds("Cats").into_iter().map(told).chain([format!("ticket\n{ticket}\n")]).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_kind_is_told_in_both_languages() {
    insta::assert_snapshot!("english", all_texts(Locale::En));
    insta::assert_snapshot!("russian", all_texts(Locale::Ru));
}

#[test]
fn a_name_is_no_markup() {
    for kind in kinds("<i>A & B</i> \u{202e}<a href=\"x\">") {
        for locale in Locale::ALL {
            let html = notice(kind.clone()).text(locale).html;
            let bare = html.replace("<b>", "").replace("</b>", "");
            assert!(!bare.contains('<') && !bare.contains('>') && !bare.contains('\u{202e}'), "{html}");
            assert!(html.contains("A &amp; B"), "{html}");
        }
    }
}

#[test]
fn a_notice_reads_back_and_is_the_same_for_the_same_cause() {
    for kind in kinds("Cats") {
        let notice = notice(kind);
        let json = serde_json::to_value(&notice).unwrap();
        assert_eq!(serde_json::from_value::<Notice>(json).unwrap(), notice);
    }
    let id = |cause: &str, user| NoticeId::of(cause, UserId(user));
    assert_eq!(id("ord_x.5.0", 1), id("ord_x.5.0", 1));
    assert!(id("ord_x.5.0", 1) != id("ord_x.5.0", 2) && id("ord_x.5.0", 1) != id("ord_x.6.0", 1));
}

#[test]
fn what_is_paid_for_has_a_message_for_each_code() {
    let paid =
        |count| notice(Kind::OrderPaid { order: OrderId(4), show: show("Cats"), seats: seats(count), total: rub(1) });
    assert_eq!((paid(1).parts(), paid(1).part_ticket(0)), (1, Some(0)));
    assert_eq!(paid(3).parts(), 4);
    assert_eq!((0..4).map(|part| paid(3).part_ticket(part)).collect::<Vec<_>>(), [None, Some(0), Some(1), Some(2)]);
}

#[test]
fn the_table_says_what_may_be_muted_and_what_may_wait() {
    let mut table: Vec<_> = kinds("Cats")
        .iter()
        .map(|kind| {
            let Rules { group, may_be_muted, waits } = kind.rules();
            let say = |holds, text| if holds { text } else { "-" };
            format!("{} {group:?} {} {}", kind.name(), say(may_be_muted, "muted"), say(waits, "waits"))
        })
        .collect();
    table.dedup();
    insta::assert_snapshot!(table.join("\n"), @r"
    order.paid Orders - -
    order.lost Orders - -
    order.refunded Orders - -
    refund.failed Orders - -
    event.changed Events - waits
    event.cancelled Events - waits
    event.reminder Reminders muted waits
    alert.on_sale Alerts muted waits
    alert.seats_back Alerts muted waits
    alert.offer Alerts - -
    subscription.started Subscriptions - waits
    subscription.charged Subscriptions - -
    subscription.charge_failed Subscriptions - -
    subscription.confirmation_needed Subscriptions - -
    subscription.renewal_soon Subscriptions - waits
    subscription.card_expiring Subscriptions muted waits
    subscription.cancelled Subscriptions - waits
    subscription.resumed Subscriptions - waits
    subscription.plan_changed Subscriptions - waits
    subscription.plan_not_changed Subscriptions - -
    subscription.method_changed Subscriptions - waits
    subscription.lapsed Subscriptions - waits
    subscription.ended Subscriptions - waits
    subscription.refunded Subscriptions - -
    subscription.refund_failed Subscriptions - -
    subscription.trial_refused Subscriptions - waits
    ");
}

fn quiet(zone: &str, from: &str, to: &str) -> Settings {
    let quiet = Some(Quiet { from: from.parse().unwrap(), to: to.parse().unwrap() });
    Settings { zone: zone.into(), quiet, ..Settings::default() }
}

#[test]
fn quiet_hours_end_when_the_clock_of_the_place_says_so() {
    let kind = Kind::OnSale { show: show("Cats"), from: at("2027-01-01T07:00:00Z") };
    for (settings, now, then) in [
        (quiet("Europe/Moscow", "22:00", "08:00"), "2027-03-01T12:00:00Z", "2027-03-01T12:00:00Z"),
        (quiet("Europe/Moscow", "22:00", "08:00"), "2027-03-01T19:00:00Z", "2027-03-02T05:00:00Z"),
        (quiet("Europe/Moscow", "22:00", "08:00"), "2027-03-02T04:59:59Z", "2027-03-02T05:00:00Z"),
        (quiet("Europe/Moscow", "22:00", "08:00"), "2027-03-02T05:00:00Z", "2027-03-02T05:00:00Z"),
        (quiet("Europe/Moscow", "13:00", "15:30"), "2027-03-01T12:00:00Z", "2027-03-01T12:30:00Z"),
        // Berlin's clock goes forward at 02:00 on 28 March 2027: 08:00 comes an hour sooner.
        (quiet("Europe/Berlin", "22:00", "08:00"), "2027-03-27T22:00:00Z", "2027-03-28T06:00:00Z"),
        // 02:30 is skipped: the quiet hours end when the clock has gone on for as long.
        (quiet("Europe/Berlin", "22:00", "02:30"), "2027-03-28T00:30:00Z", "2027-03-28T01:30:00Z"),
        // It goes back at 03:00 on 31 October 2027: 08:00 comes an hour later.
        (quiet("Europe/Berlin", "22:00", "08:00"), "2027-10-30T22:00:00Z", "2027-10-31T07:00:00Z"),
        // 02:30 is shown twice: the first ends them, and what is quiet again after it ends with the second.
        (quiet("Europe/Berlin", "22:00", "02:30"), "2027-10-31T00:10:00Z", "2027-10-31T00:30:00Z"),
        (quiet("Europe/Berlin", "22:00", "02:30"), "2027-10-31T01:10:00Z", "2027-10-31T01:30:00Z"),
        (quiet("Nowhere/Else", "10:00", "13:00"), "2027-03-01T12:00:00Z", "2027-03-01T13:00:00Z"),
    ] {
        assert_eq!(deliver_at(&settings, &kind, at(now)), Some(at(then)), "{settings:?} {now}");
    }
}

#[test]
fn what_cannot_wait_does_not_and_what_cannot_be_muted_is_told() {
    let night = at("2027-05-31T22:00:00Z");
    let mut settings = quiet("Europe/Moscow", "22:00", "12:00");
    settings.muted = GROUPS.iter().map(|(_, group)| *group).collect();
    for kind in kinds("Cats") {
        let rules = kind.rules();
        let then = deliver_at(&settings, &kind, night);
        assert_eq!(then.is_none(), rules.may_be_muted, "{}", kind.name());
        // The start is sixteen hours away, and a change of it is told at once.
        let is_near = matches!(kind, Kind::EventChanged { .. } | Kind::EventCancelled { .. });
        let is_now = !rules.waits || is_near;
        assert!(rules.may_be_muted || (then == Some(night)) == is_now, "{} {then:?}", kind.name());
    }
    settings.muted.clear();
    let reminder = Kind::Reminder { order: OrderId(4), show: show("Cats"), seats: seats(1) };
    assert_eq!(deliver_at(&settings, &reminder, night), Some(at("2027-06-01T09:00:00Z")));
    settings.quiet = quiet("UTC", "22:00", "17:00").quiet;
    assert_eq!(deliver_at(&settings, &reminder, night), Some(night), "they would end too late");
}

#[test]
fn what_nobody_needs_any_more_is_not_delivered() {
    let (start, told) = (at("2027-06-01T16:00:00Z"), at("2027-05-31T15:30:00Z"));
    let reminder = Kind::Reminder { order: OrderId(4), show: show("Cats"), seats: seats(1) };
    let reminder = Notice::new("r", UserId(1), reminder, told);
    assert!(!reminder.is_outdated(told) && reminder.is_outdated(start));
    let lost = Notice::new("l", UserId(1), Kind::OrderLost { order: OrderId(4), show: show("Cats") }, told);
    assert!(!lost.is_outdated(start) && lost.is_outdated(at("2027-06-03T15:30:01Z")));
}

#[test]
fn settings_are_checked() {
    let check = |settings: Settings| settings.check();
    assert_eq!(check(Settings::default()), Ok(()));
    assert_eq!(check(quiet("Europe/Moscow", "22:00", "08:00")), Ok(()));
    assert_eq!(check(quiet("Europe/Moscow", "08:00", "08:00")), Err(SettingsRefused::Quiet));
    assert_eq!(check(quiet("Europe/Moscow", "08:00:01", "09:00")), Err(SettingsRefused::Quiet));
    for zone in ["", "Mars/Base", "../etc"] {
        assert_eq!(check(quiet(zone, "22:00", "08:00")), Err(SettingsRefused::Zone), "{zone}");
    }
}

#[test]
fn no_news_for_settle_are_told() {
    assert!(news().iter().all(is_told));
    let charge = ChargeRef { subscription: SubscriptionId(2), period: 1, change: 0 };
    assert!(!is_told(&News::ChargeDue { charge, nth: 1 }));
}
