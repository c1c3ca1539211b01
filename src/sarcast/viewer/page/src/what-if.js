// Sliders of conditions: what the place would look like under other weather or from another pass.

import {debounce, h} from './dom.js';
import {numberText} from './words.js';

const REST_MS = 120;

/** Layer that shows the image; its look is that of the expected or actual image. */
export const WHAT_IF = 'what-if';

/** Panel with the sliders. */
export class WhatIfPanel {
  #entries;
  #on;
  #moved = new Map();
  #controls = [];
  #acquisition = {};

  /**
   * @param {Object[]} entries `what_if` of the description.
   * @param on `change()`: compute anew, at most every few hundredths of a second.
   */
  constructor(entries, on) {
    this.#entries = entries;
    this.#on = on;
    this.changed = debounce(() => this.#on.change(), REST_MS);
    this.status = h('p', {class: 'status', role: 'status'});
    this.reset = h('button', {
      type: 'button',
      text: 'As it was',
      title: 'Back to the conditions of the date',
      on: {click: () => this.#reset()},
    });
    this.form = h('form', {class: 'sliders', on: {submit: (event) => event.preventDefault()}});
    this.element = h(
      'section',
      {class: 'what-if', 'aria-label': 'What if'},
      h('div', {class: 'head'}, h('h2', {text: 'Expected under other conditions'}), this.reset),
      this.form,
      this.status,
    );
    for (const entry of entries) this.#controls.push(...this.#controlsOf(entry));
    this.form.replaceChildren(...this.#controls.map(({row}) => row));
  }

  /** The date's own conditions: where sliders stand that nobody moved. */
  set acquisition(acquisition) {
    this.#acquisition = acquisition ?? {};
    for (const control of this.#controls) control.refresh();
  }

  /** Conditions that differ from those of the date. */
  get conditions() {
    const wanted = {};
    for (const {name, lags} of this.#entries) {
      if (!lags) {
        if (this.#moved.has(name)) wanted[name] = this.#moved.get(name);
        continue;
      }
      const keys = Array.from({length: lags}, (_, lag) => `${name}/${lag}`);
      if (!keys.some((key) => this.#moved.has(key))) continue;
      wanted[name] = keys.map((key, lag) => this.#moved.get(key) ?? this.#own(name, lag));
    }
    return wanted;
  }

  set message(text) {
    this.status.textContent = text;
  }

  /** Value of a condition at the date, or the default where it is not known. */
  #own(name, lag = null) {
    const entry = this.#entries.find((one) => one.name === name);
    const value = this.#acquisition[name];
    const own = lag === null ? value : value?.[lag];
    const fallback = Array.isArray(entry.default) ? entry.default[lag] : entry.default;
    return own ?? fallback ?? entry.min;
  }

  #reset() {
    this.#moved.clear();
    for (const control of this.#controls) control.refresh();
    this.#on.change();
  }

  #controlsOf(entry) {
    if (entry.kind === 'choice') return [this.#choice(entry)];
    const lags = entry.lags ? Array.from({length: entry.lags}, (_, lag) => lag) : [null];
    return lags.map((lag) => this.#range(entry, lag));
  }

  #range({name, label, unit, min, max, step}, lag) {
    const key = lag === null ? name : `${name}/${lag}`;
    const days = lag ? `, ${lag} day${lag > 1 ? 's' : ''} before` : lag === 0 ? ', that day' : '';
    const output = h('output');
    const input = h('input', {type: 'range', min, max, step, 'aria-label': `${label}${days}`});
    const show = () => {
      output.textContent = `${numberText(input.valueAsNumber, step >= 1 ? 0 : 1)} ${unit ?? ''}`;
      input.setAttribute('aria-valuetext', output.textContent);
      row.classList.toggle('moved', this.#moved.has(key));
    };
    input.addEventListener('input', () => {
      this.#moved.set(key, input.valueAsNumber);
      show();
      this.changed();
    });
    const row = h('label', {}, h('span', {text: `${label}${days}`}), input, output);
    const refresh = () => {
      input.value = String(this.#moved.get(key) ?? this.#own(name, lag));
      show();
    };
    return {row, refresh};
  }

  #choice({name, label, choices}) {
    const options = choices.map((choice) => h('option', {value: choice.value, text: choice.label}));
    const select = h('select', {'aria-label': label}, ...options);
    select.addEventListener('change', () => {
      this.#moved.set(name, choices[select.selectedIndex].value);
      row.classList.add('moved');
      this.changed();
    });
    const row = h('label', {}, h('span', {text: label}), select, h('span'));
    const refresh = () => {
      select.value = String(this.#moved.get(name) ?? this.#own(name));
      row.classList.toggle('moved', this.#moved.has(name));
    };
    return {row, refresh};
  }
}
