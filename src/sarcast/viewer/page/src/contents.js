// What is viewed, as its description says: layers, acquisitions, and what a side may show of them.

import {bandsOf} from './colours.js';
import {secondsOf} from './words.js';
import {WHAT_IF} from './what-if.js';

/** A description, with questions about it answered. */
export class Contents {
  /** @param view JSON of `api/view`. */
  constructor(view) {
    this.view = view;
    this.layers = [...view.layers];
    const look = this.layer('expected') ?? this.layer('actual');
    if (view.what_if?.length && look) {
      const label = 'expected, what if';
      this.layers.push({...look, id: WHAT_IF, label, slow: false, max_level: null, dated: true});
    }
  }

  get acquisitions() {
    return this.view.acquisitions;
  }

  layer(id) {
    return this.layers.find((layer) => layer.id === id);
  }

  /** Ramp of a layer; categories have none. */
  ramp(layer) {
    return this.view.ramps[layer.ramp] ?? [];
  }

  /** Index of the acquisition of a time, or of the one that is nearest to it. */
  indexOf(time) {
    const all = this.acquisitions;
    if (!time || all.length === 0) return all.length - 1;
    const exact = all.findIndex((one) => one.time === time);
    if (exact >= 0) return exact;
    const wanted = secondsOf(time);
    const distance = (index) => Math.abs(secondsOf(all[index].time) - wanted);
    return all.reduce((best, _, index) => (distance(index) < distance(best) ? index : best), 0);
  }

  /** Whether there are enough images before a date to predict it from. */
  isPredicted(index) {
    return this.acquisitions[index]?.expected !== false;
  }

  /** A side whose layer, band and time exist; instead of an unknown layer another one. */
  valid({layer: id, band, time}, fallback) {
    const layer = this.layer(id) ?? this.layer(fallback) ?? this.layers[0];
    const bands = bandsOf(layer);
    return {
      layer: layer.id,
      band: bands.includes(band) ? band : (bands[0] ?? null),
      time: this.acquisitions[this.indexOf(time)]?.time ?? null,
    };
  }

  /** Both sides as they are shown first; the right one differs from the left one. */
  firstSides() {
    const {layers, default: given = {}, index} = this.view;
    const last = this.acquisitions[index ?? this.acquisitions.length - 1]?.time ?? null;
    const side = (id) => this.valid({layer: id, band: null, time: last});
    const left = side(given.left ?? layers[0].id);
    const right = side(given.right ?? (layers[1] ?? layers[0]).id);
    if (right.layer === left.layer) right.band = bandsOf(this.layer(right.layer)).at(-1) ?? null;
    return {left, right};
  }

  /** Layer below the others, where there are any that are transparent in parts; else null. */
  get backdrop() {
    const transparent = (layer) =>
      layer.kind === 'categories' || this.ramp(layer).some(([, , alpha]) => alpha < 255);
    if (!this.view.layers.some(transparent)) return null;
    return this.layer('actual') ?? this.layer('actual-mean') ?? null;
  }

  /** What `Side.show` needs to show a layer at a time. */
  tiles(layer, time, style) {
    const {finest = 0, levels: count, tile, version} = this.view;
    const coarsest = Math.max(Math.min(layer.max_level ?? count - 1, count - 1), finest);
    const index = layer.dated ? this.indexOf(time) : 0;
    return {layer, index, style, levels: {finest, coarsest, tile}, version};
  }
}
