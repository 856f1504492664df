//! What a run reads, and what it leaves for the next.

use super::*;

#[test]
fn the_months_reach_as_far_as_sales_and_banks_do() {
    let at = |text: &str| text.parse().expect("an instant");
    let months = months(at("2027-03-31T23:45:00Z"), at("2027-04-02T00:15:00Z"));
    assert_eq!((months[0].as_str(), months[months.len() - 1].as_str()), ("2025-08", "2029-04"));
    assert_eq!(months.len(), 45);
}

#[test]
fn what_one_run_had_no_time_for_is_for_the_next() {
    let things = || (0..5).map(|n| (Thing::Refund(n.to_string()), Leftover::default())).collect();
    let (mut looked_to, mut seen) = (None, Vec::new());
    for _ in 0..3 {
        let (chosen, rest, ended) = choose(things(), looked_to, 2);
        assert_eq!((chosen.len(), rest.len()), (2, 3));
        seen.extend(chosen.into_iter().map(|(thing, _)| thing));
        looked_to = ended;
    }
    let expected = [0, 1, 2, 3, 4, 0].map(|n| Thing::Refund(n.to_string()));
    assert_eq!((&seen[..], looked_to), (&expected[..], Some(Thing::Refund("0".into()))));
    let (chosen, rest, looked_to) = choose(things(), Some(Thing::Refund("22".into())), 9);
    assert_eq!((chosen[0].0.clone(), chosen.len()), (Thing::Refund("3".into()), 5));
    assert!(rest.is_empty() && looked_to.is_none());
}
