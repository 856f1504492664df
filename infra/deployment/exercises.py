"""What each function does, one exercise a role: whoever takes a permission away must see one of these fail."""

import itertools
from datetime import datetime, timedelta, timezone

# Rows of the small hall's stalls: an exercise takes two seats of a row of its own.
ROWS = 30
WAIT_SECONDS = 45


class Scene:
    """An administrator, a buyer and a hall; each event in it has rows for some exercises."""

    def __init__(self, office):
        self.office = office
        self.admin, self.buyer = office.administrator(), office.person("buyer")
        self.hall, self.rows = office.hall(self.admin), itertools.count()
        self.current = None

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


def of(role, action):
    """The exercise of a role's action, and what has to be taken from other roles before it is used at all."""
    # What cannot be published is put aside, and published from there.
    put_aside = [("RelayRole", "sns:Publish")]
    if (role, action) == ("RelayRole", "sqs:SendMessage") or role == "RepublishRole":
        return Scene.given_back, put_aside
    return EXERCISES[role], []


def register(scene):
    person = scene.office.person("somebody")
    person.ask("GET", "/me")
    person.ask("PATCH", "/me", {"name": "Somebody else"})
    scene.office.ask("GET", "/.well-known/jwks.json")
    tokens = scene.office.ask("POST", "/sessions/refresh", {"refresh_token": person.refresh_token}, 201)
    scene.office.ask("DELETE", "/sessions", {"refresh_token": tokens["refresh_token"]}, 204)


def catalog(scene):
    event, _ = scene.place()
    shown = scene.office.ask("GET", f"/events/{event}")
    scene.office.ask("GET", "/events")
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
    order = scene.paid()
    admin.ask("POST", f"/admin/users/{scene.buyer.id}/orders/{order['id']}/refunds", {"ground": "illness"}, 201)
    office.becomes(scene.buyer, order, "refunded", WAIT_SECONDS)


def webhook(scene):
    scene.paid()


def settle(scene):
    office = scene.office
    scene.given_back()
    event = office.event(scene.admin, scene.hall)
    order = office.hold(scene.buyer, event, 1)
    office.confirm(office.start_payment(scene.buyer, order))
    office.becomes(scene.buyer, order, "paid", WAIT_SECONDS)
    scene.admin.ask("POST", f"/admin/events/{event}/cancellation")
    office.becomes(scene.buyer, order, "refunded", WAIT_SECONDS)
    event, row = scene.place()
    late = office.hold(scene.buyer, event, row)
    office.start_payment(scene.buyer, late)
    office.set_back(scene.buyer, late)
    office.cloud.invoke("Sweep")
    office.becomes(scene.buyer, late, "expired", WAIT_SECONDS)


def sweep(scene):
    event, row = scene.place()
    order = scene.office.hold(scene.buyer, event, row)
    scene.office.set_back(scene.buyer, order)
    scene.office.cloud.invoke("Sweep")
    scene.office.becomes(scene.buyer, order, "expired", WAIT_SECONDS)


def reconcile(scene):
    """A sale that the journal has yesterday and the provider has not: its order is looked at."""
    office, table, order = scene.office, scene.office.cloud.names["Ledger"], scene.paid()
    sale = next(item for item in office.items("Ledger") if item["order"]["S"] == order["id"])
    at = datetime.now(timezone.utc) - timedelta(days=1)
    sale |= {"at": {"S": at.isoformat().replace("+00:00", "Z")}, "sk": {"S": sale["sk"]["S"] + "#yesterday"}}
    office.tables.put_item(TableName=table, Item=sale)
    office.cloud.invoke("Reconcile")


EXERCISES = {
    "RegisterRole": register,
    "CatalogFunctionRole": catalog,
    "BuyRole": buy,
    "RefundRole": refund,
    "PaymentWebhookRole": webhook,
    "AdminRole": admin,
    "SettleRole": settle,
    "RelayRole": Scene.given_back,
    "SweepRole": sweep,
    "ReconcileRole": reconcile,
}
