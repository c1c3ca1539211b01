// Elements, built without HTML text: what comes from files is only ever a text node or an attribute.

/**
 * Build an element.
 * @param {string} tag Name of the element.
 * @param {Object<string, *>} [given] Attributes; `on` holds listeners by event, `text` the text,
 *   and names in `PROPERTIES` are set as properties. Null and false leave an attribute out.
 * @param {...(Node|string|null)} children Children; null is left out.
 * @return {HTMLElement} The element.
 */
export function h(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name === 'on') {
      for (const [event, listener] of Object.entries(value)) {
        element.addEventListener(event, listener);
      }
    } else if (name === 'text') {
      element.textContent = value;
    } else if (PROPERTIES.has(name)) {
      element[name] = value;
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? '' : String(value));
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const PROPERTIES = new Set(['value', 'checked', 'disabled', 'hidden', 'selected']);

/** Replace the options of a select by pairs of value and label, and select one. */
export function setOptions(select, pairs, selected) {
  select.replaceChildren(
    ...pairs.map(([value, label]) =>
      h('option', {value, text: label, selected: value === selected}),
    ),
  );
  select.value = selected;
}

/** Offer a text as a file. */
export function saveText(text, name, type) {
  const url = URL.createObjectURL(new Blob([text], {type}));
  h('a', {href: url, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Delay calls until none came for some milliseconds; the last one's arguments count. */
export function debounce(call, milliseconds) {
  let timer = 0;
  return (...words) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...words), milliseconds);
  };
}
