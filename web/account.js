// One's account beside its orders: the way between its pages, and the chats that it is linked with.
import { call, serverNow } from './api.js';
import { button, date, explain, h, repeat, say, text, whisper } from './ui.js';

const MESSENGER = 'telegram';
const LINK_POLL_MS = 3000;
const PAGES = ['notices', 'alerts', 'chats', 'subscriptions'];

/** The head of a page of one's account, with the ways to the others. */
export function accountHead(current) {
  const way = (page) =>
    h('a', { href: `#/${page}`, 'aria-current': page === current ? 'page' : 'false' }, text(`nav_${page}`));
  return [
    h('nav', { class: 'ways', 'aria-label': text('nav_account') }, PAGES.map(way)),
    h('header', { class: 'page-head' }, h('h1', {}, text(`nav_${current}`)), h('p', {}, text(`about_${current}`))),
  ];
}

/** The chats that are linked, and linking another. */
export async function chatsPage(main, signal) {
  const chats = await listChats();
  if (signal.aborted) return;
  const page = { signal, list: h('div', { class: 'list' }), link: h('section', { class: 'card' }), seen: '' };
  showChats(page, chats);
  offerLink(page);
  main.replaceChildren(...accountHead('chats'), page.list, page.link);
}

const listChats = async () => (await call('GET', '/messenger/chats', { auth: true })).items;
const mark = ({ id, linked_at }) => `${id} ${linked_at}`;

function showChats(page, chats) {
  page.chats = chats;
  const list = chats.map((chat) => chatLine(page, chat));
  page.list.replaceChildren(
    list.length > 0 ? h('ul', { class: 'rows' }, list) : h('p', { class: 'muted' }, text('no_chats')),
  );
}

function chatLine(page, chat) {
  const isReached = chat.status === 'linked';
  const since = date(chat.linked_at, undefined, { dateStyle: 'medium', timeStyle: 'short' });
  const messenger = text(`messenger_${chat.messenger}`) ?? chat.messenger;
  const unlink = async () => {
    if (!confirm(text('unlink_sure', { name: chat.name }))) return;
    await call('DELETE', `/messenger/chats/${encodeURIComponent(chat.id)}`, { auth: true });
    showChats(page, await listChats());
    say(text('unlinked'));
  };
  return h(
    'li',
    { class: 'row' },
    h(
      'span',
      { class: 'grow' },
      h('b', {}, chat.name),
      h('small', { class: 'muted' }, `${messenger} · ${text('linked_since', { date: since })}`),
      !isReached && h('small', { class: 'error' }, text('chat_unreachable')),
    ),
    h('span', { class: `badge ${isReached ? 'paid' : 'lost'}` }, text(isReached ? 'chat_linked' : 'chat_lost')),
    button(text('unlink'), unlink, { 'aria-label': text('unlink_name', { name: chat.name }) }),
  );
}

function offerLink(page, note) {
  const ask = async () => {
    const known = new Set((await listChats()).map(mark));
    showLink(page, await call('POST', '/messenger/links', { body: { messenger: MESSENGER }, auth: true }), known);
  };
  page.offered = null;
  page.link.replaceChildren(
    h('h2', {}, text('link_title')),
    note ? h('p', {}, note) : h('p', { class: 'muted' }, text('link_how')),
    h('div', { class: 'actions' }, button(text('link_ask'), ask, { class: 'primary' })),
  );
}

/** Shows a link while it is good, and looks whether it was used. `known` are the chats that were there before it. */
function showLink(page, { deep_link: href, qr, expires_at }, known) {
  if (!['http:', 'https:', 'tg:'].includes(new URL(href).protocol) || !qr.startsWith('data:image/svg+xml;'))
    throw new Error('link');
  const clock = h('b', {});
  const way = h(
    'a',
    { class: 'button primary', href, target: '_blank', rel: 'noopener noreferrer' },
    text('link_open'),
  );
  page.offered = href;
  page.link.replaceChildren(
    h('h2', {}, text('link_title')),
    h(
      'div',
      { class: 'link' },
      h('img', { class: 'qr', src: qr, alt: text('link_qr'), width: 200, height: 200 }),
      h(
        'div',
        { class: 'grow' },
        h('p', {}, text('link_steps')),
        h('p', { class: 'actions' }, way),
        h('p', { class: 'muted', role: 'timer' }, clock),
        h('p', { class: 'muted' }, text('link_waiting')),
      ),
    ),
    h('p', { class: 'muted hint' }, text('link_demo'), ' ', h('code', {}, href)),
  );
  way.focus();
  const end = Date.parse(expires_at);
  repeat(1000, page.signal, async () => tick(page, href, clock, end));
  repeat(LINK_POLL_MS, page.signal, () => look(page, href, known));
}

function tick(page, href, clock, end) {
  if (page.offered !== href) return false;
  const seconds = Math.ceil((end - serverNow()) / 1000);
  const time = `${Math.floor(seconds / 60)}:${String(Math.max(seconds % 60, 0)).padStart(2, '0')}`;
  clock.textContent = text('link_left', { time });
  if (seconds > 0) return true;
  offerLink(page, text('link_over'));
  whisper(text('link_over'));
  return false;
}

async function look(page, href, known) {
  if (page.offered !== href) return false;
  try {
    const chats = await listChats();
    if (page.signal.aborted || page.offered !== href) return false;
    const found = chats.find((chat) => !known.has(mark(chat)));
    if (!found) return true;
    showChats(page, chats);
    offerLink(page);
    say(text('link_done', { name: found.name }));
    return false;
  } catch (error) {
    // Without an answer it is looked again, by itself.
    if (error.status === 0 || error.status >= 500) return true;
    say(explain(error), 'error');
    return false;
  }
}
