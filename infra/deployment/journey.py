"""What a person would care about, over HTTP through every service between: sold, paid, given back, lapsed, called off."""

import json
import time

from botocore.exceptions import ClientError

from chats import Chat
from cloud import QUEUES
from office import FREE, HELD, MONTH_PRICE, MONTH_SECONDS, PRICE, SOLD, Refused, eventually, send

# A payment of two seats.
TOTAL = 2 * PRICE


def run(office, say):
    """Goes through it, saying what was seen; an AssertionError says what was not."""
    steps = [
        opening, buying, checking_in, giving_back, giving_up, nothing_to_pay, hearing, subscribing, having_perks, lapsing, renewing,
        calling_off, keeping_books, adding_only, foreign_pages, quiet,
    ]
    state = {"office": office}
    for step in steps:
        started = time.monotonic()
        step(office, state)
        say(f"{time.monotonic() - started:6.1f} s  {step.__doc__}")


def opening(office, state):
    """an administrator is made by the operator's command, and opens a hall with two events"""
    state["admin"] = office.administrator()
    hall = state["hall"] = office.hall(state["admin"])
    state["event"], state["doomed"] = office.event(state["admin"], hall), office.event(state["admin"], hall)
    state["buyer"] = office.person("buyer")
    listed = office.ask("GET", "/events")["items"]
    assert {state["event"], state["doomed"]} <= {event["id"] for event in listed}, listed


def buying(office, state):
    """two seats are held, paid by card, and become two valid tickets, which come by e-mail"""
    buyer, event = state["buyer"], state["event"]
    order = office.hold(buyer, event, 1)
    assert order["status"] == "held", order
    office.seats_become(event, 1, HELD)
    other = office.person("late")
    seats = [{"section": "Stalls", "row": "1", "seat": "2"}]
    refused = other.ask("POST", "/orders", {"event_id": event, "seats": seats}, 409)
    assert refused["code"] == "seats_taken", refused
    payment = office.start_payment(buyer, order)
    office.confirm(payment)
    paid = office.becomes(buyer, order, "paid")
    office.seats_become(event, 1, SOLD)
    intent = office.at_provider(f"payment_intents/{payment['payment_id']}")
    assert (intent["status"], intent["amount_received"]) == ("succeeded", TOTAL), intent
    tickets = buyer.ask("GET", "/tickets")["items"]
    assert [ticket["status"] for ticket in tickets] == ["valid", "valid"], tickets
    subject = "Your 2 tickets are here: The Cherry Orchard"
    eventually("they are sent by e-mail", lambda: office.cloud.mails(buyer.email) == [subject])
    state |= {"paid": paid | {"payment_id": payment["payment_id"]}, "tickets": tickets}


def checking_in(office, state):
    """a ticket's code is shown, admits once, and not twice"""
    ticket = state["tickets"][0]["id"]
    shown = state["buyer"].ask("GET", f"/tickets/{ticket}")
    assert "<svg" in state["buyer"].ask("GET", f"/tickets/{ticket}/code.svg")
    body = {"event_id": state["event"], "code": shown["code"]}
    state["admin"].ask("POST", f"/tickets/{ticket}/check-in", body)
    again = state["admin"].ask("POST", f"/tickets/{ticket}/check-in", body, 409)
    assert again["code"] == "ticket_used", again


def giving_back(office, state):
    """the other ticket is given back: the money at the provider, the seat free again"""
    buyer, order, ticket = state["buyer"], state["paid"], state["tickets"][1]["id"]
    quote = buyer.ask("POST", f"/orders/{order['id']}/refund-quotes", {"ticket_ids": [ticket]})
    assert quote["total"]["amount"] == PRICE, quote
    buyer.ask("POST", f"/orders/{order['id']}/refunds", {"ticket_ids": [ticket]}, 201)
    order = office.becomes(buyer, order, "partly_refunded")
    eventually("its seat is free, and its neighbour's is not", lambda: office.seats(state["event"], 1) == [SOLD, FREE], 10)
    made = office.at_provider(f"refunds?payment_intent={state['paid']['payment_id']}")["data"]
    assert [(refund["amount"], refund["status"]) for refund in made] == [(PRICE, "succeeded")], made
    again = office.buy(office.person("next"), state["event"], 2)
    assert again["status"] == "paid", again


def giving_up(office, state):
    """a held order is given up, and its seats are free at once"""
    order = office.hold(state["buyer"], state["event"], 3)
    state["buyer"].ask("DELETE", f"/orders/{order['id']}", expect=204)
    office.becomes(state["buyer"], order, "cancelled", 0)
    office.seats_become(state["event"], 3, FREE)


def nothing_to_pay(office, state):
    """seats that cost nothing become tickets without the provider"""
    order = office.hold(state["buyer"], state["event"], 40, "Gift")
    state["buyer"].ask("POST", f"/orders/{order['id']}/payment", expect=201)
    office.becomes(state["buyer"], order, "paid", 10)
    office.seats_become(state["event"], 40, SOLD, "Gift")


def hearing(office, state):
    """seats come back: who waits for them is offered them in a chat, buys them, and has the tickets there"""
    waiting, event = office.person("waiting"), state["event"]
    chat, order = Chat(office, waiting), office.hold(state["buyer"], event, 7)
    wish = {"scope": {"event_id": event}, "when": "seats_back", "quantity": 2, "standing": True}
    waiting.ask("POST", "/alerts", wish, 201)
    state["buyer"].ask("DELETE", f"/orders/{order['id']}", expect=204)
    chat.comes("an offer", lambda message: "/#/orders/" in message)
    [offered] = waiting.ask("GET", "/orders")["items"]
    assert (offered["status"], len(offered["seats"])) == ("held", 2), offered
    office.confirm(office.start_payment(waiting, offered))
    office.becomes(waiting, offered, "paid")
    eventually("both tickets are in the chat", lambda: sum("<img" in message for message in chat.read()) == 2)
    chat.says("/tickets", "row {row}, seat {seat}".format(**offered["seats"][0]))


def subscribing(office, state):
    """a plan is offered, a code lowers its price; somebody subscribes, pays a month, and saves another card"""
    admin, friend = state["admin"], office.person("friend")
    perks = [{"kind": "tickets", "a_month": 1}, {"kind": "hidden_events"}]
    state["hidden"] = office.event(admin, state["hall"], hidden=True)
    plan = office.plan(admin, perks=perks, law="ru_consumer")
    assert plan in {offered["id"] for offered in office.ask("GET", "/plans")}
    promotion = office.promotion(admin)
    own = office.subscribe(friend, plan, code=promotion["code"])
    counted = admin.ask("GET", f"/marketing/promotions/{promotion['id']}")["counted"]
    assert counted["redemptions"] == 1, counted
    office.confirm(friend.ask("PUT", f"{own}/payment-method"), "pm_card_mastercard")
    office.comes_to(friend, own, "has the other card", lambda found: found["payment_method"]["last4"] == "4444")
    state |= {"friend": friend, "subscription": own}


def having_perks(office, state):
    """the subscriber sees an event that others do not; of two seats their month includes one; given up, it does again"""
    friend, event = state["friend"], state["event"]
    hidden = f"/events/{state['hidden']}"
    office.ask("GET", hidden, expect=404)
    assert friend.ask("GET", hidden)["hidden"]
    for row in (5, 6):
        order = office.hold(friend, event, row)
        included = [perk["kind"] for perk in order["applied"]["perks"]]
        assert (order["total"]["amount"], included) == (PRICE, ["included"]), order
        friend.ask("DELETE", f"/orders/{order['id']}", expect=204)


def renewing(office, state):
    """a month passes: the schedule charges the next to the saved card; cancelled, what is left of it goes back by law"""
    friend, own = state["friend"], state["subscription"]
    renewed = office.comes_to(friend, own, "is renewed", lambda found: found["period"]["number"] == 2)
    assert (renewed["status"], renewed["perks_hold"]) == ("active", True), renewed
    charges = friend.ask("GET", f"{own}/charges")["items"]
    paid = [(charge["kind"], charge["status"], charge["amount"]["amount"]) for charge in charges]
    month = MONTH_PRICE * 9 // 10
    assert paid == [("renewal", "succeeded", month), ("first", "succeeded", month)], charges
    quote = friend.ask("GET", f"{own}/cancellation-quote")
    assert 0 < quote["refund"]["amount"] <= month, quote
    friend.ask("DELETE", f"{own}?at=now")

    def is_given_back():
        refunds = friend.ask("GET", f"{own}/charges")["items"][0]["refunds"]
        return [(refund["status"], refund["amount"]) for refund in refunds] == [("done", quote["refund"])]

    eventually("the rest of the month is given back", is_given_back)


def lapsing(office, state):
    """a hold ends unpaid: the schedule finds it, its payment is cancelled, its seats are free"""
    buyer, event = state["buyer"], state["event"]
    order = office.hold(buyer, event, 4)
    payment = office.start_payment(buyer, order)
    office.set_back(buyer, order)
    # The next step waits for this.
    office.passes(MONTH_SECONDS, state["friend"], state["subscription"])
    office.becomes(buyer, order, "expired")
    office.seats_become(event, 4, FREE)
    intent = office.at_provider(f"payment_intents/{payment['payment_id']}")
    assert (intent["status"], intent["amount_received"]) == ("canceled", 0), intent


def calling_off(office, state):
    """an event is called off, and every order of it is refunded in full"""
    buyers = [office.person("doomed") for _ in range(2)]
    paid = [office.buy(buyer, state["doomed"], row) for row, buyer in enumerate(buyers, 1)]
    state["admin"].ask("POST", f"/admin/events/{state['doomed']}/cancellation")
    for buyer, order in zip(buyers, paid):
        office.becomes(buyer, order, "refunded")
        made = office.at_provider(f"refunds?payment_intent={order['payment_id']}")["data"]
        assert sum(refund["amount"] for refund in made) == TOTAL, made
        tickets = buyer.ask("GET", "/tickets")["items"]
        assert {ticket["status"] for ticket in tickets} == {"refunded"}, tickets
    late = office.person("late")

    def is_over():
        """Whether nobody can buy any more. An instance that knew the event goes by that for two seconds."""
        seats = [{"section": "Stalls", "row": "9", "seat": "1"}]
        try:
            order = late.ask("POST", "/orders", {"event_id": state["doomed"], "seats": seats}, 201)
        except Refused as refused:
            assert (refused.status, refused.body["code"]) == (409, "event_cancelled"), refused
            return True
        late.ask("DELETE", f"/orders/{order['id']}", expect=204)
        return False

    eventually("the sale is over", is_over, 10)


def keeping_books(office, state):
    """the journal sums to zero, says what the provider says, and the nightly comparison is written down"""
    net = 0
    for item in office.items("Ledger"):
        legs = item["legs"]["L"]
        amounts = [(leg["M"]["account"]["S"], int(leg["M"]["amount"]["N"])) for leg in legs]
        assert sum(amount for _, amount in amounts) == 0, item
        net += sum(amount for account, amount in amounts if account == "provider")
    intents = office.at_provider("payment_intents?limit=100")["data"]
    refunds = office.at_provider("refunds?limit=100")["data"]
    provider = sum(intent["amount_received"] for intent in intents) - sum(refund["amount"] for refund in refunds)
    assert net == provider, (net, provider)
    state["net"] = net
    office.cloud.invoke("Reconcile")
    reports = state["admin"].ask("GET", "/admin/reconciliations")["items"]
    assert reports, "no comparison was written down"


def adding_only(office, _):
    """who may add to the journal may not change it, nor add outside a transaction"""
    key = {"pk": {"S": "x"}, "sk": {"S": "x"}}
    of_journal = [(role, "Ledger") for role in ("BuyRole", "SettleRole", "SubscribeRole", "RenewRole")]
    for role, table in [*of_journal, ("ReconcileRole", "Desk")]:
        tables, name = office.cloud.client_as(role, "dynamodb"), office.cloud.names[table]
        tries = {
            "UpdateItem": lambda: tables.update_item(TableName=name, Key=key),
            "DeleteItem": lambda: tables.delete_item(TableName=name, Key=key),
            "BatchWriteItem": lambda: tables.batch_write_item(RequestItems={name: [{"DeleteRequest": {"Key": key}}]}),
        }
        if table == "Ledger":
            tries["PutItem"] = lambda: tables.put_item(TableName=name, Item=key)
        for action, attempt in tries.items():
            try:
                attempt()
            except ClientError as error:
                told = error.response["Error"]
                assert told["Code"].startswith("AccessDenied") and f"dynamodb:{action}" in told["Message"], (role, action, told)
                assert action == "PutItem" or "explicit deny" in told["Message"], told
            else:
                raise AssertionError(f"{role} may {action} on {table}")


def foreign_pages(office, state):
    """pages of the public address may call the API from a browser, pages of others may not"""
    url, asks = office.cloud.api + "/events", {"access-control-request-method": "GET"}
    _, _, allowed = send("OPTIONS", url, headers=asks | {"origin": office.cloud.public_url})
    _, _, refused = send("OPTIONS", url, headers=asks | {"origin": "https://elsewhere.example"})
    name = "access-control-allow-origin"
    assert (allowed[name], refused[name]) == (office.cloud.public_url, None), (allowed[name], refused[name])


def quiet(office, _):
    """no message is left in a dead-letter queue, and none waits"""
    queues = office.cloud.client("sqs")
    asked = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def left(name):
        url = office.cloud.names[name]
        got = queues.get_queue_attributes(QueueUrl=url, AttributeNames=asked)["Attributes"]
        return sum(int(got[attribute]) for attribute in asked)

    for name in QUEUES:
        eventually(f"{name} is empty", lambda name=name: left(name) == 0)
    for name in QUEUES:
        assert left(f"{name}DeadLetters") == 0, f"{name}: {left(f'{name}DeadLetters')}"
    # What a refused call would have said.
    denied = [line for line in office.cloud.logs() if "not authorized" in line]
    assert not denied, json.dumps(denied[:3])
