// Drives every call of the payment provider's sandbox with Stripe's official client, unmodified, and verifies its
// webhooks with it. It starts nothing: `run` does, and says by the environment where the sandbox is.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import Stripe from "stripe";

const { SANDBOX_URL, SECRET_KEY, PUBLISHABLE_KEY, READ_ONLY_KEY, WEBHOOK_SECRET, WEBHOOK_PORT } = process.env;
const EVENT_WAIT_MS = 10_000;
const sandbox = new URL(SANDBOX_URL);
const client = (key) =>
  new Stripe(key, { host: sandbox.hostname, port: sandbox.port, protocol: "http", maxNetworkRetries: 0, telemetry: false });
const stripe = client(SECRET_KEY);
const browser = client(PUBLISHABLE_KEY);
const auditor = client(READ_ONLY_KEY);

const received = [];
let refusals = 0;
const receiver = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  if (refusals > 0) {
    refusals -= 1;
    return response.writeHead(500).end();
  }
  try {
    received.push(stripe.webhooks.constructEvent(Buffer.concat(chunks), request.headers["stripe-signature"], WEBHOOK_SECRET));
    response.writeHead(200).end();
  } catch (error) {
    received.push({ type: "unverified", error });
    response.writeHead(400).end();
  }
});
before(() => new Promise((resolve) => receiver.listen(Number(WEBHOOK_PORT), "127.0.0.1", resolve)));
after(() => {
  receiver.close();
  receiver.closeAllConnections();
  assert.deepEqual(received.filter((event) => event.type === "unverified"), []);
});

async function event(type, id) {
  const until = Date.now() + EVENT_WAIT_MS;
  while (Date.now() < until) {
    const found = received.find((event) => event.type === type && event.data.object.id === id);
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.fail(`no webhook ${type} of ${id}`);
}

const money = { amount: 5000, currency: "eur", payment_method_types: ["card"] };
const intent = (more = {}) => stripe.paymentIntents.create({ ...money, capture_method: "manual", ...more });
const pay = (id, payment_method = "pm_card_visa", more = {}) => stripe.paymentIntents.confirm(id, { payment_method, ...more });
const paid = async (payment_method = "pm_card_visa", more = {}) => {
  const created = await intent({ confirm: true, payment_method, ...more });
  return stripe.paymentIntents.capture(created.id);
};
const refused = (type, properties) => (error) => {
  assert.equal(error.type, type, error.message);
  for (const [name, value] of Object.entries(properties)) assert.equal(error[name], value, `${name}: ${error.message}`);
  assert.match(error.requestId, /^req_/);
  return true;
};
const form = (address, path, options) => fetch(new URL(path, address), options);

test("an intent is created, paid by the browser, captured and refunded, and each step is told", async () => {
  const created = await intent({ metadata: { order_id: "ord_1" }, description: "Two seats" });
  assert.match(created.id, /^pi_/);
  assert.equal(created.status, "requires_payment_method");
  assert.deepEqual(created.metadata, { order_id: "ord_1" });
  assert.equal((await event("payment_intent.created", created.id)).data.object.amount, 5000);

  const seen = await browser.paymentIntents.retrieve(created.id, { client_secret: created.client_secret });
  assert.equal(seen.status, "requires_payment_method");
  assert.equal(seen.metadata, undefined);
  const confirmed = await browser.paymentIntents.confirm(created.id, {
    client_secret: created.client_secret,
    payment_method: "pm_card_visa",
  });
  assert.equal(confirmed.status, "requires_capture");
  assert.equal((await event("payment_intent.amount_capturable_updated", created.id)).data.object.amount_capturable, 5000);

  const captured = await stripe.paymentIntents.capture(created.id, { expand: ["latest_charge.balance_transaction"] });
  assert.equal(captured.status, "succeeded");
  assert.equal(captured.amount_received, 5000);
  assert.equal(captured.latest_charge.balance_transaction.amount, 5000);
  await event("payment_intent.succeeded", created.id);

  const refund = await stripe.refunds.create({ payment_intent: created.id, amount: 2000, reason: "requested_by_customer", metadata: { refund: "r1" } });
  assert.equal(refund.status, "succeeded");
  await event("refund.created", refund.id);
  assert.equal((await event("charge.refunded", captured.latest_charge.id)).data.object.amount_refunded, 2000);
  const rest = await stripe.refunds.create({ charge: captured.latest_charge.id });
  assert.equal(rest.amount, 3000);
  assert.equal((await stripe.refunds.retrieve(rest.id)).id, rest.id);
  assert.deepEqual((await stripe.refunds.update(rest.id, { metadata: { a: "b" } })).metadata, { a: "b" });
  const listed = await stripe.refunds.list({ payment_intent: created.id });
  assert.deepEqual(listed.data.map((refund) => refund.id), [rest.id, refund.id]);
  assert.equal((await stripe.charges.retrieve(captured.latest_charge.id)).refunded, true);
  await assert.rejects(stripe.refunds.create({ payment_intent: created.id }), refused("StripeInvalidRequestError", { code: "charge_already_refunded", statusCode: 400 }));
});

test("intents are updated, cancelled, captured in part, and listed page by page", async () => {
  const customer = await stripe.customers.create({ email: "a@example.com", name: "A", metadata: { user: "usr_1" } });
  const made = [];
  for (let index = 0; index < 5; index += 1) made.push((await intent({ customer: customer.id })).id);
  const all = [];
  for await (const one of stripe.paymentIntents.list({ customer: customer.id, limit: 2 })) all.push(one.id);
  assert.deepEqual(all, made.toReversed());
  const second = await stripe.paymentIntents.list({ customer: customer.id, limit: 2, starting_after: made[4] });
  assert.deepEqual([second.data[0].id, second.has_more], [made[3], true]);

  const updated = await stripe.paymentIntents.update(made[0], { amount: 6000, metadata: { seats: "2" } });
  assert.deepEqual([updated.amount, updated.metadata], [6000, { seats: "2" }]);
  const cancelled = await stripe.paymentIntents.cancel(made[1], { cancellation_reason: "abandoned" });
  assert.deepEqual([cancelled.status, cancelled.cancellation_reason], ["canceled", "abandoned"]);
  await event("payment_intent.canceled", made[1]);
  await pay(made[0]);
  assert.equal((await stripe.paymentIntents.capture(made[0], { amount_to_capture: 1500 })).amount_received, 1500);
  await assert.rejects(stripe.paymentIntents.cancel(made[0]), refused("StripeInvalidRequestError", { code: "payment_intent_unexpected_state", statusCode: 400 }));
  const authorised = await pay(made[2]);
  assert.equal((await stripe.paymentIntents.cancel(made[2])).amount_capturable, 0);
  assert.equal((await event("charge.refunded", authorised.latest_charge)).data.object.amount_captured, 0);
});

test("declined cards say why", async () => {
  for (const [method, code, decline_code] of [
    ["pm_card_chargeDeclined", "card_declined", "generic_decline"],
    ["pm_card_visa_chargeDeclined", "card_declined", "generic_decline"],
    ["pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"],
    ["pm_card_chargeDeclinedExpiredCard", "expired_card", ""],
    ["pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", ""],
  ]) {
    const { id } = await intent();
    await assert.rejects(pay(id, method), (error) => {
      refused("StripeCardError", { code, decline_code, statusCode: 402 })(error);
      assert.equal(error.payment_intent.status, "requires_payment_method");
      assert.equal(error.payment_intent.last_payment_error.code, code);
      return true;
    });
    assert.equal((await event("payment_intent.payment_failed", id)).data.object.last_payment_error.code, code);
    assert.equal((await pay(id, "pm_card_mastercard")).status, "requires_capture");
  }
});

test("a card that wants authentication gets it on the bank's page, or is declined off session", async () => {
  for (const [outcome, status, told] of [
    ["complete", "requires_capture", "payment_intent.amount_capturable_updated"],
    ["fail", "requires_payment_method", "payment_intent.payment_failed"],
  ]) {
    const { id, client_secret } = await intent();
    const waiting = await pay(id, "pm_card_threeDSecure2Required", { return_url: "http://shop.example/back?x=1" });
    assert.equal(waiting.status, "requires_action");
    await event("payment_intent.requires_action", id);
    const { url } = waiting.next_action.redirect_to_url;
    assert.match(await (await form(url, url)).text(), /Complete/);
    const body = new URLSearchParams({ client_secret, outcome });
    const back = await form(url, new URL(url).pathname, { method: "POST", body, redirect: "manual" });
    assert.match(back.headers.get("location"), /^http:\/\/shop\.example\/back\?x=1&payment_intent=pi_/);
    await event(told, id);
    assert.equal((await stripe.paymentIntents.retrieve(id)).status, status);
  }
  const away = { confirm: true, off_session: true, payment_method: "pm_card_authenticationRequired" };
  await assert.rejects(intent(away), refused("StripeCardError", { code: "authentication_required", statusCode: 402 }));
});

test("the sandbox's own methods: delays, refused captures, capture at once, an answer that does not come", async () => {
  const { id: slow } = await intent();
  assert.equal((await pay(slow, "pm_sandbox_delay_1")).status, "processing");
  await event("payment_intent.processing", slow);
  const { id: never } = await intent();
  assert.equal((await pay(never, "pm_sandbox_decline_after_1")).status, "processing");
  await assert.rejects(stripe.paymentIntents.cancel(never), refused("StripeInvalidRequestError", { code: "payment_intent_unexpected_state" }));
  await event("payment_intent.amount_capturable_updated", slow);
  await event("payment_intent.payment_failed", never);

  const stuck = await intent({ confirm: true, payment_method: "pm_sandbox_capture_fails" });
  await assert.rejects(stripe.paymentIntents.capture(stuck.id), refused("StripeInvalidRequestError", { code: "charge_expired_for_capture", statusCode: 400 }));
  assert.equal((await stripe.paymentIntents.cancel(stuck.id)).status, "canceled");
  assert.equal((await intent({ confirm: true, payment_method: "pm_sandbox_captures_at_once" })).status, "succeeded");

  const { id: silent } = await intent();
  const key = randomUUID();
  const confirm = () => stripe.paymentIntents.confirm(silent, { payment_method: "pm_sandbox_timeout" }, { idempotencyKey: key, timeout: 300 });
  await assert.rejects(confirm(), { type: "StripeConnectionError" });
  assert.equal((await stripe.paymentIntents.retrieve(silent)).status, "requires_capture");
  await assert.rejects(confirm(), refused("StripeAPIError", { statusCode: 409 }));
});

test("refunds may be pending, and may fail days later", async () => {
  const pending = await stripe.refunds.create({ payment_intent: (await paid("pm_card_pendingRefund")).id });
  assert.equal(pending.status, "pending");
  const failing = await stripe.refunds.create({ payment_intent: (await paid("pm_card_refundFail")).id });
  assert.equal(failing.status, "succeeded");
  assert.equal((await event("refund.updated", pending.id)).data.object.status, "succeeded");
  assert.equal((await event("refund.failed", failing.id)).data.object.failure_reason, "expired_or_canceled_card");
  await event("charge.refund.updated", failing.id);
  const charge = await stripe.charges.retrieve(failing.charge);
  assert.deepEqual([charge.amount_refunded, charge.refunded], [0, false]);
});

test("customers, setup intents and saved methods are there for renewals", async () => {
  const customer = await stripe.customers.create({ email: "b@example.com" });
  assert.equal((await stripe.customers.update(customer.id, { name: "B" })).name, "B");
  const setup = await stripe.setupIntents.create({ customer: customer.id, usage: "off_session", payment_method_types: ["card"] });
  const done = await browser.setupIntents.confirm(setup.id, { client_secret: setup.client_secret, payment_method: "pm_card_visa" });
  assert.equal(done.status, "succeeded");
  await event("setup_intent.succeeded", setup.id);
  const { payment_method } = await stripe.setupIntents.retrieve(setup.id);
  const off_session = { customer: customer.id, payment_method, confirm: true, off_session: true };
  assert.equal((await stripe.paymentIntents.create({ ...money, ...off_session })).status, "succeeded");

  const failing = await stripe.paymentMethods.attach("pm_card_chargeCustomerFail", { customer: customer.id });
  await assert.rejects(stripe.paymentIntents.create({ ...money, ...off_session, payment_method: failing.id }), refused("StripeCardError", { code: "card_declined" }));
  assert.equal((await stripe.paymentMethods.retrieve(failing.id)).card.last4, "0341");
  assert.deepEqual((await stripe.paymentMethods.list({ customer: customer.id, type: "card" })).data.map((method) => method.id), [failing.id, payment_method]);
  assert.equal((await stripe.customers.listPaymentMethods(customer.id, { limit: 1 })).has_more, true);
  assert.equal((await stripe.paymentMethods.detach(failing.id)).customer, null);

  const refusing = await stripe.setupIntents.create({ customer: customer.id });
  await assert.rejects(stripe.setupIntents.confirm(refusing.id, { payment_method: "pm_card_chargeDeclined" }), refused("StripeCardError", { code: "card_declined" }));
  await event("setup_intent.setup_failed", refusing.id);
  assert.equal((await stripe.setupIntents.cancel(refusing.id)).status, "canceled");

  assert.equal((await stripe.customers.del(customer.id)).deleted, true);
  assert.equal((await stripe.customers.retrieve(customer.id)).deleted, true);
  await assert.rejects(intent({ customer: customer.id }), refused("StripeInvalidRequestError", { code: "resource_missing", statusCode: 400 }));
});

test("a renewal is charged while nobody is there, declined with advice, and confirmed again", async () => {
  const customer = await stripe.customers.create({ metadata: { user_id: "usr_1" } });
  const first = await stripe.paymentIntents.create({ ...money, capture_method: "automatic", customer: customer.id, setup_future_usage: "off_session" });
  const paid = await browser.paymentIntents.confirm(first.id, { client_secret: first.client_secret, payment_method: "pm_card_visa" });
  assert.equal(paid.status, "succeeded");
  const { payment_method } = await stripe.paymentIntents.retrieve(first.id);
  await event("payment_method.attached", payment_method);

  for (const [token, code, decline_code, advice_code, network_decline_code] of [
    ["pm_card_chargeCustomerFail", "card_declined", "generic_decline", "try_again_later", "01"],
    ["pm_sandbox_saved_insufficient_funds", "card_declined", "insufficient_funds", "try_again_later", "51"],
    ["pm_sandbox_saved_lost_card", "card_declined", "lost_card", "do_not_try_again", "41"],
    ["pm_sandbox_saved_stolen_card", "card_declined", "stolen_card", "do_not_try_again", "43"],
    ["pm_sandbox_saved_expired_card", "expired_card", undefined, "confirm_card_data", "54"],
  ]) {
    const saved = await stripe.paymentMethods.attach(token, { customer: customer.id });
    const renewal = await stripe.paymentIntents.create({ ...money, customer: customer.id, metadata: { subscription_id: "s", period: "2" } });
    const away = { off_session: true, payment_method: saved.id };
    await assert.rejects(stripe.paymentIntents.confirm(renewal.id, away), (error) => {
      refused("StripeCardError", { code, decline_code: decline_code ?? "", statusCode: 402 })(error);
      assert.deepEqual([error.raw.advice_code, error.raw.network_decline_code, error.raw.payment_method.id], [advice_code, network_decline_code, saved.id]);
      return true;
    });
    await event("payment_intent.payment_failed", renewal.id);
    const { last_payment_error: error, latest_charge, status } = await stripe.paymentIntents.retrieve(renewal.id, { expand: ["latest_charge"] });
    assert.deepEqual([status, error.code, error.decline_code, error.advice_code, error.charge], ["requires_payment_method", code, decline_code, advice_code, latest_charge.id]);
    assert.deepEqual([latest_charge.outcome.advice_code, latest_charge.outcome.network_decline_code, latest_charge.outcome.reason], [advice_code, network_decline_code, decline_code ?? code]);
    assert.equal((await stripe.paymentIntents.confirm(renewal.id, { ...away, payment_method })).status, "succeeded");
    await event("payment_intent.succeeded", renewal.id);
  }
  const expiring = await stripe.paymentMethods.attach("pm_sandbox_expires_2099_04", { customer: customer.id });
  assert.deepEqual([expiring.card.exp_month, expiring.card.exp_year], [4, 2099]);
  await assert.rejects(stripe.paymentMethods.attach("pm_sandbox_expires_2020_04", { customer: customer.id }), refused("StripeCardError", { code: "expired_card", statusCode: 402 }));
  await stripe.paymentMethods.detach(payment_method);
  await event("payment_method.detached", payment_method);
});

test("a card that wants its holder is declined while they are away, and paid when they come", async () => {
  const customer = await stripe.customers.create();
  const authenticate = async (waiting) => {
    assert.equal(waiting.status, "requires_action");
    const { url } = waiting.next_action.redirect_to_url;
    const body = new URLSearchParams({ client_secret: waiting.client_secret, outcome: "complete" });
    assert.equal((await form(url, new URL(url).pathname, { method: "POST", body })).status, 200);
  };
  for (const [token, goes] of [
    ["pm_card_authenticationRequired", false],
    ["pm_card_authenticationRequiredOnSetup", true],
    ["pm_card_authenticationRequiredSetupForOffSession", true],
  ]) {
    const setup = await stripe.setupIntents.create({ customer: customer.id, usage: "off_session", payment_method_types: ["card"] });
    const { client_secret } = setup;
    await authenticate(await browser.setupIntents.confirm(setup.id, { client_secret, payment_method: token }));
    await event("setup_intent.requires_action", setup.id);
    await event("setup_intent.succeeded", setup.id);
    const { payment_method } = await stripe.setupIntents.retrieve(setup.id);
    const renewal = await stripe.paymentIntents.create({ ...money, customer: customer.id });
    const away = stripe.paymentIntents.confirm(renewal.id, { off_session: true, payment_method });
    if (goes) {
      assert.equal((await away).status, "succeeded");
      continue;
    }
    await assert.rejects(away, refused("StripeCardError", { code: "authentication_required", decline_code: "authentication_required", statusCode: 402 }));
    await authenticate(await browser.paymentIntents.confirm(renewal.id, { client_secret: renewal.client_secret, payment_method }));
    await event("payment_intent.succeeded", renewal.id);
  }
  const open = await stripe.setupIntents.create({ customer: customer.id });
  await stripe.setupIntents.cancel(open.id);
  await event("setup_intent.canceled", open.id);
  const listed = await stripe.setupIntents.list({ customer: customer.id, limit: 100 });
  assert.deepEqual([listed.data.length, listed.data[0].id], [4, open.id]);
});

test("balance transactions and events can be read back", async () => {
  const payment = await paid();
  const refund = await stripe.refunds.create({ payment_intent: payment.id, amount: 700 });
  const [charged] = (await stripe.balanceTransactions.list({ source: payment.latest_charge, type: "charge" })).data;
  assert.deepEqual([charged.amount, charged.net], [5000, 5000 - charged.fee]);
  const [returned] = (await stripe.balanceTransactions.list({ source: refund.id, created: { gte: refund.created } })).data;
  assert.deepEqual([returned.id, returned.amount, returned.type], [refund.balance_transaction, -700, "refund"]);
  assert.equal((await stripe.balanceTransactions.retrieve(returned.id, { expand: ["source"] })).source.id, refund.id);
  assert.equal((await stripe.balanceTransactions.list({ created: { gt: refund.created + 60 } })).data.length, 0);
  const told = await event("payment_intent.succeeded", payment.id);
  assert.equal((await stripe.events.retrieve(told.id)).data.object.id, payment.id);
  const listed = await stripe.events.list({ type: "payment_intent.succeeded", limit: 100 });
  assert.ok(listed.data.some((event) => event.id === told.id));
});

test("a disputed payment is fought, won, lost or given up", async () => {
  for (const [answer, status] of [
    [(id) => stripe.disputes.update(id, { evidence: { uncategorized_text: "winning_evidence", customer_name: "A" }, metadata: { case: "7" } }), "won"],
    [(id) => stripe.disputes.update(id, { evidence: { uncategorized_text: "losing_evidence" } }), "lost"],
    [(id) => stripe.disputes.close(id), "lost"],
  ]) {
    const payment = await paid("pm_card_createDispute", { metadata: { order_id: "ord_2" } });
    const [dispute] = (await auditor.disputes.list({ payment_intent: payment.id })).data;
    assert.deepEqual([dispute.status, dispute.reason, dispute.amount, dispute.charge], ["needs_response", "fraudulent", 5000, payment.latest_charge]);
    assert.equal(dispute.payment_method_details.card.case_type, "chargeback");
    assert.ok(dispute.evidence_details.due_by > dispute.created);
    assert.equal((await event("charge.dispute.created", dispute.id)).data.object.payment_intent, payment.id);
    const [taken] = (await event("charge.dispute.funds_withdrawn", dispute.id)).data.object.balance_transactions;
    assert.deepEqual([taken.amount, taken.fee, taken.net, taken.type, taken.reporting_category], [-5000, 1500, -6500, "adjustment", "dispute"]);
    assert.equal((await stripe.charges.retrieve(payment.latest_charge)).disputed, true);
    await assert.rejects(stripe.refunds.create({ payment_intent: payment.id }), refused("StripeInvalidRequestError", { code: "charge_disputed", statusCode: 400 }));

    const staged = await stripe.disputes.update(dispute.id, { evidence: { product_description: "Two seats" }, submit: false });
    assert.deepEqual([staged.status, staged.evidence_details.has_evidence, staged.evidence_details.submission_count], ["needs_response", true, 0]);
    await event("charge.dispute.updated", dispute.id);
    const decided = await answer(dispute.id);
    assert.equal(decided.status, status);
    assert.equal(decided.evidence.product_description, "Two seats");
    assert.equal((await event("charge.dispute.closed", dispute.id)).data.object.status, status);
    if (status === "won") {
      const [, returned] = (await event("charge.dispute.funds_reinstated", dispute.id)).data.object.balance_transactions;
      assert.deepEqual([returned.net, returned.reporting_category, decided.metadata], [5000, "dispute_reversal", { case: "7" }]);
    }
    assert.equal((await auditor.disputes.retrieve(dispute.id, { expand: ["charge", "payment_intent"] })).payment_intent.metadata.order_id, "ord_2");
    await assert.rejects(stripe.disputes.close(dispute.id), refused("StripeInvalidRequestError", { statusCode: 400 }));
    await assert.rejects(auditor.disputes.update(dispute.id, { metadata: { a: "b" } }), refused("StripePermissionError", { statusCode: 403 }));
  }
});

test("a reconciler reads every movement with its cause, page by page, both ways", async () => {
  const payment = await paid("pm_card_refundFail", { metadata: { order_id: "ord_3" } });
  const refund = await stripe.refunds.create({ payment_intent: payment.id, amount: 700, metadata: { refund: "r3" } });
  await event("refund.failed", refund.id);
  const disputed = await paid("pm_card_createDispute");
  const [first] = (await auditor.balanceTransactions.list({ source: payment.latest_charge })).data;

  const list = { ending_before: first.id, limit: 2, created: { gte: payment.created, lte: first.created + 60 }, expand: ["data.source"] };
  const movements = [first];
  for await (const movement of auditor.balanceTransactions.list(list)) movements.push(movement);
  const kinds = movements.map((movement) => movement.reporting_category);
  assert.deepEqual(kinds, ["charge", "refund", "refund_failure", "charge", "dispute"]);
  for (const movement of movements) assert.equal(movement.net, movement.amount - movement.fee);
  assert.deepEqual(movements.slice(1).map((movement) => movement.source.object), ["refund", "refund", "charge", "dispute"]);
  assert.deepEqual([movements[1].source.metadata, movements[1].source.payment_intent], [{ refund: "r3" }, payment.id]);
  assert.equal(movements[4].source.payment_intent, disputed.id);
  const [charge] = (await auditor.balanceTransactions.list({ source: payment.latest_charge, expand: ["data.source"] })).data;
  assert.deepEqual([charge.source.metadata, charge.source.payment_intent], [{ order_id: "ord_3" }, payment.id]);

  const back = [];
  for await (const movement of auditor.balanceTransactions.list({ limit: 2, starting_after: movements[4].id })) {
    back.unshift(movement.id);
    if (movement.id === first.id) break;
  }
  assert.deepEqual(back, movements.slice(0, 4).map((movement) => movement.id));
  const failures = (await auditor.balanceTransactions.list({ type: "refund_failure", source: refund.id })).data;
  assert.deepEqual(failures.map((movement) => movement.amount), [700]);
  await assert.rejects(auditor.refunds.create({ payment_intent: payment.id }), refused("StripePermissionError", { statusCode: 403 }));
});

test("an idempotency key is answered once", async () => {
  const idempotencyKey = randomUUID();
  const body = { ...money, metadata: { a: "1" } };
  const first = await stripe.paymentIntents.create(body, { idempotencyKey });
  const again = await stripe.paymentIntents.create(body, { idempotencyKey });
  assert.deepEqual({ ...again }, { ...first });
  assert.equal(again.lastResponse.headers["idempotent-replayed"], "true");
  await assert.rejects(stripe.paymentIntents.create({ ...body, amount: 1 }, { idempotencyKey }), refused("StripeIdempotencyError", { statusCode: 400 }));
  const declined = { ...money, confirm: true, payment_method: "pm_card_chargeDeclined" };
  const failures = [];
  for (let index = 0; index < 2; index += 1) await stripe.paymentIntents.create(declined, { idempotencyKey: `${idempotencyKey}d` }).catch((error) => failures.push(error));
  assert.equal(failures[0].payment_intent.id, failures[1].payment_intent.id);
});

test("bad requests are refused as Stripe refuses them", async () => {
  const cases = [
    [() => stripe.paymentIntents.create({ ...money, amount: 49 }), { code: "amount_too_small", param: "amount", statusCode: 400 }],
    [() => stripe.paymentIntents.create({ ...money, amount: 100_000_000 }), { code: "amount_too_large", statusCode: 400 }],
    [() => stripe.paymentIntents.create({ amount: 5000 }), { code: "parameter_missing", param: "currency", statusCode: 400 }],
    [() => stripe.paymentIntents.create({ ...money, colour: "red" }), { code: "parameter_unknown", param: "colour", statusCode: 400 }],
    [() => stripe.paymentIntents.retrieve("pi_none"), { code: "resource_missing", statusCode: 404 }],
    [() => stripe.refunds.create({ payment_intent: "pi_none" }), { code: "resource_missing", statusCode: 400 }],
    [async () => stripe.paymentIntents.capture((await intent()).id), { code: "payment_intent_unexpected_state", statusCode: 400 }],
    [async () => stripe.paymentIntents.confirm((await intent()).id), { code: "payment_intent_unexpected_state", statusCode: 400 }],
    [async () => browser.paymentIntents.retrieve((await intent()).id, { client_secret: "guess" }), { code: "payment_intent_invalid_parameter", statusCode: 400 }],
  ];
  for (const [call, properties] of cases) await assert.rejects(call(), refused("StripeInvalidRequestError", properties));
  await assert.rejects(client("sk_test_wrong").customers.create(), refused("StripeAuthenticationError", { statusCode: 401 }));
  await assert.rejects(browser.refunds.list(), refused("StripeAuthenticationError", { statusCode: 401 }));
});

test("a webhook that is refused comes again, the same", async () => {
  refusals = 1;
  const { id } = await intent();
  assert.equal((await event("payment_intent.created", id)).api_version, "2026-10-28.endive");
  assert.equal(refusals, 0);
});
