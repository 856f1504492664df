//! E-mail, for those who have no chat that can be reached.

use boxoffice::runner::Options;
use domain::access::Role;
use platform::messenger::SendError;
use sandbox::mail::Mail;
use serde_json::{Value, json};
use std::time::Duration;
use tests::http::new_key;
use tests::{TestApp, User, id, options, seat};

async fn start() -> TestApp {
    TestApp::start_with(Options { email: true, ..options() }).await
}

/// Somebody with an account and an address.
async fn somebody(app: &TestApp, name: &str) -> (User, String) {
    let email = format!("{name}@example.org");
    let who = json!({ "email": email, "password": "correct horse battery", "name": name });
    let made = app.ask("POST", "/users").key(&new_key()).json(&who).send().await.expect(201);
    let id = id(&made).parse().expect("an id");
    (User::new(id, vec![Role::Buyer]), email)
}

fn mails(app: &TestApp, to: &str) -> Vec<Mail> {
    app.running.mail.as_ref().expect("there is e-mail").mailbox.to(to)
}

/// Lets what waits for its turn come.
async fn wait(app: &TestApp, seconds: i64) {
    for _ in 0..seconds {
        app.settled().await;
        app.advance(1);
    }
    app.settled().await;
}

fn pair(row: u8) -> Value {
    json!([seat("Stalls", row, 1), seat("Stalls", row, 2)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_chat_gets_the_tickets_by_e_mail() {
    let app = start().await;
    let (event, (ada, address)) = (app.on_sale().await, somebody(&app, "ada").await);
    let order = app.buy(&ada, &event, &pair(1)).await;
    wait(&app, 3).await;
    let [mail] = &mails(&app, &address)[..] else { panic!("one e-mail: {:?}", mails(&app, &address)) };
    assert_eq!(mail.subject, "Your 2 tickets are here: The Cherry Orchard");
    let link = format!("{}/#/orders/{}", app.running.url, id(&order));
    assert!(mail.text.contains("Stalls, row 1, seat 2") && mail.text.contains(&link), "{}", mail.text);
    assert_eq!(mail.attachments.len(), 2, "the code of each ticket");
    assert!(mail.attachments.iter().all(|(_, png)| png.starts_with(b"\x89PNG")));

    // What somebody does not want to hear of is not written either.
    let (bob, other) = somebody(&app, "bob").await;
    let muted = json!({ "zone": "Europe/Moscow", "muted": ["reminders"] });
    app.ask("PUT", "/me/notice-settings").by(&ada).json(&muted).send().await.expect(200);
    let tomorrow = app.event(&app.hall().await, &json!({ "starts_at": "2027-03-02T12:30:00Z" })).await;
    for (row, user) in [(1, &ada), (2, &bob)] {
        app.buy(user, &tomorrow, &pair(row)).await;
    }
    app.running.run_schedule("remind").await.expect("it runs");
    wait(&app, 3).await;
    assert_eq!((mails(&app, &address).len(), mails(&app, &other).len()), (2, 2));

    // Nor what anybody could wish for in the name of an address that is not theirs.
    let wish = json!({ "scope": { "city": "Moscow" }, "when": "on_sale" });
    app.post(&bob, "/alerts", &wish).await.expect(201);
    app.on_sale().await;
    wait(&app, 3).await;
    assert_eq!(mails(&app, &other).len(), 2);
    assert_eq!(app.get(&bob, "/me/notices").await.expect(200)["items"][0]["kind"], "alert.on_sale");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_blocks_the_bot_gets_what_it_was_to_say_by_e_mail() {
    let (app, notebook) = TestApp::start_with_messenger_and(Options { email: true, ..options() }).await;
    let (event, (ada, address)) = (app.on_sale().await, somebody(&app, "ada").await);
    app.link_chat(ada.id, "1").await;
    app.buy(&ada, &event, &pair(1)).await;
    wait(&app, 8).await;
    assert_eq!((notebook.of("1").len(), mails(&app, &address).len()), (3, 0), "a chat that is there is enough");

    // What waits for that chat meanwhile is not lost either.
    notebook.fail("1", [SendError::TooMany(Duration::from_secs(4)), SendError::Unreachable("blocked".into())]);
    for row in [2, 3] {
        app.buy(&ada, &event, &pair(row)).await;
    }
    wait(&app, 16).await;
    let sent = mails(&app, &address);
    assert_eq!(sent.len(), 2, "each once: {sent:?}");
    for seat in ["Stalls, row 2, seat 1", "Stalls, row 3, seat 1"] {
        let whole = sent.iter().filter(|mail| mail.text.contains(seat) && mail.attachments.len() == 2);
        assert_eq!(whole.count(), 1, "{seat}: {sent:?}");
    }
    assert_eq!(notebook.of("1").len(), 3);
    app.finish().await;
}

/// What SES itself refuses is for a person to look at, and stands in nobody's way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_refused_is_left() {
    let app = start().await;
    let event = app.on_sale().await;
    let who =
        json!({ "email": "suppressionlist@simulator.amazonses.com", "password": "correct horse battery", "name": "x" });
    let made = app.ask("POST", "/users").key(&new_key()).json(&who).send().await.expect(201);
    let refused = User::new(id(&made).parse().expect("an id"), vec![Role::Buyer]);
    let (bob, address) = somebody(&app, "bob").await;
    for (row, buyer) in [(1, &refused), (2, &bob)] {
        app.buy(buyer, &event, &pair(row)).await;
    }
    wait(&app, 3).await;
    assert_eq!(mails(&app, &address).len(), 1);
    let told = app.get(&refused, "/me/notices").await.expect(200);
    assert_eq!(told["items"].as_array().map(Vec::len), Some(1), "it is in their list");
    app.finish().await;
}
