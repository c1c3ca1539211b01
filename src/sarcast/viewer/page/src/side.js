// One side of the swipe: what is drawn left or right of the bar.

import TileLayer from 'ol/layer/WebGLTile.js';
import DataTileSource from 'ol/source/DataTile.js';
import TileGrid from 'ol/tilegrid/TileGrid.js';

import {sideBySide} from './tiles.js';

const TEXTURES = 160;
const COARSER = 1.5;

/** Draws one layer of the description at one date, or an image that was computed. */
export class Side {
  #map;
  #options;
  #layer = null;
  #shown = null;

  /**
   * @param map Map of OpenLayers.
   * @param {{partOf: Function|null, zIndex: number, grid: Grid, store: TileStore, projection: Object,
   *   density: number, onError: Function}} options `partOf` gives the left and right end of what is
   *   drawn, as shares of the width; null: all.
   */
  constructor(map, options) {
    this.#map = map;
    this.#options = options;
  }

  /**
   * Show a layer. Only what differs from before is done anew: other ranges are new numbers for the
   * GPU, another date asks for tiles and shows the old ones until these come.
   * @param {{layer: Object, index: number, style: Object, levels: Object, version: string}} wanted
   *   `levels`: finest, coarsest and pixels of a tile.
   */
  show(wanted) {
    const before = this.#shown;
    this.#shown = {...wanted, what: 'tiles'};
    if (before?.what !== 'tiles' || before.layer !== wanted.layer) {
      this.#replace(this.#tileSource(wanted), wanted, this.#coarsestResolution(wanted));
      return;
    }
    const source = this.#layer.getSource();
    if (before.index !== wanted.index || before.version !== wanted.version) {
      source.setLoader(this.#loader(wanted));
      source.setKey(keyOf(wanted));
    }
    this.#restyle(before.style, wanted.style);
  }

  /**
   * Show an image that is not tiled.
   * @param {{layer: Object, style: Object, image: Object|null}} wanted `image`: values (band after
   *   band), box (row, column, rows, columns); null while there is none.
   */
  showImage(wanted) {
    const before = this.#shown;
    this.#shown = {...wanted, what: 'image'};
    if (before?.what !== 'image' || before.image !== wanted.image) {
      this.#replace(wanted.image ? this.#imageSource(wanted) : null, wanted, Infinity);
    } else {
      this.#restyle(before.style, wanted.style);
    }
  }

  /** Show nothing. */
  hide() {
    this.#shown = null;
    if (!this.#layer) return;
    this.#map.removeLayer(this.#layer);
    this.#layer.dispose();
    this.#layer = null;
  }

  /** Ask again for tiles that failed. */
  reload() {
    this.#layer?.getSource().refresh();
  }

  #restyle(before, style) {
    if (!this.#layer) return;
    if (JSON.stringify(before.color) === JSON.stringify(style.color)) {
      this.#layer.updateStyleVariables(style.variables);
    } else {
      this.#layer.setStyle(structuredClone(style));
    }
  }

  /** The old layer stays below until the new one is complete, so that nothing flickers. */
  #replace(source, {style}, maxResolution) {
    const old = this.#layer;
    this.#layer = null;
    if (source) {
      const {zIndex} = this.#options;
      const options = {source, className: 'images', zIndex, maxResolution, cacheSize: TEXTURES};
      this.#layer = new TileLayer({...options, style: structuredClone(style)});
      this.#clip(this.#layer);
      this.#map.addLayer(this.#layer);
    }
    if (!old) return;
    const remove = () => {
      this.#map.removeLayer(old);
      old.dispose();
    };
    if (!source) {
      remove();
      return;
    }
    old.setZIndex(this.#options.zIndex - 1);
    this.#map.once('rendercomplete', remove);
  }

  /** Draw within a part of the canvas alone: all sides share one, whose layers are composed. */
  #clip(layer) {
    const {partOf} = this.#options;
    if (!partOf) return;
    layer.on('precompose', ({context: gl}) => {
      const {drawingBufferWidth: width, drawingBufferHeight: height} = gl;
      const [from, to] = partOf().map((share) => Math.round(share * width));
      gl.enable(gl.SCISSOR_TEST);
      gl.scissor(from, 0, to - from, height);
    });
    layer.on('postcompose', ({context: gl}) => gl.disable(gl.SCISSOR_TEST));
  }

  #tileSource(wanted) {
    const {grid, projection, density} = this.#options;
    const {layer, levels} = wanted;
    const {finest, coarsest, tile} = levels;
    return new DataTileSource({
      projection,
      tileGrid: grid.tileGrid(finest, coarsest, tile, density),
      tileSize: [tile, tile],
      bandCount: Math.max(layer.bands.length, 1),
      loader: this.#loader(wanted),
      key: keyOf(wanted),
      interpolate: false,
      transition: 0,
      wrapX: false,
    });
  }

  #loader({layer, index, levels}) {
    const {store, onError} = this.#options;
    return async (zoom, column, row, {signal}) => {
      const at = {index, level: levels.coarsest - zoom, row, column};
      try {
        return await store.get(layer, at, levels.tile, signal);
      } catch (error) {
        onError(error);
        throw error;
      }
    };
  }

  #imageSource({layer, image}) {
    const {grid, projection} = this.#options;
    const [row, column, rows, columns] = image.box;
    const left = grid.left + column * grid.pixel;
    const top = grid.top - row * grid.pixel;
    const extent = [left, top - rows * grid.pixel, left + columns * grid.pixel, top];
    const tileGrid = new TileGrid({
      extent,
      origin: [left, top],
      resolutions: [grid.pixel],
      tileSize: [columns, rows],
    });
    const values = sideBySide(layer, image.values, rows * columns);
    return new DataTileSource({
      projection,
      tileGrid,
      tileSize: [columns, rows],
      bandCount: layer.bands.length,
      loader: () => values,
      interpolate: false,
      transition: 0,
      wrapX: false,
    });
  }

  /** Predicted layers have no coarse tiles: they are not drawn when zoomed out further. */
  #coarsestResolution({layer, levels}) {
    const limited = layer.max_level !== null && layer.max_level !== undefined;
    if (!limited) return Infinity;
    return this.#options.grid.pixel * this.#options.density * COARSER * 2 ** levels.coarsest;
  }

  /** Whether the layer is left out at a resolution of the view because it has no coarse tiles. */
  isTooCoarse(resolution) {
    return this.#layer !== null && resolution >= this.#layer.getMaxResolution();
  }

  /** Values of the shown layer at a pixel of the grid; null while they are not in memory. */
  valuesAt([column, row], resolution) {
    const shown = this.#shown;
    if (!shown) return null;
    return shown.what === 'image'
      ? imageValues(shown, column, row)
      : this.#tileValues(shown, column, row, resolution);
  }

  #tileValues({layer, index, levels}, column, row, resolution) {
    const {grid, store, density} = this.#options;
    const {finest, coarsest, tile} = levels;
    const tileGrid = grid.tileGrid(finest, coarsest, tile, density);
    const level = coarsest - tileGrid.getZForResolution(resolution);
    const [x, y] = [column >> level, row >> level];
    const at = {index, level, row: Math.floor(y / tile), column: Math.floor(x / tile)};
    const values = store.peek(layer, at);
    if (!values) return null;
    const bands = Math.max(layer.bands.length, 1);
    const start = ((y % tile) * tile + (x % tile)) * bands;
    return values.subarray(start, start + bands);
  }

  /** Tiles of an extent at a resolution, as `TileStore.get` takes them. */
  tilesOf(extent, resolution) {
    const shown = this.#shown;
    if (shown?.what !== 'tiles' || this.isTooCoarse(resolution)) return [];
    const {grid, density} = this.#options;
    const {finest, coarsest, tile} = shown.levels;
    const tileGrid = grid.tileGrid(finest, coarsest, tile, density);
    const zoom = tileGrid.getZForResolution(resolution);
    const tiles = [];
    tileGrid.forEachTileCoord(extent, zoom, ([, column, row]) => {
      tiles.push({index: shown.index, level: coarsest - zoom, row, column});
    });
    return tiles;
  }

  get shown() {
    return this.#shown;
  }
}

function keyOf({layer, index, version}) {
  return `${layer.id}/${index}/${version}`;
}

function imageValues({layer, image}, column, row) {
  if (!image) return null;
  const [firstRow, firstColumn, rows, columns] = image.box;
  const [y, x] = [row - firstRow, column - firstColumn];
  if (x < 0 || y < 0 || x >= columns || y >= rows) return null;
  const pick = (_, band) => image.values[(band * rows + y) * columns + x];
  return Float32Array.from(layer.bands, pick);
}
