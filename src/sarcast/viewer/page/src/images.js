// The images of the map: which layers its sides show, in which colours, and what they say of them.

import {bandsOf, defaultRange, NO_DATA, partsOf, styleOf} from './colours.js';
import {SidePanel} from './legend.js';
import {valuesText} from './words.js';
import {WHAT_IF} from './what-if.js';

export const SIDES = ['left', 'right'];
/** Why a date has no expected image. */
export const TOO_FEW = 'too few images before this date';

const PERCENTILES = [0.02, 0.98];

/** Brings the state of the sides to the map, and their choosers and legends to the state. */
export class Images {
  #state;
  #map;
  #store;
  #contents;
  #first = new Map();

  /** Image of other conditions: `{values, box, index}`; null while there is none. */
  computed = null;

  /**
   * @param {State} state
   * @param {MapView} map
   * @param {TileStore} store
   * @param {Contents} contents
   */
  constructor(state, map, store, contents) {
    this.#state = state;
    this.#map = map;
    this.#store = store;
    this.#contents = contents;
    this.panels = Object.fromEntries(SIDES.map((name) => [name, this.#panel(name)]));
  }

  set contents(contents) {
    this.#contents = contents;
    this.computed = null;
    for (const name of SIDES) this.panels[name].layers = contents.layers;
  }

  #panel(name) {
    return new SidePanel(name, {
      layers: this.#contents.layers,
      ramps: this.#contents.view.ramps,
      on: {
        layer: (layer) => this.change(name, {layer}),
        band: (band) => this.change(name, {band}),
        stretch: (group, range) => this.#stretch(group, range),
        auto: (part) => this.#autoStretch(name, part),
      },
    });
  }

  // --- what is shown ------------------------------------------------------------------------------

  /** Side whose date the slider shows. */
  get leading() {
    return this.#state.get('dates') === 'right' ? 'right' : 'left';
  }

  layerOf(name) {
    return this.#contents.layer(this.#state.get(name).layer);
  }

  get showsComputed() {
    return SIDES.some((name) => this.#state.get(name).layer === WHAT_IF);
  }

  change(name, patch) {
    this.#state.set({[name]: this.#contents.valid({...this.#state.get(name), ...patch})});
  }

  exchange() {
    const [left, right] = [this.#state.get('right'), this.#state.get('left')];
    this.#state.set({left, right});
  }

  /** Next band of both sides. */
  nextBand() {
    for (const name of SIDES) {
      const bands = bandsOf(this.layerOf(name));
      if (bands.length < 2) continue;
      const at = bands.indexOf(this.#state.get(name).band);
      this.change(name, {band: bands[(at + 1) % bands.length]});
    }
  }

  render() {
    const notes = this.#notes();
    for (const name of SIDES) {
      const {band, time} = this.#state.get(name);
      const layer = this.layerOf(name);
      const ranges = partsOf(layer, band).map((part) => this.#rangeOf(layer, part));
      const style = styleOf(layer, band, ranges, this.#contents.ramp(layer));
      if (layer.id === WHAT_IF) {
        this.#map.sides[name].showImage({layer, style, image: this.computed});
      } else {
        this.#map.sides[name].show(this.#contents.tiles(layer, time, style));
      }
      this.panels[name].show({layer, band, time, ranges, note: notes[name]});
    }
  }

  renderBackdrop() {
    const layer = this.#contents.backdrop;
    if (!layer || !this.#state.get('backdrop')) {
      this.#map.backdrop.hide();
      return;
    }
    const [band] = layer.bands;
    const ranges = partsOf(layer, band).map((part) => this.#rangeOf(layer, part));
    const style = styleOf(layer, band, ranges, this.#contents.ramp(layer));
    const {time} = this.#state.get(this.leading);
    this.#map.backdrop.show(this.#contents.tiles(layer, time, style));
  }

  renderNotes() {
    const notes = this.#notes();
    for (const name of SIDES) this.panels[name].note.textContent = notes[name];
  }

  /** What to say about a side that is not drawn. */
  #notes() {
    const note = (name) => {
      const {layer: id, time} = this.#state.get(name);
      const layer = this.#contents.layer(id);
      const predicted = this.#contents.isPredicted(this.#contents.indexOf(time));
      if ((layer.slow || id === WHAT_IF) && layer.dated && !predicted) return TOO_FEW;
      if (id === WHAT_IF) return this.computed ? '' : 'move a slider';
      return this.#map.sides[name].isTooCoarse(this.#map.resolution) ? 'zoom in to see it' : '';
    };
    return {left: note('left'), right: note('right')};
  }

  // --- stretch ------------------------------------------------------------------------------------

  #stretch(group, range) {
    this.#state.set({stretch: {...this.#state.get('stretch'), [group]: range}});
  }

  /** Range of a part: the user's, or the one that the part had when it was first shown. */
  #rangeOf(layer, part) {
    const own = this.#state.get('stretch')[part.group];
    if (own) return own;
    if (!this.#first.has(part.group)) this.#first.set(part.group, defaultRange(layer, part));
    return this.#first.get(part.group);
  }

  #autoStretch(name, part) {
    const values = this.#valuesInView(name, part).sort();
    if (values.length < 2) return;
    const range = PERCENTILES.map((share) => values[Math.round(share * (values.length - 1))]);
    if (range[0] < range[1]) this.#stretch(part.group, range);
  }

  /** Values of a part in the tiles that are in view. */
  #valuesInView(name, part) {
    const layer = this.layerOf(name);
    const {visible, resolution} = this.#map;
    const at = visible ? this.#map.sides[name].tilesOf(visible, resolution) : [];
    const tiles = at.map((one) => this.#store.peek(layer, one)).filter(Boolean);
    const count = layer.bands.length;
    const band = layer.bands.indexOf(part.band);
    const found = [];
    for (const values of tiles) {
      for (let start = 0; start < values.length; start += count) {
        const [first, second] =
          band >= 0 ? [values[start + band], 0] : [values[start], values[start + 1]];
        if (first > NO_DATA / 10 && second > NO_DATA / 10) found.push(first - second);
      }
    }
    return Float32Array.from(found);
  }

  // --- tiles --------------------------------------------------------------------------------------

  /**
   * Ask for tiles before the map does.
   * @param {number|null} index Another date, for the sides that follow the slider; null: what is
   *   shown.
   */
  prefetch(index) {
    const {visible, resolution} = this.#map;
    if (!visible) return;
    const dates = this.#state.get('dates');
    for (const name of dates === 'both' || index === null ? SIDES : [dates]) {
      const layer = this.layerOf(name);
      if (layer.slow || layer.id === WHAT_IF || (index !== null && !layer.dated)) continue;
      for (const at of this.#map.sides[name].tilesOf(visible, resolution)) {
        const wanted = index === null ? at : {...at, index};
        this.#store.get(layer, wanted, this.#contents.view.tile).catch(() => {});
      }
    }
  }

  /** Coordinates and values at a place of the map; empty outside the grid. */
  textAt(coordinate) {
    const pixel = coordinate && this.#map.grid.pixelAt(coordinate);
    if (!pixel) return '';
    const parts = [this.#map.grid.text(coordinate), `pixel ${pixel.join(', ')}`];
    for (const name of SIDES) {
      const values = this.#map.sides[name].valuesAt(pixel, this.#map.resolution);
      if (!values) continue;
      const known = values.map((value) => (value < NO_DATA / 10 ? NaN : value));
      parts.push(`${name} ${valuesText(this.layerOf(name), known)}`);
    }
    return parts.join(' · ');
  }
}
