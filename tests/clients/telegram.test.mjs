// The whole of linking, alert, offer, purchase and ticket in a chat of telegram-test-api, a Telegram that others wrote: it
// knows nothing of our sandbox. `run` says by the environment where the `boxoffice` program is; this starts it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import Stripe from "stripe";
import telegramTestApi from "telegram-test-api";

const TelegramServer = telegramTestApi.default ?? telegramTestApi;
const { BOXOFFICE } = process.env;
const TOKEN = "4711:clients";
const START_MS = 120_000;
const WAIT_MS = 30_000;
const LOOK_MS = 50;
const PNG = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");

const here = (server) => `http://127.0.0.1:${server.address().port}`;
const listening = (server) => new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
async function freePort() {
  const server = createServer();
  await listening(server);
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
async function eventually(what, look) {
  const until = Date.now() + WAIT_MS;
  while (Date.now() < until) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return assert.fail(`it does not come to this: ${what}`);
}

let telegram;
let webhook;
const called = new Map();
const photos = [];
const problems = [];

// A method of the Bot API, at telegram-test-api.
async function perform(method, body) {
  called.set(method, (called.get(method) ?? 0) + 1);
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${telegram.config.apiURL}/bot${TOKEN}/${method}`, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: answer.status, text: await answer.text() };
}

// What stands between the two, for what telegram-test-api does not do and Telegram does:
// - updates carry the secret that the webhook was set with;
// - a method in the webhook's answer is performed ("Making requests when getting updates");
// - there is a sendPhoto: here the picture is kept and its caption goes on as a message.
const proxy = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const end = (status, text) => response.writeHead(status, { "content-type": "application/json" }).end(text);
  try {
    if (request.url === "/updates") {
      end(200, "{}");
      const headers = { "content-type": "application/json", "x-telegram-bot-api-secret-token": webhook.secret_token };
      const heard = await fetch(webhook.url, { method: "POST", headers, body });
      assert.ok(heard.ok, `the webhook answered ${heard.status}`);
      const said = await heard.text();
      if (said === "") return;
      const { method, ...rest } = JSON.parse(said);
      assert.equal((await perform(method, rest)).status, 200, method);
      return;
    }
    const [, token, method] = request.url.match(/^\/bot([^/]+)\/(\w+)$/);
    assert.equal(token, TOKEN);
    let form;
    if (method === "sendPhoto") {
      form = await new Response(body, { headers: { "content-type": request.headers["content-type"] } }).formData();
      const picture = Buffer.from(await form.get("photo").arrayBuffer());
      photos.push({ chat: form.get("chat_id"), caption: form.get("caption"), picture });
      const markup = form.get("reply_markup");
      form = { chat_id: form.get("chat_id"), text: form.get("caption"), ...(markup && { reply_markup: JSON.parse(markup) }) };
    }
    let ask = form ?? JSON.parse(body);
    if (method === "setWebhook") {
      webhook = ask;
      ask = { ...ask, url: `${here(proxy)}/updates` };
    }
    const { status, text } = await perform(form ? "sendMessage" : method, ask);
    end(status, text);
  } catch (error) {
    problems.push(error);
    if (!response.headersSent) end(500, JSON.stringify({ ok: false, description: String(error) }));
  }
});

let program;
let printed = "";
let site;
let password;
before(async () => {
  await listening(proxy);
  telegram = new TelegramServer({ host: "127.0.0.1", port: await freePort(), storeTimeout: 600 });
  await telegram.start();
  const options = ["--memory", "--listen", "127.0.0.1:0", "--telegram-api", here(proxy), "--telegram-token", TOKEN];
  program = spawn(BOXOFFICE, options, { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`boxoffice does not start: ${printed}`)), START_MS);
    program.once("exit", (code) => reject(new Error(`boxoffice ended with ${code}`)));
    program.stdout.on("data", (chunk) => {
      printed += chunk;
      if (!printed.includes("\nStop ")) return;
      clearTimeout(late);
      resolve();
    });
  });
  [, site] = printed.match(/^Boxoffice +(\S+)/m);
  [, password] = printed.match(/^Account +admin@boxoffice\.test +(\S+)/m);
});
after(async () => {
  program?.removeAllListeners("exit");
  program?.kill();
  await telegram?.stop();
  proxy.close();
  proxy.closeAllConnections();
  assert.deepEqual(problems, []);
});

class Person {
  constructor(email, secret) {
    Object.assign(this, { email, secret });
  }
  static async signUp(name) {
    const person = new Person(`${name}-${randomUUID()}@example.com`, randomUUID());
    await person.post("/users", { email: person.email, password: person.secret, name });
    return person.signIn();
  }
  async signIn() {
    const { access_token } = await this.post("/sessions", { email: this.email, password: this.secret });
    this.token = access_token;
    return this;
  }
  async ask(method, path, body) {
    const headers = { "content-type": "application/json", "idempotency-key": randomUUID() };
    if (this.token) headers.authorization = `Bearer ${this.token}`;
    const answer = await fetch(site + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text && JSON.parse(text);
  }
  get = (path) => this.ask("GET", path);
  post = (path, body) => this.ask("POST", path, body);

  // What a buyer's browser does, with Stripe's own client.
  async pay(order) {
    const payment = await this.post(`/orders/${order}/payment`);
    const provider = new URL(payment.api_base);
    const browser = new Stripe(payment.publishable_key, { host: provider.hostname, port: provider.port, protocol: "http", telemetry: false });
    const { client_secret } = payment;
    await browser.paymentIntents.confirm(payment.payment_id, { client_secret, payment_method: "pm_card_visa" });
    return eventually("the order is paid", async () => (await this.get(`/orders/${order}`)).status === "paid");
  }
}

// A person's chat with the bot.
class Chat {
  constructor(id, firstName) {
    this.id = id;
    this.client = telegram.getClient(TOKEN, { userId: id, chatId: id, firstName });
  }
  async said() {
    const all = (await this.client.getUpdatesHistory()) ?? [];
    return all.filter((one) => String(one.message?.chat_id) === String(this.id));
  }
  hears(what, pattern) {
    return eventually(what, async () => (await this.said()).findLast((one) => pattern.test(one.message.text ?? "")));
  }
  // Writes a command, and waits for what the bot says to it.
  async command(text, pattern) {
    const before = (await this.said()).length;
    await this.client.sendCommand(this.client.makeCommand(text));
    return eventually(`an answer to ${text}`, async () => (await this.said()).slice(before).find((one) => pattern.test(one.message.text)));
  }
  async press(message, beginning) {
    const button = message.message.reply_markup.inline_keyboard.flat().find((one) => one.callback_data?.startsWith(beginning));
    assert.ok(button, `there is a button ${beginning}`);
    const pressed = { message: { message_id: message.messageId, date: Math.floor(message.time / 1000) } };
    await this.client.sendCallback(this.client.makeCallbackQuery(button.callback_data, pressed));
  }
}

// A hall of four seats in one row, and an event in it that is on sale.
async function house() {
  const admin = await new Person("admin@boxoffice.test", password).signIn();
  const venue = await admin.post("/admin/venues", { name: "House", city: "Moscow", address: "1 Square", time_zone: "Europe/Moscow" });
  const layout = await admin.post("/admin/layouts", {
    name: "Box",
    venue_id: venue.id,
    categories: [{ id: "stalls", name: "stalls", color: "#336699" }],
    sections: [{ id: "Box", name: "Box", rows: [{ name: "1", x: 0, y: 0, dx: 50, seats: 4, category: "stalls" }] }],
  });
  const performer = await admin.post("/admin/performers", { name: "The Players" });
  const day = (days) => new Date(Date.now() + days * 86_400_000).toISOString();
  const event = await admin.post("/admin/events", {
    name: "Me & <You>",
    performer_id: performer.id,
    layout_id: layout.id,
    layout_version: 1,
    starts_at: day(92),
    on_sale_from: day(-1),
    currency: "RUB",
    prices: { stalls: 150_000 },
    refund_policy: { statute: "ru_performing_arts" },
  });
  await admin.post(`/admin/events/${event.id}/publication`);
  return event.id;
}
const pair = (from) => [from, from + 1].map((seat) => ({ section: "Box", row: "1", seat: String(seat) }));

test("a chat is linked, and seats that come back are offered, paid and ticketed there", async (t) => {
  const [ada, bob, event] = [await Person.signUp("ada"), await Person.signUp("bob"), await house()];
  const [chat, other] = [new Chat(1001, "Ada"), new Chat(1002, "Eve")];

  // Linking: the person opens the link, and says yes.
  const { deep_link } = await ada.post("/messenger/links", { messenger: "telegram" });
  const start = `/start ${new URL(deep_link).searchParams.get("start")}`;
  await chat.press(await chat.command(start, /a\*\*\*@example\.com/), "link:");
  const linked = await eventually("the chat is linked", async () => (await ada.get("/messenger/chats")).items[0]);
  assert.deepEqual([linked.id, linked.status, linked.name], ["telegram:1001", "linked", "Ada"]);
  await chat.hears("that it is linked", /a\*\*\*@example\.com/);
  const refused = await other.command(start, /./);
  assert.ok(!JSON.stringify(refused.message.reply_markup ?? {}).includes("link:"), "a link is for one chat");

  // Alert: all seats are sold, and Ada waits for two.
  const orders = [];
  for (const from of [1, 3]) {
    const order = await bob.post("/orders", { event_id: event, seats: pair(from) });
    await bob.pay(order.id);
    orders.push(order.id);
  }
  await ada.post("/alerts", { scope: { event_id: event }, when: "seats_back", quantity: 2, standing: true });
  await chat.command("/alerts", /Me &amp; &lt;You&gt;/);

  // Offer: two are given back, and held for her.
  const began = Date.now();
  await bob.post(`/orders/${orders[0]}/refunds`, {});
  const offer = await chat.hears("an offer", /^Held for you until/);
  t.diagnostic(`seats given back to offered in the chat: ${Date.now() - began} ms`);
  const [held] = (await ada.get("/orders")).items;
  assert.equal(held.status, "held");
  const link = offer.message.reply_markup.inline_keyboard.flat().find((button) => button.url);
  assert.ok(link.url.startsWith(site) && link.url.includes(held.id), link.url);

  // Purchase and ticket: the codes come as pictures.
  await ada.pay(held.id);
  await chat.hears("the tickets", /tickets? (is|are) here/);
  const own = () => photos.filter((photo) => photo.chat === "1001");
  await eventually("two codes", () => own().length === 2);
  for (const { picture, caption } of own()) {
    assert.ok(picture.subarray(0, PNG.length).equals(PNG), "it is a picture");
    assert.match(caption, /Me &amp; &lt;You&gt;[^]*Box, row 1, seat [12]/);
  }
  assert.equal((await ada.get("/tickets")).items.filter((ticket) => ticket.status === "valid").length, 2);
  await chat.command("/tickets", /Me &amp; &lt;You&gt;/);
  assert.equal((await other.said()).length, 1, "nobody else was written to");
  const methods = [...called].map(([method, times]) => `${method} ${times}`).join(", ");
  t.diagnostic(`performed by telegram-test-api: ${methods}`);
  t.diagnostic(`stood in for, since telegram-test-api has none: sendPhoto (${photos.length} of those messages), methods in a webhook's answer, its secret`);
});
