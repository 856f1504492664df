//! A venue with one hall, events in it that are on sale, and the seats that buyers choose.

use crate::Failed;
use crate::args::Plan;
use crate::http::Connection;
use crate::people::Person;
use crate::server::Started;
use domain::layout::{Hall, Layout, SectionKind};
use domain::seating::SeatName;
use hyper::Request;
use hyper::http::request::Builder;
use serde::Deserialize;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::time::Duration;

/// The arena of the demo: 20,000 places.
const ARENA: &str = include_str!("../../../infra/demo/arena.json");
/// Minor units of every seat.
const PRICE_MINOR_UNITS: i64 = 4_500;
const DAYS_AHEAD: u64 = 60;
/// Seats are sold in no order, but in the same one each time.
const SHUFFLE_SEED: u64 = 0x9e37_79b9_7f4a_7c15;
/// Events whose maps are read anew, so that enough of them can be read a second.
pub const MAP_EVENTS: usize = 4;

/// Two neighbouring seats of one row, as the body of `POST /orders`.
pub type Pair = String;

/// What is on sale.
pub struct House {
    pub events: Vec<String>,
    /// Places of each event.
    pub places: u32,
    hall: Hall,
    /// What nobody has been sent to yet; an event's pairs follow each other.
    pairs: RefCell<Vec<(usize, SeatName, SeatName)>>,
    total: usize,
}

#[derive(Deserialize)]
struct Made {
    id: String,
}

#[derive(Deserialize)]
struct LayoutMade {
    id: String,
    version: u32,
    seats_total: u32,
}

/// An administrator at work.
struct Office {
    connection: Connection,
    admin: Person,
}

impl Office {
    async fn post(&mut self, path: &str, key: &str, body: &Value) -> Result<crate::http::Answer, Failed> {
        let request = self.admin.sign(Request::post(path)).header("idempotency-key", key);
        self.connection.send_json(request, body.to_string()).await
    }

    async fn event(
        &mut self,
        index: usize,
        performer: &str,
        layout: &LayoutMade,
        hall: &Hall,
    ) -> Result<String, Failed> {
        let now = platform::Clock::default().now();
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let prices: serde_json::Map<String, Value> =
            hall.categories().iter().map(|category| (category.id.clone(), PRICE_MINOR_UNITS.into())).collect();
        let body = json!({
            "name": format!("Evening {index}"),
            "performer_id": performer,
            "layout_id": layout.id,
            "layout_version": layout.version,
            "starts_at": (now + hours(24 * DAYS_AHEAD)).to_string(),
            "on_sale_from": (now - hours(1)).to_string(),
            "currency": "EUR",
            "prices": prices,
            "refund_policy": {
                "tiers": [{ "notice": { "days": 7 }, "share": 8000 }],
                "statute": "ru_performing_arts",
            },
        });
        let event: Made = self.post("/admin/events", &format!("event {index}"), &body).await?.expect(201)?.json()?;
        let path = format!("/admin/events/{}/publication", event.id);
        self.post(&path, "publish", &Value::Null).await?.expect(200)?;
        Ok(event.id)
    }
}

impl House {
    /// Sets everything up as an administrator would, with enough events for all that the plan sells.
    pub async fn open(started: &Started, plan: &Plan) -> Result<Self, Failed> {
        let mut connection = Connection::open(&started.url).await?;
        let admin = Person::sign_in(&mut connection, &started.admin_email, &started.admin_password).await?;
        let mut office = Office { connection, admin };
        let body =
            json!({ "name": "Load Park", "city": "Riga", "address": "Load Street 1", "time_zone": "Europe/Riga" });
        let venue: Made = office.post("/admin/venues", "venue", &body).await?.expect(201)?.json()?;
        let performer = json!({ "name": "The Loaders" });
        let performer: Made = office.post("/admin/performers", "performer", &performer).await?.expect(201)?.json()?;
        let mut scheme: Value = serde_json::from_str(ARENA)?;
        scheme["venue_id"] = json!(venue.id);
        let layout: LayoutMade = office.post("/admin/layouts", "layout", &scheme).await?.expect(201)?.json()?;
        let path = format!("/layouts/{}/{}", layout.id, layout.version);
        let hall: Layout = office.connection.send(Request::get(path), "").await?.expect(200)?.json()?;
        let hall = Hall::new(hall);

        let pairs = pairs(&hall);
        let wanted = plan.orders + plan.holds;
        // One more, since those of the fights and of the maps come on top.
        let count = (wanted.div_ceil(pairs.len()) + 1).max(MAP_EVENTS);
        let mut events = Vec::with_capacity(count);
        for index in 0..count {
            events.push(office.event(index, &performer.id, &layout, &hall).await?);
        }
        let mut all = Vec::with_capacity(count * pairs.len());
        for index in 0..count {
            all.extend(pairs.iter().map(|(left, right)| (index, left.clone(), right.clone())));
        }
        shuffle(&mut all);
        Ok(Self { events, places: layout.seats_total, hall, total: all.len(), pairs: RefCell::new(all) })
    }

    pub fn pairs_total(&self) -> usize {
        self.total
    }

    /// The next two seats that nobody was sent to, as a request's body.
    pub fn pair(&self) -> Result<Pair, Failed> {
        let next = self.pairs.borrow_mut().pop();
        let (event, left, right) = next.ok_or_else(|| Failed::Because("all seats are sold".to_owned()))?;
        Ok(self.order(event, &[left, right]))
    }

    /// Two seats by their number, whether or not somebody has them: the body of an order, and their names.
    pub fn pair_at(&self, number: usize) -> Result<(Value, [SeatName; 2]), Failed> {
        let pairs = self.pairs.borrow();
        let pair = pairs.get(number).cloned();
        let (event, left, right) = pair.ok_or_else(|| Failed::Because("all seats are sold".to_owned()))?;
        let seats = [left, right];
        Ok((serde_json::from_str(&self.order(event, &seats))?, seats))
    }

    /// Two seats of one event.
    pub fn pair_of(&self, event: usize) -> Result<Pair, Failed> {
        let mut pairs = self.pairs.borrow_mut();
        let at = pairs.iter().rposition(|(of, ..)| *of == event);
        let at = at.ok_or_else(|| Failed::Because("all seats of an event are sold".to_owned()))?;
        let (_, left, right) = pairs.swap_remove(at);
        Ok(self.order(event, &[left, right]))
    }

    /// So many single seats of one event, in as few rows as have them all.
    pub fn singles(&self, event: usize, count: usize) -> Result<Vec<Pair>, Failed> {
        let mut pairs = self.pairs.borrow_mut();
        let (mut of_event, rest): (Vec<_>, Vec<_>) = pairs.drain(..).partition(|(of, ..)| *of == event);
        of_event.sort_by(|(_, a, _), (_, b, _)| (&a.section, &a.row).cmp(&(&b.section, &b.row)));
        let kept = of_event.split_off(count.div_ceil(2).min(of_event.len()));
        *pairs = rest;
        pairs.splice(0..0, kept);
        let seats: Vec<SeatName> =
            of_event.into_iter().flat_map(|(_, left, right)| [left, right]).take(count).collect();
        if seats.len() < count {
            return Err(Failed::Because("an event has too few seats left".to_owned()));
        }
        Ok(seats.iter().map(|seat| self.order(event, std::slice::from_ref(seat))).collect())
    }

    fn order(&self, event: usize, seats: &[SeatName]) -> Pair {
        let seats: Vec<Value> =
            seats.iter().map(|seat| json!({ "section": seat.section, "row": seat.row, "seat": seat.seat })).collect();
        json!({ "event_id": self.events[event], "seats": seats }).to_string()
    }

    /// A request for the map of an event, compressed.
    pub fn map_of(&self, event: usize) -> Builder {
        Request::get(format!("/events/{}/seats", self.events[event])).header("accept-encoding", "gzip")
    }

    pub fn sections(&self) -> usize {
        self.hall.layout().sections.len()
    }
}

/// All pairs of neighbouring seats that are kept in one item, each seat in one pair.
fn pairs(hall: &Hall) -> Vec<(SeatName, SeatName)> {
    let mut pairs = Vec::new();
    for section in &hall.layout().sections {
        let SectionKind::Rows(rows) = &section.kind else { continue };
        for row in rows {
            let name =
                |number: u16| SeatName { section: section.id.clone(), row: row.name.clone(), seat: number.to_string() };
            let numbers: Vec<u16> = (0..row.seats).filter_map(|position| row.number_at(position)).collect();
            let neighbours = numbers.chunks_exact(2).map(|pair| (name(pair[0]), name(pair[1])));
            let block = |seat: &SeatName| hall.find(seat).map(|found| found.place.block);
            pairs.extend(neighbours.filter(|(left, right)| block(left) == block(right)));
        }
    }
    pairs
}

/// Fisher and Yates' shuffle with Marsaglia's xorshift: the same order each time.
fn shuffle<T>(items: &mut [T]) {
    let mut state = SHUFFLE_SEED;
    for end in (1..items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        items.swap(end, (state % (end as u64 + 1)) as usize);
    }
}
