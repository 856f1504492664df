//! Notices: whoever buys is told, in their list and in their chats, once, when they want it and at the messenger's pace.

use domain::chats::ChatState;
use domain::effects::What;
use domain::ledger::Entry;
use functions::commands::Envelope;
use jiff::SignedDuration;
use platform::bus::QueueMessage;
use platform::messenger::{Button, Outgoing, SendError};
use platform::store::Pace;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;
use tests::{TestApp, User, id, seat};

fn seats(row: u8, count: u8) -> Value {
    (1..=count).map(|n| seat("Stalls", row, n)).collect()
}

/// Lets so many seconds pass, one after the other, with everything that they bring.
async fn wait(app: &TestApp, seconds: i64) {
    for _ in 0..seconds {
        app.advance(1);
        app.settled().await;
    }
}

/// The kinds of what somebody was told, the latest first.
async fn told(app: &TestApp, user: &User) -> Vec<String> {
    let page = app.get(user, "/me/notices?limit=100").await.expect(200);
    let kind = |notice: &Value| notice["kind"].as_str().expect("it has a kind").to_owned();
    page["items"].as_array().expect("a list").iter().map(kind).collect()
}

async fn want(app: &TestApp, user: &User, settings: &Value) {
    let reply = app.ask("PUT", "/me/notice-settings").by(user).json(settings).send().await.expect(200);
    assert_eq!(&reply, settings);
    assert_eq!(&app.get(user, "/me/notice-settings").await.expect(200), settings);
}

/// What a camera reads in a picture: a PNG (ISO/IEC 15948) in grey, of one bit a pixel and without filters.
fn read_picture(message: &Outgoing) -> String {
    let file = message.pictures.first().expect("it has a picture");
    let number = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().expect("four bytes"));
    assert_eq!((&file[..8], &file[12..16], number(8)), (b"\x89PNG\r\n\x1a\n".as_slice(), b"IHDR".as_slice(), 13));
    assert_eq!(file[24..29], [1, 0, 0, 0, 0]);
    let (width, height, packed) = (number(16) as usize, number(20) as usize, number(33) as usize);
    assert_eq!((&file[37..41], &file[file.len() - 8..file.len() - 4]), (b"IDAT".as_slice(), b"IEND".as_slice()));
    let (mut sum, mut lines) = (flate2::Crc::new(), Vec::new());
    sum.update(&file[37..41 + packed]);
    assert_eq!(sum.sum(), number(41 + packed));
    flate2::read::ZlibDecoder::new(&file[41..41 + packed]).read_to_end(&mut lines).expect("it is whole");
    let stride = 1 + width.div_ceil(8);
    assert!(lines.len() == stride * height && lines.iter().step_by(stride).all(|filter| *filter == 0));
    let grey = |x: usize, y: usize| if lines[y * stride + 1 + x / 8] & (0x80 >> (x % 8)) == 0 { 0 } else { 255 };
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, grey);
    image.detect_grids()[0].decode().expect("it can be read").1
}

/// Delivers an order's last effects again, as the topic may.
async fn again(app: &TestApp, buyer: &User, order: &str) {
    let stored = app.app("notify").orders.get(buyer.id, order.parse().expect("an id")).await;
    let stored = stored.expect("the table answers").expect("it is there");
    assert!(stored.effects.iter().any(|effect| matches!(effect.what, What::OrderPaid { .. })), "it was just paid");
    let envelope = |effect| Envelope { effect, aggregate: stored.id.to_string(), v: stored.v };
    let messages =
        stored.effects.iter().cloned().map(envelope).map(|envelope| QueueMessage {
            body: serde_json::to_string(&envelope).expect("it is JSON"),
            delay_seconds: 0,
        });
    app.running.queues().send("Deliveries", messages.collect()).expect("there is such a queue");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_buys_is_told_once_with_the_codes() {
    let (app, notebook) = TestApp::start_with_messenger().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    app.link_chat(buyer.id, "1").await;
    let order = app.buy(&buyer, &event, &seats(1, 2)).await;
    again(&app, &buyer, id(&order)).await;
    wait(&app, 8).await;

    let page = app.get(&buyer, "/me/notices").await.expect(200);
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "{page}");
    let notice = &page["items"][0];
    assert_eq!((&notice["kind"], &notice["group"]), (&json!("order.paid"), &json!("orders")));
    let html = notice["html"].as_str().expect("a text");
    assert!(html.contains("<b>The Cherry Orchard</b>") && html.contains("Tuesday, 1 June 2027, 19:00"), "{html}");
    assert!(html.contains("Stalls, row 1, seat 2") && html.contains("3,000\u{a0}RUB"), "{html}");

    let sent = notebook.of("1");
    assert_eq!((sent.len(), notebook.attempts("1")), (3, 3), "a text, and a message for each code; {sent:#?}");
    let url = format!("{}/#/orders/{}", app.running.url, id(&order));
    assert_eq!(sent[0].buttons, [[Button::Link { text: "Open the order".into(), url }]]);
    assert_eq!((sent[0].html.as_str(), sent[0].pictures.len()), (html, 0));
    let read: BTreeSet<String> = sent[1..].iter().map(read_picture).collect();
    let mut codes = BTreeSet::new();
    for seat in order["seats"].as_array().expect("a list") {
        codes.insert(app.code(&buyer, seat["ticket_id"].as_str().expect("it is paid")).await);
    }
    assert_eq!(read, codes);

    again(&app, &buyer, id(&order)).await;
    wait(&app, 4).await;
    assert_eq!(notebook.attempts("1"), 3, "it was told");
    app.give_back(&buyer, id(&order), None).await;
    wait(&app, 2).await;
    assert_eq!(told(&app, &buyer).await, ["order.refunded", "order.paid"]);
    assert_eq!(notebook.of("1").len(), 4);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_soon_is_remembered_and_what_is_muted_is_not_sent() {
    let (app, notebook) = TestApp::start_with_messenger().await;
    let hall = app.hall().await;
    let event = app.event(&hall, &json!({ "starts_at": "2027-03-02T12:30:00Z" })).await;
    let later = app.event(&hall, &json!({ "starts_at": "2027-03-02T13:30:00Z" })).await;
    let (ann, bob) = (app.buyer(), app.buyer());
    app.link_chat(ann.id, "ann").await;
    app.link_chat(bob.id, "bob").await;
    want(&app, &bob, &json!({ "zone": "Europe/Moscow", "muted": ["orders", "reminders"] })).await;
    for (buyer, row) in [(&ann, 1), (&bob, 2)] {
        app.buy(buyer, &event, &seats(row, 1)).await;
    }
    app.buy(&ann, &later, &seats(1, 1)).await;
    for _ in 0..2 {
        app.running.run_schedule("remind").await.expect("it runs");
        wait(&app, 3).await;
    }
    assert_eq!(told(&app, &ann).await, ["event.reminder", "order.paid", "order.paid"]);
    assert_eq!(told(&app, &bob).await, ["event.reminder", "order.paid"], "it is in the list");
    assert_eq!((notebook.of("ann").len(), notebook.of("bob").len()), (3, 1), "what is paid for cannot be muted");
    assert!(notebook.of("ann")[2].html.starts_with("Soon: <b>The Cherry Orchard</b>"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quiet_hours_hold_back_what_can_wait() {
    let (app, notebook) = TestApp::start_with_messenger().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    app.link_chat(buyer.id, "1").await;
    // It is 15:00 in Moscow.
    let quiet = json!({ "zone": "Europe/Moscow", "quiet": { "from": "14:30", "to": "16:00" }, "muted": [] });
    want(&app, &buyer, &quiet).await;
    let order = app.buy(&buyer, &event, &seats(1, 1)).await;
    assert_eq!(notebook.of("1").len(), 1, "money does not wait");
    wait(&app, 2).await;
    let moved = json!({ "starts_at": "2027-06-02T16:00:00Z" });
    let path = format!("/admin/events/{event}");
    app.ask("PATCH", &path).by(&app.admin).json(&moved).send().await.expect(200);
    app.settled().await;
    // Who buys the date that it is now is told of no change.
    let late = app.buyer();
    app.outdate_caches();
    app.buy(&late, &event, &seats(2, 1)).await;
    for _ in 0..3 {
        app.advance(900);
        app.settled().await;
    }
    assert_eq!((notebook.of("1").len(), told(&app, &buyer).await.len()), (1, 2), "it waits");
    app.advance(900);
    app.settled().await;
    wait(&app, 2).await;
    let html = notebook.of("1")[1].html.clone();
    assert!(html.contains("has been moved. It now begins on Wednesday, 2 June 2027, 19:00"), "{html}");
    // A price is nobody's matter, and the move is told once.
    let price = json!({ "service_fee": 100 });
    app.ask("PATCH", &path).by(&app.admin).json(&price).send().await.expect(200);
    app.settled().await;
    wait(&app, 2).await;
    assert_eq!(told(&app, &buyer).await, ["event.changed", "order.paid"]);
    assert_eq!((told(&app, &late).await, notebook.of("1").len()), (vec!["order.paid".into()], 2));
    app.give_back(&buyer, id(&order), None).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_messenger_that_wants_us_to_wait_keeps_no_other_chat_waiting() {
    let (app, notebook) = TestApp::start_with_messenger().await;
    let (event, ann, bob) = (app.on_sale().await, app.buyer(), app.buyer());
    app.link_chat(ann.id, "ann").await;
    app.link_chat(bob.id, "bob").await;
    notebook.fail("ann", [SendError::TooMany(Duration::from_secs(20))]);
    app.buy(&ann, &event, &seats(1, 1)).await;
    app.buy(&ann, &event, &seats(2, 1)).await;
    app.buy(&bob, &event, &seats(3, 1)).await;
    wait(&app, 5).await;
    assert_eq!((notebook.of("bob").len(), notebook.of("ann").len()), (1, 0));
    wait(&app, 10).await;
    assert_eq!(notebook.attempts("ann"), 1, "nobody tries before");
    wait(&app, 10).await;
    assert_eq!((notebook.of("ann").len(), notebook.attempts("ann")), (2, 3));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_that_is_gone_is_left_for_the_others() {
    let (app, notebook) = TestApp::start_with_messenger().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    app.link_chat(buyer.id, "gone").await;
    app.link_chat(buyer.id, "here").await;
    notebook.fail("gone", [SendError::Unreachable("blocked".into())]);
    app.buy(&buyer, &event, &seats(1, 1)).await;
    wait(&app, 4).await;
    assert_eq!(
        (app.chat_state("gone").await, app.chat_state("here").await),
        (ChatState::Unreachable, ChatState::Linked)
    );
    assert_eq!(notebook.of("here").len(), 1, "once");
    app.buy(&buyer, &event, &seats(2, 1)).await;
    wait(&app, 3).await;
    assert_eq!((notebook.of("here").len(), notebook.attempts("gone")), (2, 1), "nobody writes there any more");
    notebook.fail("here", [SendError::Unreachable("blocked".into())]);
    app.buy(&buyer, &event, &seats(3, 1)).await;
    wait(&app, 3).await;
    assert_eq!((told(&app, &buyer).await.len(), notebook.of("here").len()), (3, 2), "what nobody could send is listed");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_had_no_answer_is_sent_again() {
    let (app, notebook) = TestApp::start_with_messenger().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    app.link_chat(buyer.id, "1").await;
    notebook.fail("1", [SendError::Unknown("500".into()), SendError::Resting(Duration::from_millis(1500))]);
    app.buy(&buyer, &event, &seats(1, 1)).await;
    wait(&app, 10).await;
    assert_eq!((notebook.of("1").len(), notebook.attempts("1")), (1, 3));
    // What the messenger refuses is wrong however often it is sent.
    notebook.fail("1", [SendError::Refused("400".into())]);
    app.buy(&buyer, &event, &seats(2, 1)).await;
    wait(&app, 5).await;
    assert_eq!((notebook.of("1").len(), notebook.attempts("1")), (1, 4));
    // What has no answer for long goes to the dead letters, and from there to its reader.
    notebook.fail("1", (0..9).map(|_| SendError::Unknown("500".into())));
    app.buy(&buyer, &event, &seats(3, 1)).await;
    wait(&app, 80).await;
    assert_eq!(notebook.attempts("1"), 9, "five that follow each other");
    for _ in 0..6 {
        app.advance(180);
        app.settled().await;
        wait(&app, 1).await;
    }
    let dead = "DeliveriesDeadLetters";
    assert_eq!(app.running.dead_letters(dead).expect("there is such a queue").len(), 1);
    assert_eq!(app.running.redrive(dead).expect("there is such a queue"), 1);
    app.settled().await;
    wait(&app, 2).await;
    assert_eq!(notebook.of("1").len(), 2);
    app.finish().await;
}

/// An idempotency key by which this buyer's order lands in the journal's first shard.
async fn key_of_first_shard(app: &TestApp, buyer: &User, salt: u8) -> String {
    let mut n = 0;
    loop {
        let key = format!("{salt}-{n}");
        if Entry::shard(app.order_id(buyer, &key).await) == 0 {
            return key;
        }
        n += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_told_page_by_page() {
    let (app, notebook) = TestApp::start_with_messenger().await;
    let (hall, ann) = (app.hall().await, app.buyer());
    let free = app.event(&hall, &json!({ "prices": { "stalls": 0 } })).await;
    // Of 30 orders in one shard the last are on a second page.
    let mut given_back = String::new();
    for n in 0..30 {
        let body = json!({ "event_id": free, "seats": [seat("Stalls", n / 9 + 1, n % 9 + 1)] });
        let key = key_of_first_shard(&app, &ann, n).await;
        let order = app.post_with_key(&ann, "/orders", &key, &body).await.expect(201);
        app.post(&ann, &format!("/orders/{}/payment", id(&order)), &Value::Null).await.expect(201);
        given_back = id(&order).to_owned();
    }
    app.settled().await;
    app.give_back(&ann, &given_back, None).await;
    app.link_chat(ann.id, "ann").await;
    app.post(&app.admin, &format!("/admin/events/{free}/cancellation"), &Value::Null).await.expect(200);
    app.settled().await;
    let count = async |kind: &str| told(&app, &ann).await.iter().filter(|told| *told == kind).count();
    assert_eq!(count("event.cancelled").await, 29, "whoever has no tickets any more is not told");
    wait(&app, 70).await;
    assert!(notebook.of("ann").len() >= 58, "each is on its way at one a second");
    let cancelled = |message: &Outgoing| message.html.contains("has been cancelled");
    assert_eq!(notebook.of("ann").iter().filter(|message| cancelled(message)).count(), 29);
    app.advance(60);
    app.settled().await;
    assert_eq!(count("event.cancelled").await, 29, "the last pass tells nobody again");

    let first = app.get(&ann, "/me/notices?limit=50").await.expect(200);
    let cursor = first["next_cursor"].as_str().expect("there is more").replace('#', "%23").replace('+', "%2B");
    let second = app.get(&ann, &format!("/me/notices?limit=50&cursor={cursor}")).await.expect(200);
    let pages = [&first, &second].map(|page| page["items"].as_array().expect("a list"));
    let ids: BTreeSet<_> = pages.iter().flat_map(|page| page.iter().map(id)).collect();
    assert_eq!((pages[0].len(), ids.len()), (50, pages[0].len() + pages[1].len()));
    let times: Vec<_> = pages.iter().flat_map(|page| page.iter().map(|notice| notice["at"].to_string())).collect();
    assert!(times.windows(2).all(|two| two[0] >= two[1]), "{times:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_that_share_a_pace_keep_it() {
    let app = TestApp::start().await;
    let notify = app.app("notify");
    let (now, apart) = (notify.now(), SignedDuration::from_millis(40));
    let work = (0..8).map(|_| {
        let notices = notify.notices.clone();
        async move {
            let mut turns = Vec::new();
            for _ in 0..25 {
                turns.push(notices.turn(&Pace::Messenger("m"), apart, now).await.expect("the table answers"));
            }
            turns
        }
    });
    let mut turns = futures_util::future::join_all(work).await.concat();
    turns.sort();
    let expected: Vec<_> = (0..200).map(|n| now + apart * n).collect();
    assert_eq!(turns, expected, "each has its own, and none is left out");
    // Who comes when all turns are over has one at once; a pause moves it on, and back it does not go.
    let later = now + apart * 300;
    let pace = Pace::Messenger("m");
    let turn = async |at| notify.notices.turn(&pace, apart, at).await.expect("the table answers");
    assert_eq!((turn(later).await, turn(later).await), (later, later + apart));
    let (long, short) = (later + apart * 100, later + apart * 50);
    for until in [long, short] {
        notify.notices.pause(&pace, until, later).await.expect("the table answers");
    }
    assert_eq!((turn(later).await, turn(later).await), (long, long + apart));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wishes_that_are_none_are_refused() {
    let (app, _) = TestApp::start_with_messenger().await;
    let buyer = app.buyer();
    let default = json!({ "zone": "UTC", "muted": [] });
    assert_eq!(app.get(&buyer, "/me/notice-settings").await.expect(200), default);
    let quiet = |from: &str, to: &str| json!({ "zone": "UTC", "quiet": { "from": from, "to": to } });
    for (wrong, pointer) in [
        (json!({ "zone": "Mars/Base" }), "/zone"),
        (json!({ "zone": "" }), "/zone"),
        (json!({ "zone": "UTC", "muted": ["alerts", "money"] }), "/muted/1"),
        (json!({ "zone": "UTC", "muted": ["alerts", "alerts"] }), "/muted/1"),
        (quiet("22:00", "25:00"), "/quiet/to"),
        (quiet("8:00", "09:00"), "/quiet/from"),
        (quiet("08:00", "08:00"), "/quiet"),
    ] {
        let reply = app.ask("PUT", "/me/notice-settings").by(&buyer).json(&wrong).send().await;
        assert_eq!(reply.problem(422, "invalid")["errors"][0]["pointer"], pointer, "{wrong}");
    }
    app.ask("PUT", "/me/notice-settings")
        .by(&buyer)
        .json(&json!({ "zone": "UTC", "x": 1 }))
        .send()
        .await
        .problem(422, "invalid");
    for path in ["/me/notices?cursor=x", "/me/notices?limit=0", "/me/notices?limit=101"] {
        app.get(&buyer, path).await.problem(422, "invalid");
    }
    app.look("/me/notices").await.problem(401, "token_missing");
    assert_eq!(app.get(&buyer, "/me/notice-settings").await.expect(200), default);
    app.finish().await;
}
