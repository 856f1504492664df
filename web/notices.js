// What one was told, and when and of what one wants to be told.
import { call } from './api.js';
import { accountHead } from './account.js';
import { faultyField, faultyGroup, formOf, menu } from './forms.js';
import { button, date, h, language, languages, repeat, text, whisper } from './ui.js';
import { TEXTS } from './texts.js';

const PAGE_ITEMS = 20;
const POLL_MS = 10_000;
/** Groups of which something can be muted; of the others all is delivered, whatever is said here. */
const GROUPS = ['reminders', 'alerts', 'subscriptions'];
/** The zone of those who never said one. */
const ZONE_UNSAID = 'UTC';
const QUIET_USUAL = { from: '22:00', to: '08:00' };
const ENTITIES = { '&lt;': '<', '&gt;': '>', '&quot;': '"', '&amp;': '&' };

/** The list of notices, the latest first, which grows by itself, and the settings. */
export async function noticesPage(main, signal) {
  const [first, settings, me] = await Promise.all([
    call('GET', `/me/notices?limit=${PAGE_ITEMS}`, { auth: true }),
    call('GET', '/me/notice-settings', { auth: true }),
    call('GET', '/me', { auth: true }),
  ]);
  if (signal.aborted) return;
  const list = h('ul', { class: 'rows notices' }, first.items.map(notice));
  const none = h('p', { class: 'muted', hidden: first.items.length > 0 }, text('no_notices'));
  const rest = h('div', { class: 'actions' }, moreButton(list, first.next_cursor));
  main.replaceChildren(...accountHead('notices'), none, list, rest, settingsCard(settings, me));
  const seen = new Set(first.items.map(({ id }) => id));
  repeat(POLL_MS, signal, async () => {
    const page = await call('GET', `/me/notices?limit=${PAGE_ITEMS}`, { auth: true }).catch(() => null);
    const news = page?.items.filter(({ id }) => !seen.has(id)) ?? [];
    if (signal.aborted || news.length === 0) return;
    news.forEach(({ id }) => seen.add(id));
    list.prepend(...news.map(notice));
    none.hidden = true;
    whisper(text('notices_new', { n: news.length }));
  });
}

function moreButton(list, cursor) {
  if (!cursor) return '';
  const more = button(text('more'), async () => {
    const path = `/me/notices?limit=${PAGE_ITEMS}&cursor=${encodeURIComponent(cursor)}`;
    const page = await call('GET', path, { auth: true });
    list.append(...page.items.map(notice));
    more.replaceWith(moreButton(list, page.next_cursor));
  });
  return more;
}

function notice({ at, group, html, links }) {
  return h(
    'li',
    { class: 'row' },
    h(
      'span',
      { class: 'grow' },
      h(
        'small',
        { class: 'muted' },
        h('time', { datetime: at }, date(at, undefined, { dateStyle: 'medium', timeStyle: 'short' })),
        ` · ${text(`group_${group}`) ?? group}`,
      ),
      h('p', { class: 'told' }, wordsOf(html)),
      h('span', { class: 'links' }, links.map(wayOf)),
    ),
  );
}

/** The words of a notice: `b` is all the markup that there is, and whatever else looks like it is text. */
function wordsOf(html) {
  const plain = (part) => part.replace(/&(?:lt|gt|quot|amp);/g, (entity) => ENTITIES[entity]);
  return html.split(/<b>([^]*?)<\/b>/).map((part, at) => (at % 2 === 1 ? h('b', {}, plain(part)) : plain(part)));
}

/** A link of a notice. They name the box office as others reach it; a page of it is shown here. */
function wayOf({ text: words, url }) {
  const to = new URL(url, location.href);
  if (!['http:', 'https:'].includes(to.protocol)) return null;
  return h('a', { href: to.hash.startsWith('#/') ? to.hash : to.href }, words);
}

function zones(chosen) {
  const known = Intl.supportedValuesOf('timeZone');
  return [...new Set([chosen, ZONE_UNSAID, ...known])].map((name) => [name, name.replaceAll('_', ' ')]);
}

function settingsCard(settings, me) {
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const isUnsaid = settings.zone === ZONE_UNSAID && !settings.quiet;
  const chosen = isUnsaid ? here : settings.zone;
  const quiet = h('input', { type: 'checkbox', checked: Boolean(settings.quiet) });
  const time = (value) => h('input', { type: 'time', value });
  const { from, to } = settings.quiet ?? QUIET_USUAL;
  const begin = faultyField(['/quiet/from', '/quiet'], text('quiet_from'), time(from));
  const end = faultyField(['/quiet/to'], text('quiet_to'), time(to));
  const zone = faultyField(['/zone'], text('quiet_zone'), menu(zones(chosen), chosen));
  const boxes = GROUPS.map((group) => [
    h('input', { type: 'checkbox', value: group, checked: !settings.muted.includes(group) }),
    text(`mute_${group}`),
  ]);
  const groups = faultyGroup(['/muted'], text('mute_title'), boxes, text('mute_hint'));
  const tongues = languages.map((name) => [name, TEXTS[name].language]);
  const mine = languages.find((name) => me.locale.startsWith(name)) ?? language;
  const tongue = faultyField(['/locale'], text('notices_language'), menu(tongues, mine));
  const hours = h('div', { class: 'fields' }, begin.node, end.node, zone.node);
  const fit = () => (hours.hidden = !quiet.checked);
  const others = settings.muted.filter((group) => !GROUPS.includes(group));
  const submit = async () => {
    const muted = [...others, ...boxes.filter(([box]) => !box.checked).map(([box]) => box.value)];
    const hushed = quiet.checked && { quiet: { from: begin.control.value, to: end.control.value } };
    const body = { zone: zone.control.value, muted, ...hushed };
    await call('PUT', '/me/notice-settings', { body, auth: true });
    if (tongue.control.value !== mine)
      await call('PATCH', '/me', { body: { locale: tongue.control.value }, auth: true });
    return h('p', {}, text('settings_saved'));
  };
  const children = [
    h('label', { class: 'check' }, quiet, text('quiet')),
    h('p', { class: 'muted hint' }, text('quiet_hint')),
    hours,
    groups.node,
    tongue.node,
  ];
  quiet.addEventListener('change', fit);
  fit();
  return h(
    'details',
    { class: 'card narrow' },
    h('summary', {}, text('settings')),
    formOf([begin, end, zone, groups, tongue], { label: text('save'), submit, children }),
  );
}
