// The page as a whole: what is asked of the data, and when.

import {bandsOf} from './colours.js';
import {Contents} from './contents.js';
import {prepareContext} from './context.js';
import {debounce, h, saveText} from './dom.js';
import {EventsPanel} from './events.js';
import {header, panelsOf} from './frame.js';
import {Images, SIDES, TOO_FEW} from './images.js';
import {keyHelp, listenToKeys} from './keys.js';
import {MapView} from './map.js';
import {SeriesPanel} from './series.js';
import {NAMES, readLink, State} from './state.js';
import {Tasks} from './tasks.js';
import {TileStore} from './tiles.js';
import {Timeline} from './timeline.js';
import {WHAT_IF, WhatIfPanel} from './what-if.js';

const POLL_S = 5;
const PATIENCE_MS = 30;
const LARGEST_BOX = 768;
const MESSAGE_MS = 8000;
const LINK_MS = 250;
const WHAT_IF_REST_MS = 250;
const NO_PIXEL = 'Click a pixel or an event to see its history.';

/** A view of a cube, a detection or alerts, in an element. */
export class Viewer {
  #root;
  #data;
  #linked;
  #contents;
  #tasks = new Tasks((error) => this.say(error.message));
  #closed = new AbortController();
  #settling = [];
  #hiding = 0;
  #silent = false;

  /**
   * Ask what there is, and show it.
   * @param {HTMLElement} root Element that is filled.
   * @param data `ServerData`, `KernelData` or `EmbeddedData`.
   * @param {{linked: boolean}} options `linked`: the address of the page holds the state.
   */
  static async start(root, data, options) {
    root.classList.add('sarcast-view');
    root.replaceChildren(h('p', {class: 'loading', role: 'status', text: 'Loading…'}));
    const early = setTimeout(prepareContext, PATIENCE_MS); // meanwhile: it takes long
    try {
      const contents = new Contents(await data.view(null));
      clearTimeout(early);
      return new Viewer(root, data, options, contents);
    } catch (error) {
      clearTimeout(early);
      const text = `Cannot be shown: ${error.message}`;
      root.replaceChildren(h('p', {class: 'loading', role: 'alert', text}));
      throw error;
    }
  }

  constructor(root, data, {linked}, contents) {
    this.#root = root;
    this.#data = data;
    this.#linked = linked;
    this.#contents = contents;
    this.store = new TileStore(data);
    this.store.version = contents.view.version;
    this.state = new State(this.#firstState());
    this.#build();
    this.#connect();
    this.ready = this.settled();
    this.#renderAll();
    if (!prepareContext()) {
      this.close();
      throw new Error('the map needs WebGL; turn it on in this browser, or use another one');
    }
    this.#loadEvents();
    if (this.state.get('pixel')) this.#loadSeries();
    this.#poll();
  }

  /** Description of what is viewed. */
  get view() {
    return this.#contents.view;
  }

  /** Promise of the moment when the map shows all that is asked for now. */
  settled() {
    return new Promise((resolve) => {
      this.#settling.push(resolve);
      this.map.map.render();
    });
  }

  close() {
    this.#closed.abort();
    this.#tasks.stop();
    this.map.map.setTarget(undefined);
    this.#root.replaceChildren();
  }

  #firstState() {
    const {kind, events} = this.view;
    const first = this.#contents.firstSides();
    const given = this.#linked ? readLink(location.hash.slice(1)) : {};
    for (const name of SIDES) {
      if (given[name]) given[name] = this.#contents.valid(given[name], first[name].layer);
    }
    return {
      ...first,
      swipe: 0.5,
      view: null,
      dates: 'both',
      pass: 'all',
      pixel: null,
      event: null,
      outlines: true,
      backdrop: kind === 'alerts',
      panel: events ? 'events' : 'series',
      stretch: {},
      ...given,
    };
  }

  // --- elements -----------------------------------------------------------------------------------

  #build() {
    const {view, state} = this;
    this.map = new MapView({
      view,
      store: this.store,
      wheelNeedsFocus: !this.#linked,
      on: {
        pick: (coordinate, event) => this.#pick(coordinate, event),
        point: (coordinate) => (this.readout.textContent = this.images.textAt(coordinate)),
        moved: () => this.#moved(),
        swiped: (swipe) => state.set({swipe}),
        failed: (error) => this.#tileFailed(error),
      },
    });
    this.images = new Images(state, this.map, this.store, this.#contents);
    this.timeline = new Timeline({
      index: (index) => this.#goTo(index),
      pass: (pass) => state.set({pass}),
      dates: (dates) => this.#follow(dates),
      settled: () => this.settled(),
    });
    this.timeline.acquisitions = view.acquisitions;
    this.series = new SeriesPanel({
      time: (time) => this.#goTo(this.#contents.indexOf(time)),
      csv: () => this.#saveSeries(),
      place: (coordinate) => this.map.grid.text(coordinate),
    });
    this.events = new EventsPanel({
      select: (id) => this.#selectEvent(id),
      verdict: (id, verdict) => this.#judge(id, verdict),
    });
    this.whatIf = new WhatIfPanel(view.what_if ?? [], {change: () => this.#whatIfMoved()});
    this.readout = h('div', {class: 'readout'});
    this.busy = h('div', {class: 'busy', role: 'status'});
    this.message = h('div', {class: 'message', role: 'status'});
    this.help = keyHelp();
    this.#place();
  }

  #place() {
    const {view, state} = this;
    const {left, right} = this.images.panels;
    const above = [left.chooser, left.legend, right.chooser, right.legend];
    this.map.element.append(...above, this.readout, this.busy);
    const panels = [['series', 'Series', this.series.element]];
    if (view.events) panels.unshift(['events', 'Events', this.events.element]);
    if (view.what_if?.length) panels.push(['what-if', 'What if', this.whatIf.element]);
    const on = {exchange: () => this.images.exchange(), help: () => this.toggleHelp()};
    this.#root.replaceChildren(
      header(this.#contents, state, on),
      h('div', {class: 'body'}, this.map.element, panelsOf(panels, state)),
      this.timeline.element,
      this.message,
      this.help,
    );
    if (this.#linked) document.title = `${view.title} – sarcast`;
  }

  // --- what changes what --------------------------------------------------------------------------

  #connect() {
    const {state, images} = this;
    state.on(['left', 'right', 'stretch'], () => images.render());
    state.on(['left', 'right', 'dates', 'stretch', 'backdrop'], () => images.renderBackdrop());
    state.on(['outlines'], () => (this.map.eventsVisible = state.get('outlines')));
    state.on(['left', 'right', 'dates', 'pass'], () => this.#renderDates());
    state.on(['swipe'], () => (this.map.swipe = state.get('swipe')));
    state.on(['pixel'], () => this.#loadSeries());
    state.on(['event'], () => this.#renderEvent());
    const again = debounce(() => this.#computeWhatIf(), WHAT_IF_REST_MS);
    state.on(['left', 'right', 'view'], (changed) => {
      const outdated = changed.has('view') || images.computed?.index !== this.#index;
      if (images.showsComputed && outdated) again();
    });
    this.map.map.on('rendercomplete', () => this.#complete());
    this.map.map.on('loadstart', () => (this.busy.textContent = 'Loading…'));
    this.map.map.on('loadend', () => (this.busy.textContent = ''));
    listenToKeys(this.#linked ? document : this.#root, this, this.#closed.signal);
    if (!this.#linked) return;
    state.on(
      NAMES,
      debounce(() => this.#writeLink(), LINK_MS),
    );
    addEventListener('hashchange', () => this.#readLink(), {signal: this.#closed.signal});
  }

  #renderAll() {
    const {state, map, images} = this;
    map.swipe = state.get('swipe');
    const place = state.get('view');
    if (place) map.place = place;
    else map.showAll();
    images.render();
    images.renderBackdrop();
    images.prefetch(null); // before the WebGL context and its programs are made
    map.eventsVisible = state.get('outlines');
    map.marked = state.get('pixel');
    this.#renderDates();
    this.#renderEvent();
  }

  #renderDates() {
    const {state, images} = this;
    const {time} = state.get(images.leading);
    const other = images.leading === 'left' ? 'right' : 'left';
    this.timeline.show({
      index: this.#index,
      other: this.#contents.indexOf(state.get(other).time),
      pass: state.get('pass'),
      dates: state.get('dates'),
      baseline: this.view.baseline,
    });
    this.series.show({pass: state.get('pass'), time});
    this.whatIf.acquisition = this.view.acquisitions[this.#index];
  }

  /** Index of the date of the slider. */
  get #index() {
    return this.#contents.indexOf(this.state.get(this.images.leading).time);
  }

  #goTo(index) {
    const time = this.view.acquisitions[index]?.time;
    if (!time) return;
    const dates = this.state.get('dates');
    const names = dates === 'both' ? SIDES : [dates];
    const entries = names.map((name) => [name, {...this.state.get(name), time}]);
    this.state.set(Object.fromEntries(entries));
  }

  /** Both images get the date of the left one when both follow the slider again. */
  #follow(dates) {
    const {time} = this.state.get('left');
    const right = {...this.state.get('right'), time};
    this.state.set(dates === 'both' ? {dates, right} : {dates});
  }

  toggle(name) {
    this.state.set({[name]: !this.state.get(name)});
  }

  #moved() {
    this.state.set({view: this.map.place});
    this.images.renderNotes();
  }

  #complete() {
    for (const resolve of this.#settling.splice(0)) resolve();
    const next = this.timeline.playing ? this.timeline.next : null;
    if (next !== null) this.images.prefetch(next);
  }

  // --- series -------------------------------------------------------------------------------------

  #pick(coordinate, event) {
    const pixel = this.map.grid.pixelAt(coordinate);
    if (!pixel) return;
    this.state.set({pixel, event: event === null ? null : String(event), panel: 'series'});
  }

  async #loadSeries() {
    const pixel = this.state.get('pixel');
    this.map.marked = pixel;
    if (!pixel) {
      this.series.clear(NO_PIXEL);
      return;
    }
    await this.#tasks.run('series', async (signal) => {
      if (this.#data.seriesOfEvent) {
        await this.#showStoredSeries();
        return;
      }
      const at = {x: pixel[0], y: pixel[1]};
      this.series.message = 'Loading…';
      const show = async (expected) => {
        const series = await this.#data.series({...at, expected}, signal);
        signal.throwIfAborted();
        this.series.series = series;
      };
      await show(false);
      if (!this.series.series.has_model) return;
      this.series.message = 'The model computes what was expected…';
      await show(true);
    });
  }

  /** A page that is a file only has the series of its events. */
  async #showStoredSeries() {
    const event = this.state.get('event');
    const series = event === null ? null : await this.#data.seriesOfEvent(event);
    if (series) this.series.series = series;
    else this.series.clear('This file holds the series of events only: click an event.');
    this.series.csv.hidden = true;
  }

  #saveSeries() {
    return this.#tasks.run('csv', async () => {
      const {x, y, has_model: expected} = this.series.series;
      const text = await this.#data.csv({x, y, expected});
      saveText(text, `pixel-${x}-${y}.csv`, 'text/csv');
    });
  }

  // --- events -------------------------------------------------------------------------------------

  async #loadEvents() {
    if (!this.view.events) return;
    await this.#tasks.run('events', async () => {
      const events = await this.#data.events();
      this.map.events = events;
      this.events.show(events, this.view.verdicts);
      this.#renderEvent();
    });
  }

  #selectEvent(id) {
    const inside = this.map.insideOf(id);
    this.state.set({event: String(id), pixel: inside && this.map.grid.pixelAt(inside)});
    this.map.showEvent(id);
  }

  async #renderEvent() {
    const id = this.state.get('event');
    this.map.selected = id;
    this.events.selected = id;
    this.events.showDetail(null);
    if (id === null || !this.events.selected || this.view.kind !== 'alerts') return;
    await this.#tasks.run('history', async () => {
      const rows = await this.#data.history(id);
      if (this.state.get('event') === id) this.events.showDetail(rows);
    });
  }

  #judge(id, verdict) {
    return this.#tasks.run(`verdict ${id}`, async () => {
      await this.#data.verdict(id, verdict);
      this.events.setVerdict(id, verdict);
    });
  }

  // --- what if ------------------------------------------------------------------------------------

  /** The first move of a slider shows the image on the right. */
  #whatIfMoved() {
    if (this.images.showsComputed) {
      this.#computeWhatIf();
      return;
    }
    const {band} = this.state.get('right');
    const bands = bandsOf(this.#contents.layer(WHAT_IF));
    this.images.change('right', {layer: WHAT_IF, band: bands.includes(band) ? band : bands[0]});
  }

  async #computeWhatIf() {
    const found = this.map.visibleBox(LARGEST_BOX);
    const index = this.#index;
    if (!found) return;
    if (!this.#contents.isPredicted(index)) {
      this.whatIf.message = `Nothing is expected: ${TOO_FEW}.`;
      return;
    }
    const began = performance.now();
    this.whatIf.message = 'The model computes…';
    const compute = async (signal) => {
      const question = {index, box: found.box, conditions: this.whatIf.conditions};
      const {values, shape, box} = await this.#data.whatIf(question, signal);
      signal.throwIfAborted();
      const count = shape.slice(1).reduce((product, size) => product * size, 1);
      this.images.computed = {values: values.subarray(0, count), box, index};
      this.images.render();
      await this.settled();
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      const part = found.whole ? '' : ' The middle of the view: zoom in to see all of it.';
      this.whatIf.message = `${box[3]} × ${box[2]} pixels in ${seconds} s.${part}`;
    };
    await this.#tasks.run('what-if', compute, (error) => (this.whatIf.message = error.message));
  }

  // --- keeping up ---------------------------------------------------------------------------------

  #poll() {
    if (this.#data.seriesOfEvent) return; // a file does not change
    const look = () => document.hidden || this.refresh();
    const timer = setInterval(look, (this.view.poll_s ?? POLL_S) * 1000);
    this.#closed.signal.addEventListener('abort', () => clearInterval(timer));
  }

  /** Ask whether there is something new, and show it. */
  async refresh() {
    let view = null;
    try {
      view = await this.#data.view(this.view.version);
      if (this.#silent) for (const name of SIDES) this.map.sides[name].reload();
      this.#silent = false;
    } catch {
      if (!this.#silent) this.say('No answer: is sarcast view still running?');
      this.#silent = true;
    }
    if (view) this.#renew(new Contents(view));
  }

  #renew(contents) {
    const known = new Set(this.view.acquisitions.map(({time}) => time));
    const added = contents.acquisitions.filter(({time}) => !known.has(time)).length;
    this.#contents = contents;
    this.store.version = contents.view.version;
    this.images.contents = contents;
    this.timeline.acquisitions = contents.acquisitions;
    this.images.render();
    this.images.renderBackdrop();
    this.#renderDates();
    this.#loadEvents();
    if (this.state.get('pixel')) this.#loadSeries();
    if (this.images.showsComputed) this.#computeWhatIf();
    if (added > 0) this.say(`${added} new ${added === 1 ? 'acquisition' : 'acquisitions'}`);
  }

  #tileFailed(error) {
    if (error?.name === 'AbortError') return;
    if (error?.status === 409) this.refresh();
    else this.say(error.message);
  }

  // --- link and messages --------------------------------------------------------------------------

  #writeLink() {
    const {pathname, search} = location;
    history.replaceState(null, '', `${pathname}${search}#${this.state.link}`);
  }

  #readLink() {
    const given = readLink(location.hash.slice(1));
    for (const name of SIDES) {
      if (given[name]) given[name] = this.#contents.valid(given[name], this.state.get(name).layer);
    }
    this.state.set(given);
    if (given.view) this.map.place = given.view;
  }

  say(text) {
    this.message.textContent = text;
    clearTimeout(this.#hiding);
    this.#hiding = setTimeout(() => (this.message.textContent = ''), MESSAGE_MS);
  }

  toggleHelp() {
    if (this.help.open) this.help.close();
    else this.help.showModal();
  }
}
