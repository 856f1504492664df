//! What the bot says, in two languages, and to whatever is said to it.

use super::{Phone, account, buttons, link, said, text, update};
use serde_json::{Value, json};
use tests::{TestApp, User, id, seat};

/// Characters of a message, markup not counted (Bot API, sendMessage).
const MESSAGE_CHARS_MAX: usize = 4096;

/// The characters that people see of a message in the bot's markup; none but its own markup may be there.
fn seen(html: &str) -> usize {
    let mut rest = html.to_owned();
    for tag in ["<b>", "</b>", "<i>", "</i>"] {
        rest = rest.replace(tag, "");
    }
    assert!(!rest.contains('<') && !rest.contains('>'), "markup of others: {html}");
    let entities = ["&lt;", "&gt;", "&amp;", "&quot;"];
    assert_eq!(rest.matches('&').count(), entities.iter().map(|it| rest.matches(it).count()).sum::<usize>(), "{html}");
    entities.iter().fold(rest, |rest, it| rest.replace(it, "x")).chars().count()
}

async fn alert(app: &TestApp, user: &User, body: Value) -> String {
    id(&app.post(user, "/alerts", &body).await.expect(201)).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_said_in_ones_own_language() {
    let app = TestApp::start().await;
    let hall = app.hall().await;
    let event = app.event(&hall, &json!({ "name": "Вишнёвый сад" })).await;
    let (ada, vera) = (account(&app, "ada", "en").await, account(&app, "vera", "ru").await);
    // Their telephones speak another language than their accounts.
    let (one, two) = (Phone::new(&app, 1, "ru"), Phone::new(&app, 2, "en"));
    for (said, words) in [
        (one.says("/start").await, "Здравствуйте"),
        (two.says("/start").await, "Hello"),
        (one.says("/tickets").await, "не привязан"),
        (two.says("/alerts").await, "not linked"),
        (two.says("/stop").await, "not linked"),
    ] {
        assert!(text(&said).contains(words), "{said}");
        assert_eq!(buttons(&said), [format!("{}/#/", app.url)], "{said}");
    }
    link(&app, &ada, &one).await;
    link(&app, &vera, &two).await;
    for (user, phone, none, head, seats, ending) in [
        (&ada, &one, "no valid tickets", "1 June 2027, 19:00", "2 tickets: Stalls, row", "was ended"),
        (&vera, &two, "нет действующих билетов", "1 июня 2027 г., 19:00", "2 билета: Stalls, ряд", "отменено"),
    ] {
        assert!(text(&phone.says("/tickets").await).contains(none));
        let row = if user.id == ada.id { "1" } else { "2" };
        let order = app.buy(user, &event, &json!([seat("Stalls", row, 1), seat("Stalls", row, 2)])).await;
        let events = phone.says("/events@boxoffice_bot and more").await;
        assert!(text(&events).contains("Вишнёвый сад") && text(&events).contains(head), "{events}");
        assert_eq!(buttons(&events), [format!("{}/#/events/{event}", app.url)]);
        let tickets = phone.says(" /TICKETS").await;
        assert!(text(&tickets).contains(seats) && text(&tickets).contains(head), "{tickets}");
        assert_eq!(buttons(&tickets), [format!("{}/#/orders/{}", app.url, id(&order))]);

        let scope = json!({ "event_id": event });
        let price = json!({ "amount": 150_000, "currency": "RUB" });
        let first =
            alert(&app, user, json!({ "scope": scope, "when": "seats_back", "quantity": 2, "price_max": price })).await;
        let second = alert(&app, user, json!({ "scope": { "city": "Oslo" }, "when": "on_sale" })).await;
        let alerts = phone.says("/alerts").await;
        assert!(text(&alerts).contains("Вишнёвый сад") && text(&alerts).contains("Oslo"), "{alerts}");
        let mut expected = [format!("alert-off:{first}"), format!("alert-off:{second}")];
        expected.sort();
        let mut given = buttons(&alerts);
        given.sort_unstable();
        assert_eq!(given, expected);
        let rest = phone.presses(&format!("alert-off:{first}")).await;
        assert!(text(&rest).contains(ending), "{rest}");
        assert_eq!(
            (&rest["method"], buttons(&rest)),
            (&json!("editMessageText"), vec![format!("alert-off:{second}").as_str()])
        );
        assert_eq!(text(&phone.presses(&format!("alert-off:{first}")).await), text(&rest), "it may be repeated");
    }
    assert!(text(&one.says("/alerts").await).contains("when tickets go on sale"));
    assert!(text(&two.says("/alerts").await).contains("когда начнётся продажа"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_that_are_not_good_are_not_shown() {
    let app = TestApp::start().await;
    let (event, ada, phone) = (app.on_sale().await, account(&app, "ada", "en").await, Phone::new(&app, 1, "en"));
    link(&app, &ada, &phone).await;
    let order = app.buy(&ada, &event, &json!([seat("Stalls", 1, 1), seat("Stalls", 1, 2)])).await;
    let first = order["seats"][0]["ticket_id"].as_str().expect("it is paid");
    app.give_back(&ada, id(&order), Some(&[first])).await;
    let tickets = phone.says("/tickets").await;
    assert!(text(&tickets).contains("1 ticket: Stalls, row 1, seat 2"), "{tickets}");
    let other = Phone::new(&app, 2, "en");
    link(&app, &account(&app, "eve", "en").await, &other).await;
    assert!(text(&other.says("/tickets").await).contains("no valid tickets"), "each sees their own");
    app.advance(93 * 86_400);
    assert!(text(&phone.says("/tickets").await).contains("no valid tickets"), "it is over");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_in_a_name_stays_a_name() {
    let app = TestApp::start().await;
    let hall = app.hall().await;
    let (ada, phone) = (account(&app, "ada", "en").await, Phone::new(&app, 1, "en"));
    link(&app, &ada, &phone).await;
    let names =
        ["</b><a href=\"tg://x\">& \"Co\"", "שלום \u{202e}evil 🎭", &"<&🎭>".repeat(40), "{ $name } %s \\u0000"];
    for (nth, name) in names.iter().cycle().take(9).enumerate() {
        let starts_at = format!("2027-06-{:02}T16:00:00Z", nth + 1);
        let event = app.event(&hall, &json!({ "name": name, "starts_at": starts_at })).await;
        app.buy(&ada, &event, &json!([seat("Stalls", 1, 1)])).await;
        alert(&app, &ada, json!({ "scope": { "event_id": event }, "when": "seats_back" })).await;
    }
    for command in ["/events", "/tickets", "/alerts"] {
        let said = phone.says(command).await;
        assert!(seen(text(&said)) <= MESSAGE_CHARS_MAX, "{command}");
        assert!(!text(&said).contains('\u{202e}'), "{command}");
        assert_eq!(buttons(&said).len(), if command == "/alerts" { 9 } else { 8 }, "{command}");
        assert_eq!((&said["parse_mode"], &said["link_preview_options"]["is_disabled"]), (&json!("HTML"), &json!(true)));
    }
    assert!(text(&phone.says("/tickets").await).contains("one more order"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_said_is_answered() {
    let app = TestApp::start().await;
    let phone = Phone::new(&app, 1, "en");
    let help = phone.says("/help").await;
    for (name, said) in [
        ("nothing", phone.says("").await),
        ("an unknown command", phone.says("/order").await),
        ("a word", phone.says("hello").await),
        ("10,000 characters", phone.says(&"ы".repeat(10_000)).await),
        ("right to left", phone.says("\u{202e}/start שלום").await),
        ("an emoji", phone.says("🎭").await),
        ("markup", phone.says("<b>/start</b> &amp;").await),
        ("NUL", phone.says("\0/start").await),
    ] {
        assert_eq!(said, help, "{name}");
    }
    for data in ["", "link", "unknown:1", "alert-off", &"x".repeat(64)] {
        let said = phone.presses(data).await;
        let expected = if data.starts_with("link") { "editMessageText" } else { "answerCallbackQuery" };
        let expected = if data == "alert-off" { "editMessageText" } else { expected };
        assert_eq!(said["method"], expected, "{data}: {said}");
    }
    let person = json!({ "id": 1, "is_bot": false, "first_name": "A" });
    let group = json!({ "id": -100, "type": "supergroup", "title": "G" });
    let message =
        |chat: &Value, text: Value| json!({ "message_id": 1, "date": 9, "chat": chat, "from": person, "text": text });
    let private = json!({ "id": 1, "type": "private" });
    for (name, what, method) in [
        ("a command in a group", json!({ "message": message(&group, json!("/tickets")) }), json!("sendMessage")),
        ("talk in a group", json!({ "message": message(&group, json!("hello")) }), Value::Null),
        ("a picture", json!({ "message": message(&private, Value::Null) }), json!("sendMessage")),
        (
            "a bot",
            json!({ "message": { "message_id": 1, "chat": private, "from": { "id": 2, "is_bot": true }, "text": "/start" } }),
            Value::Null,
        ),
        (
            "a button in a group",
            json!({ "callback_query": { "id": "1", "from": person, "data": "unlink", "message": message(&group, json!("?")) } }),
            json!("answerCallbackQuery"),
        ),
        (
            "a button of nothing",
            json!({ "callback_query": { "id": "1", "from": person, "data": "unlink" } }),
            json!("answerCallbackQuery"),
        ),
        (
            "a button that is too old",
            json!({ "callback_query": { "id": "1", "from": person, "data": "unlink", "message": { "message_id": 1, "date": 0, "chat": private } } }),
            json!("sendMessage"),
        ),
        (
            "a change of an unknown chat",
            json!({ "my_chat_member": { "chat": private, "new_chat_member": { "status": "kicked" } } }),
            Value::Null,
        ),
        ("something new", json!({ "poll_answer": { "poll_id": "1" } }), Value::Null),
        ("another shape", json!({ "message": "hello" }), Value::Null),
    ] {
        let said = said(update(&app, what).await);
        assert_eq!(said["method"], method, "{name}: {said}");
    }
    let secret = app.running.secrets.telegram_webhook_secret.clone();
    let post = |body: Vec<u8>| app.ask("POST", super::WEBHOOK).header(super::SECRET, &secret).body(body).send();
    post(b"{\"update_id\":1".to_vec()).await.problem(400, "malformed_json");
    post(b"\xff".to_vec()).await.problem(400, "malformed_json");
    post(vec![b' '; 256 * 1024 + 1]).await.problem(413, "too_large");
    assert_eq!(post(b"{}".to_vec()).await.status, 204, "without an id it is no update");
    app.finish().await;
}
