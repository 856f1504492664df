"""What each function does, one exercise a role: whoever takes a permission away must see one of these fail."""

import itertools
from datetime import datetime, timedelta, timezone

from chats import Chat, Posted
from office import CONSENT, DAY_SECONDS, MONTH_SECONDS, eventually, plan_terms, promotion_terms, text_of

# Rows of the small hall's stalls: an exercise takes two seats of a row of its own.
ROWS = 30
WAIT_SECONDS = 45


class Scene:
    """An administrator, a buyer, a subscriber, and what they find: a hall, whose events have rows for some exercises each, two
    plans and a code."""

    def __init__(self, office):
        self.office = office
        self.admin, self.buyer = office.administrator(), office.person("buyer")
        self.hall, self.rows = office.hall(self.admin), itertools.count()
        self.current, self.hidden = None, office.event(self.admin, self.hall, hidden=True)
        self.plan = office.plan(self.admin)
        self.dearer = office.plan(self.admin, price={"amount": 60_000, "currency": "RUB"})
        self.code = office.promotion(self.admin)["code"]
        self.friend = office.person("friend")
        office.subscribe(self.friend, self.plan)

    def place(self):
        """An event and a row of it that nobody has used."""
        number = next(self.rows)
        if number % ROWS == 0:
            self.current = self.office.event(self.admin, self.hall)
        return self.current, number % ROWS + 1

    def paid(self):
        event, row = self.place()
        order = self.office.hold(self.buyer, event, row)
        self.office.confirm(self.office.start_payment(self.buyer, order))
        return self.office.becomes(self.buyer, order, "paid", WAIT_SECONDS)

    def given_back(self):
        order = self.paid()
        self.buyer.ask("POST", f"/orders/{order['id']}/refunds", {}, 201)
        self.office.becomes(self.buyer, order, "refunded", WAIT_SECONDS)

    def called_off(self):
        """An event is cancelled after somebody paid. Its effect alone tells of it, where a refund that is asked for may be done by
        a late message of the payment."""
        event = self.office.event(self.admin, self.hall)
        order = self.office.hold(self.buyer, event, 1)
        self.office.confirm(self.office.start_payment(self.buyer, order))
        self.office.becomes(self.buyer, order, "paid", WAIT_SECONDS)
        self.admin.ask("POST", f"/admin/events/{event}/cancellation")
        self.office.becomes(self.buyer, order, "refunded", WAIT_SECONDS)


def of(role, action, resource):
    """The exercise of a role's action on what the template calls this, and what has to be taken from other roles before it is
    used at all."""
    # What cannot be published is put aside, and published from there.
    put_aside = [("RelayRole", "sns:Publish")]
    if (role, action) == ("RelayRole", "sqs:SendMessage") or role == "RepublishRole":
        return Scene.called_off, put_aside
    return OF_A_TABLE.get((role, resource)) or EXERCISES[role], []


def register(scene):
    person = scene.office.person("somebody")
    person.ask("GET", "/me")
    person.ask("PATCH", "/me", {"name": "Somebody else"})
    person.ask("GET", "/me/notices")
    person.ask("PUT", "/me/notice-settings", person.ask("GET", "/me/notice-settings"))
    scene.office.ask("GET", "/.well-known/jwks.json")
    tokens = scene.office.ask("POST", "/sessions/refresh", {"refresh_token": person.refresh_token}, 201)
    scene.office.ask("DELETE", "/sessions", {"refresh_token": tokens["refresh_token"]}, 204)


def catalog(scene):
    event, _ = scene.place()
    shown = scene.office.ask("GET", f"/events/{event}")
    scene.office.ask("GET", "/events")
    scene.friend.ask("GET", f"/events/{scene.hidden}")
    scene.office.ask("GET", f"/events/{event}/seats")
    layout = shown["layout"]
    scene.office.ask("GET", f"/layouts/{layout['id']}/{layout['version']}")


def buy(scene):
    office, buyer = scene.office, scene.office.person("buyer")
    event, row = scene.place()
    best = buyer.ask("POST", "/orders", {"event_id": event, "best": {"quantity": 2, "category": "gift"}}, 201)
    buyer.ask("DELETE", f"/orders/{best['id']}", expect=204)
    order = office.hold(buyer, event, row)
    office.start_payment(buyer, order)
    buyer.ask("GET", "/orders")
    buyer.ask("DELETE", f"/orders/{order['id']}", expect=204)
    # Included tickets are used, and given back.
    order = office.hold(scene.friend, event, row)
    scene.friend.ask("DELETE", f"/orders/{order['id']}", expect=204)
    event = office.event(scene.admin, scene.hall)
    order = office.hold(buyer, event, 40, "Gift")
    buyer.ask("POST", f"/orders/{order['id']}/payment", expect=201)
    office.becomes(buyer, order, "paid", 0)
    ticket = buyer.ask("GET", "/tickets")["items"][0]["id"]
    code = buyer.ask("GET", f"/tickets/{ticket}")["code"]
    buyer.ask("GET", f"/tickets/{ticket}/code.svg")
    scene.admin.ask("POST", f"/tickets/{ticket}/check-in", {"event_id": event, "code": code})


def refund(scene):
    order = scene.paid()
    scene.buyer.ask("POST", f"/orders/{order['id']}/refund-quotes", {})
    scene.buyer.ask("POST", f"/orders/{order['id']}/refunds", {}, 201)
    scene.buyer.ask("GET", f"/orders/{order['id']}/refunds")
    scene.office.becomes(scene.buyer, order, "refunded", WAIT_SECONDS)


def admin(scene):
    office, admin = scene.office, scene.admin
    hall = office.hall(admin)
    admin.ask("GET", "/admin/venues")
    admin.ask("GET", "/admin/performers")
    event = office.event(admin, hall)
    admin.ask("GET", "/admin/events")
    admin.ask("GET", f"/admin/events/{event}")
    admin.ask("PATCH", f"/admin/events/{event}", {"name": "Another name"})
    seats = [{"section": "Stalls", "row": "1", "seat": "1"}]
    admin.ask("POST", f"/admin/events/{event}/blocks", {"seats": seats, "reason": "house"}, 204)
    admin.ask("DELETE", f"/admin/events/{event}/blocks", {"seats": seats}, 204)
    admin.ask("POST", f"/admin/events/{event}/cancellation")
    admin.ask("PUT", f"/admin/users/{scene.buyer.id}/roles", {"roles": ["buyer"]})
    admin.ask("GET", "/admin/reconciliations")
    plan = office.plan(admin)
    admin.ask("GET", "/admin/plans")
    admin.ask("PUT", f"/admin/plans/{plan}", plan_terms(grace_days=20))
    admin.ask("POST", f"/admin/plans/{plan}/withdraw")
    order = scene.paid()
    admin.ask("POST", f"/admin/users/{scene.buyer.id}/orders/{order['id']}/refunds", {"ground": "illness"}, 201)
    office.becomes(scene.buyer, order, "refunded", WAIT_SECONDS)


def marketing(scene):
    admin = scene.admin
    promotion = scene.office.promotion(admin)
    own = f"/marketing/promotions/{promotion['id']}"
    admin.ask("GET", "/marketing/promotions")
    admin.ask("GET", own)
    admin.ask("PUT", own, promotion_terms(code=promotion["code"], redemptions_max=9))
    admin.ask("POST", f"{own}/stop")
    admin.ask("PUT", f"/marketing/users/{scene.buyer.id}/segments", {"segments": ["friends"]})


def messenger(scene):
    office, person = scene.office, scene.office.person("chatter")
    chat = Chat(office, person)
    [own] = person.ask("GET", "/messenger/chats")["items"]
    event, _ = scene.place()
    wish = {"scope": {"event_id": event}, "when": "seats_back"}
    alerts = [person.ask("POST", "/alerts", wish | {"standing": standing}, 201) for standing in (False, True)]
    person.ask("GET", "/alerts")
    for command, answer in (("/events", "What is on"), ("/tickets", "tickets"), ("/alerts", "alerts")):
        chat.says(command, answer)
    for alert in alerts:
        person.ask("DELETE", f"/alerts/{alert['id']}", expect=204)
    person.ask("DELETE", f"/messenger/chats/{own['id']}", expect=204)
    posted = Posted(office, person)
    office.buy(person, *scene.place())
    posted.is_told()


def told(scene, person, kind):
    """Waits for a notice of this kind."""
    def is_there(found):
        return any(notice["kind"] == kind for notice in found["items"])

    scene.office.comes_to(person, "/me/notices", f"has {kind}", is_there, WAIT_SECONDS)


def notify(scene):
    """Tickets come into two messengers' chats with their codes, or by e-mail; who bought hears that the event was called off, who
    subscribes that they do."""
    office, person, other = scene.office, scene.office.person("listener"), scene.office.person("reader")
    chat, event = Chat(office, person), office.event(scene.admin, scene.hall)
    posted = Posted(office, person)
    office.buy(person, event, 1)
    office.buy(other, event, 2)
    posted.is_told()
    chat.comes("a picture of a code", lambda message: "<img" in message)
    eventually("an e-mail", lambda: office.cloud.mails(other.email), WAIT_SECONDS)
    scene.admin.ask("POST", f"/admin/events/{event}/cancellation")
    told(scene, person, "event.cancelled")
    office.subscribe(person, scene.plan)
    told(scene, person, "subscription.started")


def remind(scene):
    """An event begins in a day and half an hour; the hour strikes."""
    office, person = scene.office, scene.office.person("forgetful")
    starts_at = text_of(datetime.now(timezone.utc).replace(microsecond=0) + timedelta(hours=24, minutes=30))
    event = office.event(scene.admin, scene.hall, starts_at=starts_at)
    office.buy(person, event, 1)
    office.cloud.invoke("Remind")
    told(scene, person, "event.reminder")


def offers(scene):
    """Seats come back twice: they are offered to a subscriber who waits for them, and nobody waits any more."""
    office, person = scene.office, scene.office.person("waiting")
    office.subscribe(person, scene.plan)
    chat = Chat(office, person)
    # Where nobody else waits.
    event = office.event(scene.admin, scene.hall)
    order = office.hold(scene.buyer, event, 1)
    wish = {"scope": {"event_id": event}, "when": "seats_back", "quantity": 2}
    for standing in (True, False):
        person.ask("POST", "/alerts", wish | {"standing": standing}, 201)
    scene.buyer.ask("DELETE", f"/orders/{order['id']}", expect=204)
    told(scene, person, "alert.offer")
    chat.comes("an offer", lambda message: "Held for you" in message)
    [offered] = person.ask("GET", "/orders")["items"]
    person.ask("DELETE", f"/orders/{offered['id']}", expect=204)
    told(scene, person, "alert.seats_back")


def subscribe(scene):
    office, person = scene.office, scene.office.person("subscriber")
    office.ask("GET", "/plans")
    office.ask("GET", f"/plans/{scene.plan}")
    given_up = office.begin(person, scene.plan, code=scene.code)
    person.ask("DELETE", f"/subscriptions/{given_up['id']}")
    own = office.subscribe(person, scene.plan, code=scene.code)
    person.ask("GET", "/subscriptions")
    for part in ("history", "charges", "cancellation-quote"):
        person.ask("GET", f"{own}/{part}")
    person.ask("DELETE", own)
    person.ask("POST", f"{own}/resume")
    office.confirm(person.ask("PUT", f"{own}/payment-method"), "pm_card_mastercard")
    office.comes_to(person, own, "has another card", lambda found: found["payment_method"]["last4"] == "4444", WAIT_SECONDS)
    person.ask("PUT", f"{own}/plan", {"plan_id": scene.dearer, "consent_text": CONSENT})
    office.comes_to(person, own, "has another plan", lambda found: found["plan_id"] == scene.dearer, WAIT_SECONDS)
    person.ask("DELETE", f"{own}?at=now")


def webhook(scene):
    scene.paid()


def settle(scene):
    office = scene.office
    scene.given_back()
    scene.called_off()
    event, row = scene.place()
    late = office.hold(scene.buyer, event, row)
    office.start_payment(scene.buyer, late)
    office.set_back(scene.buyer, late)
    office.cloud.invoke("Sweep")
    office.becomes(scene.buyer, late, "expired", WAIT_SECONDS)


def settle_subscriptions(scene):
    """An included ticket that nobody paid for goes back to its month; who comes back and has no money has no place."""
    office, person = scene.office, scene.office.person("poor")
    event, row = scene.place()
    order = office.hold(scene.friend, event, row)
    office.set_back(scene.friend, order)
    office.cloud.invoke("Sweep")
    office.becomes(scene.friend, order, "expired", WAIT_SECONDS)
    # Not a trial, which a card is given once.
    strict = office.plan(scene.admin, grace_days=1, retry_days=[])
    own = office.subscribe(person, strict)
    office.confirm(person.ask("PUT", f"{own}/payment-method"), "pm_sandbox_saved_insufficient_funds")
    office.comes_to(person, own, "has another card", lambda found: found["payment_method"]["last4"] != "4242", WAIT_SECONDS)
    office.passes(MONTH_SECONDS, person, own)
    office.cloud.invoke("Renew")
    office.comes_to(person, own, "is past due", lambda found: found["status"] == "past_due", WAIT_SECONDS)
    office.passes(2 * DAY_SECONDS, person, own)
    office.cloud.invoke("Renew")
    office.comes_to(person, own, "is lapsed", lambda found: found["status"] == "lapsed", WAIT_SECONDS)
    person.ask("POST", f"{own}/return")
    office.comes_to(person, own, "waits for nothing", lambda found: "open_charge" not in found, WAIT_SECONDS)


def renew(scene):
    """A month is over: one subscription goes on, and one ends with payments of its code left, which a card is given once."""
    office = scene.office
    stays, leaves = office.person("stays"), office.person("leaves")
    first = office.subscribe(stays, scene.plan)
    second = office.subscribe(leaves, scene.plan, code=office.promotion(scene.admin)["code"])
    leaves.ask("DELETE", second)
    office.passes(MONTH_SECONDS, stays, first)
    office.passes(MONTH_SECONDS, leaves, second)
    office.cloud.invoke("Renew")
    office.comes_to(leaves, second, "is over", lambda found: found["status"] == "ended", WAIT_SECONDS)
    office.comes_to(stays, first, "is renewed", lambda found: found["period"]["number"] == 2, WAIT_SECONDS)


def sweep(scene):
    event, row = scene.place()
    order = scene.office.hold(scene.buyer, event, row)
    scene.office.set_back(scene.buyer, order)
    scene.office.cloud.invoke("Sweep")
    scene.office.becomes(scene.buyer, order, "expired", WAIT_SECONDS)


def reconcile(scene):
    """Two sales that the journal has yesterday and the provider has not: an order that is as it should be, and a charge that
    forgot that it was paid and is told."""
    office, order = scene.office, scene.paid()
    sale = next(item for item in office.items("Ledger") if item.get("order") == {"S": order["id"]})
    booked_yesterday(office, sale, sale["pk"]["S"])
    person = office.person("forgotten")
    begun = office.begin(person, scene.plan)
    own = f"/subscriptions/{begun['id']}"
    before = office.kept(person, own)
    office.confirm(begun["payment"])
    office.comes_to(person, own, "is active", lambda found: found["status"] == "active", WAIT_SECONDS)
    forget(office, person, own, before)
    office.cloud.invoke("Reconcile")
    office.comes_to(person, own, "is active again", lambda found: found["status"] == "active", WAIT_SECONDS)


def booked_yesterday(office, entry, pk):
    """Adds a journal's entry of the day before like this one."""
    at = datetime.fromisoformat(entry["at"]["S"]) - timedelta(days=1)
    earlier = entry | {"at": {"S": text_of(at)}, "pk": {"S": pk}, "sk": {"S": entry["sk"]["S"] + "#yesterday"}}
    office.tables.put_item(TableName=office.cloud.names["Ledger"], Item=earlier)


def forget(office, person, own, before):
    """A subscription is as it was before it was paid, and the journal has its payment the day before."""
    name, names = own.split("/")[2], office.cloud.names
    entry = next(item for item in office.items("Ledger") if item["sk"]["S"] == f"{name}:1#charge")
    yesterday = datetime.fromisoformat(entry["at"]["S"]) - timedelta(days=1)
    _, _, shard = entry["pk"]["S"].split("#")
    booked_yesterday(office, entry, f"subscriptions#{yesterday:%Y-%m}#{shard}")
    office.tables.delete_item(TableName=names["Ledger"], Key={"pk": entry["pk"], "sk": entry["sk"]})
    for pk, sk in office.kept(person, own):
        if (pk, sk) not in before:
            office.tables.delete_item(TableName=names["Subscriptions"], Key={"pk": {"S": pk}, "sk": {"S": sk}})
    for item in before.values():
        office.tables.put_item(TableName=names["Subscriptions"], Item=item)


EXERCISES = {
    "RegisterRole": register,
    "CatalogFunctionRole": catalog,
    "BuyRole": buy,
    "RefundRole": refund,
    "SubscribeRole": subscribe,
    "PaymentWebhookRole": webhook,
    "AdminRole": admin,
    "MarketingRole": marketing,
    "MessengerRole": messenger,
    "NotifyRole": notify,
    "RemindRole": remind,
    "OffersFunctionRole": offers,
    "SettleRole": settle,
    "RelayRole": Scene.called_off,
    "SweepRole": sweep,
    "RenewRole": renew,
    "ReconcileRole": reconcile,
}
# Where one exercise of all that a role does would take too long.
OF_A_TABLE = {("SettleRole", "table/Subscriptions"): settle_subscriptions}
