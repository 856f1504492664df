// What all pages share: texts, elements, money, dates, messages, and loops that end with their page.
import { TEXTS } from './texts.js';

const LANGUAGE_KEY = 'language';
const MESSAGE_MS = 8000;

export const languages = Object.keys(TEXTS);
export let language = chooseLanguage();

function chooseLanguage() {
  const wanted = [localStorage.getItem(LANGUAGE_KEY), ...navigator.languages].filter(Boolean);
  return wanted.map((name) => name.slice(0, 2)).find((name) => name in TEXTS) ?? 'en';
}

/** The region's habits of writing dates and money, where the browser says which region's. */
const localeOf = (name) => navigator.languages.find((one) => one.startsWith(name)) ?? name;
export let locale = localeOf(language);

export function setLanguage(name) {
  [language, locale] = [name, localeOf(name)];
  localStorage.setItem(LANGUAGE_KEY, name);
}

/** The text of this key with its values; `values.n` chooses the plural form. Nothing where there is no such text. */
export function text(key, values = {}) {
  let pattern = TEXTS[language][key] ?? TEXTS.en[key];
  if (typeof pattern === 'object') {
    pattern = pattern[new Intl.PluralRules(language).select(values.n)] ?? pattern.other;
  }
  return pattern?.replace(/\{(\w+)\}/g, (_, name) => (name === 'n' ? number(values.n) : values[name]));
}

export const number = (value) => new Intl.NumberFormat(locale).format(value);

/** How many minor units one of a currency has. */
export const minorUnits = (currency) =>
  10 ** new Intl.NumberFormat('en', { style: 'currency', currency }).resolvedOptions().maximumFractionDigits;

/** Money from minor units, with as many decimals as the currency has. */
export function money({ amount, currency }) {
  const format = new Intl.NumberFormat(locale, { style: 'currency', currency, trailingZeroDisplay: 'stripIfInteger' });
  return format.format(amount / minorUnits(currency));
}

/** A price with the service fee that is paid beside it, where there is one. */
export const withFee = (price, fee) =>
  fee?.amount > 0 && price.amount > 0 ? text('plus_fee', { price: money(price), fee: money(fee) }) : money(price);

/** An instant as the clock on the venue's wall shows it. */
export function date(instant, timeZone, options = { dateStyle: 'full', timeStyle: 'short' }) {
  return new Intl.DateTimeFormat(locale, { ...options, timeZone }).format(new Date(instant));
}

/** An element. Names that begin with `on` are listeners; children are nodes or texts, never markup. */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === 'function') node.addEventListener(name.slice(2), value);
    else if (name === 'color') node.style.setProperty('--color', value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** A labelled form field. */
export function field(label, control, hint) {
  return h('label', { class: 'field' }, h('span', {}, label), control, hint && h('small', {}, hint));
}

/** The service fees of an order, above its total. */
export const feeLine = (fees) =>
  h('p', { class: 'sum fee' }, h('span', {}, text('service_fee')), h('span', {}, money(fees)));

/** A picture of what a seat looks like on the map, for legends. */
export const mark = (kind, color) => h('span', { class: `mark ${kind}`, color, 'aria-hidden': 'true' });

/** Says something to everybody, those who listen included. */
export function say(message, kind = 'info') {
  const box = document.getElementById(kind === 'error' ? 'alerts' : 'messages');
  const line = h('p', { class: kind }, message);
  box.replaceChildren(line);
  setTimeout(() => line.remove(), MESSAGE_MS);
}

/** Says it to those who listen only. */
export function whisper(message) {
  document.getElementById('whisper').textContent = message;
}

/** The message of an error for people, in their language where we have it. */
export function explain(error) {
  const known = TEXTS[language][`code_${error.code}`];
  const fields = (error.errors ?? []).map(({ pointer, detail }) => `${pointer.slice(1)} ${detail}`);
  return [known || error.message, ...(error.code === 'invalid' ? fields : [])].join(' ');
}

/** A button that cannot be pressed again until what it does is done; errors are said. */
export function button(label, act, attributes = {}) {
  const press = async () => {
    node.disabled = true;
    try {
      await act();
    } catch (error) {
      say(explain(error), 'error');
    } finally {
      node.disabled = false;
    }
  };
  const node = h('button', { type: 'button', ...attributes, onclick: press }, label);
  return node;
}

/** Goes to the provider's page, which leads back to the page of ours that `hash` names. */
export function goToPay(payUrl, hash) {
  const url = new URL(payUrl);
  if (!['http:', 'https:'].includes(url.protocol)) throw new Error('pay_url');
  url.searchParams.set('return_url', `${location.origin}/${hash}`);
  say(text('going'));
  location.assign(url);
}

export function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => resolve(clearTimeout(timer)), { once: true });
  });
}

/** Does a step again and again while the page is seen, until it says `false` or its page is left. */
export async function repeat(ms, signal, step) {
  while (!signal.aborted) {
    if (!document.hidden && (await step()) === false) return;
    await pause(ms, signal);
  }
}

/** A stable name of a seat. */
export const seatKey = ({ section, row, seat }) => JSON.stringify([section, row, String(seat)]);

/** The header's menu of languages. */
export function languageMenu(changed) {
  const options = languages.map((name) =>
    h('option', { value: name, selected: name === language, lang: name }, TEXTS[name].language),
  );
  const choose = (event) => {
    setLanguage(event.target.value);
    changed();
  };
  return h('select', { 'aria-label': 'Language / Язык', onchange: choose }, options);
}

/** Puts the texts of the chosen language into elements that name theirs. */
export function translatePage() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll('[data-text]')) node.textContent = text(node.dataset.text);
}
