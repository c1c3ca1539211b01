// The acquisitions in time: a slider, a strip with their passes, play.

import {h, setOptions} from './dom.js';
import {passText, secondsOf, timeText, weatherText} from './words.js';

const FASTEST_MS = 350;
const LATEST_MS = 8000;

/** Passes that a choice of `passChoices` leaves. */
export function matchesPass(acquisition, pass) {
  if (!pass || pass === 'all') return true;
  if (pass.startsWith('track ')) return String(acquisition.relative_orbit) === pass.slice(6);
  return acquisition.orbit_direction === pass;
}

/** All passes, each direction, each track, as far as there is more than one of them. */
function passChoices(acquisitions) {
  const given = (value) => value !== null && value !== undefined && value !== '';
  const distinct = (name) =>
    [...new Set(acquisitions.map((one) => one[name]))].filter(given).sort();
  const directions = distinct('orbit_direction');
  const tracks = distinct('relative_orbit');
  return [
    ['all', 'all passes'],
    ...(directions.length > 1 ? directions.map((name) => [name, name]) : []),
    ...(tracks.length > 1 ? tracks.map((name) => [`track ${name}`, `track ${name}`]) : []),
  ];
}

/** Bar at the foot of the page. */
export class Timeline {
  #on;
  #acquisitions = [];
  #chosen = [];
  #playing = false;
  #state = {};

  /** @param on `index(number)`, `pass(choice)`, `dates(which side)`, `settled()`: promise. */
  constructor(on) {
    this.#on = on;
    const step = (text, label, steps) =>
      h('button', {
        type: 'button',
        text,
        title: label,
        'aria-label': label,
        on: {click: () => this.step(steps)},
      });
    this.playButton = h('button', {
      type: 'button',
      class: 'play',
      text: '▶',
      title: 'Play (space)',
      'aria-label': 'Play the dates',
      'aria-pressed': 'false',
      on: {click: () => this.toggle()},
    });
    this.passSelect = h('select', {
      'aria-label': 'Passes to step through',
      on: {change: () => on.pass(this.passSelect.value)},
    });
    this.datesSelect = h('select', {
      'aria-label': 'Images that follow the date',
      on: {change: () => on.dates(this.datesSelect.value)},
    });
    setOptions(
      this.datesSelect,
      [
        ['both', 'both images'],
        ['left', 'left image'],
        ['right', 'right image'],
      ],
      'both',
    );
    this.slider = h('input', {
      type: 'range',
      min: '0',
      step: '1',
      'aria-label': 'Date',
      on: {input: () => this.#slide()},
    });
    this.strip = h('canvas', {
      class: 'strip',
      'aria-hidden': 'true',
      on: {click: (event) => this.#choose(event)},
    });
    this.text = h('output', {class: 'when'});
    this.element = h(
      'footer',
      {class: 'timeline', role: 'group', 'aria-label': 'Dates'},
      h(
        'div',
        {class: 'controls'},
        step('◀', 'Earlier date (left arrow)', -1),
        this.playButton,
        step('▶|', 'Later date (right arrow)', 1),
        this.passSelect,
        this.datesSelect,
        this.text,
      ),
      this.slider,
      this.strip,
    );
    new ResizeObserver(() => this.#draw()).observe(this.strip);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw());
  }

  /** Show other acquisitions: another view, or one that was extended. */
  set acquisitions(acquisitions) {
    this.#acquisitions = acquisitions;
    this.element.hidden = acquisitions.length === 0;
    setOptions(this.passSelect, passChoices(acquisitions), this.#state.pass ?? 'all');
  }

  /** @param {{index: number, other: number, pass: string, dates: string, baseline: string}} state */
  show(state) {
    this.#state = state;
    const all = this.#acquisitions;
    this.#chosen = all
      .map((_, index) => index)
      .filter((index) => matchesPass(all[index], state.pass));
    this.passSelect.value = state.pass;
    this.datesSelect.value = state.dates;
    const acquisition = all[state.index];
    if (!acquisition) return;
    this.slider.max = String(Math.max(this.#chosen.length - 1, 0));
    this.slider.value = String(this.#nearest(state.index));
    const text = [timeText(acquisition.time), passText(acquisition), weatherText(acquisition)];
    this.text.textContent = text.filter(Boolean).join('  ·  ');
    this.slider.setAttribute('aria-valuetext', this.text.textContent);
    this.#draw();
  }

  /** Go some dates further, among those of the chosen pass. */
  step(steps) {
    if (this.#chosen.length === 0) return;
    const at = this.#nearest(this.#state.index);
    const exact = this.#chosen[at] === this.#state.index;
    const next = exact ? at + steps : at;
    this.#on.index(this.#chosen[Math.min(Math.max(next, 0), this.#chosen.length - 1)]);
  }

  /** Index of the next date while playing, which starts again at the end. */
  get next() {
    if (this.#chosen.length === 0) return null;
    return this.#chosen[(this.#nearest(this.#state.index) + 1) % this.#chosen.length];
  }

  get playing() {
    return this.#playing;
  }

  toggle() {
    this.#playing = !this.#playing && this.#chosen.length > 1;
    this.playButton.textContent = this.#playing ? '❚❚' : '▶';
    this.playButton.setAttribute('aria-pressed', String(this.#playing));
    if (this.#playing) this.#play();
  }

  /** Each date stays until its image is there, and for a moment. */
  async #play() {
    while (this.#playing && this.element.isConnected) {
      const next = this.next;
      if (next === null) break;
      this.#on.index(next);
      const late = new Promise((resolve) => setTimeout(resolve, LATEST_MS));
      await Promise.race([this.#on.settled(), late]);
      await new Promise((resolve) => setTimeout(resolve, FASTEST_MS));
    }
  }

  #slide() {
    this.#on.index(this.#chosen[Number(this.slider.value)]);
  }

  /** Position among the chosen ones of the last that is not after an acquisition. */
  #nearest(index) {
    const after = this.#chosen.findIndex((one) => one > index);
    return Math.max(after === -1 ? this.#chosen.length - 1 : after - 1, 0);
  }

  // --- strip --------------------------------------------------------------------------------------

  #xOf(seconds, width) {
    const times = this.#acquisitions;
    const [first, last] = [secondsOf(times[0].time), secondsOf(times[times.length - 1].time)];
    return 8 + ((seconds - first) / Math.max(last - first, 1)) * (width - 16);
  }

  #choose({offsetX}) {
    const width = this.strip.clientWidth;
    const distance = (index) =>
      Math.abs(this.#xOf(secondsOf(this.#acquisitions[index].time), width) - offsetX);
    if (this.#chosen.length === 0) return;
    this.#on.index(
      this.#chosen.reduce((best, one) => (distance(one) < distance(best) ? one : best)),
    );
  }

  #draw() {
    const {clientWidth: width, clientHeight: height} = this.strip;
    if (!width || this.#acquisitions.length === 0) return;
    const density = globalThis.devicePixelRatio || 1;
    this.strip.width = width * density;
    this.strip.height = height * density;
    const pen = this.strip.getContext('2d', {willReadFrequently: true}); // no GPU for a strip
    pen.scale(density, density);
    const colour = (name) => getComputedStyle(this.strip).getPropertyValue(name).trim();
    const bar = (seconds, name, top, bottom, thickness) => {
      pen.fillStyle = colour(name);
      pen.fillRect(this.#xOf(seconds, width) - thickness / 2, top, thickness, bottom - top);
    };
    const {baseline, index, other} = this.#state;
    const chosen = new Set(this.#chosen);
    if (baseline) {
      const end = this.#xOf(secondsOf(baseline), width);
      pen.fillStyle = colour('--faint');
      pen.fillRect(0, 0, Math.max(end, 0), height);
    }
    this.#acquisitions.forEach((one, at) => {
      const seconds = secondsOf(one.time);
      const ascending = one.orbit_direction === 'ascending';
      const name = chosen.has(at) ? (ascending ? '--ascending' : '--descending') : '--faint';
      bar(seconds, name, ascending ? 2 : height / 2, ascending ? height / 2 : height - 2, 1.5);
    });
    for (const at of [other, index]) {
      const acquisition = this.#acquisitions[at];
      if (acquisition)
        bar(secondsOf(acquisition.time), at === index ? '--accent' : '--text', 0, height, 3);
    }
  }
}
