// The plans that are offered, and subscribing to one: the words that are agreed to are those that are sent and kept.
import { call, once } from './api.js';
import { heldSubscription, named, perkText, priceText } from './perks.js';
import { faultyField, formOf } from './forms.js';
import { goToPay, h, money, text } from './ui.js';

const CODE_CHARS_MAX = 40;

/** What is offered, the cheapest first. */
export async function plansPage(main, signal, signedIn) {
  const [plans, held] = await Promise.all([call('GET', '/plans'), heldSubscription()]);
  if (signal.aborted) return;
  const cards = plans.filter(({ status }) => status === 'offered').map((plan) => planCard(plan, held, signedIn));
  main.replaceChildren(
    h(
      'header',
      { class: 'page-head' },
      h('h1', {}, text('nav_plans')),
      h('p', { class: 'lead' }, text('about_plans')),
      held &&
        h(
          'p',
          { class: 'gift' },
          text('plan_you_have', { name: named(held.name) }),
          ' ',
          h('a', { href: `#/subscriptions/${held.id}` }, text('plan_to_yours')),
        ),
    ),
    cards.length > 0 ? h('ul', { class: 'plans' }, cards) : h('p', { class: 'muted' }, text('no_plans')),
  );
}

function planCard(plan, held, signedIn) {
  const subscribe = !held && subscribeForm(plan, signedIn);
  return h(
    'li',
    { class: 'card' },
    h('h2', {}, named(plan.name)),
    h('p', { class: 'price-line' }, priceText(plan)),
    plan.trial_days > 0 && h('p', {}, text('plan_trial', { n: plan.trial_days })),
    h(
      'ul',
      { class: 'perks' },
      plan.perks.map((perk) => h('li', {}, perkText(perk))),
    ),
    subscribe && h('details', {}, h('summary', {}, text('plan_subscribe')), subscribe),
  );
}

/** The words of the agreement, as they are shown, sent and kept. */
function consentOf(plan) {
  const values = { name: named(plan.name), price: money(plan.price) };
  const isMonthly = plan.billing === 'monthly';
  const months = isMonthly ? '' : text('months', { n: plan.billing.once.months });
  return [
    text(isMonthly ? 'consent_monthly' : 'consent_once', { ...values, months }),
    plan.trial_days > 0 && text('consent_trial', { n: plan.trial_days }),
    plan.notice_days > 0 && isMonthly && text('consent_notice', { n: plan.notice_days }),
    text(plan.cancel_refund === 'pro_rata' ? 'consent_pro_rata' : 'consent_no_refund'),
    plan.law && text(`consent_${plan.law}`),
  ]
    .filter(Boolean)
    .join(' ');
}

function subscribeForm(plan, signedIn) {
  const consent = consentOf(plan);
  const input = h('input', { autocomplete: 'off', maxlength: CODE_CHARS_MAX });
  const code = faultyField(['/code', '/codes'], text('plan_code'), input, text('plan_code_hint'));
  const agreed = h('input', { type: 'checkbox', required: true });
  const submit = async () => {
    if (!(await signedIn())) return null;
    const subscription = await once('/subscriptions', {
      plan_id: plan.id,
      currency: plan.price.currency,
      time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      consent_text: consent,
      ...(input.value.trim() && { code: input.value.trim() }),
    });
    const here = `#/subscriptions/${subscription.id}`;
    if (subscription.payment?.pay_url) goToPay(subscription.payment.pay_url, here);
    else location.hash = here;
    return null;
  };
  const children = [code.node, h('label', { class: 'check consent' }, agreed, h('span', {}, consent))];
  const label = text(plan.trial_days > 0 ? 'plan_begin_trial' : 'plan_begin', { price: money(plan.price) });
  return formOf([code], { label, submit, children });
}
