// History of a pixel: what was measured, what was expected, and the weather.

import uPlot from 'uplot';

import {h} from './dom.js';
import {matchesPass} from './timeline.js';
import {numberText, secondsOf} from './words.js';

const CHART_PX = 210;
const WEATHER_PX = 150;
const AXIS_PX = 60;
const TOP_PX = 10;
const BAND_COLOURS = ['--band-0', '--band-1', '--band-2'];
const DAY_S = 86_400;
const DIRECTIONS = ['ascending', 'descending'];

/** Panel with the plots of one pixel. */
export class SeriesPanel {
  #on;
  #charts = [];
  #series = null;
  #state = {pass: 'all', time: null};
  #shown = new Set();

  /** @param on `index(number)`: a date was clicked; `csv()`: the table is asked for;
   *   `place(coordinate)` writes a coordinate. */
  constructor(on) {
    this.#on = on;
    this.title = h('h2', {text: 'Series'});
    this.facts = h('p', {class: 'facts'});
    this.status = h('p', {class: 'status', role: 'status'});
    this.csv = h('button', {
      type: 'button',
      text: 'CSV',
      title: 'Save as a table',
      on: {click: () => on.csv()},
    });
    this.keys = h('div', {class: 'keys'});
    this.plots = h('div', {class: 'plots'});
    this.values = h('output', {class: 'values', 'aria-live': 'off'});
    this.element = h(
      'section',
      {class: 'series', 'aria-label': 'Series of a pixel'},
      h('div', {class: 'head'}, this.title, this.csv),
      this.facts,
      this.keys,
      this.plots,
      this.values,
      this.status,
    );
    this.clear('Click a pixel or an event to see its history.');
    let width = 0;
    new ResizeObserver(() => {
      if (Math.abs(this.plots.clientWidth - width) < 2) return;
      width = this.plots.clientWidth;
      if (width > 0) for (const chart of this.#charts) chart.setSize({width, height: chart.height});
      if (width > 0 && this.#charts.length === 0) this.#draw();
    }).observe(this.plots);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw());
  }

  get series() {
    return this.#series;
  }

  clear(text) {
    this.#series = null;
    this.title.textContent = 'Series';
    this.facts.textContent = '';
    this.status.textContent = text;
    this.csv.hidden = true;
    this.keys.replaceChildren();
    this.#draw();
  }

  set message(text) {
    this.status.textContent = text;
  }

  /** Show a series as the server gives it. */
  set series(series) {
    this.#series = series;
    this.csv.hidden = false;
    this.title.textContent = `Pixel ${series.x}, ${series.y}`;
    this.facts.textContent = [this.#on.place(series.coordinates), evidenceText(series)]
      .filter(Boolean)
      .join(' · ');
    this.status.textContent = '';
    if (this.#shown.size === 0) this.#shown = new Set(series.bands);
    this.keys.replaceChildren(
      ...series.bands.map((band, index) => this.#key(band, index)),
      legendOf(series),
    );
    this.#draw();
  }

  /** @param {{pass: string, time: string}} state Chosen passes and the date that the map shows. */
  show(state) {
    const redraw = state.pass !== this.#state.pass;
    this.#state = state;
    if (redraw) this.#draw();
    else for (const chart of this.#charts) chart.redraw(false);
  }

  #key(band, index) {
    const swatch = h('span', {class: 'swatch'});
    swatch.style.backgroundColor = this.#colour(BAND_COLOURS[index]);
    const box = h('input', {
      type: 'checkbox',
      checked: this.#shown.has(band),
      on: {
        change: () => {
          if (box.checked) this.#shown.add(band);
          else this.#shown.delete(band);
          this.#draw();
        },
      },
    });
    return h('label', {}, box, swatch, band);
  }

  #colour(name) {
    return getComputedStyle(this.element).getPropertyValue(name).trim() || '#888888';
  }

  // --- plots --------------------------------------------------------------------------------------

  #draw() {
    for (const chart of this.#charts) chart.destroy();
    this.#charts = [];
    this.values.textContent = '';
    const width = this.plots.clientWidth;
    const series = this.#series;
    if (!series || !width || series.times.length === 0) return;
    const rows = series.times
      .map((_, index) => index)
      .filter((index) => matchesPass(acquisitionOf(series, index), this.#state.pass));
    if (rows.length === 0) {
      this.status.textContent = 'No acquisition of the chosen pass.';
      return;
    }
    const times = rows.map((row) => secondsOf(series.times[row]));
    const charts = [this.#backscatter(series, rows, times), this.#weather(series, rows, times)];
    const right = charts[1] ? AXIS_PX : null;
    for (const chart of charts.filter(Boolean)) {
      const padding = [TOP_PX, chart === charts[0] ? right : 0, 0, 0];
      const options = {...this.#common(width, chart.height, rows), padding, ...chart.options};
      this.#charts.push(new uPlot(options, chart.data, this.plots));
    }
  }

  /** Actual and expected images, one line for each band and direction. */
  #backscatter(series, rows, times) {
    const lines = [{}];
    const data = [times];
    const bands = [];
    const add = (line, values) => {
      lines.push(line);
      data.push(values);
      return data.length - 1;
    };
    series.bands.forEach((band, number) => {
      if (!this.#shown.has(band)) return;
      const colour = this.#colour(BAND_COLOURS[number]);
      for (const direction of directionsOf(series, rows)) {
        const pick = (values) =>
          rows.map((row) =>
            series.orbit_direction[row] === direction ? (values?.[row] ?? null) : null,
          );
        const expected = series.expected ? pick(series.expected[band]) : null;
        if (expected?.some((value) => value !== null)) {
          const std = pick(series.std?.[band]);
          const shifted = (sign) =>
            expected.map((value, at) =>
              value === null || std[at] === null ? null : value + sign * std[at],
            );
          const edge = {stroke: 'transparent', width: 0, points: {show: false}, spanGaps: true};
          const high = add(edge, shifted(1));
          const low = add(edge, shifted(-1));
          bands.push({series: [high, low], fill: `${colour}33`});
          const dash = {
            stroke: colour,
            width: 1.5,
            dash: [5, 3],
            points: {show: true, size: 3, fill: colour},
          };
          add({...dash, label: `${band} expected`, spanGaps: true}, expected);
        }
        const hollow = direction === 'descending' ? this.#colour('--panel') : colour;
        const points = {show: true, size: 6, fill: hollow, stroke: colour, width: 1.5};
        add(
          {label: band, stroke: `${colour}99`, width: 1, spanGaps: true, points},
          pick(series.actual[band]),
        );
      }
    });
    const axes = [this.#timeAxis(), this.#axis('Backscatter, dB')];
    return {height: CHART_PX, data, options: {series: lines, bands, axes}};
  }

  /** Temperature as a line, precipitation of the day as bars, snow as a dotted line. */
  #weather(series, rows, times) {
    const column = (values) => rows.map((row) => values?.[row] ?? null);
    const temperature = column(series.temperature);
    const rain = column(series.precipitation?.map((days) => days?.[0] ?? null));
    const snow = column(series.snow_depth);
    const known = (values) => values.some((value) => value !== null);
    if (!known(temperature) && !known(rain) && !known(snow)) return null;
    const line = (label, name, more) => ({
      label,
      stroke: this.#colour(name),
      width: 1.25,
      points: {show: false},
      spanGaps: true,
      ...more,
    });
    const bars = uPlot.paths.bars({size: [0.7, 10, 2]});
    const lines = [
      {},
      line('rain, mm', '--rain', {scale: 'rain', paths: bars, fill: this.#colour('--rain')}),
      line('temperature, °C', '--temperature', {}),
      line('snow, cm', '--snow', {scale: 'rain', dash: [2, 3]}),
    ];
    const axes = [
      this.#timeAxis(),
      this.#axis('Temperature, °C'),
      {
        ...this.#axis(known(snow) ? 'Rain, mm; snow, cm' : 'Rain, mm'),
        scale: 'rain',
        side: 1,
        grid: {show: false},
      },
    ];
    const scales = {x: {time: true}, rain: {range: (_, __, most) => [0, Math.max(most ?? 0, 5)]}};
    const data = [times, rain, temperature, snow];
    return {height: WEATHER_PX, data, options: {series: lines, axes, scales}};
  }

  #common(width, height, rows) {
    return {
      width,
      height,
      legend: {show: false},
      scales: {x: {time: true}},
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'UTC'),
      cursor: {sync: {key: 'sarcast'}, drag: {x: true, y: false}},
      hooks: {
        drawClear: [(chart) => this.#drawBaseline(chart)],
        draw: [(chart) => this.#drawDate(chart)],
        setCursor: [(chart) => this.#readOut(rows[chart.cursor.idx])],
        ready: [
          (chart) =>
            chart.over.addEventListener('click', () => {
              const row = rows[chart.cursor.idx];
              if (row !== undefined) this.#on.time(this.#series.times[row]);
            }),
        ],
      },
    };
  }

  #timeAxis() {
    return {stroke: this.#colour('--text'), grid: this.#grid(), ticks: this.#grid(), space: 60};
  }

  #axis(label) {
    return {
      label,
      labelSize: 18,
      labelFont: '11px system-ui',
      font: '11px system-ui',
      size: 42,
      stroke: this.#colour('--text'),
      grid: this.#grid(),
      ticks: this.#grid(),
    };
  }

  #grid() {
    return {stroke: this.#colour('--line'), width: 1};
  }

  /** The time of the baseline is shaded. */
  #drawBaseline(chart) {
    const {baseline} = this.#series;
    if (!baseline) return;
    const {left, top, height, width} = chart.bbox;
    const end = Math.min(chart.valToPos(secondsOf(baseline) + DAY_S / 2, 'x', true), left + width);
    if (end <= left) return;
    chart.ctx.save();
    chart.ctx.fillStyle = this.#colour('--faint');
    chart.ctx.fillRect(left, top, end - left, height);
    chart.ctx.restore();
  }

  #drawDate(chart) {
    if (!this.#state.time) return;
    const {left, top, height, width} = chart.bbox;
    const at = chart.valToPos(secondsOf(this.#state.time), 'x', true);
    if (!(at >= left && at <= left + width)) return;
    chart.ctx.save();
    chart.ctx.fillStyle = this.#colour('--accent');
    chart.ctx.fillRect(at - 1, top, 2, height);
    chart.ctx.restore();
  }

  /** Values of the row below the pointer. */
  #readOut(row) {
    const series = this.#series;
    if (row === undefined || row === null || !series) {
      this.values.textContent = '';
      return;
    }
    const parts = [series.times[row].slice(0, 16).replace('T', ' '), series.orbit_direction[row]];
    for (const band of series.bands) {
      const expected = series.expected?.[band]?.[row];
      const std = series.std?.[band]?.[row];
      const model = finite(expected)
        ? ` (expected ${numberText(expected)} ± ${numberText(std)})`
        : '';
      parts.push(`${band} ${numberText(series.actual[band][row])}${model} dB`);
    }
    this.values.textContent = parts.filter(Boolean).join(' · ');
  }
}

function finite(value) {
  return value !== null && value !== undefined && Number.isFinite(value);
}

function evidenceText({evidence, p_value: p, threshold}) {
  if (!finite(evidence)) return null;
  const parts = [`evidence ${numberText(evidence)}`];
  if (finite(p)) parts.push(`p = ${p.toPrecision(2)}`);
  if (finite(threshold)) parts.push(`threshold ${numberText(threshold)}`);
  return parts.join(', ');
}

function legendOf(series) {
  const passes = new Set(series.orbit_direction);
  const parts = [];
  if (passes.size > 1) parts.push('● ascending ○ descending');
  if (series.expected) parts.push('- - expected ± standard deviation');
  if (series.baseline) parts.push('shaded: baseline');
  return h('span', {class: 'note', text: parts.join(' · ')});
}

function acquisitionOf(series, index) {
  return {
    orbit_direction: series.orbit_direction[index],
    relative_orbit: series.relative_orbit[index],
  };
}

/** Directions that occur, the known ones first; what is not known counts as one. */
function directionsOf(series, rows) {
  const present = new Set(rows.map((row) => series.orbit_direction[row]));
  return [
    ...DIRECTIONS.filter((name) => present.has(name)),
    ...[...present].filter((name) => !DIRECTIONS.includes(name)),
  ];
}
