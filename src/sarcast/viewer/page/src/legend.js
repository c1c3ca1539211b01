// What a side shows: its layer, band and date, and a colour bar whose ends set the stretch.

import {
  bandsOf,
  channelGradient,
  COMPOSITE,
  cssColour,
  gradient,
  partsOf,
  rgba,
} from './colours.js';
import {h, setOptions} from './dom.js';
import {dayText, numberText, timeText} from './words.js';

const MOST_SWATCHES = 12;

/** Choice and legend of one side. */
export class SidePanel {
  #layers;
  #ramps;
  #on;
  #shown = '';

  /**
   * @param {string} name "left" or "right".
   * @param {{layers: Object[], ramps: Object, on: Object}} options `on`: `layer(id)`, `band(name)`,
   *   `stretch(group, range)`, `auto(part)`.
   */
  constructor(name, {layers, ramps, on}) {
    this.#layers = layers;
    this.#ramps = ramps;
    this.#on = on;
    const label = name === 'left' ? 'Left' : 'Right';
    this.layerSelect = h('select', {
      'aria-label': `${label} layer`,
      on: {change: () => on.layer(this.layerSelect.value)},
    });
    this.bandSelect = h('select', {
      'aria-label': `${label} band`,
      on: {change: () => on.band(this.bandSelect.value)},
    });
    this.date = h('span', {class: 'date'});
    this.note = h('span', {class: 'note', role: 'status'});
    this.chooser = h(
      'div',
      {class: `chooser ${name}`, role: 'group', 'aria-label': `${label} image`},
      this.layerSelect,
      this.bandSelect,
      this.date,
      this.note,
    );
    this.legend = h('div', {
      class: `legend ${name}`,
      role: 'group',
      'aria-label': `${label} colours`,
    });
    this.#refreshLayers();
  }

  set layers(layers) {
    this.#layers = layers;
    this.#refreshLayers();
  }

  #refreshLayers() {
    const pairs = this.#layers.map((layer) => [layer.id, layer.label]);
    setOptions(this.layerSelect, pairs, this.layerSelect.value || pairs[0][0]);
  }

  /** Show a layer, band, date and the range of each part. */
  show({layer, band, time, ranges, note}) {
    this.layerSelect.value = layer.id;
    const bands = bandsOf(layer);
    if ([...this.bandSelect.options].map((option) => option.value).join() !== bands.join()) {
      setOptions(
        this.bandSelect,
        bands.map((name) => [name, name]),
        band,
      );
    }
    this.bandSelect.value = band ?? '';
    this.bandSelect.hidden = bands.length < 2;
    this.date.textContent = layer.dated ? timeText(time) : '';
    this.note.textContent = note ?? '';
    this.#showLegend(layer, band, ranges);
  }

  #showLegend(layer, band, ranges) {
    const shown = JSON.stringify([layer.id, band, ranges]);
    if (shown === this.#shown || this.legend.contains(document.activeElement)) {
      if (shown !== this.#shown) this.#updateInputs(ranges);
      return;
    }
    this.#shown = shown;
    if (layer.kind === 'categories') {
      this.legend.replaceChildren(...swatches(layer));
      return;
    }
    const rows = partsOf(layer, band).map((part, index) =>
      this.#bar(layer, band, part, index, ranges[index]),
    );
    this.legend.replaceChildren(...rows);
  }

  #updateInputs(ranges) {
    const inputs = this.legend.querySelectorAll('input');
    ranges.flat().forEach((value, index) => {
      if (inputs[index] && inputs[index] !== document.activeElement)
        inputs[index].value = plain(value);
    });
  }

  #bar(layer, band, part, index, range) {
    const composite = band === COMPOSITE;
    const bar = h('div', {class: 'bar', role: 'img', 'aria-label': `Colours of ${part.label}`});
    bar.style.backgroundImage = composite
      ? channelGradient(index)
      : gradient(this.#ramps[layer.ramp]);
    const dates = layer.format === 'date';
    const input = (end, at) =>
      h('input', {
        type: 'number',
        step: 'any',
        value: plain(range[at]),
        'aria-label': `${end} end of the colours of ${part.label}${layer.units ? `, ${layer.units}` : ''}`,
        on: {
          change: (event) => {
            const wanted = range.slice();
            wanted[at] = event.target.valueAsNumber;
            if (wanted[0] < wanted[1]) this.#on.stretch(part.group, wanted);
            else event.target.value = plain(range[at]);
          },
        },
      });
    const ends = dates
      ? range.map((day) => h('span', {text: dayText(day)}))
      : [input('Low', 0), input('High', 1)];
    const auto = h('button', {
      type: 'button',
      class: 'auto',
      text: 'auto',
      title: 'Stretch to the 2nd and 98th percentile of what is in view',
      'aria-label': `Stretch ${part.label} to what is in view`,
      on: {click: () => this.#on.auto(part)},
    });
    const title = composite ? `${['R', 'G', 'B'][index]} ${part.label}` : part.label;
    const head = h('div', {
      class: 'part',
      text: `${title}${layer.units ? `, ${layer.units}` : ''}`,
    });
    return h('div', {class: 'ramp'}, head, bar, h('div', {class: 'ends'}, ends[0], auto, ends[1]));
  }
}

/** Colours and labels of the categories that are drawn; of very many (dates) some. */
function swatches(layer) {
  const drawn = layer.categories.filter(({alpha}) => (alpha ?? 255) > 0);
  const step = Math.ceil(drawn.length / MOST_SWATCHES);
  const some = drawn.filter((_, index) => index % step === 0 || index === drawn.length - 1);
  return some.map(({colour, alpha, label}) => {
    const swatch = h('span', {class: 'swatch'});
    swatch.style.backgroundColor = cssColour(rgba(colour, alpha ?? 255));
    return h('div', {class: 'category'}, swatch, h('span', {text: label}));
  });
}

function plain(value) {
  return numberText(value, Math.abs(value) >= 100 ? 0 : 2)
    .replace('−', '-')
    .replace(/\.?0+$/, (zeros) => (zeros.startsWith('.') ? '' : zeros));
}
