// The API: tokens, problems, and requests that are done once however often they are sent.
const TOKENS_KEY = 'tokens';
const ATTEMPTS_KEY = 'attempts';
/** An access token with less left than this is exchanged first. */
const TOKEN_LEFT_MS_MIN = 30_000;
/** Waits before a request whose fate is unknown is sent again. */
const RETRY_DELAYS_MS = [400, 1200, 3000];
const RETRY_AFTER_SECONDS_MAX = 10;

/** An error of the API (RFC 9457), or `code: 'offline'` where there was no answer. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.title ?? `HTTP ${status}`);
    Object.assign(this, { status, code: body.code, errors: body.errors });
  }
}

let tokens = JSON.parse(sessionStorage.getItem(TOKENS_KEY) ?? 'null');
let refreshing = null;
/** Milliseconds that the server's clock is ahead of ours. */
let clockAhead = 0;
const watchers = new Set();

export const serverNow = () => Date.now() + clockAhead;
export const isSignedIn = () => tokens !== null;
export const onSession = (watcher) => watchers.add(watcher);

function setTokens(reply) {
  tokens = reply && {
    access: reply.access_token,
    refresh: reply.refresh_token,
    until: Date.now() + reply.expires_in * 1000,
  };
  if (tokens) sessionStorage.setItem(TOKENS_KEY, JSON.stringify(tokens));
  else sessionStorage.removeItem(TOKENS_KEY);
  watchers.forEach((watcher) => watcher());
}

export async function signIn(email, password) {
  setTokens(await call('POST', '/sessions', { body: { email, password } }));
}

export async function signOut() {
  const body = { refresh_token: tokens.refresh };
  setTokens(null);
  await call('DELETE', '/sessions', { body });
}

/** A good access token: exchanged when it is about to end, by one request for all who wait. */
export async function accessToken() {
  if (tokens && tokens.until - Date.now() < TOKEN_LEFT_MS_MIN) {
    refreshing ??= refresh().finally(() => (refreshing = null));
    await refreshing;
  }
  return tokens?.access;
}

async function refresh() {
  try {
    setTokens(await call('POST', '/sessions/refresh', { body: { refresh_token: tokens.refresh } }));
  } catch (error) {
    if (error.status !== 401) throw error;
    setTokens(null);
  }
}

/** Sends a request and gives the response, or throws a `Problem`. `as` is how its body is read. */
export async function send(method, path, { body, key, etag, auth, as = 'json' } = {}) {
  const headers = { accept: 'application/json' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (key) headers['idempotency-key'] = key;
  if (etag) headers['if-none-match'] = etag;
  if (auth) {
    const token = await accessToken();
    if (!token) throw new Problem(401, { code: 'token_missing' });
    headers.authorization = `Bearer ${token}`;
  }
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Problem(0, { code: 'offline', detail: 'No connection.' });
  }
  // Only of replies that nobody keeps: a kept one tells the time of long ago.
  if (auth && !response.headers.get('cache-control')?.includes('public')) noteClock(response);
  if (response.status === 304) return { response, value: null };
  if (!response.ok) throw await problem(response, auth);
  const value = response.status === 204 ? null : await response[as]();
  return { response, value };
}

export const call = async (method, path, options) => (await send(method, path, options)).value;

/** What anybody may read, and more of it for some subscribers; whoever's session is over sees what everybody sees. */
async function visit(path) {
  if (!isSignedIn()) return call('GET', path);
  return call('GET', path, { auth: true }).catch((error) => {
    if (error.status !== 401) throw error;
    return call('GET', path);
  });
}

export const readEvent = (id) => visit(`/events/${encodeURIComponent(id)}`);
export const readEvents = (query) => visit(`/events?${query}`);

function noteClock(response) {
  const server = Date.parse(response.headers.get('date') ?? '');
  // The header has whole seconds: half a second is its middle.
  if (server) clockAhead = server + 500 - Date.now();
}

async function problem(response, auth) {
  const body = await response.json().catch(() => ({}));
  if (response.status === 401 && auth) setTokens(null);
  const failure = new Problem(response.status, body);
  failure.retryAfter = Number(response.headers.get('retry-after')) || 0;
  return failure;
}

/**
 * A request that must be done once: its key is kept until the answer is known, so that sending it again, by itself or by
 * another press of the button, is the same request. `name` tells such requests apart; it is stored, so it has no secrets.
 */
export async function once(path, body, { auth = true, name = `${path} ${JSON.stringify(body ?? null)}` } = {}) {
  const kept = JSON.parse(sessionStorage.getItem(ATTEMPTS_KEY) ?? '{}');
  kept[name] ??= crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint32Array(4))).join('-');
  sessionStorage.setItem(ATTEMPTS_KEY, JSON.stringify(kept));
  for (let attempt = 0; ; attempt += 1) {
    try {
      const value = await call('POST', path, { body, key: kept[name], auth });
      forget(name);
      return value;
    } catch (error) {
      const isUnknown = error.status === 0 || error.status >= 500;
      if (!isUnknown) forget(name);
      if (!isUnknown || attempt === RETRY_DELAYS_MS.length) throw error;
      const asked = Math.min(error.retryAfter ?? 0, RETRY_AFTER_SECONDS_MAX) * 1000;
      await new Promise((resolve) => setTimeout(resolve, Math.max(asked, RETRY_DELAYS_MS[attempt])));
    }
  }
}

function forget(name) {
  const kept = JSON.parse(sessionStorage.getItem(ATTEMPTS_KEY) ?? '{}');
  delete kept[name];
  sessionStorage.setItem(ATTEMPTS_KEY, JSON.stringify(kept));
}
