// Tiles of a base map from elsewhere, below everything, drawn in the projection of the grid.

import TileLayer from 'ol/layer/Tile.js';
import {register} from 'ol/proj/proj4.js';
import XYZ from 'ol/source/XYZ.js';
import proj4 from 'proj4';

const AROUND = 3;

/**
 * Layer of a base map.
 * @param {{url: string, proj4: string}} base Address of its tiles, in the projection of the web;
 *   definition of the projection of the map.
 * @param {string} code Code of that projection.
 */
export function baseMap({url, proj4: definition}, code) {
  proj4.defs(code, definition);
  register(proj4);
  // some servers of tiles want to know the site that asks
  return new TileLayer({zIndex: 0, source: new XYZ({url, referrerPolicy: 'origin'})});
}

/** Extent that a base map is drawn in: that of the grid, and what a view shows around it. */
export function aroundOf([left, bottom, right, top]) {
  const width = AROUND * Math.max(right - left, top - bottom);
  return [left - width, bottom - width, right + width, top + width];
}

/** Units of a projection. */
export function unitsOf(definition) {
  return /\+proj=longlat\b/.test(definition) ? 'degrees' : 'm';
}
