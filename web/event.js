// One event: its plan, the seats chosen on it, the best available, and holding them.
import { alertCard } from './alerts.js';
import { call, isSignedIn, once, readEvent, send, serverNow } from './api.js';
import { heldSubscription, named, perkOf, perkText } from './perks.js';
import { SeatMap } from './seatmap.js';
import { FREE, applyStates, buildHall } from './hall.js';
import {
  button,
  date,
  explain,
  feeLine,
  field,
  h,
  locale,
  mark,
  money,
  repeat,
  say,
  text,
  whisper,
  withFee,
} from './ui.js';

const POLL_MS = 2000;
const ORDER_SEATS_MAX = 10;
const HOUR_MS = 3_600_000;
/** What was chosen of each event, for those who come back to it. */
const kept = new Map();

/** Shows an event. `signedIn()` asks for a sign-in where there is none, and says whether there is one. */
export async function eventPage(main, id, signal, signedIn) {
  const [event, held] = await Promise.all([readEvent(id), heldSubscription()]);
  const layout = await call('GET', `/layouts/${event.layout.id}/${event.layout.version}`);
  if (signal.aborted) return;
  if (!kept.has(id)) kept.set(id, new Map());
  const page = { event, held, hall: buildHall(layout), chosen: kept.get(id), signal, signedIn, etag: null };
  page.seatsMax = Math.max(ORDER_SEATS_MAX, perkOf(held, 'seats_an_order')?.max ?? 0);
  page.category = (key) =>
    layout.categories.find((category) => category.id === key) ?? { id: key, name: key, color: '#888888' };
  page.status = h('p', { class: 'map-status' }, '');
  page.picked = h('section', { class: 'card picked' });
  page.left = new Map();
  const canvas = h('canvas', {
    class: 'map',
    tabindex: 0,
    role: 'application',
    'aria-label': text('map'),
    'aria-describedby': 'map-keys',
  });
  const best = bestForm(page);
  page.alerts = alertCard(page);
  page.soldOut = h('p', { class: 'note', hidden: true }, text('sold_out'));
  main.replaceChildren(
    heading(page),
    h(
      'div',
      { class: 'event' },
      h(
        'div',
        { class: 'plan' },
        h('div', { class: 'map-box' }, canvas, zoomButtons(page), page.status),
        h('p', { id: 'map-keys', class: 'visually-hidden' }, text('map_keys')),
        legend(),
        prices(page),
      ),
      h('div', { class: 'side' }, page.picked, best.node, ...[page.alerts.node].filter(Boolean), terms(event)),
    ),
  );
  page.map = new SeatMap(
    canvas,
    page.hall,
    {
      pick: (seat) => pick(page, seat),
      standing: (area) => best.standing(area),
      look: (found) => look(page, found),
      zoomed: () => (page.status.textContent = text('zoomed')),
      left: (n) => text('left', { n }),
    },
    signal,
  );
  showPicked(page);
  repeat(POLL_MS, signal, () => refresh(page));
}

function heading({ event, held, soldOut, alerts }) {
  const { venue } = event;
  const open = saleNote(event);
  return h(
    'header',
    { class: 'page-head' },
    h('h1', {}, event.name),
    h('p', { class: 'lead' }, `${event.performer.name} · ${date(event.starts_at, venue.time_zone)}`),
    h('p', { class: 'muted' }, `${venue.name}, ${venue.address}, ${venue.city}`),
    open && h('p', { class: 'note' }, open),
    soldOut,
    presale(event, held),
    alerts.ask && h('p', {}, alerts.ask),
  );
}

/** Who may buy before the sale, and since when; whoever has a plan for it is told so. */
function presale(event, held) {
  if (!event.presale) return null;
  const from = ownPresale(event, held);
  const when = (instant) => date(instant, event.venue.time_zone);
  if (from !== null)
    return h('p', { class: 'gift' }, text('presale_yours', { name: named(held.name), date: when(from) }));
  const plans = event.presale.plans.map((plan) => `${named(plan.name)} (${when(plan.from)})`);
  return h(
    'p',
    { class: 'muted' },
    text('presale_of', { plans: plans.join('; ') }),
    ' ',
    h('a', { href: '#/plans' }, text('see_plans')),
  );
}

/** When this subscriber may buy, if that is before the others, in milliseconds. */
function ownPresale(event, held) {
  const perk = perkOf(held, 'presale');
  return perk ? Date.parse(event.on_sale_from) - perk.hours * HOUR_MS : null;
}

/** Whether holding is worth trying: while the sale is open or, before it, a presale that may be one's own. */
function isOpen({ event, held }) {
  const isPresale = event.presale && serverNow() < Date.parse(event.on_sale_from);
  if (!isPresale) return saleNote(event) === null;
  const from = isSignedIn() ? ownPresale(event, held) : Date.parse(event.presale.from);
  return from !== null && serverNow() >= from;
}

/** Why seats cannot be bought now; nothing where they can. */
export function saleNote({ status, venue, on_sale_from, on_sale_until }) {
  if (status === 'cancelled') return text('event_cancelled');
  if (serverNow() < Date.parse(on_sale_from))
    return text('on_sale_from', { date: date(on_sale_from, venue.time_zone) });
  return serverNow() >= Date.parse(on_sale_until) ? text('sale_ended') : null;
}

function zoomButtons(page) {
  const zoom = (label, name, act) =>
    h('button', { type: 'button', title: text(name), 'aria-label': text(name), onclick: act }, label);
  return h(
    'div',
    { class: 'zoom' },
    zoom('+', 'zoom_in', () => page.map.zoom(1.5)),
    zoom('−', 'zoom_out', () => page.map.zoom(1 / 1.5)),
    zoom('⤢', 'zoom_fit', () => page.map.fit()),
  );
}

function legend() {
  const kinds = [
    ['free', 'free'],
    ['chosen', 'chosen'],
    ['held', 'held'],
    ['sold', 'sold'],
    ['accessible', 'accessible'],
  ];
  return h(
    'ul',
    { class: 'legend', 'aria-label': text('legend') },
    kinds.map(([kind, name]) => h('li', {}, mark(kind), text(name))),
  );
}

/** Asks for the seat map; 304 means that nothing changed. */
async function refresh(page) {
  try {
    const path = `/events/${page.event.id}/seats`;
    const { response, value } = await send('GET', path, { etag: page.etag, auth: page.event.hidden });
    page.isOffline = false;
    if (page.signal.aborted || !value) return;
    page.etag = response.headers.get('etag');
    applyStates(page.hall, value);
    showSoldOut(page, value.free);
    page.left.forEach((node, category) => (node.textContent = text('left', { n: value.free[category] ?? 0 })));
    dropTaken(page);
    page.map.draw();
  } catch (error) {
    if (!page.isOffline) say(error.status === 0 ? text('offline') : explain(error), 'error');
    page.isOffline = true;
  }
}

/** Where nothing is left, being told of what comes back is offered instead. */
function showSoldOut(page, free) {
  const isSoldOut = saleNote(page.event) === null && Object.values(free).every((seats) => seats === 0);
  if (isSoldOut && page.soldOut.hidden) page.alerts.suggest();
  page.soldOut.hidden = !isSoldOut;
}

function dropTaken(page) {
  if (page.isHolding) return;
  const gone = [...page.chosen.values()]
    .map(({ key }) => page.hall.byKey.get(key))
    .filter(({ state }) => state !== FREE);
  if (gone.length === 0) return;
  gone.forEach(({ key }) => page.chosen.delete(key));
  say(text('gone', { seats: gone.map(seatName).join('; ') }), 'error');
  showPicked(page);
}

const seatName = (seat) => text('seat', { section: seat.sectionName, row: seat.row, seat: seat.seat });

function look(page, found) {
  if (!found) return;
  const price = page.event.prices[found.category];
  const parts = [page.category(found.category).name, price && withFee(price, page.event.service_fee)];
  const states = ['free', 'held', 'sold', 'not_for_sale'];
  const state = () => text(page.chosen.has(found.key) ? 'chosen' : states[found.state]);
  const line = found.box
    ? [found.section.name, ...parts, text('left', { n: found.free })]
    : [seatName(found), ...parts, found.accessible && text('accessible'), state()];
  const said = line.filter(Boolean).join(' · ');
  page.status.textContent = said;
  if (document.activeElement?.classList.contains('map')) whisper(said);
}

function pick(page, seat) {
  const { chosen } = page;
  if (chosen.has(seat.key)) chosen.delete(seat.key);
  else if (seat.state !== FREE) return;
  else if (chosen.size === page.seatsMax) say(text('seats_max', { n: page.seatsMax }), 'error');
  else chosen.set(seat.key, seat);
  showPicked(page);
  look(page, seat);
}

function showPicked(page) {
  const { event, chosen } = page;
  page.map.chosen = chosen;
  page.map.draw();
  const seats = [...chosen.values()];
  page.picked.classList.toggle('some', seats.length > 0);
  page.picked.replaceChildren(h('h2', {}, text('your_seats')));
  if (seats.length === 0) {
    page.picked.append(h('p', { class: 'muted' }, text('none_chosen', { n: page.seatsMax })));
    return;
  }
  const remove = (seat) =>
    h(
      'button',
      {
        type: 'button',
        class: 'plain',
        'aria-label': text('remove', { seat: seatName(seat) }),
        onclick: () => pick(page, seat),
      },
      '✕',
    );
  const line = (seat) =>
    h(
      'li',
      {},
      mark('free', page.category(seat.category).color),
      h('span', {}, seatName(seat)),
      h('b', {}, money(event.prices[seat.category])),
      remove(seat),
    );
  const sum = (amount) => seats.reduce((all, seat) => all + amount(event.prices[seat.category]), 0);
  const { currency } = event.prices[seats[0].category];
  const fees = sum((price) => (price.amount > 0 ? (event.service_fee?.amount ?? 0) : 0));
  const total = sum((price) => price.amount) + fees;
  const clear = () => {
    chosen.clear();
    showPicked(page);
  };
  page.picked.append(
    h('ul', { class: 'seats' }, seats.map(line)),
    ...(fees > 0 ? [feeLine({ amount: fees, currency })] : []),
    h(
      'p',
      { class: 'sum' },
      h('span', {}, `${text('total')}, ${text('seats', { n: seats.length })}`),
      h('b', {}, money({ amount: total, currency })),
    ),
    h(
      'div',
      { class: 'actions' },
      button(text('hold'), () => holdChosen(page), { class: 'primary', disabled: !isOpen(page) }),
      h('button', { type: 'button', onclick: clear }, text('clear')),
    ),
  );
}

async function holdChosen(page) {
  const seats = [...page.chosen.values()];
  try {
    await hold(page, { seats: seats.map(({ section, row, seat }) => ({ section, row, seat })) });
  } catch (error) {
    if (error.code !== 'seats_taken') throw error;
    const gone = (error.errors ?? []).map(({ pointer }) => seats[Number(pointer.split('/')[2])]).filter(Boolean);
    gone.forEach(({ key }) => page.chosen.delete(key));
    showPicked(page);
    say(gone.length > 0 ? text('gone', { seats: gone.map(seatName).join('; ') }) : explain(error), 'error');
    await refresh(page);
  }
}

/** Places an order and goes to it. */
async function hold(page, wish) {
  if (!(await page.signedIn())) return;
  page.isHolding = true;
  try {
    const order = await once('/orders', { event_id: page.event.id, ...wish });
    page.chosen.clear();
    location.hash = `#/orders/${order.id}`;
  } catch (error) {
    if (error.status === 0) error.message = text('lost_reply');
    throw error;
  } finally {
    page.isHolding = false;
  }
}

/** The way to buy for those who do not use the map, and the only one to standing places. */
function bestForm(page) {
  const { event, hall } = page;
  const option = (value, label) => h('option', { value }, label);
  const quantity = h(
    'select',
    {},
    Array.from({ length: page.seatsMax }, (_, index) => option(index + 1, String(index + 1))),
  );
  quantity.value = '2';
  const categories = Object.entries(event.prices).sort(([, a], [, b]) => b.amount - a.amount);
  const category = h(
    'select',
    {},
    option('', text('any')),
    categories.map(([key, price]) => option(key, `${page.category(key).name}, ${withFee(price, event.service_fee)}`)),
  );
  const section = h(
    'select',
    {},
    option('', text('any')),
    hall.layout.sections.map(({ id, name }) => option(id, name)),
  );
  const accessible = h('input', { type: 'checkbox' });
  const find = () =>
    hold(page, {
      best: {
        quantity: Number(quantity.value),
        accessible: accessible.checked,
        ...(category.value && { category: category.value }),
        ...(section.value && { section: section.value }),
      },
    });
  const node = h(
    'section',
    { class: 'card' },
    h('h2', {}, text('best')),
    h('p', { class: 'muted' }, text('best_hint')),
    h(
      'div',
      { class: 'fields' },
      field(text('quantity'), quantity),
      field(text('category'), category),
      field(text('place'), section),
    ),
    h('label', { class: 'check' }, accessible, text('best_accessible')),
    h('div', { class: 'actions' }, button(text('best_hold'), find, { class: 'primary', disabled: !isOpen(page) })),
  );
  const standing = (area) => {
    [category.value, section.value, accessible.checked] = [area.category, area.section.id, false];
    node.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
    quantity.focus({ preventScroll: true });
  };
  return { node, standing };
}

/** Prices by category; each shows itself alone on the map. */
function prices(page) {
  const { event, hall, left } = page;
  const known = hall.layout.categories.filter(({ id }) => event.prices[id]);
  const rows = known.map(({ id, name, color }) => {
    const count = h('small', { class: 'muted' });
    left.set(id, count);
    const toggle = (press) => {
      page.map.only = page.map.only === id ? null : id;
      press.currentTarget
        .closest('ul')
        .querySelectorAll('button')
        .forEach((one) => one.setAttribute('aria-pressed', one === press.currentTarget && page.map.only === id));
      page.map.draw();
    };
    const label = text('show_only', { category: name });
    return h(
      'li',
      {},
      h(
        'button',
        { type: 'button', class: 'price', 'aria-pressed': 'false', title: label, onclick: toggle },
        mark('free', color),
        h('span', {}, name),
        count,
        h('b', {}, money(event.prices[id])),
      ),
    );
  });
  const fee = event.service_fee && h('p', { class: 'muted' }, text('fee_each', { fee: money(event.service_fee) }));
  return h(
    'section',
    { class: 'card prices' },
    h('h2', {}, text('prices')),
    h('ul', {}, rows),
    fee,
    ownPerks(page.held),
  );
}

/** What of a subscription lowers prices here: how much in all is seen once seats are held. */
function ownPerks(held) {
  const lowers = ['tickets', 'fixed_price', 'discount', 'service_fee'];
  const perks = held?.perks.filter(({ kind }) => lowers.includes(kind)) ?? [];
  if (perks.length === 0) return null;
  const words = perks.map(perkText).join('; ');
  return h('p', { class: 'gift' }, text('perks_here', { name: named(held.name), perks: words }));
}

function terms(event) {
  const percent = new Intl.NumberFormat(locale, { style: 'percent', maximumFractionDigits: 2 });
  const key = (term) => (event.service_fee && term.returns_service_fee ? 'terms_share_and_fee' : 'terms_share');
  const share = (term) => text(key(term), { share: percent.format(term.share_basis_points / 10_000) });
  const line = (term) =>
    h('li', {}, term.text, ' ', h('b', {}, share(term)), h('small', { class: 'muted' }, term.source));
  return h(
    'details',
    { class: 'card terms' },
    h('summary', {}, text('refund_terms')),
    h('ul', {}, event.refund_terms.map(line)),
    event.service_fee && h('p', { class: 'muted' }, text('fee_terms')),
    h('p', { class: 'muted' }, text('not_advice')),
  );
}
