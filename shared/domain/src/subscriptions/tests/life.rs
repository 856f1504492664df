//! What each event does to a subscription.

use super::*;

#[test]
fn it_renews_each_month_once_whatever_fires_twice() {
    let mut world = World::paid(terms(), at("2026-01-31"));
    assert_eq!((world.sub.state, world.sub.period.to), (State::Active, at("2026-02-28")));
    assert_eq!(world.sub.due_at, Some(at("2026-02-25")), "the notice is first");
    world.run_until(at("2026-02-27"), |_| unreachable!("nothing is charged before its time"));
    let before = world.sub.clone();
    world.run_until(at("2026-02-28"), |_| {});
    let charge = world.owed();
    assert_eq!((charge.id.to_string(), charge.kind), (format!("{}:2", world.sub.id), ChargeKind::Renewal));
    // Who fires late reads what was written, and has nothing to do; who read before loses the condition on `v`.
    assert_eq!(world.sub.advance(Some(&charge), world.now).unwrap(), None);
    let again = before.advance(None, world.now).unwrap().unwrap();
    assert_eq!((again.subscription.v, again.charges[0].id), (world.sub.v, charge.id));
    world.pay();
    assert_eq!(world.sub.charge_paid(&charge, None, world.now), Err(Refused::ChargeClosed));
    assert_eq!((world.sub.period.number, world.sub.period.to.to_string()), (2, "2026-03-31T09:00:00Z".into()));
    assert_eq!(world.told, ["started", "charged", "renewal_soon", "charge_due", "charged"]);
}

#[test]
fn sixty_months_are_charged_once_each() {
    let mut world = World::paid(terms(), at("2026-01-31"));
    world.run_until(at("2031-01-31"), World::pay);
    let renewals = world.charges.values().filter(|charge| charge.state == ChargeState::Succeeded);
    let terms: Vec<_> = renewals.map(|charge| charge.term).collect();
    assert_eq!(terms.len(), 61);
    assert!(terms.windows(2).all(|pair| pair[0].to == pair[1].from && pair[0].number + 1 == pair[1].number));
    assert_eq!(world.sum(Account::Provider), 61 * 3000);
    assert_eq!(world.sum(Account::Revenue), -60 * 3000);
}

#[test]
fn a_decline_is_retried_on_schedule_until_it_lapses_and_one_click_brings_it_back() {
    let perks = vec![Perk::HiddenEvents {}];
    let mut world = World::paid(Terms { perks, ..terms() }, at("2026-01-31"));
    let mut tried = Vec::new();
    world.run_until(at("2026-03-30"), |world| {
        tried.push(world.now.to_string()[..10].to_owned());
        world.decline("insufficient_funds");
        assert!(Perks::of(Some(&world.sub), world.now).unwrap().sees_hidden(), "perks hold in the days of grace");
    });
    assert_eq!(tried, ["2026-02-28", "2026-03-01", "2026-03-03", "2026-03-05", "2026-03-07"]);
    assert_eq!(world.sub.state, State::Lapsed);
    assert!(!world.sub.holds(world.now));
    assert_eq!(world.told.last().map(String::as_str), Some("lapsed"));
    let closed = &world.charges[&ChargeRef { subscription: world.sub.id, period: 2, change: 0 }];
    assert_eq!((closed.state, closed.attempts.len()), (ChargeState::Failed, 5));
    assert_eq!(world.sub.due_at, None);

    let write = world.sub.come_back(world.now).unwrap();
    world.save(write);
    assert_eq!(world.sub.come_back(world.now), Err(Refused::Busy));
    world.decline("insufficient_funds");
    assert_eq!((world.sub.state, world.sub.due_at), (State::Lapsed, None), "it is not tried by itself");
    let write = world.sub.come_back(world.now).unwrap();
    world.save(write);
    world.pay();
    assert_eq!((world.sub.state, world.sub.period.number, world.sub.period.from), (State::Active, 4, at("2026-03-30")));
    world.run_until(at("2026-04-30"), World::pay);
    assert_eq!(world.sub.period.number, 5);
}

#[test]
fn a_hard_decline_waits_for_another_card() {
    let mut world = World::paid(terms(), at("2026-01-31"));
    world.run_until(at("2026-03-01"), |world| world.decline("stolen_card"));
    let owed = world.sub.owed.clone().unwrap();
    assert_eq!((world.sub.state, owed.tries, owed.next_try), (State::PastDue, 1, None));
    let again = world.sub.charge_declined(&world.owed(), "ch_1", &declined("stolen_card"), world.now);
    assert_eq!(again, Ok(None), "the same try is recorded once");
    let write = world.sub.change_method(method("5555"), world.now).unwrap();
    world.save(write);
    assert_eq!(world.sub.try_now(world.now), Err(Refused::Busy));
    world.pay();
    assert_eq!((world.sub.state, world.sub.period.to.to_string()), (State::Active, "2026-03-31T09:00:00Z".into()));
    assert_eq!(world.told[3..], ["charge_due", "charge_failed", "method_changed", "charge_due", "charged"]);
}

#[test]
fn a_confirmation_is_asked_for_and_waited_for() {
    let mut world = World::paid(terms(), at("2026-01-31"));
    world.run_until(at("2026-03-02"), |world| world.decline("authentication_required"));
    assert_eq!(world.told.last().map(String::as_str), Some("confirmation_needed"));
    let charge = world.owed().with_intent("pi_1".into());
    let seen = |status, last_try| Some(Seen { status, last_try });
    let owed = world.sub.owed.as_ref();
    assert_eq!(charge.step(owed, seen(PaymentStatus::Declined, Some("ch_1"))), ChargeStep::Nothing);
    assert_eq!(charge.step(owed, seen(PaymentStatus::Declined, Some("ch_2"))), ChargeStep::Declined, "by hand");
    assert_eq!(charge.step(owed, seen(PaymentStatus::Captured, Some("ch_2"))), ChargeStep::Paid);
}

#[test]
fn a_charge_is_found_by_what_its_provider_was_told() {
    let mut world = World::paid(terms(), at("2026-01-31"));
    world.run_until(at("2026-02-28"), |_| {});
    let charge = world.owed();
    let name = charge.id.subscription.to_string();
    let again = charge.with_intent("pi_1".into());
    for period in [charge.payment_period(), again.payment_period()] {
        assert_eq!(ChargeRef::of_payment(&name, &period), Some(charge.id), "{period}");
    }
    assert_ne!(again.payment_period(), charge.payment_period(), "a cancelled payment is not asked for again");
    assert_eq!(ChargeRef::of_payment("sub_1", "2"), None);
    // A try without a method counts, so that the same message makes no other.
    let tried = "none.1";
    let write = world.sub.charge_declined(&charge, tried, &Decline::method_unusable(), world.now).unwrap().unwrap();
    world.save(write);
    assert_eq!(world.owed().step(world.sub.owed.as_ref(), None), ChargeStep::Nothing);
    assert_eq!(world.told.last().map(String::as_str), Some("charge_failed"));
}

#[test]
fn who_read_in_between_gives_nothing_up_twice() {
    let mut world = World::paid(terms(), at("2026-01-31"));
    world.run_until(at("2026-03-09"), |world| world.decline("stolen_card"));
    let (before, charge) = (world.sub.clone(), world.owed());
    world.run_until(at("2026-03-11"), |_| {});
    let closed = &world.charges[&charge.id];
    assert_eq!((world.sub.state, closed.state), (State::Lapsed, ChargeState::Failed));
    assert_eq!(before.advance(Some(closed), world.now), Err(Refused::Busy));
}

#[test]
fn the_next_step_of_a_charge_follows_from_what_is_seen() {
    use PaymentStatus as P;
    let mut world = World::paid(terms(), at("2026-01-31"));
    world.run_until(at("2026-02-28"), |_| {});
    let charge = world.owed();
    let owed = world.sub.owed.clone();
    let seen = |status| Some(Seen { status, last_try: None });
    assert_eq!(charge.step(owed.as_ref(), None), ChargeStep::Create);
    let with = charge.with_intent("pi_1".into());
    assert_ne!(with.provider_key(), charge.provider_key(), "another payment has another key");
    for (status, step) in [
        (P::Waiting, ChargeStep::Confirm),
        (P::Processing, ChargeStep::Nothing),
        (P::Authorised, ChargeStep::Capture),
        (P::Captured, ChargeStep::Paid),
        (P::NeedsAction, ChargeStep::Declined),
        (P::Cancelled, ChargeStep::Create),
    ] {
        assert_eq!(with.step(owed.as_ref(), seen(status)), step, "{status:?}");
        assert_eq!(with.step(None, seen(status)), ChargeStep::Nothing, "nobody waits for it");
    }
    let late = Some(Seen { status: P::Declined, last_try: Some("ch_9") });
    assert_eq!(with.step(owed.as_ref(), late), ChargeStep::Declined, "a decline that was not recorded");
    let dropped = with.dropped();
    for (status, step) in [
        (P::Waiting, ChargeStep::Cancel),
        (P::Authorised, ChargeStep::Cancel),
        (P::Cancelled, ChargeStep::Nothing),
        (P::Captured, ChargeStep::PaidLate),
    ] {
        assert_eq!(dropped.step(None, seen(status)), step, "{status:?}");
    }
    let (late, entry) = dropped.paid_late(3000, world.now);
    let refund = late.requested_refund().unwrap().id;
    assert_eq!((late.step(None, seen(P::Captured)), entry.of(Account::Unadopted)), (ChargeStep::Refund(refund), -3000));
    let (done, back) = late.refund_done(refund, "re_1".into(), world.now).unwrap().unwrap();
    assert_eq!((back.of(Account::Unadopted), done.step(None, seen(P::Captured))), (3000, ChargeStep::Nothing));
}

#[test]
fn a_trial_needs_a_method_and_is_had_once() {
    let trial = plan(1, Terms { trial_days: 14, ..terms() });
    let mut world = World::begin(new(&trial), at("2026-01-31"));
    assert!(world.charges.is_empty() && !world.sub.holds(world.now));
    let write = world.sub.method_saved(method("4242"), world.now).unwrap();
    world.save(write);
    assert_eq!((world.sub.state, world.sub.period.to), (State::Trialing, at("2026-02-14")));
    assert!(world.sub.holds(world.now));
    world.run_until(at("2026-03-15"), World::pay);
    assert_eq!((world.sub.state, world.sub.period.number), (State::Active, 2));
    assert_eq!(world.told[..4], ["started", "renewal_soon", "charge_due", "charged"]);
    let again = Subscription::begin(NewSubscription { had_trial: true, ..new(&trial) }, at("2026-01-31")).unwrap();
    assert_eq!(again.charges.len(), 1, "charged at once");
}

#[test]
fn what_nobody_pays_ends_and_gives_its_promotion_back() {
    let plan = plan(1, terms());
    let granted = Granted {
        promotion: PromotionId(9),
        gift: Gift::Percent(BasisPoints::percent(50)),
        left: 1,
        plans: vec![],
        reserved: 1500,
        stackable: false,
        per_person_max: Some(1),
    };
    let reserve =
        Reserve { promotion: PromotionId(9), amount: 1500, redemptions_max: None, budget_max: None, per_person_max: 1 };
    let new = NewSubscription { promotions: vec![(granted, reserve)], ..new(&plan) };
    let mut paid = World::begin(new.clone(), at("2026-01-31"));
    assert_eq!(paid.owed().amount, eur(1500));
    paid.pay();
    assert_eq!((paid.sub.promotions.len(), paid.release.len()), (0, 0), "all of it was spent");
    assert_eq!(paid.sub.next_price().price, eur(3000));
    let mut world = World::begin(new, at("2026-01-31"));
    world.run_until(at("2026-02-02"), |_| unreachable!());
    assert_eq!((world.sub.state, world.sub.due_at), (State::Ended, None));
    assert_eq!(world.release, [promotions::Release { promotion: PromotionId(9), amount: 1500, unused: true }]);
    assert_eq!(world.told, ["charge_dropped", "ended"]);
}

#[test]
fn free_months_pass_without_the_provider() {
    let plan = plan(1, terms());
    let gift = Promotion {
        id: PromotionId(9),
        v: 1,
        name: terms().name,
        code: None,
        gift: Gift::FreeMonths(2),
        periods: 1,
        plans: vec![],
        from: at("2026-01-01"),
        until: at("2026-12-31"),
        audience: promotions::Audience::Everyone,
        per_person_max: 1,
        redemptions_max: None,
        budget: None,
        stackable: false,
        stopped: false,
        request: String::new(),
    };
    let person = Person { used: 0, past: Past::Never, segments: &[] };
    let now = at("2026-01-31");
    let granted = gift.grant((plan.reference(), &plan.terms), &person, Counted::default(), now).unwrap();
    let mut world = World::begin(NewSubscription { promotions: vec![granted], ..new(&plan) }, now);
    let write = world.sub.method_saved(method("4242"), now).unwrap();
    world.save(write);
    let mut paid = 0;
    world.run_until(at("2026-04-30"), |world| {
        paid += 1;
        world.pay();
    });
    assert_eq!((paid, world.sub.period.number, world.sum(Account::Provider)), (2, 4, 6000));
}

#[test]
fn cancelled_at_the_end_it_holds_to_the_end_and_may_be_resumed_before() {
    let mut world = World::paid(terms(), at("2026-01-31"));
    let write = world.sub.cancel_at_end(world.now).unwrap().unwrap();
    world.save(write);
    assert_eq!(world.sub.cancel_at_end(world.now), Ok(None));
    let write = world.sub.resume(world.now).unwrap().unwrap();
    world.save(write);
    assert_eq!(world.sub.resume(world.now), Ok(None));
    let write = world.sub.cancel_at_end(world.now).unwrap().unwrap();
    world.save(write);
    let end = world.sub.period.to;
    assert!(
        world.sub.holds(end - SignedDuration::from_secs(1)) && !world.sub.holds(end),
        "whether or not anything runs"
    );
    assert_eq!(world.sub.resume(end), Err(Refused::Over));
    world.run_until(at("2026-03-30"), |_| unreachable!("it is not charged again"));
    assert_eq!((world.sub.state, world.sub.cancel_at_end(world.now)), (State::Ended, Err(Refused::Over)));
}

#[test]
fn cancelled_at_once_the_plan_or_the_law_gives_the_days_left_back() {
    let pro_rata = Terms { cancel_refund: CancelRefund::ProRata, ..terms() };
    let (ru, eu) = (Some(Law::RuConsumer), Some(Law::EuWithdrawal));
    for (terms, day, refund, rule) in [
        (terms(), "2026-02-14", 0, "plan_none"),
        (pro_rata.clone(), "2026-02-14", 1500, "plan_pro_rata"),
        (pro_rata, "2026-01-31", 3000, "plan_pro_rata"),
        (Terms { law: ru, ..terms() }, "2026-02-21", 750, "ru_zpp_32"),
        (Terms { law: eu, ..terms() }, "2026-02-07", 2250, "eu_2011_83_14_days"),
        (Terms { law: eu, ..terms() }, "2026-02-14", 0, "plan_none"),
    ] {
        let mut world = World::paid(terms, at("2026-01-31"));
        world.run_until(at(day), |_| {});
        let quote = world.sub.cancel_quote(&world.present(), world.now).unwrap();
        assert_eq!((quote.refund, quote.rule), (eur(refund), rule), "{day}");
        let write = world.sub.cancel_now(&world.present(), world.now).unwrap();
        world.save(write);
        assert_eq!((world.sub.state, world.sub.due_at), (State::Ended, None));
        world.refund_all();
        assert_eq!((world.sum(Account::Provider), world.sum(Account::Deferred)), (3000 - refund, 0));
        assert_eq!(world.sum(Account::Revenue), refund - 3000);
        for charge in world.present() {
            assert_eq!(charge.recognised(at("2027-01-31")), Ok(None), "what went back is never earned");
        }
        assert_eq!(world.told.iter().filter(|told| *told == "refunded").count(), usize::from(refund > 0));
        assert_eq!(world.sub.cancel_now(&[], world.now), Err(Refused::Over));
    }
}

#[test]
fn a_dearer_plan_is_paid_for_now_and_a_cheaper_one_comes_later() {
    let (gold, bronze) =
        (plan(2, Terms { price: eur(5600), ..terms() }), plan(3, Terms { price: eur(1000), ..terms() }));
    let mut world = World::paid(terms(), at("2026-01-31"));
    world.run_until(at("2026-02-14"), |_| {});
    let to = |world: &World, plan: &Plan| {
        let paid = world.sub.paid_of(&world.present());
        world.sub.change_plan(NewPlan { plan, consent: world.sub.consent.clone(), paid }, world.now)
    };
    let write = to(&world, &gold).unwrap();
    world.save(write);
    let charge = world.owed();
    // 14 of 28 days of 56.00, less 14 of 28 days of 30.00.
    assert_eq!((charge.amount, charge.id.to_string()), (eur(1300), format!("{}:1.1", world.sub.id)));
    assert_eq!((to(&world, &bronze), world.sub.plan.id), (Err(Refused::Busy), PlanId(1)));
    world.decline("stolen_card");
    assert_eq!((world.sub.plan.id, &world.sub.change, &world.sub.owed), (PlanId(1), &None, &None));
    assert_eq!(world.sub.state, State::Active, "it stays as it was");
    let write = to(&world, &gold).unwrap();
    world.save(write);
    world.pay();
    assert_eq!((world.sub.plan.id, world.sub.period.to), (PlanId(2), at("2026-02-28")));
    assert_eq!(world.sub.paid_of(&world.present()), eur(4300));
    let write = to(&world, &bronze).unwrap();
    world.save(write);
    assert_eq!(world.sub.next_price().price, eur(1000), "the notice says what will be charged");
    world.run_until(at("2026-02-28"), World::pay);
    assert_eq!((world.sub.plan.id, world.charges.values().last().unwrap().amount), (PlanId(3), eur(1000)));
    let cancels = to(&world, &bronze);
    assert_eq!(cancels, Err(Refused::SamePlan));
}

#[test]
fn a_subscriber_keeps_their_terms() {
    let plan = plan(1, terms());
    let mut world = World::begin(new(&plan), at("2026-01-31"));
    world.pay();
    let dearer = plan.amend(Terms { price: eur(9900), ..terms() }).unwrap().withdraw();
    assert_eq!(dearer.status, PlanStatus::Withdrawn);
    world.run_until(at("2026-06-30"), World::pay);
    assert!(world.charges.values().all(|charge| charge.amount == eur(3000)));
    assert_eq!(Subscription::begin(new(&dearer), world.now), Err(Refused::Withdrawn));
}

#[test]
fn what_cannot_be_begun_says_why() {
    let plan = plan(1, terms());
    let rub = Currency::from_code("RUB").unwrap();
    let now = at("2026-01-31");
    let refused = |new| Subscription::begin(new, now).unwrap_err();
    assert_eq!(refused(NewSubscription { currency: Some(rub), ..new(&plan) }), Refused::OtherCurrency(eur(0).currency));
    assert_eq!(refused(NewSubscription { has_one: true, ..new(&plan) }), Refused::SubscribedAlready);
    let consent = Consent { text: " ".into(), at: now };
    assert_eq!(refused(NewSubscription { consent, ..new(&plan) }), Refused::NoConsent);
    let nowhere = NewSubscription { zone: "Mars/Base".into(), ..new(&plan) };
    assert!(matches!(refused(nowhere), Refused::Date(_)));
    let begun = World::begin(new(&plan), now).sub;
    assert_eq!(begun.cancel_at_end(now), Err(Refused::Pending));
    assert_eq!(begun.come_back(now), Err(Refused::NotLapsed));
    assert_eq!(Refused::from(NotGranted::Unknown).to_string(), "there is no such code");
}

#[test]
fn a_term_ends_by_itself_and_its_months_count() {
    let year = Terms { billing: Billing::Once { months: 12 }, ..terms() };
    let mut world = World::paid(year, at("2026-01-31"));
    assert_eq!((world.sub.period.to, world.sub.month_at(at("2026-07-01"))), (at("2027-01-31"), Ok(6)));
    world.run_until(at("2027-01-31"), |_| unreachable!("a term does not renew"));
    assert_eq!((world.sub.state, world.sum(Account::Revenue), world.sum(Account::Deferred)), (State::Ended, -3000, 0));
}

#[test]
fn an_expiring_card_is_warned_about_once() {
    let mut world = World::paid(terms(), at("2026-01-31"));
    let mut old = method("4242");
    (old.exp_year, old.exp_month) = (2026, 2);
    let write = world.sub.change_method(old, world.now).unwrap();
    world.save(write);
    world.run_until(at("2026-03-20"), World::pay);
    assert!(!world.told.contains(&"card_expiring".into()), "a card is good to the end of its month, and was paid with");
    let mut old = method("4242");
    (old.exp_year, old.exp_month) = (2026, 2);
    let write = world.sub.change_method(old, world.now).unwrap();
    world.save(write);
    world.run_until(at("2026-03-30"), |_| {});
    assert_eq!(world.told.iter().filter(|told| *told == "card_expiring").count(), 1);
}

#[test]
fn who_comes_late_charges_nobody_for_a_month_that_has_passed() {
    let mut world = World::paid(terms(), at("2026-01-31"));
    world.now = at("2026-05-10");
    world.run_until(world.now, World::pay);
    assert_eq!(world.charges.len(), 2);
    assert_eq!((world.sub.period.number, world.sub.period.from.to_string()), (4, "2026-04-30T09:00:00Z".into()));
}

#[test]
fn a_try_that_nobody_answers_is_asked_for_again_as_the_same() {
    let mut world = World::paid(terms(), at("2026-01-31"));
    world.run_until(at("2026-02-28"), |_| {});
    world.run_until(at("2026-03-01"), |_| {});
    assert_eq!(world.sub.owed.as_ref().map(|owed| owed.tries), Some(1));
    assert_eq!(world.told.iter().filter(|told| *told == "charge_due").count(), 7, "every four hours");
    let tries: BTreeSet<_> = world
        .sub
        .effects
        .iter()
        .map(|effect| match &effect.what {
            What::Subscription(effect) => format!("{:?}", effect.what),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(tries.len(), 1);
}

#[test]
fn items_survive_their_json_and_stay_small() {
    let mut world = World::paid(terms(), at("2026-01-31"));
    world.run_until(at("2026-02-28"), |world| world.decline("insufficient_funds"));
    let json = serde_json::to_string(&world.sub).unwrap();
    assert_eq!(serde_json::from_str::<Subscription>(&json).unwrap(), world.sub);
    for charge in world.charges.values() {
        let json = serde_json::to_string(charge).unwrap();
        assert!(json.len() < 1024, "{}", json.len());
        assert_eq!(&serde_json::from_str::<Charge>(&json).unwrap(), charge);
    }
    for line in &world.history {
        let json = serde_json::to_string(line).unwrap();
        assert_eq!(&serde_json::from_str::<History>(&json).unwrap(), line);
    }
    let charge = world.owed();
    assert_eq!(
        charge.attempts[0].outcome,
        Outcome::Declined { verdict: Verdict::Retry, reason: "insufficient_funds".into() }
    );
    assert_eq!(charge.id.to_string().parse(), Ok(charge.id));
    for bad in [
        "",
        "sub_1:1",
        &format!("{}:01", world.sub.id),
        &format!("{}:1.0", world.sub.id),
        &format!("{}:", world.sub.id),
    ] {
        assert_eq!(bad.parse::<ChargeRef>(), Err(InvalidCharge), "{bad}");
    }
}
