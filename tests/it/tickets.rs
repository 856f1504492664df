//! Tickets: a code that a gate checks without us, and entering once.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value, json};
use tests::{TestApp, id, mask, seat};

fn seats(count: u8) -> Value {
    (1..=count).map(|n| seat("Stalls", 1, n)).collect()
}

fn ticket(order: &Value, index: usize) -> &str {
    order["seats"][index]["ticket_id"].as_str().expect("it is paid")
}

/// The claims of a code, if a key of this set signed it: what a gate without a network does, with no code of ours.
fn verify_offline(jwks: &Value, code: &str) -> Option<Value> {
    let (signed, signature) = code.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let decode = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let header = decode(header)?;
    let key = jwks["keys"].as_array()?.iter().find(|key| key["kid"] == header["kid"])?;
    if header["alg"] != "EdDSA" || header["typ"] != "ticket+jwt" || key["kty"] != "OKP" || key["crv"] != "Ed25519" {
        return None;
    }
    let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(key["x"].as_str()?).ok()?.try_into().ok()?;
    let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
    VerifyingKey::from_bytes(&bytes).ok()?.verify_strict(signed.as_bytes(), &signature).ok()?;
    decode(claims)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_checked_without_us() {
    let app = TestApp::start().await;
    let (event, buyer, other) = (app.on_sale().await, app.buyer(), app.buyer());
    let order = app.buy(&buyer, &event, &seats(2)).await;
    let shown = app.get(&buyer, &format!("/tickets/{}", ticket(&order, 1))).await.expect(200);
    let mut masked = mask(&shown);
    masked["code"].take();
    insta::assert_json_snapshot!(masked, @r#"
    {
      "category": "stalls",
      "code": null,
      "event_id": "evt_[id]",
      "id": "tkt_[id]-1",
      "price": {
        "amount": 150000,
        "currency": "RUB"
      },
      "row": "1",
      "seat": "2",
      "section": "Stalls",
      "status": "valid"
    }
    "#);
    let keys = app.look("/.well-known/jwks.json").await;
    assert_eq!(keys.header("cache-control"), "public, max-age=300");
    let keys = keys.expect(200);
    assert!(keys["keys"].as_array().expect("a list").iter().all(|key| key["d"].is_null()), "no private half");
    let code = app.code(&buyer, ticket(&order, 1)).await;
    let claims = verify_offline(&keys, &code).expect("a gate believes it");
    assert_eq!(claims["sub"], ticket(&order, 1));
    assert_eq!(claims["event"], json!(event));
    assert_eq!(claims["seat"], json!({ "section": "Stalls", "row": "1", "seat": "2" }));
    assert_eq!(verify_offline(&keys, &code.replace('.', ".A")), None);

    let listed = app.get(&buyer, "/tickets").await.expect(200);
    let mine: Vec<_> = listed["items"].as_array().expect("a list").iter().map(id).collect();
    assert_eq!(mine, [ticket(&order, 0), ticket(&order, 1)]);
    assert!(listed["items"][0]["code"].is_null(), "a list shows no codes");
    assert_eq!(app.get(&other, "/tickets").await.expect(200)["items"], json!([]));
    for path in ["", "/code.svg"] {
        app.get(&other, &format!("/tickets/{}{path}", ticket(&order, 0))).await.problem(404, "not_found");
    }
    app.get(&buyer, &format!("/tickets/{}", ticket(&order, 1).replace("-1", "-2"))).await.problem(404, "not_found");
    app.finish().await;
}

/// Pixels of a module's side, in a picture that is drawn of the code.
const MODULE_PIXELS: usize = 4;

/// What a camera reads in the code's picture: strokes `M x y h length`, each a run of dark modules, on a white square.
fn read_picture(svg: &str) -> String {
    let between = |text: &str, from: &str, to: &str| {
        let rest = text.split_once(from).unwrap_or_else(|| panic!("no {from} in the picture")).1;
        rest.split_once(to).expect("it ends").0.to_owned()
    };
    let numbers = |text: &str| -> Vec<usize> {
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    let side = *numbers(&between(svg, "viewBox=\"", "\"")).last().expect("it has a size");
    let strokes = between(&between(svg, "stroke=", ">"), " d=\"", "\"");
    let mut modules = vec![vec![255_u8; side]; side];
    for stroke in strokes.split('M').skip(1) {
        let [x, y, length] = numbers(stroke)[..] else { panic!("not a stroke: {stroke}") };
        modules[y][x..x + length].fill(0);
    }
    let pixels = side * MODULE_PIXELS;
    let at = |x: usize, y: usize| modules[y / MODULE_PIXELS][x / MODULE_PIXELS];
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(pixels, pixels, at);
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1, "one code is in the picture");
    grids[0].decode().expect("it can be read").1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_says_what_the_code_says() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.buy(&buyer, &event, &seats(1)).await;
    let path = format!("/tickets/{}/code.svg", ticket(&order, 0));
    let picture = app.get(&buyer, &path).await;
    assert_eq!(picture.header("content-type"), "image/svg+xml");
    assert_eq!(picture.header("cache-control"), "private, no-store");
    assert_eq!(read_picture(&picture.text()), app.code(&buyer, ticket(&order, 0)).await);
    app.give_back(&buyer, id(&order), None).await;
    app.get(&buyer, &path).await.problem(409, "ticket_refunded");
    let shown = app.get(&buyer, &format!("/tickets/{}", ticket(&order, 0))).await.expect(200);
    assert_eq!((&shown["status"], &shown["code"]), (&json!("refunded"), &Value::Null));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_enters_once() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.buy(&buyer, &event, &seats(3)).await;
    let codes = [app.code(&buyer, ticket(&order, 0)).await, app.code(&buyer, ticket(&order, 1)).await];
    let last = app.code(&buyer, ticket(&order, 2)).await;
    let path = format!("/tickets/{}/check-in", ticket(&order, 0));
    let body = json!({ "event_id": event, "code": codes[0] });
    app.post(&buyer, &path, &body).await.problem(403, "forbidden");
    let elsewhere = app.on_sale().await;
    app.check_in(&elsewhere, ticket(&order, 0), &codes[0]).await.problem(422, "invalid");
    for wrong in [codes[1].clone(), codes[0].to_lowercase(), format!("{}A", codes[0]), String::new(), "x".repeat(5000)]
    {
        app.check_in(&event, ticket(&order, 0), &wrong).await.problem(422, "invalid");
    }
    // Twenty gates at once.
    let gates = (0..20).map(|_| app.check_in(&event, ticket(&order, 0), &codes[0]));
    let replies = futures_util::future::join_all(gates).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1, "one is let in");
    for reply in replies {
        if reply.status == 200 {
            assert_eq!(reply.expect(200)["status"], "used");
        } else {
            reply.problem(409, "ticket_used");
        }
    }
    let shown = app.get(&buyer, &format!("/tickets/{}", ticket(&order, 0))).await.expect(200);
    assert_eq!((&shown["status"], &shown["code"]), (&json!("used"), &Value::Null));
    // The gate asks again with its key, since the answer was lost; another key, or another gate, is somebody else.
    let (path, body) = (path.replace("-0", "-1"), json!({ "event_id": event, "code": codes[1] }));
    for (gate, key, status) in
        [(&app.gate, "k", 200), (&app.gate, "k", 200), (&app.gate, "l", 409), (&app.admin, "k", 409)]
    {
        assert_eq!(app.post_with_key(gate, &path, key, &body).await.status, status, "{key}");
    }

    // A ticket that was given back lets nobody in, though its code is still signed.
    app.give_back(&buyer, id(&order), None).await;
    app.check_in(&event, ticket(&order, 2), &last).await.problem(409, "ticket_refunded");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_party_enters_by_many_gates() {
    let app = TestApp::start().await;
    let (event, buyer) = (app.on_sale().await, app.buyer());
    let order = app.buy(&buyer, &event, &seats(10)).await;
    let enter = async |index: usize| {
        let code = app.code(&buyer, ticket(&order, index)).await;
        loop {
            let reply = app.check_in(&event, ticket(&order, index), &code).await;
            // All ten are in one item, so a gate may be told to try again.
            if reply.status != 503 {
                return reply.expect(200);
            }
            assert_eq!(reply.header("retry-after"), "1");
        }
    };
    for ticket in futures_util::future::join_all((0..10).map(enter)).await {
        assert_eq!(ticket["status"], "used");
    }
    app.finish().await;
}
