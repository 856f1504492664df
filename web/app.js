// The box office in a browser: which page is shown, signing in, and the list of events.
import { chatsPage } from './account.js';
import { alertsPage } from './alerts.js';
import { isSignedIn, onSession, once, readEvents, send, signIn, signOut } from './api.js';
import { eventPage, saleNote } from './event.js';
import { noticesPage } from './notices.js';
import { orderPage, ordersPage } from './orders.js';
import { plansPage } from './plans.js';
import { subscriptionPage, subscriptionsPage } from './subscriptions.js';
import {
  button,
  date,
  explain,
  field,
  h,
  language,
  languageMenu,
  pause,
  say,
  text,
  translatePage,
  withFee,
} from './ui.js';

const SEARCH_PAUSE_MS = 300;
const main = document.querySelector('main');
const dialog = document.getElementById('sign-in');
let leave = new AbortController();

/**
 * Pages by the first part of their address: the list, the page of one thing, and the link of the header that leads there.
 * Those that are `own` are for who is signed in.
 */
const PAGES = {
  events: { list: eventsPage, one: eventPage, link: '#/' },
  plans: { list: plansPage, link: '#/plans' },
  orders: { own: true, list: ordersPage, one: orderPage, link: '#/orders' },
  notices: { own: true, list: noticesPage, link: '#/notices' },
  alerts: { own: true, list: alertsPage, link: '#/notices' },
  chats: { own: true, list: chatsPage, link: '#/notices' },
  subscriptions: { own: true, list: subscriptionsPage, one: subscriptionPage, link: '#/notices' },
};

/** The page that the address names, and the id in it. */
function named() {
  const [, name, id] = location.hash.split('/').map(decodeURIComponent);
  return { page: (Object.hasOwn(PAGES, name) && PAGES[name]) || PAGES.events, id };
}

/** Shows the page that the address names. */
async function route() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const { page, id } = named();
  document
    .querySelectorAll('.top nav a')
    .forEach((link) => link.setAttribute('aria-current', link.hash === page.link ? 'page' : 'false'));
  main.replaceChildren(h('p', { class: 'muted', role: 'status' }, text('loading')));
  try {
    if (page.own && !(await signedIn())) location.hash = '#/';
    else if (id && page.one) await page.one(main, id, signal, signedIn);
    else await page.list(main, signal, signedIn);
  } catch (error) {
    if (!signal.aborted) main.replaceChildren(h('p', { class: 'error', role: 'alert' }, explain(error)));
  }
  if (signal.aborted) return;
  document.title = [main.querySelector('h1')?.textContent, 'Boxoffice'].filter(Boolean).join(' · ');
}

/** What is on, with search; the first, unfiltered answer tells the cities. */
async function eventsPage(_, signal) {
  const first = await readEvents('limit=100');
  if (signal.aborted) return;
  const cities = [...new Set(first.items.map((event) => event.venue.city))].sort();
  const words = h('input', { type: 'search', placeholder: text('search_hint'), maxlength: 100 });
  const city = h(
    'select',
    {},
    h('option', { value: '' }, text('all_cities')),
    cities.map((name) => h('option', { value: name }, name)),
  );
  const list = h('div', { 'aria-live': 'polite' });
  let asked = 0;
  const search = async () => {
    const turn = (asked += 1);
    await pause(SEARCH_PAUSE_MS, signal);
    if (turn !== asked || signal.aborted) return;
    const query = new URLSearchParams({ limit: '100' });
    if (words.value.trim()) query.set('q', words.value.trim());
    if (city.value) query.set('city', city.value);
    const page = await readEvents(query);
    if (turn === asked) list.replaceChildren(eventList(page, query));
  };
  const sayError = (error) => say(explain(error), 'error');
  words.addEventListener('input', () => search().catch(sayError));
  city.addEventListener('change', () => search().catch(sayError));
  list.append(eventList(first, new URLSearchParams({ limit: '100' })));
  main.replaceChildren(
    h(
      'header',
      { class: 'page-head' },
      h('h1', {}, text('nav_events')),
      h('p', { class: 'lead' }, text('about'), ' ', text('about_demo')),
    ),
    h('div', { class: 'fields search', role: 'search' }, field(text('search'), words), field(text('city'), city)),
    list,
  );
}

function eventList(page, query) {
  if (page.items.length === 0) return h('p', { class: 'muted' }, text('no_events'));
  const list = h('ul', { class: 'rows' }, page.items.map(eventLine));
  const more = button(text('more'), async () => {
    query.set('cursor', page.next_cursor);
    more.replaceWith(eventList(await readEvents(query), query));
  });
  return h('div', {}, list, page.next_cursor && more);
}

function eventLine(event) {
  const { venue } = event;
  const part = (options) => date(event.starts_at, venue.time_zone, options);
  const cheapest = Object.values(event.prices).reduce(
    (least, price) => (least && least.amount <= price.amount ? least : price),
    null,
  );
  return h(
    'li',
    {},
    h(
      'a',
      { class: 'row', href: `#/events/${event.id}` },
      h(
        'time',
        { class: 'day', datetime: event.starts_at },
        h('b', {}, part({ day: 'numeric' })),
        part({ month: 'short' }),
        h('small', {}, part({ weekday: 'short' })),
      ),
      h(
        'span',
        { class: 'grow' },
        h('b', {}, event.name),
        h('small', { class: 'muted' }, `${event.performer.name} · ${part({ timeStyle: 'short' })}`),
        h('small', { class: 'muted' }, `${venue.name}, ${venue.city}`),
      ),
      h(
        'span',
        { class: 'end' },
        saleNote(event)
          ? h('small', { class: 'muted' }, saleNote(event))
          : cheapest && text('from_price', { price: withFee(cheapest, event.service_fee) }),
      ),
    ),
  );
}

/** Whether somebody is signed in, after asking them to where nobody is. */
function signedIn() {
  if (isSignedIn()) return Promise.resolve(true);
  return new Promise((resolve) => {
    openSignIn(false, text('sign_in_first'));
    dialog.addEventListener('close', () => resolve(isSignedIn()), { once: true });
  });
}

function openSignIn(isNew, note) {
  const email = h('input', { type: 'email', autocomplete: 'username', required: true, maxlength: 254 });
  const password = h('input', {
    type: 'password',
    autocomplete: isNew ? 'new-password' : 'current-password',
    required: true,
    minlength: isNew ? 8 : 1,
    maxlength: 128,
  });
  const name = isNew && h('input', { autocomplete: 'name', required: true, maxlength: 100 });
  const failure = h('p', { class: 'error', role: 'alert' });
  const submit = async (event) => {
    event.preventDefault();
    failure.textContent = '';
    try {
      if (isNew)
        await once(
          '/users',
          { email: email.value, password: password.value, name: name.value, locale: language },
          { auth: false, name: `/users ${email.value}` },
        );
      await signIn(email.value, password.value);
      dialog.close();
    } catch (error) {
      failure.textContent = explain(error);
    }
  };
  const form = h(
    'form',
    { onsubmit: submit },
    h('h2', {}, text(isNew ? 'sign_up' : 'sign_in')),
    note && h('p', {}, note),
    name && field(text('name'), name),
    field(text('email'), email),
    field(text('password'), password, isNew && text('password_hint')),
    failure,
    h(
      'div',
      { class: 'actions' },
      h('button', { class: 'primary' }, text(isNew ? 'sign_up' : 'sign_in')),
      h('button', { type: 'button', onclick: () => dialog.close() }, text('close')),
    ),
    h(
      'button',
      { type: 'button', class: 'link', onclick: () => openSignIn(!isNew, note) },
      text(isNew ? 'to_sign_in' : 'to_sign_up'),
    ),
    !isNew && h('p', { class: 'muted hint' }, text('sign_in_hint')),
  );
  dialog.replaceChildren(form);
  dialog.setAttribute('aria-label', text(isNew ? 'sign_up' : 'sign_in'));
  if (!dialog.open) dialog.showModal();
  (name || email).focus();
}

/** The header's right end: who is signed in, and in which language this is. */
async function showSession() {
  const who = document.getElementById('session');
  const menu = languageMenu(() => {
    translatePage();
    showSession();
    route();
  });
  if (!isSignedIn()) {
    who.replaceChildren(menu, h('button', { type: 'button', onclick: () => openSignIn(false) }, text('sign_in')));
    return;
  }
  const leaveSession = async () => {
    if (named().page.own) location.hash = '#/';
    await signOut().catch(() => {});
    say(text('signed_out'));
  };
  const name = h('span', { class: 'who muted' });
  who.replaceChildren(menu, name, button(text('sign_out'), leaveSession));
  const me = await send('GET', '/me', { auth: true }).catch(() => null);
  name.textContent = me?.value?.name ?? '';
}

addEventListener('hashchange', () => {
  if (location.hash.startsWith('#/')) route().then(() => scrollTo(0, 0));
});
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
onSession(() => {
  showSession();
  if (!isSignedIn() && named().page.own) route();
});
translatePage();
showSession();
route();
