// The WebGL context of a map, in place of the one that OpenLayers makes (see `build.mjs`): made
// while the description is on its way, and without antialiasing, which tiles do not need and which
// takes most of the time where the processor draws.

import {getContext as make} from 'ol/webgl.js';

export * from 'ol/webgl.js';

const ATTRIBUTES = {antialias: false};
/** What OpenLayers uses. Each that is asked for anew waits until the GPU has drawn what it has. */
const EXTENSIONS = [
  'ANGLE_instanced_arrays',
  'OES_texture_float',
  'OES_texture_float_linear',
  'OES_element_index_uint',
];

let prepared = null;

/**
 * Make the context that the next map takes.
 * @return {boolean} Whether the browser has WebGL.
 */
export function prepareContext() {
  if (prepared) return true;
  prepared = make(document.createElement('canvas'), ATTRIBUTES);
  for (const name of EXTENSIONS) prepared?.getExtension(name);
  return prepared !== null;
}

/** The context that was prepared, with its own canvas, or else one of a canvas. */
export function getContext(canvas, attributes) {
  const context = prepared ?? make(canvas, {...ATTRIBUTES, ...attributes});
  prepared = null;
  if (context && context.canvas !== canvas) {
    const {width, height} = canvas;
    Object.assign(context.canvas, {width, height});
    context.canvas.style.cssText = canvas.style.cssText;
  }
  return context;
}
