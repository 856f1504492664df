// Alerts: what one wants to be told of or offered; the list of one's own, and the form that makes one.
import { call, once, readEvent, readEvents, serverNow } from './api.js';
import { accountHead } from './account.js';
import { faultyField, faultyGroup, formOf, menu } from './forms.js';
import { button, date, h, minorUnits, money, say, text } from './ui.js';

const QUANTITY_MAX = 10;
const ALERTS_MAX = 20;
const OFFERS_MAX = 5;
const SECTIONS_MAX = 20;
const PAGE_ITEMS = 100;
/** What is waited for, as the API has it. */
const WHATS = {
  on_sale: { when: 'on_sale', standing: false },
  seats_back: { when: 'seats_back', standing: false },
  offer: { when: 'seats_back', standing: true },
};

const hallOf = (event) => call('GET', `/layouts/${event.layout.id}/${event.layout.version}`).catch(() => null);

/** One's own alerts, and a form for one that is about more than an event. */
export async function alertsPage(main, signal) {
  const [alerts, coming] = await Promise.all([
    call('GET', `/alerts?limit=${PAGE_ITEMS}`, { auth: true }),
    readEvents(`limit=${PAGE_ITEMS}`),
  ]);
  const names = await namesFor(alerts.items, coming.items);
  if (signal.aborted) return;
  const list = h('div', { class: 'list' });
  const page = { list, names, alerts: alerts.items };
  showAlerts(page);
  const made = (alert) => {
    page.alerts.push(alert);
    showAlerts(page);
  };
  const form = alertForm({ ...anyScopes(coming.items), whats: ['on_sale', 'seats_back', 'offer'], made });
  main.replaceChildren(
    ...accountHead('alerts'),
    list,
    h(
      'section',
      { class: 'card narrow' },
      h('h2', {}, text('alert_new')),
      h('p', { class: 'muted' }, text('alert_of_event'), ' ', h('a', { href: '#/' }, text('nav_events'))),
      form,
    ),
  );
}

/** The names of what alerts are about: of events that are asked for, and of what coming events tell. */
async function namesFor(alerts, coming) {
  const events = new Map(coming.map((event) => [event.id, event]));
  const missing = alerts.map(({ scope }) => scope.event_id).filter((id) => id && !events.has(id));
  const found = await Promise.all([...new Set(missing)].map((id) => readEvent(id).catch(() => null)));
  found.filter(Boolean).forEach((event) => events.set(event.id, event));
  const known = [...events.values()];
  const named = alerts.filter(({ sections }) => sections.length > 0);
  const halls = named.map(({ scope }) =>
    known.find((event) => event.id === scope.event_id || event.venue.id === scope.venue_id),
  );
  const layouts = await Promise.all(halls.map((event) => event && hallOf(event)));
  return {
    event: (id) => events.get(id),
    performer: (id) => known.find((event) => event.performer.id === id)?.performer.name,
    venue: (id) => known.find((event) => event.venue.id === id)?.venue.name,
    section: (alert, id) => layouts[named.indexOf(alert)]?.sections.find((section) => section.id === id)?.name ?? id,
  };
}

function showAlerts(page) {
  const lines = page.alerts.map((alert) => alertLine(page, alert));
  page.list.replaceChildren(
    lines.length > 0 ? h('ul', { class: 'rows' }, lines) : h('p', { class: 'muted' }, text('no_alerts')),
  );
}

function subject({ names }, { scope }) {
  if (scope.city) return text('scope_city', { name: scope.city });
  if (scope.performer_id) return names.performer(scope.performer_id) ?? text('scope_some_performer');
  if (scope.venue_id) return names.venue(scope.venue_id) ?? text('scope_some_venue');
  return scope.any ? text('scope_any') : (names.event(scope.event_id)?.name ?? text('scope_some_event'));
}

function alertLine(page, alert) {
  const name = subject(page, alert);
  const event = page.names.event(alert.scope.event_id);
  const when = event && date(event.starts_at, event.venue.time_zone, { dateStyle: 'medium', timeStyle: 'short' });
  const terms = [
    text(alert.standing ? 'what_offer' : `what_${alert.when}`),
    alert.quantity > 1 && text('alert_together', { n: alert.quantity }),
    alert.price_max && text('alert_up_to', { price: money(alert.price_max) }),
    alert.sections.length > 0 && alert.sections.map((id) => page.names.section(alert, id)).join(', '),
    alert.priority > 0 && text('alert_ahead'),
  ];
  const end = async () => {
    await call('DELETE', `/alerts/${alert.id}`, { auth: true });
    page.alerts = page.alerts.filter(({ id }) => id !== alert.id);
    showAlerts(page);
    say(text('alert_is_ended'));
  };
  const isOpen = alert.status === 'active';
  return h(
    'li',
    { class: 'row' },
    h(
      'span',
      { class: 'grow' },
      h('b', {}, event ? h('a', { href: `#/events/${event.id}` }, name) : name),
      when && h('small', { class: 'muted' }, when),
      h('small', {}, terms.filter(Boolean).join(' · ')),
    ),
    isOpen
      ? button(text('alert_end'), end, { 'aria-label': text('alert_end_name', { name }) })
      : h('span', { class: 'badge expired' }, text('alert_ended')),
  );
}

/** What an alert can be about beside one event: performers, venues and cities of coming events, and all of them. */
function anyScopes(events) {
  const unique = (key, label) => [...new Map(events.map((event) => [key(event), label(event)]))];
  const byName = (a, b) => a.label.localeCompare(b.label);
  const group = (name, pairs, body) => ({
    name: text(name),
    scopes: pairs.map(([key, label]) => ({ label, body: body(key) })).sort(byName),
  });
  const groups = [
    group(
      'scope_performers',
      unique(
        ({ performer }) => performer.id,
        ({ performer }) => performer.name,
      ),
      (id) => ({ performer_id: id }),
    ),
    group(
      'scope_venues',
      unique(
        ({ venue }) => venue.id,
        ({ venue }) => `${venue.name}, ${venue.city}`,
      ),
      (id) => ({ venue_id: id }),
    ),
    group(
      'scope_cities',
      unique(
        ({ venue }) => venue.city,
        ({ venue }) => venue.city,
      ),
      (city) => ({ city }),
    ),
    { name: text('scope_all'), scopes: [{ label: text('scope_any'), body: { any: true } }] },
  ];
  const currencies = [
    ...new Set(events.flatMap(({ prices }) => Object.values(prices).map(({ currency }) => currency))),
  ];
  return { groups: groups.filter(({ scopes }) => scopes.length > 0), currencies };
}

/** What an alert from an event's page can be about; sections are the hall's. */
function scopesOf(event, layout) {
  const sections = layout.sections.map(({ id, name }) => ({ id, name }));
  const scopes = [
    { label: event.name, body: { event_id: event.id }, sections },
    { label: text('scope_performer', { name: event.performer.name }), body: { performer_id: event.performer.id } },
    { label: text('scope_venue', { name: event.venue.name }), body: { venue_id: event.venue.id }, sections },
    { label: text('scope_city', { name: event.venue.city }), body: { city: event.venue.city } },
  ];
  return { groups: [{ scopes }], currencies: [Object.values(event.prices)[0]?.currency].filter(Boolean) };
}

/**
 * The card of an event's page that makes an alert, and the button of its head that leads there where nothing can be bought.
 * Of an event that nobody can come to any more there are none.
 */
export function alertCard({ event, hall, signedIn }) {
  const isOver = serverNow() >= Date.parse(event.on_sale_until) || event.status === 'cancelled';
  if (isOver) return { node: null, ask: null, suggest: () => {} };
  const isBefore = serverNow() < Date.parse(event.on_sale_from);
  const whats = isBefore ? ['on_sale', 'seats_back', 'offer'] : ['seats_back', 'offer'];
  const form = alertForm({ ...scopesOf(event, hall.layout), whats, signedIn });
  const node = h('details', { class: 'card', open: isBefore }, h('summary', {}, text('alert_title')), form);
  const go = () => {
    node.open = true;
    node.scrollIntoView({ block: 'start', behavior: 'smooth' });
    form.querySelector('input').focus({ preventScroll: true });
  };
  const ask = h('button', { type: 'button', class: 'link ask', hidden: !isBefore, onclick: go }, text('alert_title'));
  const suggest = () => {
    node.open = true;
    ask.hidden = false;
  };
  return { node, ask, suggest };
}

function scopeMenu(groups) {
  const scopes = groups.flatMap((group) => group.scopes);
  const option = (scope) => h('option', { value: scopes.indexOf(scope) }, scope.label);
  const options = groups.map(({ name, scopes: some }) =>
    name ? h('optgroup', { label: name }, some.map(option)) : some.map(option),
  );
  const control = h('select', {}, options);
  return { control, chosen: () => scopes[Number(control.value)] };
}

function whatGroup(whats) {
  const name = `what-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
  const radio = (value, at) => [h('input', { type: 'radio', name, value, checked: at === 0 }), text(`tell_${value}`)];
  const boxes = whats.map(radio);
  const group = faultyGroup(['/when', '/standing'], text('alert_what'), boxes);
  return { ...group, chosen: () => boxes.find(([box]) => box.checked)[0].value };
}

function sectionBoxes(sections) {
  const boxes = sections.map(({ id, name }) => [h('input', { type: 'checkbox', value: id }), name]);
  const group = faultyGroup(
    ['/sections'],
    text('alert_sections'),
    boxes,
    text('alert_sections_hint', { n: SECTIONS_MAX }),
  );
  group.node.classList.add('sections');
  return { ...group, chosen: () => boxes.filter(([box]) => box.checked).map(([box]) => box.value) };
}

/** The form; `made` is told of what it made. */
function alertForm({ groups, currencies, whats, signedIn = async () => true, made = () => {} }) {
  const what = whatGroup(whats);
  const scope = scopeMenu(groups);
  const about = faultyField(['/scope'], text('alert_about'), scope.control);
  const numbers = Array.from({ length: QUANTITY_MAX }, (_, index) => [index + 1, String(index + 1)]);
  const quantity = faultyField(['/quantity'], text('alert_quantity'), menu(numbers, 1), text('alert_quantity_hint'));
  const most = h('input', { type: 'number', min: 0, step: 'any', inputmode: 'decimal' });
  const label = currencies.length === 1 ? text('alert_price_in', { currency: currencies[0] }) : text('alert_price');
  const price = faultyField(['/price_max'], label, most, text('alert_price_hint'));
  const unit =
    currencies.length > 1 && faultyField([], text('alert_currency'), menu(currencies.map((one) => [one, one])));
  const all = groups.flatMap((group) => group.scopes).find(({ sections }) => sections)?.sections;
  const places = all && sectionBoxes(all);
  const fields = [what, about, quantity, price, unit, places].filter(Boolean);
  const fit = () => {
    const isBack = what.chosen() !== 'on_sale';
    quantity.node.hidden = !isBack;
    if (places) places.node.hidden = !isBack || !scope.chosen().sections;
  };
  const body = () => {
    const currency = unit ? unit.control.value : currencies[0];
    const amount = most.value === '' ? null : Math.round(Number(most.value) * minorUnits(currency));
    return {
      scope: scope.chosen().body,
      ...WHATS[what.chosen()],
      ...(!quantity.node.hidden && { quantity: Number(quantity.control.value) }),
      ...(amount !== null && { price_max: { amount, currency } }),
      ...(places && !places.node.hidden && { sections: places.chosen() }),
    };
  };
  const submit = async () => {
    if (!(await signedIn())) return null;
    made(await once('/alerts', body()));
    return confirmation();
  };
  const children = [
    what.node,
    about.node,
    h('div', { class: 'fields' }, quantity.node, price.node, unit && unit.node),
    places && places.node,
    h('p', { class: 'muted hint' }, text('alert_limits', { all: ALERTS_MAX, offers: OFFERS_MAX })),
  ];
  const form = formOf(fields, { label: text('alert_make'), submit, children });
  form.addEventListener('change', fit);
  fit();
  return form;
}

/** That it is made, and how one hears of it soonest. */
async function confirmation() {
  const chats = await call('GET', '/messenger/chats', { auth: true }).catch(() => null);
  const isLinked = chats?.items.some(({ status }) => status === 'linked');
  return h(
    'p',
    {},
    text('alert_made'),
    ' ',
    h('a', { href: '#/alerts' }, text('nav_alerts')),
    ...(isLinked === false ? ['. ', h('a', { href: '#/chats' }, text('alert_link_chat'))] : []),
  );
}
