// The description of the API for people: it shows whatever /openapi.json says (OpenAPI 3.1).
import { accessToken } from './api.js';
import { button, field, h, languageMenu, text, translatePage } from './ui.js';

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];
/** Schemas inside of schemas that are shown and made into examples. */
const DEPTH_MAX = 6;
const main = document.querySelector('main');
let api = null;
/** A token that was pasted here; without one, the signed-in person's is used. */
let pasted = '';

async function show() {
  translatePage();
  document.getElementById('session').replaceChildren(languageMenu(show));
  api ??= await fetch('/openapi.json')
    .then((response) => (response.ok ? response.json() : null))
    .catch(() => null);
  if (!api) {
    main.replaceChildren(h('p', { class: 'error', role: 'alert' }, text('docs_failed')));
    return;
  }
  const groups = grouped().map(([tag, operations]) =>
    h('section', { class: 'group' }, h('h2', { id: slug(tag) }, tag), tagNote(tag), operations.map(operationView)),
  );
  const none = h('p', { class: 'muted', hidden: true }, text('docs_none'));
  const find = h('input', { type: 'search', placeholder: text('docs_hint'), oninput: () => filter(find.value, none) });
  const token = h('input', {
    autocomplete: 'off',
    spellcheck: 'false',
    value: pasted,
    oninput: () => (pasted = token.value.trim()),
  });
  main.replaceChildren(
    h(
      'header',
      { class: 'page-head' },
      h('h1', {}, `${api.info.title} `, h('small', { class: 'muted' }, api.info.version)),
      prose(api.info.description),
    ),
    h('div', { class: 'fields search' }, field(text('search'), find), field(text('docs_token'), token)),
    h(
      'nav',
      { class: 'tags', 'aria-label': text('docs_title') },
      grouped().map(([tag]) => h('a', { href: `#${slug(tag)}` }, tag)),
    ),
    none,
    ...groups,
    schemasView(),
  );
  openTarget();
}

function grouped() {
  const groups = new Map((api.tags ?? []).map(({ name }) => [name, []]));
  for (const [path, item] of Object.entries(api.paths ?? {})) {
    for (const method of METHODS.filter((name) => item[name])) {
      const operation = {
        ...item[method],
        method,
        path,
        parameters: [...(item.parameters ?? []), ...(item[method].parameters ?? [])].map(resolve),
      };
      const tag = operation.tags?.[0] ?? '';
      groups.set(tag, [...(groups.get(tag) ?? []), operation]);
    }
  }
  return [...groups].filter(([, operations]) => operations.length > 0);
}

const slug = (words) =>
  words
    .replace(/[^\w]+/g, '-')
    .replace(/^-|-$/g, '')
    .toLowerCase();
const tagNote = (tag) => prose(api.tags?.find(({ name }) => name === tag)?.description);

/** Text in which words between backticks are code. */
function prose(words, tag = 'p') {
  if (!words) return null;
  return h(
    tag,
    {},
    words.split('`').map((part, index) => (index % 2 ? h('code', {}, part) : part)),
  );
}

/** What a `$ref` points to. */
function resolve(node) {
  for (let hops = 0; node?.$ref && hops < DEPTH_MAX; hops += 1) {
    node = node.$ref
      .slice(2)
      .split('/')
      .reduce((at, step) => at?.[step.replaceAll('~1', '/').replaceAll('~0', '~')], api);
  }
  return node ?? {};
}

function operationView(operation) {
  const { method, path, summary, description, parameters, requestBody, responses, security } = operation;
  const id = slug(`${method} ${path}`);
  const body = resolve(requestBody);
  const schema = body.content?.['application/json']?.schema;
  const parts = [
    prose(description),
    parameters.length > 0 && part('docs_params', parameters.map(parameterView)),
    schema && part('docs_body', [schemaView(schema)]),
    part('docs_replies', Object.entries(responses ?? {}).map(replyView)),
    tryView(operation, schema),
  ];
  const words = [method, path, summary, description, ...(operation.tags ?? [])].join(' ').toLowerCase();
  const node = h(
    'details',
    { class: 'operation', id, 'data-words': words },
    h(
      'summary',
      {},
      h('span', { class: `method ${method}` }, method.toUpperCase()),
      h('code', {}, path),
      h('span', { class: 'grow' }, summary),
      security?.length > 0 && h('small', { class: 'muted' }, text('docs_bearer')),
    ),
    h('p', {}, h('a', { href: `#${id}` }, `#${id}`)),
  );
  // The inside is built when it is first looked at.
  node.addEventListener('toggle', () => node.append(...parts.splice(0).filter(Boolean)));
  return node;
}

const part = (name, children) => h('div', {}, h('h3', {}, text(name)), children);

function parameterView({ name, in: where, required, description, schema }) {
  return h(
    'div',
    { class: 'property' },
    h('code', {}, name),
    ' ',
    h('span', { class: 'muted' }, `${where} · ${typeName(schema)}`),
    required && h('b', { class: 'required' }, text('docs_required')),
    prose(description),
    facts(resolve(schema)),
  );
}

function replyView([status, reply]) {
  const { description, content, headers } = resolve(reply);
  const bodies = Object.entries(content ?? {}).map(([kind, { schema }]) =>
    h('div', {}, h('small', { class: 'muted' }, kind), schema && schemaView(schema)),
  );
  const names = Object.keys(headers ?? {});
  return h(
    'div',
    { class: 'reply' },
    h('b', { class: `status s${status[0]}` }, status),
    h(
      'div',
      { class: 'grow' },
      prose(description, 'span'),
      names.length > 0 && h('p', { class: 'muted' }, names.join(', ')),
      bodies,
    ),
  );
}

/** A type's short name: `string (date-time) | null`, `OrderOut[]`. */
function typeName(schema) {
  if (!schema) return 'any';
  if (schema.$ref) return schema.$ref.split('/').pop();
  const options = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (options) return [...new Set(options.map(typeName))].join(schema.allOf ? ' & ' : ' | ');
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  const names = [schema.type ?? 'any'].flat().map((type) => (type === 'array' ? `${typeName(schema.items)}[]` : type));
  return names.join(' | ') + (schema.format ? ` (${schema.format})` : '');
}

/** The limits and examples of a schema. */
function facts(schema) {
  const names = [
    'minimum',
    'maximum',
    'minLength',
    'maxLength',
    'minItems',
    'maxItems',
    'pattern',
    'default',
    'example',
    'const',
  ];
  const known = names
    .filter((name) => schema[name] !== undefined)
    .map((name) => `${name} ${JSON.stringify(schema[name])}`);
  if (schema.enum && schema.type) known.push(`${text('docs_one_of')} ${schema.enum.join(', ')}`);
  return known.length > 0 ? h('p', { class: 'muted facts' }, known.join(' · ')) : null;
}

/** The properties of a schema, those of its parts included. */
function schemaView(schema, depth = 0) {
  const node = resolve(schema);
  if (depth > DEPTH_MAX) return h('span', { class: 'muted' }, '…');
  const options = node.oneOf ?? node.anyOf ?? node.allOf;
  const parts = (options ?? []).filter((option) => option.type !== 'null');
  const properties = Object.entries(node.properties ?? {}).map(([name, inner]) =>
    propertyView(name, inner, node.required?.includes(name), depth),
  );
  const values =
    typeof node.additionalProperties === 'object' ? [propertyView('*', node.additionalProperties, false, depth)] : [];
  return h(
    'div',
    { class: 'schema' },
    depth === 0 && h('p', { class: 'muted' }, typeName(schema)),
    depth === 0 && prose(node.description),
    facts(node),
    properties,
    values,
    parts.map((option) => schemaView(option, depth + 1)),
    node.items && schemaView(node.items, depth + 1),
  );
}

function propertyView(name, schema, required, depth) {
  const node = resolve(schema);
  const isDeep = (inner) =>
    inner &&
    (inner.properties ||
      inner.additionalProperties?.$ref ||
      inner.additionalProperties?.type ||
      inner.oneOf ||
      inner.anyOf ||
      inner.allOf ||
      (inner.items && isDeep(resolve(inner.items))));
  const head = [
    h('code', {}, name),
    ' ',
    h('span', { class: 'muted' }, typeName(schema)),
    required && h('b', { class: 'required' }, text('docs_required')),
    prose(schema.description ?? node.description),
  ];
  if (!isDeep(node) || depth >= DEPTH_MAX) return h('div', { class: 'property' }, head, facts(node));
  return h(
    'div',
    { class: 'property' },
    head,
    h(
      'details',
      {
        ontoggle: (event) =>
          event.currentTarget.childElementCount === 1 && event.currentTarget.append(schemaView(schema, depth + 1)),
      },
      h('summary', {}, typeName(schema)),
    ),
  );
}

/** A value that a schema would take, for a first try. */
function example(schema, depth = 0) {
  const node = resolve(schema);
  if (node.example !== undefined) return node.example;
  if (node.default !== undefined) return node.default;
  if (node.enum) return node.enum[0];
  const option = (node.oneOf ?? node.anyOf ?? node.allOf)?.find(({ type }) => type !== 'null');
  if (option) return example(option, depth + 1);
  const type = [node.type].flat().find((name) => name !== 'null');
  if (depth > DEPTH_MAX) return null;
  if (node.properties) {
    // Of what may be absent only the parts with an inside are shown: an empty text is seldom a good value.
    const isPart = (inner) => inner.oneOf || inner.properties || [inner.type].flat().includes('array');
    const wanted = Object.entries(node.properties).filter(
      ([name, inner]) => node.required?.includes(name) || isPart(resolve(inner)),
    );
    return Object.fromEntries(wanted.map(([name, inner]) => [name, example(inner, depth + 1)]));
  }
  if (type === 'array') return [example(node.items, depth + 1)];
  return { string: '', integer: node.minimum ?? 1, number: 1, boolean: false }[type] ?? {};
}

/** A small form that sends the request from here. */
function tryView(operation, schema) {
  const { method, path, parameters } = operation;
  const inputs = parameters.map((parameter) => {
    const isKey = parameter.name.toLowerCase() === 'idempotency-key';
    return [
      parameter,
      h('input', { value: isKey ? `try-${Date.now().toString(36)}` : String(parameter.example ?? '') }),
    ];
  });
  const body = schema && h('textarea', { rows: 8, spellcheck: 'false' }, JSON.stringify(example(schema), null, 2));
  const result = h('pre', { 'aria-live': 'polite', hidden: true, tabindex: 0 });
  const request = async () => {
    const headers = {};
    const query = new URLSearchParams();
    let url = path;
    for (const [{ name, in: where }, { value }] of inputs) {
      if (where === 'path') url = url.replace(`{${name}}`, encodeURIComponent(value));
      else if (value && where === 'query') query.set(name, value);
      else if (value && where === 'header') headers[name] = value;
    }
    const token = pasted || (await accessToken());
    if (token) headers.authorization = `Bearer ${token}`;
    if (body) headers['content-type'] = 'application/json';
    const response = await fetch(url + (query.size ? `?${query}` : ''), {
      method: method.toUpperCase(),
      headers,
      body: body?.value,
    });
    const words = await response.text();
    result.hidden = false;
    result.textContent = `HTTP ${response.status}\n\n${pretty(words)}`;
  };
  return h(
    'details',
    { class: 'try' },
    h('summary', {}, text('docs_try')),
    h(
      'div',
      { class: 'fields' },
      inputs.map(([{ name, in: where }, input]) => field(`${name} (${where})`, input)),
    ),
    body && field(text('docs_body'), body),
    h('div', { class: 'actions' }, button(text('docs_send'), request, { class: 'primary' })),
    result,
  );
}

function pretty(words) {
  try {
    return JSON.stringify(JSON.parse(words), null, 2);
  } catch {
    return words;
  }
}

function schemasView() {
  const schemas = Object.keys(api.components?.schemas ?? {}).sort();
  const view = (name) => {
    const node = h(
      'details',
      { class: 'operation', id: slug(`schema ${name}`), 'data-words': name.toLowerCase() },
      h('summary', {}, h('code', {}, name)),
    );
    node.addEventListener(
      'toggle',
      () => node.childElementCount === 1 && node.append(schemaView({ $ref: `#/components/schemas/${name}` })),
    );
    return node;
  };
  return (
    schemas.length > 0 &&
    h('section', { class: 'group' }, h('h2', { id: 'schemas' }, text('docs_schemas')), schemas.map(view))
  );
}

function filter(words, none) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const node of document.querySelectorAll('.operation')) {
    node.hidden = !wanted.every((word) => node.dataset.words.includes(word));
    shown += node.hidden ? 0 : 1;
  }
  document
    .querySelectorAll('.group')
    .forEach((group) => (group.hidden = !group.querySelector('.operation:not([hidden])')));
  none.hidden = shown > 0;
}

/** Opens what the address names. */
function openTarget() {
  const node = document.getElementById(location.hash.slice(1));
  if (node instanceof HTMLDetailsElement) node.open = true;
  node?.scrollIntoView();
}

addEventListener('hashchange', openTarget);
show();
