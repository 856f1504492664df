// One's own subscriptions: where each stands, what it gives, what it was charged, and what can be done about it.
import { call, once } from './api.js';
import { accountHead } from './account.js';
import { giftText, named, perkText, priceText } from './perks.js';
import { button, date, explain, goToPay, h, money, pause, repeat, say, text, whisper } from './ui.js';

const POLL_MS = 1500;
const REST_POLL_MS = 15_000;
/** The rule by which nothing goes back. */
const NOTHING_RULE = 'plan_none';
const RUNS = new Set(['trialing', 'active']);

const day = (instant) => date(instant, undefined, { dateStyle: 'long' });
const badge = (status) => h('span', { class: `badge sub-${status}` }, text(`sub_${status}`) ?? status);

/** All of them, the latest first. */
export async function subscriptionsPage(main, signal) {
  const page = await call('GET', '/subscriptions', { auth: true });
  if (signal.aborted) return;
  const list = page.items.map((subscription) =>
    h(
      'li',
      {},
      h(
        'a',
        { class: 'row', href: `#/subscriptions/${subscription.id}` },
        h(
          'span',
          { class: 'grow' },
          h('b', {}, named(subscription.name)),
          h('small', { class: 'muted' }, standing(subscription)),
        ),
        badge(subscription.status),
        h('b', {}, priceText(subscription)),
      ),
    ),
  );
  main.replaceChildren(
    ...accountHead('subscriptions'),
    list.length > 0 ? h('ul', { class: 'rows' }, list) : h('p', { class: 'muted' }, text('no_subscriptions')),
    h('p', { class: 'actions' }, h('a', { href: '#/plans' }, text('see_plans'))),
  );
}

/** Where it stands in one line. */
function standing({ status, next_charge: next, ends_at, grace_until, open_charge, created_at }) {
  if (status === 'past_due' && grace_until) return text('sub_grace', { date: day(grace_until) });
  if (next) return text('sub_next', { date: day(next.at), amount: money(next.amount) });
  if (ends_at) return text('sub_ends', { date: day(ends_at) });
  if (status === 'pending')
    return open_charge ? text('sub_unpaid', { date: day(open_charge.until) }) : text('sub_no_card');
  return text('sub_since', { date: day(created_at) });
}

/** One subscription, looked at again until it is at rest. */
export async function subscriptionPage(main, id, signal) {
  const page = { path: `/subscriptions/${encodeURIComponent(id)}`, main, signal, seen: '' };
  await reload(page);
  repeat(POLL_MS, signal, async () => {
    if (RUNS.has(page.subscription.status) || page.subscription.status === 'ended') await pause(REST_POLL_MS, signal);
    if (!signal.aborted) await reload(page).catch((error) => error.status === 0 || say(explain(error), 'error'));
  });
}

async function reload(page) {
  const [subscription, charges] = await Promise.all([
    call('GET', page.path, { auth: true }),
    call('GET', `${page.path}/charges?limit=20`, { auth: true }),
  ]);
  const contents = JSON.stringify([subscription, charges]);
  if (page.signal.aborted || contents === page.seen) return;
  if (page.subscription && page.subscription.status !== subscription.status)
    whisper(text(`sub_${subscription.status}`));
  Object.assign(page, { seen: contents, subscription });
  page.main.replaceChildren(
    ...[header(subscription), stateCard(page), perksCard(subscription), chargesCard(charges.items)].filter(Boolean),
  );
}

function header(subscription) {
  return h(
    'header',
    { class: 'page-head' },
    h('p', {}, h('a', { href: '#/subscriptions' }, text('nav_subscriptions'))),
    h('h1', {}, named(subscription.name)),
    h('p', { class: 'lead' }, priceText(subscription)),
    h('p', {}, badge(subscription.status), ' ', h('span', { class: 'muted' }, standing(subscription))),
    subscription.status === 'pending' &&
      subscription.trial_refused &&
      h('p', { class: 'note' }, text('sub_trial_refused')),
  );
}

function stateCard(page) {
  const { subscription } = page;
  const { period, payment_method: card, change, promotions } = subscription;
  const facts = [
    period && [
      text(period.number === 0 ? 'sub_trial_period' : 'sub_period'),
      text('sub_from_to', { from: day(period.from), to: day(period.to) }),
    ],
    card && [text('sub_card'), text('sub_card_is', { brand: card.brand, last4: card.last4, until: expiry(card) })],
    change && [text('sub_change'), `${named(change.name)}, ${money(change.price)}`],
    ...promotions.map((granted) => [text('sub_gift'), giftText(granted)]),
  ].filter(Boolean);
  return h(
    'section',
    { class: 'card narrow' },
    h('h2', {}, text('sub_state')),
    h(
      'dl',
      { class: 'pairs' },
      facts.map(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]),
    ),
    h('div', { class: 'actions' }, actions(page)),
    h('div', { class: 'asked', 'aria-live': 'polite' }),
  );
}

const expiry = ({ exp_month, exp_year }) => `${String(exp_month).padStart(2, '0')}/${exp_year}`;

/** What can be done with it as it stands. */
function actions(page) {
  const { status, open_charge, cancel_at_end, next_charge, payment_method } = page.subscription;
  const runs = RUNS.has(status);
  const isUnpaid = status === 'pending' || status === 'past_due' || (status === 'lapsed' && open_charge);
  const isOpen = status !== 'ended' && status !== 'lapsed';
  const change = (verb) => async () => {
    await call('POST', `${page.path}/${verb}`, { auth: true });
    await reload(page);
  };
  const back = async () => {
    if (confirm(text('sub_return_sure', { price: priceText(page.subscription) }))) await change('return')();
  };
  return [
    isUnpaid && button(text(open_charge ? 'sub_pay' : 'sub_save_card'), () => pay(page), { class: 'primary' }),
    runs && cancel_at_end && button(text('sub_resume'), change('resume'), { class: 'primary' }),
    status === 'past_due' && payment_method && button(text('sub_retry'), change('retry')),
    status === 'lapsed' && !open_charge && payment_method && button(text('sub_return'), back, { class: 'primary' }),
    (runs || status === 'past_due') && payment_method && button(text('sub_other_card'), () => otherCard(page)),
    isOpen && button(text('sub_cancel'), () => askCancel(page, runs && Boolean(next_charge))),
  ].filter(Boolean);
}

async function pay(page) {
  const payment = await once(`${page.path}/payment`);
  await leaveToPay(page, payment);
}

async function otherCard(page) {
  await leaveToPay(page, await call('PUT', `${page.path}/payment-method`, { auth: true }));
}

async function leaveToPay(page, payment) {
  const isDone = payment.status === 'captured' || payment.status === 'succeeded';
  if (payment.pay_url && !isDone) return goToPay(payment.pay_url, `#/subscriptions/${page.subscription.id}`);
  if (!isDone) say(text('no_pay_page'), 'error');
  return reload(page);
}

/** What cancelling would mean, at the end of what is paid for and at once, before either is done. */
async function askCancel(page, renews) {
  const quote = await call('GET', `${page.path}/cancellation-quote`, { auth: true });
  const { period } = page.subscription;
  const cancel = (at) => async () => {
    await call('DELETE', `${page.path}?at=${at}`, { auth: true });
    await reload(page);
    say(text(at === 'end' ? 'sub_cancelled_end' : 'sub_cancelled_now'));
  };
  const hasPaid = quote.refund.amount > 0;
  const box = page.main.querySelector('.asked');
  box.replaceChildren(
    h(
      'div',
      { class: 'quote' },
      renews &&
        period && [
          h('p', {}, text('cancel_end_words', { date: day(period.to) })),
          h('p', { class: 'actions' }, button(text('cancel_end'), cancel('end'), { class: 'primary' })),
        ],
      h('p', {}, text(hasPaid ? 'cancel_now_refund' : 'cancel_now_words', { amount: money(quote.refund) })),
      // Of a trial nothing was paid, so that there is nothing to be decided.
      hasPaid || quote.rule === NOTHING_RULE
        ? [
            h('p', {}, text(`rule_${quote.rule}`) ?? quote.reason),
            h('p', { class: 'muted' }, `${text('rule_source')}: ${quote.source}`),
          ]
        : null,
      h('p', { class: 'actions' }, button(text('cancel_now'), cancel('now'))),
    ),
  );
  box.querySelector('button').focus();
}

function perksCard({ perks, perks_hold }) {
  if (perks.length === 0) return null;
  return h(
    'section',
    { class: 'card narrow' },
    h('h2', {}, text('perks')),
    h(
      'ul',
      { class: 'perks' },
      perks.map((perk) => h('li', {}, perkText(perk))),
    ),
    h('p', { class: 'muted' }, text(perks_hold ? 'perks_hold' : 'perks_rest')),
  );
}

function chargesCard(charges) {
  if (charges.length === 0) return null;
  const line = ({ kind, status, amount, period, attempts, refunds }) =>
    h(
      'li',
      {},
      h(
        'span',
        {},
        text(`charge_${kind}`) ?? kind,
        period && h('small', { class: 'muted' }, text('sub_from_to', { from: day(period.from), to: day(period.to) })),
        attempts.some(({ succeeded }) => !succeeded) &&
          h(
            'small',
            { class: 'muted' },
            text('charge_declined', { n: attempts.filter(({ succeeded }) => !succeeded).length }),
          ),
        refunds.map((refund) =>
          h('small', {}, `${text('refund_of', { amount: money(refund.amount) })}: ${text(`refund_${refund.status}`)}`),
        ),
      ),
      h('span', { class: 'muted' }, text(`charge_is_${status}`) ?? status),
      h('b', {}, money(amount)),
    );
  return h(
    'section',
    { class: 'card narrow' },
    h('h2', {}, text('charges')),
    h('ul', { class: 'seats' }, charges.map(line)),
  );
}
