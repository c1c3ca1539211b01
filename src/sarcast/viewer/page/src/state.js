// State of the page, as a link holds it.

/** Values that listeners are told of when they change. */
export class State {
  #values;
  #listeners = [];

  constructor(values) {
    this.#values = values;
  }

  get(name) {
    return this.#values[name];
  }

  /** Set some values; listeners get the names of those that differ. */
  set(patch) {
    const changed = Object.keys(patch).filter((name) => !same(this.#values[name], patch[name]));
    if (changed.length === 0) return;
    this.#values = {...this.#values, ...patch};
    const names = new Set(changed);
    for (const listener of this.#listeners) listener(names);
  }

  /** Call a listener with the set of changed names whenever one of some names is among them. */
  on(names, listener) {
    this.#listeners.push((changed) => {
      if (names.some((name) => changed.has(name))) listener(changed);
    });
  }

  /** Text of a link. */
  get link() {
    return linkOf(this.#values);
  }
}

function same(one, other) {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}

/** What a link may hold, by its key: how it is written and read. `read` gives undefined if bad. */
const FIELDS = {
  left: {key: 'l', write: sideText, read: readSide},
  right: {key: 'r', write: sideText, read: readSide},
  swipe: {key: 's', write: (value) => value.toFixed(3), read: (text) => within(text, 0, 1)},
  view: {key: 'v', write: (view) => view.map(short).join(','), read: (text) => numbers(text, 3)},
  dates: {key: 'd', write: String, read: (text) => oneOf(text, ['both', 'left', 'right'])},
  pass: {key: 'f', write: String, read: String},
  pixel: {key: 'p', write: (pixel) => pixel.join(','), read: (text) => numbers(text, 2)},
  event: {key: 'e', write: String, read: String},
  outlines: {key: 'o', write: flag, read: readFlag},
  backdrop: {key: 'b', write: flag, read: readFlag},
  panel: {key: 't', write: String, read: (text) => oneOf(text, ['series', 'events', 'what-if'])},
  stretch: {key: 'c', write: stretchText, read: readStretch},
};

/** Names of what a link holds. */
export const NAMES = Object.keys(FIELDS);

function linkOf(values) {
  const parts = new URLSearchParams();
  for (const [name, {key, write}] of Object.entries(FIELDS)) {
    const value = values[name];
    const empty = value === null || value === undefined || value === '';
    const text = empty ? '' : write(value);
    if (text) parts.set(key, text);
  }
  return parts.toString();
}

/** Values of a link; what is not understood is left out. */
export function readLink(text) {
  const parts = new URLSearchParams(text);
  const values = {};
  for (const [name, {key, read}] of Object.entries(FIELDS)) {
    const value = parts.has(key) ? read(parts.get(key)) : undefined;
    if (value !== undefined) values[name] = value;
  }
  return values;
}

function flag(value) {
  return value ? '1' : '0';
}

function readFlag(text) {
  return text === '1';
}

function sideText({layer, band, time}) {
  return [layer, band ?? '', time ?? ''].join('~');
}

function readSide(text) {
  const [layer, band, time] = text.split('~');
  return layer ? {layer, band: band || null, time: time || null} : undefined;
}

function stretchText(stretch) {
  return Object.entries(stretch)
    .map(([group, [low, high]]) => `${group}~${short(low)}~${short(high)}`)
    .join(';');
}

function readStretch(text) {
  const pairs = text.split(';').map((part) => {
    const [group, low, high] = part.split('~');
    return [group, [Number(low), Number(high)]];
  });
  const good = pairs.filter(([group, [low, high]]) => group && low < high);
  return good.length > 0 ? Object.fromEntries(good) : undefined;
}

function short(value) {
  return String(Number(value.toPrecision(9)));
}

function numbers(text, count) {
  const values = text.split(',').map(Number);
  return values.length === count && values.every(Number.isFinite) ? values : undefined;
}

function within(text, low, high) {
  const value = Number(text);
  return text !== '' && value >= low && value <= high ? value : undefined;
}

function oneOf(text, choices) {
  return choices.includes(text) ? text : undefined;
}
