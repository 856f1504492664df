// Forms that say beside each field what is wrong with it: by the pointers of the API's errors.
import { explain, h, text } from './ui.js';

let made = 0;

/**
 * A labelled field with room for its fault. `pointers` are where errors that are about it point to, or begin to; its fault
 * in words is the API's, or the text `fault_…` of its first pointer where the language has one.
 */
export function faultyField(pointers, label, control, hint) {
  made += 1;
  const [id, hintId, faultId] = [`field-${made}`, `hint-${made}`, `fault-${made}`];
  control.id = id;
  control.setAttribute('aria-describedby', [hint && hintId, faultId].filter(Boolean).join(' '));
  const fault = h('small', { id: faultId, class: 'error' });
  const node = h(
    'div',
    { class: 'field' },
    h('label', { for: id }, label),
    control,
    hint && h('small', { id: hintId }, hint),
    fault,
  );
  return { node, control, fault, pointers };
}

/** Choices of which all or one can be taken, with room for their fault; `boxes` are inputs and their labels. */
export function faultyGroup(pointers, label, boxes, hint) {
  made += 1;
  const faultId = `fault-${made}`;
  const fault = h('small', { id: faultId, class: 'error' });
  const node = h(
    'fieldset',
    { 'aria-describedby': faultId },
    h('legend', {}, label),
    hint && h('small', { class: 'muted' }, hint),
    boxes.map(([input, name]) => h('label', { class: 'check' }, input, name)),
    fault,
  );
  return { node, control: boxes[0]?.[0], fault, pointers };
}

const isAbout = (pointer, start) => pointer === start || pointer.startsWith(`${start}/`);

function tell({ control, fault }, words) {
  fault.textContent = words;
  if (words) control?.setAttribute('aria-invalid', 'true');
  else control?.removeAttribute('aria-invalid');
}

/** Puts each fault beside its field, the first of which is gone to. What belongs to no field is given back. */
function showFaults(fields, error) {
  const homeless = [];
  let first = null;
  for (const { pointer, detail } of error.errors ?? []) {
    const field = fields.find(
      ({ pointers, node }) => !node.hidden && pointers.some((start) => isAbout(pointer, start)),
    );
    if (!field) homeless.push(`${pointer.slice(1)} ${detail}`);
    else if (!field.fault.textContent) {
      const known = text(`fault${field.pointers[0].replaceAll('/', '_')}`);
      const words = known ?? `${detail[0].toUpperCase()}${detail.slice(1)}.`;
      // A code that is not only "invalid" says more than where it is.
      tell(field, error.code === 'invalid' ? words : explain(error));
      first ??= field;
    }
  }
  first?.control?.focus();
  if (!first) return explain(error);
  return [text('code_invalid'), ...homeless].filter(Boolean).join(' ');
}

/** A form of these fields. What `submit` throws is said: beside the fields where it names them, or below them all. */
export function formOf(fields, { label, submit, children = fields.map(({ node }) => node), actions = [] }) {
  const failure = h('p', { class: 'error', role: 'alert' });
  const done = h('div', { role: 'status' });
  let isBusy = false;
  const send = async (event) => {
    event.preventDefault();
    if (isBusy) return;
    isBusy = true;
    failure.textContent = '';
    done.replaceChildren();
    fields.forEach((field) => tell(field, ''));
    try {
      done.replaceChildren(...[(await submit()) ?? []].flat());
    } catch (error) {
      failure.textContent = showFaults(fields, error);
    } finally {
      isBusy = false;
    }
  };
  return h(
    'form',
    { onsubmit: send },
    children,
    failure,
    h('div', { class: 'actions' }, h('button', { class: 'primary' }, label), actions),
    done,
  );
}

/** A menu of values and their names. */
export const menu = (options, chosen) =>
  h(
    'select',
    {},
    options.map(([value, name]) => h('option', { value, selected: String(value) === String(chosen) }, name)),
  );
