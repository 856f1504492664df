//! A small hall and events in it.

use crate::{TestApp, id};
use serde_json::{Value, json};

/// Where the clock of a test stands at first: a Monday, 15:00 in Moscow.
pub const NOW: &str = "2027-03-01T12:00:00Z";
/// When a test's event begins: 92 days later, 19:00 in Moscow.
pub const STARTS_AT: &str = "2027-06-01T16:00:00Z";

/// A venue's hall.
#[derive(Clone, Debug)]
pub struct Hall {
    pub venue: String,
    pub layout: String,
    pub performer: String,
}

/// A hall with what tests need: `Stalls`, ten rows of ten at one price and a row `Long` of 60, which two items lock;
/// `Side`, where no price is round; `Gift`, which costs nothing; `Penny`, below what can be paid; `Closed`, not sold;
/// `Floor`, 100 standing places.
pub fn hall_scheme() -> Value {
    let row = |name: &str, y: i32, seats: u16, category: &str| {
        let (x, dx) = (0, 50);
        json!({ "name": name, "x": x, "y": y, "dx": dx, "seats": seats, "category": category })
    };
    let mut stalls: Vec<_> = (1..=10).map(|n| row(&n.to_string(), n * 100, 10, "stalls")).collect();
    stalls[9]["gaps"] = json!([5]);
    stalls[9]["accessible"] = json!([1, 2]);
    stalls.push(row("Long", 1100, 60, "stalls"));
    let category = |id: &str| json!({ "id": id, "name": id, "color": "#336699" });
    let section = |id: &str, rows: Vec<Value>| json!({ "id": id, "name": id, "rows": rows });
    let categories = ["stalls", "side", "gift", "penny", "closed", "floor"].map(category);
    let standing = json!({ "capacity": 100, "category": "floor", "x": 0, "y": 2000, "width": 900, "height": 500 });
    json!({
        "name": "Small hall",
        "categories": categories,
        "sections": [
            section("Stalls", stalls),
            section("Side", (1..=3).map(|n| row(&n.to_string(), 1200 + n * 100, 20, "side")).collect()),
            section("Gift", vec![row("1", 1600, 10, "gift")]),
            section("Penny", vec![row("1", 1700, 10, "penny")]),
            section("Closed", vec![row("1", 1800, 10, "closed")]),
            { "id": "Floor", "name": "Floor", "standing": standing },
        ],
    })
}

/// A seat as orders name it.
pub fn seat(section: &str, row: impl ToString, seat: impl ToString) -> Value {
    json!({ "section": section, "row": row.to_string(), "seat": seat.to_string() })
}

impl TestApp {
    /// A new venue in Moscow with the small hall, and a performer.
    pub async fn hall(&self) -> Hall {
        self.hall_of(hall_scheme()).await
    }

    /// The same with another scheme.
    pub async fn hall_of(&self, mut scheme: Value) -> Hall {
        let venue = json!({ "name": "House", "city": "Moscow", "address": "1 Square", "time_zone": "Europe/Moscow" });
        let venue = self.post(&self.admin, "/admin/venues", &venue).await.expect(201);
        scheme["venue_id"] = venue["id"].clone();
        let layout = self.post(&self.admin, "/admin/layouts", &scheme).await.expect(201);
        let performer =
            self.post(&self.admin, "/admin/performers", &json!({ "name": "The Players" })).await.expect(201);
        let layout = id(&layout).to_owned();
        Hall { venue: id(&venue).to_owned(), layout, performer: id(&performer).to_owned() }
    }

    /// What makes an event of a hall of the small scheme; members of `changes` replace those of the same name.
    pub fn event_in(&self, hall: &Hall, changes: &Value) -> Value {
        let prices = json!({ "stalls": 150_000, "side": 3_333, "gift": 0, "penny": 10, "floor": 90_000 });
        let mut event = json!({
            "name": "The Cherry Orchard",
            "performer_id": hall.performer,
            "layout_id": hall.layout,
            "layout_version": 1,
            "starts_at": STARTS_AT,
            "on_sale_from": "2027-01-01T00:00:00Z",
            "currency": "RUB",
            "prices": prices,
            "refund_policy": { "statute": "ru_performing_arts" },
        });
        for (name, value) in changes.as_object().into_iter().flatten() {
            event[name] = value.clone();
        }
        event
    }

    /// A published event in this hall; its id.
    pub async fn event(&self, hall: &Hall, changes: &Value) -> String {
        let made = self.post(&self.admin, "/admin/events", &self.event_in(hall, changes)).await.expect(201);
        let event = id(&made).to_owned();
        self.post(&self.admin, &format!("/admin/events/{event}/publication"), &Value::Null).await.expect(200);
        self.settled().await;
        event
    }

    /// A hall and an event in it that is on sale; the event's id.
    pub async fn on_sale(&self) -> String {
        let hall = self.hall().await;
        self.event(&hall, &Value::Null).await
    }
}
