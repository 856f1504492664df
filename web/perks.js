// What a subscription gives, in words.
import { call, isSignedIn } from './api.js';
import { language, locale, money, text } from './ui.js';

const WHOLE_BASIS_POINTS = 10_000;

/** A share in ten-thousandths, as people read it. */
export const share = (basisPoints) =>
  new Intl.NumberFormat(locale, { style: 'percent', maximumFractionDigits: 2 }).format(
    basisPoints / WHOLE_BASIS_POINTS,
  );

/** A name that the API gives in each language. */
export const named = (names) => names[language] ?? names.en;

const WORDS = {
  presale: ({ hours }) => text('perk_presale', { n: hours }),
  service_fee: ({ off }) => (off >= WHOLE_BASIS_POINTS ? text('perk_no_fee') : text('perk_fee', { share: share(off) })),
  discount: ({ off, categories }) => within(text('perk_discount', { share: share(off) }), categories),
  fixed_price: ({ category, price }) => text('perk_fixed_price', { category, price: money(price) }),
  tickets: ({ a_month: n, categories }) => within(text('perk_tickets', { n }), categories),
  refunds: () => text('perk_refunds'),
  waiting_list: () => text('perk_waiting_list'),
  seats_an_order: ({ max }) => text('perk_seats', { n: max }),
  hidden_events: () => text('perk_hidden_events'),
};

const within = (words, categories) =>
  categories?.length > 0 ? text('perk_within', { perk: words, categories: categories.join(', ') }) : words;

/** A perk in words; one that is newer than this page is called by its name. */
export const perkText = (perk) => WORDS[perk.kind]?.(perk) ?? perk.kind;

/** What a plan costs and how often. */
export const priceText = ({ price, billing }) =>
  billing === 'monthly'
    ? text('price_monthly', { price: money(price) })
    : text('price_once', { price: money(price), months: text('months', { n: billing.once.months }) });

/** What a promotion gives, in words. */
export function giftText({ gift, payments_left: n }) {
  const what =
    gift.percent !== undefined
      ? text('gift_off', { off: share(gift.percent) })
      : gift.amount
        ? text('gift_off', { off: money(gift.amount) })
        : text('gift_free', { months: text('months', { n: gift.free_months }) });
  return n > 0 ? `${what}, ${text('gift_left', { n })}` : what;
}

/** One's own subscription whose perks hold now, if there is one. */
export async function heldSubscription() {
  if (!isSignedIn()) return null;
  const page = await call('GET', '/subscriptions', { auth: true }).catch(() => null);
  return page?.items.find((subscription) => subscription.perks_hold) ?? null;
}

/** The perk of this kind of a subscription, if it has that. */
export const perkOf = (subscription, kind) => subscription?.perks.find((perk) => perk.kind === kind);

/** What a perk made of an order, or of a seat of it. */
export function appliedText(perk) {
  const was = perk.list_price ?? perk.list_fee;
  return text(`applied_${perk.kind}`, { price: was && money(was) }) ?? perk.text;
}
