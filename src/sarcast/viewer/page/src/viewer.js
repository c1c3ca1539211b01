// The page as a whole: state, map, panels, keys.

import {bandsOf, defaultRange, NO_DATA, partsOf, styleOf} from './colours.js';
import {isAborted} from './data.js';
import {debounce, h, saveText} from './dom.js';
import {EventsPanel} from './events.js';
import {keyHelp, listenToKeys} from './keys.js';
import {SidePanel} from './legend.js';
import {MapView} from './map.js';
import {SeriesPanel} from './series.js';
import {readLink, State} from './state.js';
import {TileStore} from './tiles.js';
import {Timeline} from './timeline.js';
import {crsText, secondsOf, valueText} from './words.js';
import {WHAT_IF, WhatIfPanel} from './what-if.js';

const SIDES = ['left', 'right'];
const POLL_S = 5;
const LARGEST_BOX = 1024;
const PERCENTILES = [0.02, 0.98];
const MESSAGE_MS = 8000;
const LINK_MS = 250;
const WHAT_IF_REST_MS = 250;

/** A view of a cube, a detection or alerts, in an element. */
export class Viewer {
  #root;
  #data;
  #options;
  #view;
  #ranges = new Map();
  #image = null;
  #running = new Map();
  #settled = [];

  /**
   * Ask what there is, and show it.
   * @param {HTMLElement} root Element that is filled.
   * @param data `ServerData`, `KernelData` or `EmbeddedData`.
   * @param {{link: boolean}} options `link`: whether the address of the page holds the state.
   */
  static async start(root, data, options) {
    root.classList.add('sarcast-view');
    root.replaceChildren(h('p', {class: 'loading', role: 'status', text: 'Loading…'}));
    const asked = data.view(null); // while the first WebGL context is made, which takes longer
    asked.catch(() => {});
    try {
      if (!document.createElement('canvas').getContext('webgl')) {
        throw new Error('the map needs WebGL, which this browser does not offer; turn it on or use another browser');
      }
      return new Viewer(root, data, options, await asked);
    } catch (error) {
      root.replaceChildren(h('p', {class: 'loading', role: 'alert', text: `Cannot be shown: ${error.message}`}));
      throw error;
    }
  }

  constructor(root, data, options, view) {
    this.#root = root;
    this.#data = data;
    this.#options = options;
    this.store = new TileStore(data);
    this.#take(view);
    this.state = new State(this.#firstState());
    this.#build();
    this.#connect();
    this.ready = this.settled();
    this.#renderAll();
    this.#loadEvents();
    if (this.state.get('pixel')) this.#loadSeries();
    this.#poll();
  }

  /** Description of what is viewed. */
  get view() {
    return this.#view;
  }

  /** Promise of the moment when the map shows all that is asked for now. */
  settled() {
    return new Promise((resolve) => {
      this.#settled.push(resolve);
      this.map.map.render();
    });
  }

  close() {
    clearInterval(this.#timer);
    this.#closed.abort();
    for (const controller of this.#running.values()) controller.abort();
    this.map.map.setTarget(undefined);
    this.#root.replaceChildren();
  }

  #timer = 0;
  #closed = new AbortController();

  // --- description and first state ----------------------------------------------------------------

  #take(view) {
    this.#view = view;
    this.store.version = view.version;
    this.layers = [...view.layers];
    const look = view.layers.find(({id}) => id === 'expected') ?? view.layers.find(({id}) => id === 'actual');
    if (view.what_if?.length && look) {
      const label = 'expected, what if';
      this.layers.push({...look, id: WHAT_IF, label, slow: false, max_level: null, dated: true});
    }
  }

  #firstState() {
    const view = this.#view;
    const given = this.#options.link ? readLink(location.hash.slice(1)) : {};
    const last = view.acquisitions[view.index ?? view.acquisitions.length - 1]?.time ?? null;
    const ids = {left: view.default?.left, right: view.default?.right};
    const state = {
      left: {layer: ids.left ?? view.layers[0].id, band: null, time: last},
      right: {layer: ids.right ?? (view.layers[1] ?? view.layers[0]).id, band: null, time: last},
      swipe: 0.5,
      view: null,
      dates: 'both',
      pass: 'all',
      pixel: null,
      event: null,
      outlines: true,
      backdrop: view.kind === 'alerts',
      panel: view.events ? 'events' : 'series',
      stretch: {},
      ...given,
    };
    for (const name of SIDES) state[name] = this.#valid(state[name], ids[name]);
    if (state.left.layer === state.right.layer && !given.right) {
      const bands = bandsOf(this.#layer(state.right.layer));
      state.right.band = bands[bands.length - 1] ?? null;
    }
    return state;
  }

  /** A side whose layer, band and time exist. */
  #valid({layer: id, band, time}, fallback) {
    const layer = this.#layer(id) ?? this.#layer(fallback) ?? this.layers[0];
    const bands = bandsOf(layer);
    const acquisition = this.#view.acquisitions[this.#indexOf(time)];
    return {
      layer: layer.id,
      band: bands.includes(band) ? band : (bands[0] ?? null),
      time: acquisition?.time ?? null,
    };
  }

  #layer(id) {
    return this.layers.find((layer) => layer.id === id);
  }

  /** Index of the acquisition of a time, or of the one that is nearest to it. */
  #indexOf(time) {
    const {acquisitions} = this.#view;
    if (!time) return acquisitions.length - 1;
    const exact = acquisitions.findIndex((one) => one.time === time);
    if (exact >= 0 || acquisitions.length === 0) return exact;
    const wanted = secondsOf(time);
    const distance = (index) => Math.abs(secondsOf(acquisitions[index].time) - wanted);
    return acquisitions.reduce((best, _, index) => (distance(index) < distance(best) ? index : best), 0);
  }

  /** Side whose date the slider shows. */
  get #leading() {
    return this.state.get('dates') === 'right' ? 'right' : 'left';
  }

  // --- elements -----------------------------------------------------------------------------------

  #build() {
    const view = this.#view;
    this.map = new MapView({
      view,
      store: this.store,
      wheelNeedsFocus: !this.#options.link,
      on: {
        pick: (coordinate, event) => this.#pick(coordinate, event),
        point: (coordinate) => this.#readOut(coordinate),
        moved: () => this.#moved(),
        swiped: (swipe) => this.state.set({swipe}),
        failed: (error) => this.#failed(error),
      },
    });
    this.sides = Object.fromEntries(SIDES.map((name) => [name, this.#sidePanel(name)]));
    this.timeline = new Timeline({
      index: (index) => this.#goTo(index),
      pass: (pass) => this.state.set({pass}),
      dates: (dates) => this.#follow(dates),
      settled: () => this.settled(),
    });
    this.timeline.acquisitions = view.acquisitions;
    this.series = new SeriesPanel({
      time: (time) => this.#goTo(this.#indexOf(time)),
      csv: () => this.#saveSeries(),
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
    this.map.element.append(
      ...SIDES.flatMap((name) => [this.sides[name].chooser, this.sides[name].legend]),
      this.readout,
      this.busy,
    );
    this.#root.replaceChildren(
      this.#header(),
      h('div', {class: 'body'}, this.map.element, this.#panels()),
      this.timeline.element,
      this.message,
      this.help,
    );
    if (this.#options.link) document.title = `${view.title} – sarcast`;
  }

  #sidePanel(name) {
    return new SidePanel(name, {
      layers: this.layers,
      ramps: this.#view.ramps,
      on: {
        layer: (layer) => this.#change(name, {layer}),
        band: (band) => this.#change(name, {band}),
        stretch: (group, range) => this.#stretch(group, range),
        auto: (part) => this.#autoStretch(name, part),
      },
    });
  }

  #header() {
    const view = this.#view;
    const {title, kind, model, grid} = view;
    const facts = [kind, `${grid.width} × ${grid.height} pixels`, crsText(grid.crs), model && `model ${model}`];
    const switches = [
      view.events && this.#switch('outlines', 'outlines', 'Outlines of events (o)'),
      this.#backdropLayer() && this.#switch('backdrop', 'backdrop', 'Actual image below transparent ones (a)'),
    ];
    const exchange = h('button', {
      type: 'button',
      text: '⇄',
      title: 'Exchange left and right (x)',
      'aria-label': 'Exchange left and right',
      on: {click: () => this.exchange()},
    });
    const help = h('button', {
      type: 'button',
      text: '?',
      title: 'Keys (?)',
      'aria-label': 'Help with keys',
      on: {click: () => this.toggleHelp()},
    });
    return h(
      'header',
      {class: 'top'},
      h('h1', {text: title}),
      h('span', {class: 'note', text: facts.filter(Boolean).join(' · ')}),
      ...switches.filter(Boolean),
      exchange,
      help,
    );
  }

  #switch(name, label, title) {
    const box = h('input', {type: 'checkbox', on: {change: () => this.state.set({[name]: box.checked})}});
    const show = () => (box.checked = this.state.get(name));
    this.state.on([name], show);
    show();
    return h('label', {title}, box, label);
  }

  toggle(name) {
    this.state.set({[name]: !this.state.get(name)});
  }

  /** Layer below the others, where there are any that are transparent in parts. */
  #backdropLayer() {
    const {layers, ramps} = this.#view;
    const transparent = ({kind, ramp}) =>
      kind === 'categories' || ramps[ramp]?.some(([, , alpha]) => alpha < 255);
    if (!layers.some(transparent)) return null;
    return this.#layer('actual') ?? this.#layer('actual-mean') ?? null;
  }

  #panels() {
    const view = this.#view;
    const panels = [['series', 'Series', this.series.element]];
    if (view.events) panels.unshift(['events', 'Events', this.events.element]);
    if (view.what_if?.length) panels.push(['what-if', 'What if', this.whatIf.element]);
    this.tabs = panels.map(([name, label, element]) => {
      element.id = `sarcast-panel-${name}`;
      element.setAttribute('role', 'tabpanel');
      const tab = h('button', {
        type: 'button',
        role: 'tab',
        text: label,
        'aria-controls': element.id,
        on: {click: () => this.state.set({panel: name})},
      });
      return {name, tab, element};
    });
    const list = h('div', {class: 'tabs', role: 'tablist', 'aria-label': 'Panels'}, ...this.tabs.map(({tab}) => tab));
    return h('aside', {class: 'panel', 'aria-label': 'Panels'}, list, ...this.tabs.map(({element}) => element));
  }

  // --- what changes what --------------------------------------------------------------------------

  #connect() {
    const {state} = this;
    state.on(['left', 'right', 'stretch'], () => this.#renderSides());
    state.on(['left', 'right', 'dates', 'pass'], () => this.#renderDates());
    state.on(['left', 'right', 'dates', 'stretch', 'backdrop'], () => this.#renderBackdrop());
    state.on(['outlines'], () => (this.map.eventsVisible = state.get('outlines')));
    state.on(['swipe'], () => (this.map.swipe = state.get('swipe')));
    state.on(['panel'], () => this.#renderPanels());
    state.on(['pixel'], () => this.#loadSeries());
    state.on(['event'], () => this.#renderEvent());
    const link = debounce(() => this.#writeLink(), LINK_MS);
    state.on(['left', 'right', 'swipe', 'view', 'dates', 'pass', 'pixel', 'event', 'panel', 'stretch', 'outlines', 'backdrop'], link);
    this.map.map.on('rendercomplete', () => this.#complete());
    this.map.map.on('loadstart', () => this.#showBusy(true));
    this.map.map.on('loadend', () => this.#showBusy(false));
    const where = this.#options.link ? document : this.#root;
    listenToKeys(where, this, this.#closed.signal);
    if (this.#options.link) {
      const read = () => this.#readLink();
      addEventListener('hashchange', read, {signal: this.#closed.signal});
    }
    const again = debounce(() => this.#computeWhatIf(), WHAT_IF_REST_MS);
    state.on(['left', 'right', 'view'], (changed) => {
      const shown = SIDES.some((name) => state.get(name).layer === WHAT_IF);
      if (shown && (changed.has('view') || this.#image === null || this.#image.index !== this.#leadingIndex)) again();
    });
  }

  #renderAll() {
    this.map.swipe = this.state.get('swipe');
    const place = this.state.get('view');
    const first = () => (place ? (this.map.place = place) : this.map.showAll());
    first();
    this.#renderSides();
    this.#renderBackdrop();
    this.map.eventsVisible = this.state.get('outlines');
    this.#renderDates();
    this.#renderPanels();
    this.#renderEvent();
    this.map.marked = this.state.get('pixel');
  }

  #renderSides() {
    const notes = this.#notes();
    for (const name of SIDES) {
      const {layer: id, band, time} = this.state.get(name);
      const layer = this.#layer(id);
      const ranges = partsOf(layer, band).map((part) => this.#rangeOf(layer, part));
      const style = styleOf(layer, band, ranges, this.#view.ramps[layer.ramp] ?? []);
      const side = this.map.sides[name];
      if (id === WHAT_IF) {
        side.showImage({layer, style, image: this.#image});
      } else {
        side.show(this.#tiles(layer, time, style));
      }
      this.sides[name].show({layer, band, time, ranges, note: notes[name]});
    }
  }

  #renderBackdrop() {
    const layer = this.#backdropLayer();
    if (!layer || !this.state.get('backdrop')) {
      this.map.backdrop.hide();
      return;
    }
    const ranges = partsOf(layer, layer.bands[0]).map((part) => this.#rangeOf(layer, part));
    const style = styleOf(layer, layer.bands[0], ranges, this.#view.ramps[layer.ramp]);
    this.map.backdrop.show(this.#tiles(layer, this.state.get(this.#leading).time, style));
  }

  /** What a side needs to show a layer at a time. */
  #tiles(layer, time, style) {
    const {finest = 0, levels: count, tile, version} = this.#view;
    const coarsest = Math.max(Math.min(layer.max_level ?? count - 1, count - 1), finest);
    const index = layer.dated ? this.#indexOf(time) : 0;
    return {layer, index, style, levels: {finest, coarsest, tile}, version};
  }

  /** What to say about a side that is not drawn. */
  #notes() {
    const note = (name) => {
      if (this.state.get(name).layer === WHAT_IF) return this.#image ? '' : 'move a slider';
      const {layer: id, time} = this.state.get(name);
      const layer = this.#layer(id);
      if (layer.slow && layer.dated && this.#view.acquisitions[this.#indexOf(time)]?.expected === false) {
        return 'too few images before this date';
      }
      return this.map.sides[name].isTooCoarse(this.map.resolution) ? 'zoom in to see it' : '';
    };
    return {left: note('left'), right: note('right')};
  }

  #renderDates() {
    const index = this.#leadingIndex;
    const other = this.#leading === 'left' ? 'right' : 'left';
    this.timeline.show({
      index,
      other: this.#indexOf(this.state.get(other).time),
      pass: this.state.get('pass'),
      dates: this.state.get('dates'),
      baseline: this.#view.baseline,
    });
    this.series.show({pass: this.state.get('pass'), time: this.state.get(this.#leading).time});
    this.whatIf.acquisition = this.#view.acquisitions[index];
  }

  get #leadingIndex() {
    return this.#indexOf(this.state.get(this.#leading).time);
  }

  #renderPanels() {
    const wanted = this.state.get('panel');
    const open = this.tabs.some(({name}) => name === wanted) ? wanted : this.tabs[0].name;
    for (const {name, tab, element} of this.tabs) {
      tab.setAttribute('aria-selected', String(name === open));
      element.hidden = name !== open;
    }
  }

  // --- sides and dates ----------------------------------------------------------------------------

  #change(name, patch) {
    const side = this.#valid({...this.state.get(name), ...patch});
    this.state.set({[name]: side});
  }

  exchange() {
    const [left, right] = [this.state.get('right'), this.state.get('left')];
    this.state.set({left, right});
  }

  /** Next band of both sides. */
  nextBand() {
    for (const name of SIDES) {
      const {layer, band} = this.state.get(name);
      const bands = bandsOf(this.#layer(layer));
      if (bands.length > 1) this.#change(name, {band: bands[(bands.indexOf(band) + 1) % bands.length]});
    }
  }

  #goTo(index) {
    const time = this.#view.acquisitions[index]?.time;
    if (!time) return;
    const dates = this.state.get('dates');
    const names = dates === 'both' ? SIDES : [dates];
    this.state.set(Object.fromEntries(names.map((name) => [name, {...this.state.get(name), time}])));
  }

  /** Both images get the date of the left one when both follow it again. */
  #follow(dates) {
    const patch = {dates};
    if (dates === 'both') patch.right = {...this.state.get('right'), time: this.state.get('left').time};
    this.state.set(patch);
  }

  #stretch(group, range) {
    this.state.set({stretch: {...this.state.get('stretch'), [group]: range}});
  }

  /** Range of a part: the user's, or the one that the part had when it was first shown. */
  #rangeOf(layer, part) {
    const own = this.state.get('stretch')[part.group];
    if (own) return own;
    if (!this.#ranges.has(part.group)) this.#ranges.set(part.group, defaultRange(layer, part));
    return this.#ranges.get(part.group);
  }

  #autoStretch(name, part) {
    const layer = this.#layer(this.state.get(name).layer);
    const values = this.#valuesInView(name, layer, part).sort();
    if (values.length < 2) return;
    const range = PERCENTILES.map((share) => values[Math.round(share * (values.length - 1))]);
    if (range[0] < range[1]) this.#stretch(part.group, range);
  }

  #valuesInView(name, layer, part) {
    const {visible, resolution} = this.map;
    const side = this.map.sides[name];
    if (!visible) return new Float32Array();
    const tiles = layer.id === WHAT_IF ? [] : side.tilesOf(visible, resolution).map((at) => this.store.peek(layer, at));
    const bands = layer.bands.length;
    const band = layer.bands.indexOf(part.band);
    const found = [];
    for (const values of tiles.filter(Boolean)) {
      for (let start = 0; start < values.length; start += bands) {
        const [first, second] = band >= 0 ? [values[start + band], 0] : [values[start], values[start + 1]];
        if (first > NO_DATA / 10 && second > NO_DATA / 10) found.push(first - second);
      }
    }
    return Float32Array.from(found);
  }

  // --- place --------------------------------------------------------------------------------------

  #moved() {
    this.state.set({view: this.map.place});
    const notes = this.#notes();
    for (const name of SIDES) this.sides[name].note.textContent = notes[name];
  }

  #complete() {
    for (const resolve of this.#settled.splice(0)) resolve();
    if (this.timeline.playing) this.#prefetch();
  }

  /** Ask for the next date's tiles while this one is looked at. */
  #prefetch() {
    const {visible, resolution} = this.map;
    const index = this.timeline.next;
    if (!visible || index === null) return;
    const names = this.state.get('dates') === 'both' ? SIDES : [this.state.get('dates')];
    for (const name of names) {
      const layer = this.#layer(this.state.get(name).layer);
      if (!layer.dated || layer.slow || layer.id === WHAT_IF) continue;
      for (const at of this.map.sides[name].tilesOf(visible, resolution)) {
        this.store.get(layer, {...at, index}, this.#view.tile).catch(() => {});
      }
    }
  }

  #readOut(coordinate) {
    const pixel = coordinate && this.map.grid.pixelAt(coordinate);
    if (!pixel) {
      this.readout.textContent = '';
      return;
    }
    const [x, y] = coordinate.map((value) => Math.round(value));
    const parts = [`X ${x} Y ${y}`, `pixel ${pixel.join(', ')}`];
    for (const name of SIDES) {
      const found = this.map.sides[name].valuesAt(pixel, this.map.resolution);
      if (!found) continue;
      const layer = this.#layer(this.state.get(name).layer);
      const text = Array.from(found.values, (value, band) => {
        const label = layer.bands.length > 1 ? `${layer.bands[band]} ` : '';
        return `${label}${valueText(layer, value < NO_DATA / 10 ? NaN : value)}`;
      });
      parts.push(`${name}: ${text.join(', ')}`);
    }
    this.readout.textContent = parts.join('  ·  ');
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
      this.series.clear('Click a pixel or an event to see its history.');
      return;
    }
    await this.#run('series', async (signal) => {
      if (this.#data.seriesOfEvent) {
        await this.#showStoredSeries();
        return;
      }
      const at = {x: pixel[0], y: pixel[1]};
      this.series.message = 'Loading…';
      this.series.series = await this.#data.series(at, signal);
      if (!this.series.series.has_model) return;
      this.series.message = 'The model computes what was expected…';
      this.series.series = await this.#data.series({...at, expected: true}, signal);
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
    return this.#run('csv', async () => {
      const {x, y, has_model: expected} = this.series.series;
      const text = await this.#data.csv({x, y, expected});
      saveText(text, `pixel-${x}-${y}.csv`, 'text/csv');
    });
  }

  // --- events -------------------------------------------------------------------------------------

  async #loadEvents() {
    if (!this.#view.events) return;
    await this.#run('events', async () => {
      const events = await this.#data.events();
      this.map.events = events;
      this.events.show(events, this.#view.verdicts);
      this.#renderEvent();
    });
  }

  #selectEvent(id) {
    this.state.set({event: String(id), pixel: this.#insideOf(id)});
    this.map.showEvent(id);
  }

  #insideOf(id) {
    const inside = this.map.insideOf(id);
    return inside && this.map.grid.pixelAt(inside);
  }

  async #renderEvent() {
    const id = this.state.get('event');
    this.map.selected = id;
    this.events.selected = id;
    this.events.showDetail(null);
    if (id === null || !this.events.selected || this.#view.kind !== 'alerts') return;
    await this.#run('history', async () => {
      const rows = await this.#data.history(id);
      if (this.state.get('event') === id) this.events.showDetail(rows);
    });
  }

  #judge(id, verdict) {
    return this.#run(`verdict ${id}`, async () => {
      await this.#data.verdict(id, verdict);
      this.events.setVerdict(id, verdict);
    });
  }

  // --- what if ------------------------------------------------------------------------------------

  /** The first move of a slider shows the image on the right. */
  #whatIfMoved() {
    const shown = SIDES.some((name) => this.state.get(name).layer === WHAT_IF);
    if (shown) {
      this.#computeWhatIf();
      return;
    }
    const {band, time} = this.state.get('right');
    const bands = bandsOf(this.#layer(WHAT_IF));
    this.state.set({right: {layer: WHAT_IF, band: bands.includes(band) ? band : bands[0], time}});
  }

  async #computeWhatIf() {
    const box = this.#visibleBox();
    if (!box) return;
    const index = this.#leadingIndex;
    const began = performance.now();
    this.whatIf.message = 'The model computes…';
    await this.#run('what-if', async (signal) => {
      const question = {index, box: box.box, conditions: this.whatIf.conditions};
      const answer = await this.#data.whatIf(question, signal);
      const count = answer.shape.slice(1).reduce((product, size) => product * size, 1);
      this.#image = {values: answer.values.subarray(0, count), box: answer.box, index};
      this.#renderSides();
      await this.settled();
      const [, , rows, columns] = answer.box;
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      const part = box.whole ? '' : ` The middle of the view: at most ${LARGEST_BOX} pixels each way; zoom in.`;
      this.whatIf.message = `${columns} × ${rows} pixels in ${seconds} s.${part}`;
    }, (error) => (this.whatIf.message = error.message));
  }

  /** Pixels of the view, of very many those in its middle. */
  #visibleBox() {
    const {visible, grid} = this.map;
    if (!visible) return null;
    const span = (from, to, count) => {
      const first = Math.max(Math.floor(from), 0);
      const size = Math.min(Math.ceil(to), count) - first;
      const kept = Math.min(size, LARGEST_BOX);
      return [first + Math.floor((size - kept) / 2), kept, kept === size];
    };
    const [left, bottom, right, top] = visible;
    const [column, columns, allColumns] = span((left - grid.left) / grid.pixel, (right - grid.left) / grid.pixel, grid.width);
    const [row, rows, allRows] = span((grid.top - top) / grid.pixel, (grid.top - bottom) / grid.pixel, grid.height);
    return {box: [row, column, rows, columns], whole: allColumns && allRows};
  }

  // --- keeping up ---------------------------------------------------------------------------------

  #poll() {
    if (this.#data.seriesOfEvent) return;
    const every = (this.#view.poll_s ?? POLL_S) * 1000;
    this.#timer = setInterval(() => {
      if (!document.hidden) this.refresh();
    }, every);
  }

  /** Ask whether there is something new, and show it. */
  async refresh() {
    let view = null;
    try {
      view = await this.#data.view(this.#view.version);
      if (this.#silent) for (const name of SIDES) this.map.sides[name].reload();
      this.#silent = false;
    } catch (error) {
      if (!this.#silent) this.say('No answer: is sarcast view still running?');
      this.#silent = true;
      return;
    }
    if (!view) return;
    const known = new Set(this.#view.acquisitions.map(({time}) => time));
    const added = view.acquisitions.filter(({time}) => !known.has(time)).length;
    this.#take(view);
    this.#image = null;
    this.timeline.acquisitions = view.acquisitions;
    for (const name of SIDES) this.sides[name].layers = this.layers;
    this.#renderSides();
    this.#renderBackdrop();
    this.#renderDates();
    this.#loadEvents();
    if (this.state.get('pixel')) this.#loadSeries();
    if (added > 0) this.say(`${added} new ${added === 1 ? 'acquisition' : 'acquisitions'}`);
  }

  #silent = false;

  #writeLink() {
    if (!this.#options.link) return;
    const {pathname, search} = location;
    history.replaceState(null, '', `${pathname}${search}#${this.state.link}`);
  }

  #readLink() {
    const given = readLink(location.hash.slice(1));
    for (const name of SIDES) if (given[name]) given[name] = this.#valid(given[name], this.state.get(name).layer);
    const {view} = given;
    this.state.set(given);
    if (view) this.map.place = view;
  }

  // --- messages -----------------------------------------------------------------------------------

  say(text) {
    this.message.textContent = text;
    clearTimeout(this.#hiding);
    this.#hiding = setTimeout(() => (this.message.textContent = ''), MESSAGE_MS);
  }

  #hiding = 0;

  toggleHelp() {
    if (this.help.open) this.help.close();
    else this.help.showModal();
  }

  #showBusy(busy) {
    this.busy.textContent = busy ? 'Loading…' : '';
  }

  #failed(error) {
    if (error?.name === 'AbortError') return;
    if (error?.status === 409) this.refresh();
    else this.say(error.message);
  }

  /** Run a task; a newer one of the same name ends it. */
  async #run(name, task, failed = (error) => this.say(error.message)) {
    this.#running.get(name)?.abort();
    const controller = new AbortController();
    this.#running.set(name, controller);
    try {
      await task(controller.signal);
    } catch (error) {
      if (!controller.signal.aborted && !isAborted(error)) failed(error);
    } finally {
      if (this.#running.get(name) === controller) this.#running.delete(name);
    }
  }
}

