//! The bot in the messenger's sandbox, as a person has it before them.

use super::{account, chats, token};
use serde_json::json;
use tests::{TestApp, seat};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_links_reads_and_unlinks_in_their_chat() {
    let app = TestApp::start().await;
    let (event, ada) = (app.on_sale().await, account(&app, "ada", "en").await);
    let bot = app.running.telegram.bot.clone();
    let last = || bot.messages(7).pop().expect("somebody wrote");
    let write = async |text: &str| {
        bot.write(7, text);
        app.settled().await;
        let last = bot.messages(7).pop().expect("somebody wrote");
        assert!(last.is_from_bot, "the bot answers: {}", last.text);
        last
    };
    let token = token(&app, &ada).await;
    let question = write(&format!("/start {token}")).await;
    assert!(question.text.contains("a***@example.org"), "{}", question.text);
    bot.press(7, question.id, &format!("link:{token}")).expect("there is such a button");
    app.settled().await;
    assert!(last().text.contains("is linked with") && last().buttons.is_empty(), "{}", last().text);
    assert_eq!(last().id, question.id, "in the place of the question");
    assert_eq!(chats(&app, &ada).await.len(), 1);

    app.buy(&ada, &event, &json!([seat("Stalls", 1, 1)])).await;
    assert!(write("/tickets").await.text.contains("Stalls, row 1, seat 1"));
    assert!(write("/events").await.text.contains("The Cherry Orchard"));
    bot.block(7);
    app.settled().await;
    assert_eq!(chats(&app, &ada).await[0]["status"], "unreachable");
    bot.unblock(7);
    app.settled().await;
    assert_eq!(chats(&app, &ada).await[0]["status"], "linked");
    write("/stop").await;
    assert!(chats(&app, &ada).await.is_empty());
    app.finish().await;
}
