"""The box office as its users have it: an HTTP client, and what an administrator, a buyer and a night do with it."""

import base64
import itertools
import json
import re
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone

import cloud as clouds

# How long something that messages bring about may take. A minute passes between two runs of the sweeper.
EVENTUALLY_SECONDS_MAX = 100
LOOK_SECONDS = 0.1
REQUEST_SECONDS_MAX = 40
PRICE, FREE, HELD, SOLD = 150_000, 0, 1, 2
MONTH_PRICE = 30_000
CONSENT = "300.00 RUB each month from today until I cancel."
# How far a hold is set back: it ended, and long enough ago that nobody's clock doubts it.
BACK_SECONDS = 3_600
DAY_SECONDS = 86_400
# So far back, whatever month was paid for is over.
MONTH_SECONDS = 32 * DAY_SECONDS
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
# Writes of one item that lose to others before that is an error.
WRITE_TRIES_MAX = 10
BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


class Refused(AssertionError):
    """An answer other than the one that was expected."""

    def __init__(self, what, status, body):
        super().__init__(f"{what}: {status} {json.dumps(body)}")
        self.status, self.body = status, body


def send(method, url, body=None, headers=None, form=None):
    """Status and JSON of an answer, whatever it is."""
    headers = dict(headers or {})
    data = None
    if form is not None:
        data = urllib.parse.urlencode(form).encode()
    elif body is not None:
        data, headers["content-type"] = json.dumps(body).encode(), "application/json"
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=REQUEST_SECONDS_MAX) as answer:
            status, text, received = answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        status, text, received = error.code, error.read(), error.headers
    try:
        return status, json.loads(text or b"null"), received
    except ValueError:
        return status, text.decode(errors="replace"), received


def eventually(what, holds, seconds=EVENTUALLY_SECONDS_MAX):
    """Waits until this returns something true, and returns that."""
    started = time.monotonic()
    while True:
        if found := holds():
            return found
        if time.monotonic() - started > seconds:
            raise AssertionError(f"it does not come to this in {seconds} s: {what}")
        time.sleep(LOOK_SECONDS)


class Person:
    """Somebody with an account, signed in."""

    def __init__(self, office, email):
        self.office, self.email, self.password = office, email, secrets.token_urlsafe(18)
        who = {"email": email, "password": self.password, "name": email.split("@")[0]}
        self.id = office.ask("POST", "/users", who, expect=201)["id"]
        self.sign_in()

    def sign_in(self):
        body = {"email": self.email, "password": self.password}
        tokens = self.office.ask("POST", "/sessions", body, expect=201)
        self.token, self.refresh_token = tokens["access_token"], tokens["refresh_token"]

    def ask(self, method, path, body=None, expect=200):
        def once():
            return self.office.ask(method, path, body, expect, {"authorization": f"Bearer {self.token}"})

        try:
            return once()
        except Refused as refused:
            # A session is good for a quarter of an hour, and all permissions together take longer.
            if refused.status != 401 or expect == 401:
                raise
        self.sign_in()
        return once()


class Office:
    def __init__(self, cloud):
        self.cloud, self.numbers = cloud, itertools.count(1)
        self.tables = cloud.client("dynamodb")

    def ask(self, method, path, body=None, expect=200, headers=None):
        headers = dict(headers or {})
        if method == "POST":
            headers["idempotency-key"] = secrets.token_hex(12)
        status, answer, _ = send(method, self.cloud.api + path, body, headers)
        if status != expect:
            raise Refused(f"{method} {path}", status, answer)
        return answer

    def person(self, what):
        return Person(self, f"{what}-{next(self.numbers)}-{secrets.token_hex(4)}@example.com")

    def administrator(self):
        """The way in which a new stack gets its first: they sign up, and the operator's command gives them the role."""
        person = self.person("admin")
        self.cloud.boxoffice("grant-role", person.email, "admin", "--aws")
        person.sign_in()
        return person

    # What an administrator makes.

    def hall(self, admin):
        names = {"name": "House", "city": "Moscow", "address": "1 Square", "time_zone": "Europe/Moscow"}
        venue = admin.ask("POST", "/admin/venues", names, 201)["id"]

        def row(name, category):
            return {"name": name, "x": 0, "y": int(name) * 100, "dx": 50, "seats": 10, "category": category}

        rows = [row(str(number), "stalls") for number in range(1, 31)]
        layout = admin.ask("POST", "/admin/layouts", {
            "name": "Small hall",
            "venue_id": venue,
            "categories": [{"id": name, "name": name, "color": "#336699"} for name in ("stalls", "gift")],
            "sections": [
                {"id": "Stalls", "name": "Stalls", "rows": rows},
                {"id": "Gift", "name": "Gift", "rows": [row("40", "gift"), row("41", "gift")]},
            ],
        }, 201)["id"]
        performer = admin.ask("POST", "/admin/performers", {"name": "The Players"}, 201)["id"]
        return layout, performer

    def event(self, admin, hall, **changes):
        """A published event; `changes` to what it is."""
        layout, performer = hall
        now = datetime.now(timezone.utc).replace(microsecond=0)
        event = admin.ask("POST", "/admin/events", {
            "name": "The Cherry Orchard",
            "performer_id": performer,
            "layout_id": layout,
            "layout_version": 1,
            "starts_at": text_of(now + timedelta(days=92)),
            "on_sale_from": text_of(now - timedelta(days=1)),
            "currency": "RUB",
            "prices": {"stalls": PRICE, "gift": 0},
            "refund_policy": {"statute": "ru_performing_arts"},
        } | changes, 201)["id"]
        admin.ask("POST", f"/admin/events/{event}/publication")
        return event

    def plan(self, admin, **changes):
        """A monthly plan; `changes` to its terms."""
        return admin.ask("POST", "/admin/plans", plan_terms(**changes), 201)["id"]

    def promotion(self, admin, **changes):
        """A code that lowers three payments by a tenth, for everybody, once."""
        return admin.ask("POST", "/marketing/promotions", promotion_terms(**changes), 201)

    # What a buyer does.

    def hold(self, buyer, event, row, section="Stalls", count=2):
        seats = [{"section": section, "row": str(row), "seat": str(seat)} for seat in range(1, count + 1)]
        return buyer.ask("POST", "/orders", {"event_id": event, "seats": seats}, 201)

    def start_payment(self, buyer, order):
        return buyer.ask("POST", f"/orders/{order['id']}/payment", expect=201)

    def confirm(self, payment, card="pm_card_visa"):
        """What a buyer's browser does at the provider, with the publishable key alone: a payment, or a card to be saved."""
        key = base64.b64encode(f"{payment['publishable_key']}:".encode()).decode()
        form = {"client_secret": payment["client_secret"], "payment_method": card}
        paid, saved = payment.get("payment_id"), payment.get("setup_id")
        what = f"payment_intents/{paid}" if paid else f"setup_intents/{saved}"
        url = f"{payment['api_base']}/v1/{what}/confirm"
        status, answer, _ = send("POST", url, headers={"authorization": f"Basic {key}"}, form=form)
        if status != 200:
            raise Refused("the provider's confirmation", status, answer)

    def becomes(self, buyer, order, status, seconds=EVENTUALLY_SECONDS_MAX):
        def look():
            found = buyer.ask("GET", f"/orders/{order['id']}")
            return found if found["status"] == status else None

        return eventually(f"the order is {status}", look, seconds)

    def buy(self, buyer, event, row):
        """A paid order."""
        order = self.hold(buyer, event, row)
        payment = self.start_payment(buyer, order)
        self.confirm(payment)
        return self.becomes(buyer, order, "paid") | {"payment_id": payment["payment_id"]}

    # What a subscriber does.

    def begin(self, person, plan, **more):
        """A subscription that waits for its payment, or for a card."""
        body = {"plan_id": plan, "time_zone": "Europe/Moscow", "consent_text": CONSENT} | more
        return person.ask("POST", "/subscriptions", body, 201)

    def subscribe(self, person, plan, card="pm_card_visa", status="active", **more):
        """Begins one with this card; its path, once it has this status."""
        begun = self.begin(person, plan, **more)
        self.confirm(begun["payment"], card)
        path = f"/subscriptions/{begun['id']}"
        self.comes_to(person, path, f"is {status}", lambda found: found["status"] == status)
        return path

    def comes_to(self, person, path, what, holds, seconds=EVENTUALLY_SECONDS_MAX):
        """Waits until this holds of what is there, and returns that."""
        def look():
            found = person.ask("GET", path)
            return found if holds(found) else None

        return eventually(f"{path} {what}", look, seconds)

    def seats(self, event, row, section="Stalls", count=2):
        """What the map says of the first seats of a row."""
        sections = self.ask("GET", f"/events/{event}/seats")["sections"]
        rows = next(found["rows"] for found in sections if found["id"] == section)
        text = rows[str(row)]
        bits = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return [bits[index // 4] >> (6 - index % 4 * 2) & 3 for index in range(count)]

    def seats_become(self, event, row, state, section="Stalls"):
        # A map may be a second old.
        eventually(f"row {row} is {state}", lambda: set(self.seats(event, row, section)) == {state}, 10)

    # Behind the doors.

    def at_provider(self, path):
        key = base64.b64encode(f"{self.cloud.keys['secret']}:".encode()).decode()
        status, answer, _ = send("GET", f"{self.cloud.provider}/v1/{path}", headers={"authorization": f"Basic {key}"})
        if status != 200:
            raise Refused(f"the provider's {path}", status, answer)
        return answer

    def items(self, table):
        pages = self.tables.get_paginator("scan").paginate(TableName=self.cloud.names[table], ConsistentRead=True)
        return [item for page in pages for item in page["Items"]]

    def set_back(self, buyer, order):
        """Nobody can move the clock of a function, so the order's hold is made an old one: in the order and in its seats."""
        names = self.cloud.names
        key = {"pk": {"S": buyer.id}, "sk": {"S": order["id"]}}
        item = self.tables.get_item(TableName=names["Orders"], Key=key, ConsistentRead=True)["Item"]
        was = int(item["hold_until"]["N"])
        mark, old = lapse_mark(was), lapse_mark(was - BACK_SECONDS)
        self.tables.update_item(
            TableName=names["Orders"], Key=key, UpdateExpression="SET hold_until = :at, due_at = :at",
            ExpressionAttributeValues={":at": {"N": str(was - BACK_SECONDS)}},
        )
        for row in self.items("Seats"):
            for index, word in row.items():
                if index.isdigit() and word["S"].startswith(mark):
                    self.tables.update_item(
                        TableName=names["Seats"], Key={"pk": row["pk"], "sk": row["sk"]}, UpdateExpression="SET #i = :w",
                        ExpressionAttributeNames={"#i": index},
                        ExpressionAttributeValues={":w": {"S": old + word["S"][len(mark):]}},
                    )


    def passes(self, seconds, person, path):
        """For a subscription and its charges so much time passes: each instant in them is so much earlier."""
        name = path.split("/")[2]
        charges = [item for item in self.items("Subscriptions") if item["pk"]["S"] == name]
        for item in [*charges, {"pk": {"S": person.id}, "sk": {"S": name}}]:
            if item["sk"]["S"].startswith(("charge#", "sub_")):
                self.set_item_back({"pk": item["pk"], "sk": item["sk"]}, seconds)

    def set_item_back(self, key, seconds):
        table = self.cloud.names["Subscriptions"]
        for _ in range(WRITE_TRIES_MAX):
            item = self.tables.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
            # What is set off has happened, whenever that was.
            earlier = {name: value if name == "effects" else set_back(value, seconds) for name, value in item.items()}
            if "due_at" in item:
                earlier["due_at"] = {"N": str(int(item["due_at"]["N"]) - seconds)}
            try:
                self.tables.put_item(
                    TableName=table, Item=earlier, ConditionExpression="v = :v", ExpressionAttributeValues={":v": item["v"]},
                )
                return
            except self.tables.exceptions.ConditionalCheckFailedException:
                continue
        raise AssertionError(f"others write {key} again and again")

    def kept(self, person, path):
        """All items of a subscription, by their keys."""
        name = path.split("/")[2]
        own = [item for item in self.items("Subscriptions") if name in (item["pk"]["S"], item["sk"]["S"])]
        return {(item["pk"]["S"], item["sk"]["S"]): item for item in own}


def plan_terms(**changes):
    return {
        "name": {"ru": "Друг", "en": "Friend"},
        "price": {"amount": MONTH_PRICE, "currency": "RUB"},
        "billing": "monthly",
        "perks": [{"kind": "tickets", "a_month": 50}, {"kind": "hidden_events"}],
        "cancel_refund": "none",
    } | changes


def promotion_terms(**changes):
    now = datetime.now(timezone.utc).replace(microsecond=0)
    return {
        "name": {"ru": "Весна", "en": "Spring"},
        "code": f"SPRING{secrets.token_hex(4)}",
        "gift": {"percent": 1_000},
        "periods": 3,
        "from": text_of(now - timedelta(days=1)),
        "until": text_of(now + timedelta(days=30)),
        "audience": "everyone",
    } | changes


def set_back(value, seconds):
    """An attribute's value with each instant in it so much earlier."""
    [(kind, inner)] = value.items()
    match kind:
        case "M":
            return {kind: {name: set_back(one, seconds) for name, one in inner.items()}}
        case "L":
            return {kind: [set_back(one, seconds) for one in inner]}
        case "S" if INSTANT.fullmatch(inner):
            return {kind: text_of(datetime.fromisoformat(inner) - timedelta(seconds=seconds))}
    return value


def text_of(instant):
    """An instant as items have it."""
    return instant.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def lapse_mark(second):
    """How a held seat's word begins: `H` and the end of the hold, seven digits to the base 36 (`domain::seating::words`)."""
    digits = ""
    for _ in range(7):
        second, digit = divmod(second, 36)
        digits = BASE36[digit] + digits
    return "H" + digits
