// A messenger of which the official library of Standard Webhooks believes and signs everything, unmodified: the check that its
// developers run, and a whole box office. `run` builds that, and says by the environment where it is.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Webhook } from "standardwebhooks";

const { BOXOFFICE } = process.env;
const WAIT_MS = 60_000;
const secret = `whsec_${randomBytes(32).toString("base64")}`;
const library = new Webhook(secret);
const chats = new Set(["check"]);
const received = [];
let trusting = false;

const messenger = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const answer = (status) => response.writeHead(status).end();
  let post;
  try {
    post = trusting ? JSON.parse(text) : library.verify(text, request.headers);
  } catch {
    return answer(401);
  }
  if (!chats.has(post.data.chat)) return answer(404);
  if (!received.some(({ id }) => id === request.headers["webhook-id"])) received.push(post);
  answer(204);
});
const address = () => `http://127.0.0.1:${messenger.address().port}/hook`;

let directory;
before(async () => {
  await new Promise((resolve) => messenger.listen(0, "127.0.0.1", resolve));
  directory = await mkdtemp(join(tmpdir(), "boxoffice-messenger-"));
});
after(async () => {
  messenger.close();
  messenger.closeAllConnections();
  await rm(directory, { recursive: true });
});

async function check() {
  const program = spawn(BOXOFFICE, ["messenger-check", address(), "--secret", secret], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  program.stdout.on("data", (data) => (said += data));
  const code = await new Promise((resolve) => program.on("close", resolve));
  return { code, lines: said.trim().split("\n") };
}

async function comes(what, look) {
  const until = Date.now() + WAIT_MS;
  while (Date.now() < until) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`it does not come: ${what}`);
}

test("the check finds nothing in a messenger that believes the library", async () => {
  const { code, lines } = await check();
  assert.deepEqual(lines.filter((line) => !line.startsWith("ok ")), []);
  assert.deepEqual([code, lines.length], [0, 11]);
});

test("the check finds a messenger that believes everything", async () => {
  trusting = true;
  const { code, lines } = await check();
  trusting = false;
  assert.equal(code, 1);
  assert.equal(lines.filter((line) => line.startsWith("FAILED ")).length, 6, lines.join("\n"));
});

test("a chat is linked, told of a purchase, and says so", async (context) => {
  const setup = join(directory, "messengers.json");
  const deep_link = "https://smoke.example/start?token={token}";
  await writeFile(setup, JSON.stringify({ smoke: { url: address(), deep_link, secrets: [secret] } }));
  const options = ["--memory", "--listen", "127.0.0.1:0", "--messengers", setup];
  const program = spawn(BOXOFFICE, options, { stdio: ["ignore", "pipe", "inherit"] });
  context.after(() => program.kill());
  let printed = "";
  program.stdout.on("data", (data) => (printed += data));
  const url = await comes("the box office", () => /^Boxoffice +(http\S+)$/m.exec(printed)?.[1]);

  let token;
  const call = async (method, path, body) => {
    const headers = { "content-type": "application/json", "idempotency-key": randomUUID() };
    if (token) headers.authorization = `Bearer ${token}`;
    const answer = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
    assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
    return answer.json();
  };
  const says = async (body, by = library) => {
    const [text, id, now] = [JSON.stringify(body), `msg_${randomUUID()}`, new Date()];
    const headers = {
      "webhook-id": id,
      "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
      "webhook-signature": by.sign(id, now, text),
    };
    return fetch(`${url}/messenger/smoke/webhook`, { method: "POST", headers, body: text });
  };

  const person = { email: "ada@example.org", password: "correct horse battery" };
  await call("POST", "/users", { ...person, name: "Ada" });
  token = (await call("POST", "/sessions", person)).access_token;
  const link = await call("POST", "/messenger/links", { messenger: "smoke" });
  const started = { type: "chat.link", token: new URL(link.deep_link).searchParams.get("token"), chat: "c-1", name: "Ада 🎭" };
  const forged = await says(started, new Webhook(`whsec_${randomBytes(32).toString("base64")}`));
  assert.deepEqual([forged.status, (await forged.json()).code], [401, "webhook_signature_invalid"]);
  const linked = await says(started);
  assert.deepEqual([linked.status, await linked.json()], [200, { account: "a***@example.org" }]);
  chats.add("c-1");

  const event = (await call("GET", "/events?limit=1")).items[0];
  const order = await call("POST", "/orders", { event_id: event.id, best: { quantity: 1 } });
  const payment = await call("POST", `/orders/${order.id}/payment`, {});
  const paid = await fetch(`${payment.api_base}/v1/payment_intents/${payment.payment_id}/confirm`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${payment.publishable_key}:`)}` },
    body: new URLSearchParams({ client_secret: payment.client_secret, payment_method: "pm_card_visa" }),
  });
  assert.equal(paid.status, 200);
  const told = await comes("a message", () => received.find(({ data }) => data.chat === "c-1"));
  assert.match(told.data.text, /^Your ticket is here: /);
  assert.ok(Buffer.from(told.data.picture, "base64").subarray(1, 4).equals(Buffer.from("PNG")));
  for (const [body, status] of [
    [{ type: "message.delivered", id: told.id }, 204],
    [{ type: "message.delivered", id: `${told.id}0` }, 404],
    [{ type: "chat.unlink", chat: "c-1" }, 204],
  ]) {
    assert.equal((await says(body)).status, status, JSON.stringify(body));
  }
  assert.deepEqual((await call("GET", "/messenger/chats")).items, []);
});
