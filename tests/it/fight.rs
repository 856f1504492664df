//! One seat, and everybody wants it.

use serde_json::json;
use tests::{TestApp, id, seat};

const BUYERS: usize = 1000;
/// Sockets of this process: two for each request, and as many to the embedded table.
const FILES_NEEDED: u64 = 6000;

/// Raises the limit of open files as far as the system lets us; how many may fight at once under it.
fn buyers_at_once() -> usize {
    let files = rlimit::increase_nofile_limit(FILES_NEEDED).unwrap_or(0);
    if files < FILES_NEEDED { 50 } else { BUYERS }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_buyers_and_one_seat() {
    let at_once = tokio::sync::Semaphore::new(buyers_at_once());
    let app = TestApp::start().await;
    let event = app.on_sale().await;
    let body = json!({ "event_id": event, "seats": [seat("Stalls", 5, 5)] });
    let fight = (0..BUYERS).map(|_| async {
        let buyer = app.buyer();
        let _place = at_once.acquire().await.expect("nobody closes it");
        let reply = app.post(&buyer, "/orders", &body).await;
        (buyer, reply)
    });
    let (mut won, mut refused) = (Vec::new(), 0);
    for (buyer, reply) in futures_util::future::join_all(fight).await {
        if reply.status == 201 {
            won.push((buyer, reply.expect(201)));
            continue;
        }
        let problem = reply.problem(409, "seats_taken");
        assert_eq!(problem["detail"], "Stalls row 5 seat 5 is taken.");
        assert_eq!(problem["errors"][0]["pointer"], "/seats/0");
        refused += 1;
    }
    println!("{} won, {refused} were refused", won.len());
    assert_eq!((won.len(), refused), (1, BUYERS - 1));
    let (buyer, order) = &won[0];
    assert_eq!(app.pay(buyer, id(order), "pm_card_visa").await["status"], "paid");
    let audit = app.finish().await;
    assert_eq!((audit.orders.len(), audit.words.len()), (1, 1));
}
