// Table of events: sorted, filtered, judged; attributes and history of the selected one.

import {h, setOptions} from './dom.js';
import {columnText, numberText, timeText} from './words.js';

const PAGE = 200;
const JUDGED = [
  ['all', 'all'],
  ['open', 'not judged'],
  ['true', 'true'],
  ['false', 'false'],
];
const ISO_TIME = /^\d{4}-\d\d-\d\d(T[\d:.]+Z?)?$/;
const HIDDEN = new Set(['verdict', 'geometry']);

/** Panel with the events. */
export class EventsPanel {
  #on;
  #columns = [];
  #rows = [];
  #verdicts = false;
  #sort = {column: 'id', rising: true};
  #selected = null;
  #limit = PAGE;

  /** @param on `select(id)`, `verdict(id, "true"|"false"|null)`. */
  constructor(on) {
    this.#on = on;
    this.filter = h('input', {
      type: 'search',
      placeholder: 'Filter',
      'aria-label': 'Filter events by text; "area_ha > 1" compares numbers',
      title: 'Text in any column, or a comparison such as area_ha > 1',
      on: {input: () => this.#refilter()},
    });
    this.judged = h('select', {'aria-label': 'Judged', on: {change: () => this.#refilter()}});
    setOptions(this.judged, JUDGED, 'all');
    this.count = h('span', {class: 'note', role: 'status'});
    this.head = h('thead');
    this.body = h('tbody');
    this.more = h('button', {
      type: 'button',
      text: `Show ${PAGE} more`,
      on: {
        click: () => {
          this.#limit += PAGE;
          this.#drawBody();
        },
      },
    });
    this.detail = h('div', {class: 'detail', 'aria-live': 'polite'});
    this.element = h(
      'section',
      {class: 'events', 'aria-label': 'Events'},
      h('div', {class: 'head'}, this.filter, this.judged, this.count),
      h(
        'div',
        {class: 'table', tabindex: '0', role: 'region', 'aria-label': 'Table of events'},
        h('table', {}, this.head, this.body),
        this.more,
      ),
      this.detail,
    );
  }

  /**
   * Show events.
   * @param {Object} collection GeoJSON, perhaps with `columns`.
   * @param {boolean} verdicts Whether they can be judged.
   */
  show(collection, verdicts) {
    this.#verdicts = verdicts;
    this.#rows = collection.features.map((feature) => ({...feature.properties, id: feature.id}));
    this.#columns = collection.columns ?? columnsOf(this.#rows);
    this.judged.hidden = !verdicts;
    this.#drawHead();
    this.#drawBody();
  }

  get selected() {
    return this.#rows.find(({id}) => String(id) === String(this.#selected)) ?? null;
  }

  set selected(id) {
    this.#selected = id;
    const rows = this.#shownRows();
    const at = rows.findIndex((row) => String(row.id) === String(id));
    if (at >= this.#limit) this.#limit = at + 1;
    this.#drawBody();
    this.body.querySelector('[aria-selected="true"]')?.scrollIntoView({block: 'nearest'});
  }

  /** Attributes, and the history where there is one. */
  showDetail(history) {
    const row = this.selected;
    if (!row) {
      this.detail.replaceChildren();
      return;
    }
    const list = this.#columns.map((column) => [
      h('dt', {text: withUnit(column)}),
      h('dd', {text: cellText(row[column.name], column)}),
    ]);
    this.detail.replaceChildren(
      h('h2', {text: `Event ${row.id}`}),
      h('dl', {}, ...list.flat()),
      ...(history?.length ? [h('h3', {text: 'History'}), historyTable(history)] : []),
    );
  }

  setVerdict(id, verdict) {
    for (const row of this.#rows) if (String(row.id) === String(id)) row.verdict = verdict;
    this.#drawBody();
  }

  #refilter() {
    this.#limit = PAGE;
    this.#drawBody();
  }

  // --- table --------------------------------------------------------------------------------------

  #drawHead() {
    const {column: sorted, rising} = this.#sort;
    const cells = this.#columns.map(({name, label, unit}) =>
      h(
        'th',
        {scope: 'col', 'aria-sort': name === sorted ? (rising ? 'ascending' : 'descending') : null},
        h('button', {
          type: 'button',
          text: `${withUnit({label, unit})}${name === sorted ? (rising ? ' ▲' : ' ▼') : ''}`,
          title: 'Sort',
          on: {click: () => this.#sortBy(name)},
        }),
      ),
    );
    const judge = this.#verdicts ? [h('th', {scope: 'col', text: 'Verdict'})] : [];
    this.head.replaceChildren(h('tr', {}, ...judge, ...cells));
  }

  #sortBy(name) {
    const rising = this.#sort.column === name ? !this.#sort.rising : true;
    this.#sort = {column: name, rising};
    this.#drawHead();
    this.#drawBody();
  }

  #shownRows() {
    const accepts = filterOf(this.filter.value, this.#columns);
    const judged = this.judged.value;
    const rows = this.#rows.filter(
      (row) => accepts(row) && (judged === 'all' || (row.verdict ?? 'open') === judged),
    );
    const {column, rising} = this.#sort;
    return rows.sort((one, other) => compare(one[column], other[column], rising));
  }

  #drawBody() {
    const rows = this.#shownRows();
    const active = document.activeElement?.closest?.('[data-key]')?.dataset.key;
    this.body.replaceChildren(...rows.slice(0, this.#limit).map((row) => this.#row(row)));
    if (active) this.body.querySelector(`[data-key="${CSS.escape(active)}"]`)?.focus();
    this.more.hidden = rows.length <= this.#limit;
    const all = this.#rows.length;
    this.count.textContent =
      rows.length === all ? `${all} events` : `${rows.length} of ${all} events`;
  }

  #row(row) {
    const selected = String(row.id) === String(this.#selected);
    const cells = this.#columns.map((column, index) => {
      const text = cellText(row[column.name], column);
      if (index > 0) return h('td', {class: column.kind, text});
      const key = `${row.id}/select`;
      return h(
        'td',
        {},
        h('button', {
          type: 'button',
          text,
          'data-key': key,
          'aria-label': `Event ${text}: show on the map`,
        }),
      );
    });
    const judge = this.#verdicts ? [this.#judgement(row)] : [];
    return h(
      'tr',
      {'aria-selected': String(selected), on: {click: () => this.#on.select(row.id)}},
      ...judge,
      ...cells,
    );
  }

  #judgement(row) {
    const button = (verdict, text, label) => {
      const pressed = row.verdict === verdict;
      return h('button', {
        type: 'button',
        class: `verdict ${verdict}`,
        text,
        title: label,
        'aria-label': `Event ${row.id}: ${label}`,
        'aria-pressed': String(pressed),
        'data-key': `${row.id}/${verdict}`,
        on: {
          click: (event) => {
            event.stopPropagation();
            this.#on.verdict(row.id, pressed ? null : verdict);
          },
        },
      });
    };
    return h(
      'td',
      {class: 'judge'},
      button('true', '✓', 'a true change'),
      button('false', '✗', 'a false alarm'),
    );
  }
}

function historyTable(rows) {
  const columns = columnsOf(rows, null);
  const head = h(
    'tr',
    {},
    ...columns.map((column) => h('th', {scope: 'col', text: withUnit(column)})),
  );
  const body = rows.map((row) =>
    h(
      'tr',
      {},
      ...columns.map((column) =>
        h('td', {class: column.kind, text: cellText(row[column.name], column)}),
      ),
    ),
  );
  return h('div', {class: 'table'}, h('table', {}, h('thead', {}, head), h('tbody', {}, ...body)));
}

function withUnit({label, unit}) {
  return unit ? `${label}, ${unit}` : label;
}

/** Columns of rows that come without a description of them. */
function columnsOf(rows, first = 'id') {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter(
    (name) => !HIDDEN.has(name),
  );
  const ordered = first ? [first, ...names.filter((name) => name !== first)] : names;
  return ordered.map((name) => {
    return {name, ...columnText(name), kind: kindOf(rows.map((row) => row[name]))};
  });
}

function kindOf(values) {
  const given = values.filter((value) => value !== null && value !== undefined && value !== '');
  if (given.every((value) => typeof value === 'number')) return 'number';
  return given.every((value) => ISO_TIME.test(value)) ? 'date' : 'text';
}

function cellText(value, {kind}) {
  if (value === null || value === undefined || value === '') return '–';
  if (kind === 'date') return timeText(String(value));
  return kind === 'number' && typeof value === 'number' ? numberText(value) : String(value);
}

/** Missing values last, whichever way is up. */
function compare(one, other, rising) {
  const missing = (value) => value === null || value === undefined;
  if (missing(one) || missing(other)) return Number(missing(one)) - Number(missing(other));
  const order =
    typeof one === 'number' && typeof other === 'number'
      ? one - other
      : String(one).localeCompare(String(other));
  return rising ? order : -order;
}

/** Test of a row: a comparison of a column with a number, or a text in any column. */
function filterOf(text, columns) {
  const wanted = text.trim().toLowerCase();
  const found = /^(\S+)\s*(<=|>=|=|<|>)\s*(\S+)$/.exec(wanted);
  const column =
    found &&
    columns.find(({name, label}) => [name, label].some((one) => one.toLowerCase() === found[1]));
  if (column) {
    const [sign, limit] = [found[2], found[3]];
    return (row) => holds(row[column.name], sign, limit);
  }
  return (row) =>
    columns.some((one) => cellText(row[one.name], one).toLowerCase().includes(wanted));
}

function holds(value, sign, limit) {
  if (value === null || value === undefined) return false;
  const number = Number(limit);
  const [one, other] =
    typeof value === 'number' && Number.isFinite(number)
      ? [value, number]
      : [String(value).toLowerCase(), limit];
  return {
    '<': one < other,
    '>': one > other,
    '=': one === other,
    '<=': one <= other,
    '>=': one >= other,
  }[sign];
}
