// Plays the part of the provider's payment form: confirms with the publishable key and the client secret, as a browser does.
const WAIT_MS = 8000;
const POLL_MS = 1000;

const form = document.getElementById("pay");
const outcome = document.getElementById("outcome");
const button = form.querySelector("button");
const { path, intent, secret, key, return: returnUrl } = form.dataset;
const isSetup = path === "setup_intents";
const address = `/v1/${path}/${intent}`;
const headers = { authorization: `Bearer ${key}` };

function say(text, tone) {
  outcome.textContent = text;
  outcome.className = tone;
}

async function look() {
  const answer = await fetch(`${address}?${new URLSearchParams({ client_secret: secret })}`, { headers });
  return answer.json();
}

function done(status) {
  button.hidden = true;
  form.querySelector("fieldset").disabled = true;
  if (!returnUrl) return;
  const to = new URL(returnUrl);
  to.searchParams.set(isSetup ? "setup_intent" : "payment_intent", intent);
  to.searchParams.set("redirect_status", status);
  const link = document.createElement("a");
  link.href = to;
  link.textContent = "Back to the shop";
  outcome.append(" ", link);
}

// Says what has become of the payment. True if it may still change by itself.
function tell(payment) {
  button.disabled = payment.status === "processing";
  switch (payment.status) {
    case "requires_capture":
    case "succeeded":
      say(isSetup ? "Saved. The shop has been told." : "Paid. The shop has been told.", "good");
      done("succeeded");
      return false;
    case "processing":
      say("The bank is thinking about it …", "plain");
      return true;
    case "requires_action":
      say("Your bank wants to hear from you …", "plain");
      location.assign(payment.next_action.redirect_to_url.url);
      return false;
    case "canceled":
      say("The shop has cancelled this payment.", "bad");
      done("failed");
      return false;
    default: {
      const error = payment.last_payment_error ?? payment.last_setup_error;
      if (error) say(error.message, "bad");
      return false;
    }
  }
}

async function follow() {
  while (tell(await look())) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}

async function pay() {
  const chosen = new FormData(form).get("method");
  const method = chosen.endsWith("_") ? chosen + document.getElementById("seconds").valueAsNumber : chosen;
  const body = new URLSearchParams({ client_secret: secret, payment_method: method });
  body.set("return_url", returnUrl || location.href);
  const signal = AbortSignal.timeout(WAIT_MS);
  const answer = await fetch(`${address}/confirm`, { method: "POST", headers, body, signal }).catch(() => null);
  if (answer === null) {
    say("No answer. Asking what happened …", "plain");
  } else if (!answer.ok) {
    const { error } = await answer.json();
    say(error.message, "bad");
    if (error.type === "card_error") return;
  }
  await follow();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  say("One moment …", "plain");
  try {
    await pay();
  } catch {
    say("The payment provider cannot be reached. Try again.", "bad");
  } finally {
    button.disabled = false;
  }
});

follow().catch(() => say("The payment provider cannot be reached.", "bad"));
