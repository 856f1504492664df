// One's own orders: the hold and its clock, payment, tickets, and giving them back.
import { call, once, readEvent, serverNow } from './api.js';
import { appliedText } from './perks.js';
import { button, date, explain, feeLine, goToPay, h, money, pause, repeat, say, text, whisper, withFee } from './ui.js';

const POLL_MS = 1500;
const REST_POLL_MS = 15_000;
/** Seconds left of a hold at which those who listen are told. */
const WARN_AT_SECONDS = [300, 120, 60, 30, 10];
const PAGE_ITEMS = 100;
const CODE_TRIES_MAX = 5;
const AT_REST = new Set(['paid', 'partly_refunded', 'refunded', 'expired', 'lost', 'cancelled']);
const events = new Map();

async function eventOf(id) {
  const event = events.get(id) ?? (await readEvent(id).catch(() => null));
  if (event) events.set(id, event);
  return event;
}

/** All orders, the latest first. */
export async function ordersPage(main, signal) {
  const orders = [];
  let cursor = null;
  do {
    const page = await call(
      'GET',
      `/orders?limit=${PAGE_ITEMS}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`,
      { auth: true },
    );
    orders.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor && orders.length < PAGE_ITEMS * 10);
  // Their ids are digests of the client's keys, so the list does not come in the order of time.
  orders.sort((a, b) => b.placed_at.localeCompare(a.placed_at));
  await Promise.all([...new Set(orders.map((order) => order.event_id))].map(eventOf));
  if (signal.aborted) return;
  const list = orders.map((order) => orderLine(order, events.get(order.event_id)));
  main.replaceChildren(
    h('h1', {}, text('orders')),
    list.length > 0 ? h('ul', { class: 'rows' }, list) : h('p', { class: 'muted' }, text('no_orders')),
  );
}

function orderLine(order, event) {
  const when = event && date(event.starts_at, event.venue.time_zone, { dateStyle: 'medium', timeStyle: 'short' });
  return h(
    'li',
    {},
    h(
      'a',
      { class: 'row', href: `#/orders/${order.id}` },
      h(
        'span',
        { class: 'grow' },
        h('b', {}, event?.name ?? order.event_id),
        h('small', { class: 'muted' }, [when, text('seats', { n: order.seats.length })].filter(Boolean).join(' · ')),
      ),
      badge(order.status),
      h('b', {}, money(order.total)),
    ),
  );
}

const badge = (status) => h('span', { class: `badge ${status}` }, text(`status_${status}`) ?? status);

/** One order, looked at again until it is at rest. */
export async function orderPage(main, id, signal) {
  const path = `/orders/${encodeURIComponent(id)}`;
  const page = { path, signal, seen: '', codes: new Map(), main };
  await show(page, await call('GET', path, { auth: true }));
  repeat(POLL_MS, signal, async () => {
    if (isAtRest(page.order)) await pause(REST_POLL_MS, signal);
    await reload(page).catch((error) => error.status === 0 || say(explain(error), 'error'));
  });
}

const isAtRest = (order) => AT_REST.has(order.status) && !order.refunds?.some(({ status }) => status === 'requested');

async function reload(page) {
  await show(page, await call('GET', page.path, { auth: true }));
}

async function show(page, order) {
  const contents = JSON.stringify(order);
  if (page.signal.aborted || contents === page.seen) return;
  const isNews = page.order && page.order.status !== order.status;
  Object.assign(page, { seen: contents, order, event: await eventOf(order.event_id) });
  page.layout ??=
    page.event &&
    (await call('GET', `/layouts/${page.event.layout.id}/${page.event.layout.version}`).catch(() => null));
  if (page.signal.aborted) return;
  if (isNews) whisper(text(`status_${order.status}`));
  page.main.replaceChildren(
    ...[header(page), holdCard(page), tickets(page), refundCard(page), refunds(order)].filter(Boolean),
  );
}

function header({ order, event }) {
  const zone = event?.venue.time_zone;
  return h(
    'header',
    { class: 'page-head' },
    h('p', { class: 'muted' }, `${text('order')} `, h('code', {}, order.id)),
    h('h1', {}, event ? h('a', { href: `#/events/${event.id}` }, event.name) : order.event_id),
    event && h('p', { class: 'lead' }, `${date(event.starts_at, zone)} · ${event.venue.name}, ${event.venue.city}`),
    h(
      'p',
      {},
      badge(order.status),
      ' ',
      h(
        'span',
        { class: 'muted' },
        text('placed', { date: date(order.placed_at, zone, { dateStyle: 'medium', timeStyle: 'short' }) }),
      ),
    ),
  );
}

function seatName({ layout }, seat) {
  const section = layout?.sections.find(({ id }) => id === seat.section)?.name ?? seat.section;
  return seat.row === '-'
    ? text('standing_place', { section })
    : text('seat', { section, row: seat.row, seat: seat.seat });
}

const categoryName = ({ layout }, seat) =>
  layout?.categories.find(({ id }) => id === seat.category)?.name ?? seat.category;

/** What one's subscription gave to one of the seats or, for `null`, to the whole order. */
function perksOf({ applied }, seat) {
  const perks = applied?.perks.filter((perk) => (perk.seat ?? null) === seat) ?? [];
  return perks.map((perk) => h('small', { class: 'gift' }, appliedText(perk)));
}

/** The seats before they are tickets, with what can be done about them. */
function holdCard(page) {
  const { order } = page;
  if (order.seats.some((seat) => seat.ticket_id)) return null;
  const line = (seat) =>
    h(
      'li',
      {},
      h(
        'span',
        {},
        seatName(page, seat),
        h('small', { class: 'muted' }, categoryName(page, seat)),
        perksOf(order, order.seats.indexOf(seat)),
      ),
      h('b', {}, money(seat.price)),
    );
  const isOpen = order.status === 'held' || order.status === 'paying';
  const pay = order.status === 'held' ? text('pay', { total: money(order.total) }) : text('pay_again');
  return h(
    'section',
    { class: 'card' },
    isOpen && countdown(page),
    h('ul', { class: 'seats' }, order.seats.map(line)),
    order.service_fees && feeLine(order.service_fees),
    h('p', { class: 'sum' }, h('span', {}, text('total')), h('b', {}, money(order.total))),
    perksOf(order, null),
    isOpen &&
      h(
        'div',
        { class: 'actions' },
        button(pay, () => startPayment(page), { class: 'primary' }),
        button(text('cancel'), () => cancel(page)),
      ),
  );
}

function countdown({ order, signal }) {
  const clock = h('b', {});
  const node = h('p', { class: 'countdown', role: 'timer' }, clock);
  const end = Date.parse(order.hold_until);
  let last = 0;
  const tick = () => {
    const seconds = Math.max(Math.ceil((end - serverNow()) / 1000), 0);
    const time = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
    clock.textContent = seconds > 0 ? text('held_until', { time }) : text('hold_over');
    node.classList.toggle('soon', seconds <= 60);
    if (WARN_AT_SECONDS.some((limit) => last > limit && seconds <= limit)) whisper(text('held_left', { time }));
    last = seconds;
    return node.isConnected;
  };
  tick();
  // The first pause lets the page put the node in; once taken out, it stops.
  pause(1000, signal).then(() => repeat(1000, signal, async () => tick()));
  return node;
}

async function startPayment(page) {
  const payment = await once(`${page.path}/payment`);
  if (!payment.pay_url || payment.status === 'captured') return reload(page);
  goToPay(payment.pay_url, `#/orders/${page.order.id}`);
}

async function cancel(page) {
  if (!confirm(text('cancel_sure'))) return;
  await call('DELETE', page.path, { auth: true });
  await reload(page);
}

function tickets(page) {
  const { order } = page;
  const sold = order.seats.filter((seat) => seat.ticket_id);
  if (sold.length === 0) return null;
  return h(
    'section',
    {},
    h(
      'div',
      { class: 'title-row' },
      h('h2', {}, text('tickets')),
      h('button', { type: 'button', class: 'screen-only', onclick: () => print() }, text('print')),
    ),
    h(
      'ul',
      { class: 'tickets' },
      sold.map((seat) => ticket(page, seat)),
    ),
  );
}

function ticket(page, seat) {
  const { event } = page;
  const name = seatName(page, seat);
  const code = h('div', { class: 'code' });
  if (seat.ticket_status === 'valid') showCode(page, seat.ticket_id, name, code);
  return h(
    'li',
    { class: `ticket ${seat.ticket_status}` },
    code,
    h(
      'div',
      { class: 'grow' },
      h('p', { class: 'muted' }, event?.name),
      h('h3', {}, name),
      event && h('p', {}, date(event.starts_at, event.venue.time_zone)),
      event && h('p', { class: 'muted' }, `${event.venue.name}, ${event.venue.address}, ${event.venue.city}`),
      h(
        'p',
        {},
        `${categoryName(page, seat)} · ${withFee(seat.price, seat.service_fee)} · `,
        h('b', {}, text(`ticket_${seat.ticket_status}`)),
      ),
      h('p', { class: 'muted' }, h('code', {}, seat.ticket_id)),
    ),
  );
}

/** The picture needs the token, so it cannot be a plain address; as data it is an image and nothing else. */
async function showCode({ codes, signal }, id, name, box) {
  for (let attempt = 0; !codes.has(id) && attempt < CODE_TRIES_MAX && !signal.aborted; attempt += 1) {
    const svg = await call('GET', `/tickets/${id}/code.svg`, { auth: true, as: 'text' }).catch(() => null);
    if (svg) codes.set(id, `data:image/svg+xml,${encodeURIComponent(svg)}`);
    else await pause(POLL_MS, signal);
  }
  if (codes.has(id))
    box.replaceChildren(
      h('img', { src: codes.get(id), alt: text('ticket_code', { seat: name }), width: 250, height: 250 }),
    );
}

/** Tickets to give back: first what that would give, then the deed. */
function refundCard(page) {
  const valid = page.order.seats.filter((seat) => seat.ticket_status === 'valid');
  if (valid.length === 0) return null;
  const boxes = valid.map((seat) => h('input', { type: 'checkbox', checked: true, value: seat.ticket_id }));
  const result = h('div', { 'aria-live': 'polite' });
  const ask = async () => {
    const ids = boxes.filter((box) => box.checked).map((box) => box.value);
    if (ids.length === 0) return say(text('refund_choose'), 'error');
    const quote = await call('POST', `${page.path}/refund-quotes`, { body: { ticket_ids: ids }, auth: true });
    result.replaceChildren(quoteView(page, quote, ids));
  };
  boxes.forEach((box) => box.addEventListener('change', () => result.replaceChildren()));
  return h(
    'details',
    { class: 'card screen-only' },
    h('summary', {}, text('give_back')),
    valid.map((seat, index) => h('label', { class: 'check' }, boxes[index], seatName(page, seat))),
    h('div', { class: 'actions' }, button(text('refund_quote'), ask)),
    result,
  );
}

/** The service fees that were paid for the tickets of a quote; they go back whole or not at all. */
const feesOf = ({ tickets, total }) => ({
  amount: tickets.reduce((sum, { service_fee: fee }) => sum + (fee?.paid.amount ?? 0), 0),
  currency: total.currency,
});

function quoteView(page, quote, ids) {
  const seatOf = (id) => page.order.seats.find((seat) => seat.ticket_id === id);
  const line = ({ ticket_id, paid, refund }) =>
    h(
      'li',
      {},
      h('span', {}, seatName(page, seatOf(ticket_id))),
      h('span', {}, text('paid_amount', { paid: money(paid), refund: money(refund) })),
    );
  const confirmed = async () => {
    await once(`${page.path}/refunds`, { ticket_ids: ids });
    await reload(page);
  };
  return h(
    'div',
    { class: 'quote' },
    h('ul', { class: 'seats' }, quote.tickets.map(line)),
    h('p', {}, quote.reason),
    quote.service_fees &&
      h('p', {}, text(quote.service_fees.amount > 0 ? 'fee_returned' : 'fee_kept', { fee: money(feesOf(quote)) })),
    h('p', { class: 'muted' }, `${text('rule_source')}: ${quote.source}`),
    h(
      'div',
      { class: 'actions' },
      button(text('refund_confirm', { total: money(quote.total) }), confirmed, { class: 'primary' }),
    ),
  );
}

function refunds(order) {
  if (!order.refunds?.length) return null;
  const line = (refund) =>
    h(
      'li',
      {},
      h('span', {}, refund.reason, h('small', { class: 'muted' }, refund.source)),
      h('span', { class: 'muted' }, text(`refund_${refund.status}`)),
      h('b', {}, money(refund.amount)),
    );
  return h(
    'section',
    { class: 'card screen-only' },
    h('h2', {}, text('refunds')),
    h('ul', { class: 'seats' }, order.refunds.map(line)),
  );
}
