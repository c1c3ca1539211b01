// Tiles of the grid: fetched once, kept while there is room, handed to the map as bands side by side.

import TileGrid from 'ol/tilegrid/TileGrid.js';

import {NO_DATA} from './colours.js';

const MOST_BYTES = 192e6;

/** Where the pixels of a grid lie; `metres` is the length of a unit of its coordinates. */
export class Grid {
  /** @param grid `{width, height, transform, pixel_m}` of the description. */
  constructor(grid) {
    const [a, , c, , e, f] = grid.transform;
    if (Math.abs(a + e) > 1e-6 * a) {
      throw new Error(`expected square pixels and rows from north to south, got ${a} x ${e}`);
    }
    this.width = grid.width;
    this.height = grid.height;
    this.pixel = a;
    this.metres = (grid.pixel_m ?? a) / a;
    this.left = c;
    this.top = f;
    this.extent = [c, f - a * grid.height, c + a * grid.width, f];
  }

  /** A coordinate as text, to a tenth of a pixel. */
  text(coordinate) {
    const decimals = Math.max(0, Math.ceil(1 - Math.log10(this.pixel)));
    return coordinate.map((value) => value.toFixed(decimals)).join(', ');
  }

  /** Column and row of the pixel at a coordinate; null outside. */
  pixelAt([x, y]) {
    const column = Math.floor((x - this.left) / this.pixel);
    const row = Math.floor((this.top - y) / this.pixel);
    const inside = column >= 0 && row >= 0 && column < this.width && row < this.height;
    return inside ? [column, row] : null;
  }

  /** Coordinate of the centre of a pixel. */
  centreOf([column, row]) {
    return [this.left + (column + 0.5) * this.pixel, this.top - (row + 0.5) * this.pixel];
  }

  /**
   * Tile grid of OpenLayers, whose zoom 0 is the coarsest level.
   * @param {number} finest Finest level that there is.
   * @param {number} coarsest Coarsest level.
   * @param {number} tile Pixels of a tile, each way.
   * @param {number} density Pixels of the screen to one of CSS: 1 or 2.
   */
  tileGrid(finest, coarsest, tile, density) {
    const levels = Array.from({length: coarsest - finest + 1}, (_, index) => coarsest - index);
    return new TileGrid({
      extent: this.extent,
      origin: [this.left, this.top],
      resolutions: levels.map((level) => this.pixel * density * 2 ** level),
      tileSize: tile / density,
    });
  }
}

/** Tiles in memory, the least recently used ones forgotten first. */
export class TileStore {
  #data;
  #entries = new Map();
  #bytes = 0;
  #version = '';

  constructor(data) {
    this.#data = data;
  }

  /** Tiles of other versions are not used any more. */
  set version(version) {
    this.#version = version;
    this.#entries.clear();
    this.#bytes = 0;
  }

  get version() {
    return this.#version;
  }

  /**
   * A tile.
   * @param {Object} layer Layer of the description.
   * @param {{index: number, level: number, row: number, column: number}} at Which tile.
   * @param {number} size Pixels of a tile, each way.
   * @param {AbortSignal} [signal] Gives up; the request ends when all who wait for it gave up.
   * @return {Promise<Float32Array>} Dims (y, x, band); `NO_DATA` where there is none; categories as
   *   their index.
   */
  get(layer, at, size, signal) {
    const key = keyOf(layer, at);
    let entry = this.#entries.get(key);
    if (entry) {
      this.#entries.delete(key);
    } else {
      entry = this.#fetch(key, layer, at, size);
    }
    this.#entries.set(key, entry);
    entry.waiting += 1;
    signal?.addEventListener('abort', () => this.#leave(key, entry));
    return entry.promise;
  }

  /** Values of a tile that is in memory, else null. */
  peek(layer, at) {
    return this.#entries.get(keyOf(layer, at))?.values ?? null;
  }

  #fetch(key, layer, at, size) {
    const controller = new AbortController();
    const entry = {waiting: 0, values: null, controller};
    const asked = {...at, layer: layer.id, version: this.#version};
    const load = async () => {
      try {
        const bytes = await this.#data.tile(asked, controller.signal);
        const given = bytes && new Float32Array(bytes);
        entry.values = sideBySide(layer, given, size * size);
        if (this.#entries.get(key) === entry) this.#count(entry.values.byteLength);
        return entry.values;
      } catch (error) {
        if (this.#entries.get(key) === entry) this.#entries.delete(key);
        throw error;
      }
    };
    entry.promise = load();
    return entry;
  }

  #leave(key, entry) {
    entry.waiting -= 1;
    if (entry.waiting > 0 || entry.values) return;
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
    entry.controller.abort();
  }

  #count(bytes) {
    this.#bytes += bytes;
    for (const [key, entry] of this.#entries) {
      if (this.#bytes <= MOST_BYTES) break;
      if (!entry.values) continue;
      this.#entries.delete(key);
      this.#bytes -= entry.values.byteLength;
    }
  }
}

function keyOf(layer, {index, level, row, column}) {
  return `${layer.id}/${index}/${level}/${row}/${column}`;
}

/**
 * Bands of a pixel side by side, from bands one after the other.
 * @param {Object} layer Layer of the description.
 * @param {Float32Array|null} given Dims (band, y, x), NaN without data; null: no data at all.
 * @param {number} count Pixels.
 * @return {Float32Array} Dims (y, x, band), as `TileStore.get` has them.
 */
export function sideBySide(layer, given, count) {
  const bands = Math.max(layer.bands.length, 1);
  const values = new Float32Array(count * bands).fill(NO_DATA);
  if (!given) return values;
  if (given.length !== values.length) {
    throw new Error(`a tile of ${layer.id} has ${given.length} values; expected ${values.length}`);
  }
  const numbers = layer.kind === 'categories' ? numbersOf(layer) : null;
  for (let band = 0; band < bands; band += 1) {
    for (let pixel = 0, from = band * count; pixel < count; pixel += 1, from += 1) {
      const value = numbers ? numbers.get(given[from]) : given[from];
      if (value === value && value !== undefined) values[pixel * bands + band] = value;
    }
  }
  return values;
}

/** Number of the category of each value of a layer. */
function numbersOf(layer) {
  return new Map(layer.categories.map(({value}, number) => [value, number]));
}
