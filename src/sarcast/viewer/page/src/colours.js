// Colours of layers: expressions for the GPU, gradients for the legends. The colours themselves
// come with the description of what is viewed.

/** Value of a tile where there is no data; NaN is not portable on GPUs. */
export const NO_DATA = -1e30;
/** Name of the composite of two bands: red first, green second, blue first − second. */
export const COMPOSITE = 'RGB';
const HALF_RATIO_DB = 6;

const TRANSPARENT = [0, 0, 0, 0];

/** Bands that can be chosen for a layer; two bands in grey also make a composite. */
export function bandsOf(layer) {
  if (layer.kind !== 'continuous') return [];
  const composite = layer.bands.length === 2 && layer.ramp === 'grey';
  return composite ? [...layer.bands, COMPOSITE] : layer.bands;
}

/** Parts of what is drawn, each with its own stretch: one band, or the three of a composite. */
export function partsOf(layer, band) {
  if (layer.kind !== 'continuous') return [];
  if (band !== COMPOSITE) return [{band, label: band, group: groupOf(layer, band)}];
  const [first, second] = layer.bands;
  return [first, second, `${first} − ${second}`].map((name) => ({
    band: name,
    label: name,
    group: groupOf(layer, name),
  }));
}

/** Layers of one group share a stretch: same unit, ramp and band. */
function groupOf(layer, band) {
  return `${layer.units}|${layer.ramp}|${band}`;
}

/** Range of a part where nobody has set one. */
export function defaultRange(layer, part) {
  const at = layer.bands.indexOf(part.band);
  const range = (index) => layer.ranges?.[index] ?? layer.range;
  if (at >= 0) return range(at);
  const [first, second] = [range(0), range(1)];
  const middle = (first[0] + first[1] - second[0] - second[1]) / 2;
  return [middle - HALF_RATIO_DB, middle + HALF_RATIO_DB];
}

/**
 * Style of a layer on the GPU.
 * @param {Object} layer Layer of the description.
 * @param {string} band Band, or `COMPOSITE`; ignored for categories.
 * @param {Array<[number, number]>} ranges Range of each part.
 * @param {Array} stops Ramp: share, colour, alpha.
 * @return {Object} Style with variables low0, high0, ...
 */
export function styleOf(layer, band, ranges, stops) {
  const variables = {};
  ranges.forEach(([low, high], index) => {
    variables[`low${index}`] = low;
    variables[`high${index}`] = high;
  });
  return {color: colourExpression(layer, band, stops), variables};
}

function colourExpression(layer, band, stops) {
  if (layer.kind === 'categories') {
    const colours = layer.categories.map((one) => rgba(one.colour, one.alpha ?? 255));
    const colour = ['palette', ['band', 1], colours.map(cssColour)];
    return ['case', ['<', ['band', 1], 0], TRANSPARENT, colour];
  }
  if (band === COMPOSITE) {
    const [first, second] = [
      ['band', 1],
      ['band', 2],
    ];
    const missing = ['any', ['<', first, NO_DATA / 10], ['<', second, NO_DATA / 10]];
    const channels = [first, second, ['-', first, second]].map((value, index) => [
      '*',
      255,
      ['clamp', share(value, index), 0, 1],
    ]);
    return ['case', missing, TRANSPARENT, ['color', ...channels, 1]];
  }
  const value = ['band', Math.max(layer.bands.indexOf(band), 0) + 1];
  const ramp = stops.flatMap(([at, colour, alpha]) => [at, rgba(colour, alpha ?? 255)]);
  return [
    'case',
    ['<', value, NO_DATA / 10],
    TRANSPARENT,
    ['interpolate', ['linear'], share(value, 0), ...ramp],
  ];
}

/** Share, 0 to 1 within the range, of a value. */
function share(value, index) {
  const [low, high] = [
    ['var', `low${index}`],
    ['var', `high${index}`],
  ];
  return ['/', ['-', value, low], ['-', high, low]];
}

/** Red, green, blue 0..255 and alpha 0..1 of "#rrggbb" and an alpha 0..255. */
export function rgba(colour, alpha) {
  const channel = (at) => parseInt(colour.slice(at, at + 2), 16);
  return [channel(1), channel(3), channel(5), alpha / 255];
}

export function cssColour([red, green, blue, alpha]) {
  return `rgba(${red},${green},${blue},${alpha})`;
}

/** CSS gradient of a ramp from left to right. */
export function gradient(stops) {
  const parts = stops.map(
    ([at, colour, alpha]) => `${cssColour(rgba(colour, alpha ?? 255))} ${100 * at}%`,
  );
  return `linear-gradient(90deg, ${parts.join(', ')})`;
}

/** Gradient of one channel of the composite: 0, 1 and 2 are red, green and blue. */
export function channelGradient(index) {
  return `linear-gradient(90deg, #000, ${['#f00', '#0f0', '#00f'][index]})`;
}
