// Keys of the page.

import {h} from './dom.js';

const KEYS = [
  [
    '← →',
    'earlier or later date',
    {
      ArrowLeft: (viewer) => viewer.timeline.step(-1),
      ArrowRight: (viewer) => viewer.timeline.step(1),
    },
  ],
  ['space', 'play or stop', {' ': (viewer) => viewer.timeline.toggle()}],
  [
    '[ ]',
    'move the bar between left and right',
    {'[': (viewer) => viewer.map.moveSwipe(-1), ']': (viewer) => viewer.map.moveSwipe(1)},
  ],
  ['x', 'exchange left and right', {x: (viewer) => viewer.images.exchange()}],
  ['b', 'next band', {b: (viewer) => viewer.images.nextBand()}],
  [
    '+ −',
    'zoom',
    {
      '+': (viewer) => viewer.map.zoomBy(1),
      '=': (viewer) => viewer.map.zoomBy(1),
      '-': (viewer) => viewer.map.zoomBy(-1),
    },
  ],
  ['0', 'show everything', {0: (viewer) => viewer.map.showAll()}],
  ['o', 'outlines of events', {o: (viewer) => viewer.toggle('outlines')}],
  ['a', 'actual image below transparent ones', {a: (viewer) => viewer.toggle('backdrop')}],
  ['?', 'these keys', {'?': (viewer) => viewer.toggleHelp()}],
];
const SHIFTED = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
const ACTIONS = Object.assign({}, ...KEYS.map(([, , actions]) => actions));

/** Dialog that lists the keys. */
export function keyHelp() {
  const rows = [
    ...KEYS.map(([keys, what]) => [keys, what]),
    ['shift + arrows', 'move the map'],
    ['enter', 'on the map: series of the middle pixel'],
    ['tab', 'next control'],
  ];
  const dialog = h(
    'dialog',
    {class: 'help', 'aria-label': 'Keys'},
    h('h2', {text: 'Keys'}),
    h('dl', {}, ...rows.flatMap(([keys, what]) => [h('dt', {text: keys}), h('dd', {text: what})])),
    h('button', {type: 'button', text: 'Close', on: {click: () => dialog.close()}}),
  );
  return dialog;
}

/** Follow the keys that are pressed in an element or the document, until a signal. */
export function listenToKeys(where, viewer, signal) {
  where.addEventListener('keydown', (event) => follow(event, viewer), {signal});
}

function follow(event, viewer) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (takesKeys(event.target, event.key) || viewer.help.open) return;
  const onMap = event.target === viewer.map.canvas;
  if (event.shiftKey && SHIFTED[event.key]) viewer.map.panBy(...SHIFTED[event.key]);
  else if (event.key === 'Enter' && onMap) viewer.map.pickCentre();
  else if (ACTIONS[event.key]) ACTIONS[event.key](viewer);
  else return;
  event.preventDefault();
}

/** Whether a control needs a key itself: fields their text, buttons the space bar. */
function takesKeys(target, key) {
  if (!(target instanceof HTMLElement)) return false;
  if (target.matches('select, textarea, input:not([type=checkbox])'))
    return key !== '?' || !target.matches('[type=range]');
  return key === ' ' && target.matches('button, input, summary');
}
