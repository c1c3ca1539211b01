// Numbers, dates and conditions as text.

const MINUS = '\u2212';
const NONE = '–';

/** A number with some decimals, or as many as make sense for its size; a dash for none. */
export function numberText(value, decimals) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  return written(value, decimals).replace(/-/g, MINUS);
}

function written(value, decimals) {
  const magnitude = Math.abs(value);
  if (decimals !== undefined) return value.toFixed(decimals);
  if (Number.isInteger(value) || magnitude >= 100) return value.toFixed(0);
  if (magnitude >= 0.001) return value.toFixed(magnitude >= 1 ? 2 : 3);
  return value.toExponential(1);
}

/** Values of the bands of a layer at a pixel, with their unit. */
export function valuesText(layer, values) {
  const texts = Array.from(values, (value, band) => {
    const text = valueText(layer, value);
    return values.length > 1 ? `${layer.bands[band]} ${text}` : text;
  });
  const unit = layer.kind === 'continuous' && layer.format !== 'date' ? layer.units : '';
  return `${texts.join(' ')}${unit ? ` ${unit}` : ''}`;
}

/** A value of a layer: a number, a date, or the label of a category. */
function valueText(layer, value) {
  if (!Number.isFinite(value)) return NONE;
  if (layer.kind === 'categories') return layer.categories[value]?.label ?? NONE;
  if (layer.format === 'date') return dayText(value);
  return numberText(value, Number.isInteger(value) ? 0 : 2);
}

/** Short name of a CRS: its code, or the name within its WKT. */
export function crsText(crs) {
  return /^\w+\["([^"]+)"/.exec(crs ?? '')?.[1] ?? crs;
}

/** Label and unit of a column, from a name such as `mean_vv_db`. */
export function columnText(name) {
  const words = name
    .split('_')
    .map((word) => (POLARISATIONS.has(word) ? word.toUpperCase() : word));
  const unit = words.length > 1 ? UNITS[words[words.length - 1]] : undefined;
  return {label: (unit ? words.slice(0, -1) : words).join(' '), unit: unit ?? null};
}

const POLARISATIONS = new Set(['vv', 'vh', 'hh', 'hv']);
const UNITS = {ha: 'ha', db: 'dB', m: 'm', mm: 'mm', deg: '°', days: 'days'};

/** Date of a number of days since 1970-01-01. */
export function dayText(days) {
  return new Date(Math.round(days) * 86_400_000).toISOString().slice(0, 10);
}

/** Seconds since 1970 of an ISO time, UTC if it names no zone. */
export function secondsOf(iso) {
  const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(iso)
    ? iso
    : iso.includes('T')
      ? `${iso}Z`
      : `${iso}T00:00Z`;
  return Date.parse(zoned) / 1000;
}

/** An ISO time to the minute, UTC. */
export function timeText(iso) {
  return iso ? iso.slice(0, 16).replace('T', ' ') : NONE;
}

/** Pass of an acquisition: direction, track and satellite. */
export function passText(acquisition) {
  const track = acquisition.relative_orbit;
  return [
    acquisition.orbit_direction,
    track === null || track === undefined || track === '' ? null : `track ${track}`,
    acquisition.platform,
  ]
    .filter(Boolean)
    .join(' · ');
}

/** Weather of an acquisition; what is not known is left out. */
export function weatherText(acquisition) {
  const parts = [];
  const {temperature, precipitation, snow_depth: snow} = acquisition;
  if (known(temperature)) parts.push(`${numberText(temperature, 1)} °C`);
  if (precipitation?.some(known)) {
    parts.push(`rain ${precipitation.map((value) => numberText(value, 1)).join(' / ')} mm`);
  }
  if (known(snow)) parts.push(`snow ${numberText(snow, 0)} cm`);
  return parts.join(' · ');
}

function known(value) {
  return value !== null && value !== undefined && Number.isFinite(value);
}
