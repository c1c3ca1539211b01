// What is around the map: the head of the page and the panels at its side.

import {h} from './dom.js';
import {crsText} from './words.js';

let panelCount = 0;

/**
 * Head of the page.
 * @param {Contents} contents
 * @param {State} state
 * @param {{exchange: Function, help: Function}} on
 */
export function header({view, backdrop}, state, on) {
  const {title, kind, model, grid} = view;
  const size = `${grid.width} × ${grid.height} pixels`;
  const facts = [kind, size, crsText(grid.crs), model && `model ${model}`];
  const switches = [
    view.events && switchOf(state, 'outlines', 'Outlines of events (o)'),
    backdrop && switchOf(state, 'backdrop', 'Actual image below transparent ones (a)'),
  ];
  const button = (text, label, key, click) =>
    h('button', {
      type: 'button',
      text,
      title: `${label} (${key})`,
      'aria-label': label,
      on: {click},
    });
  return h(
    'header',
    {class: 'top'},
    h('h1', {text: title}),
    h('span', {class: 'note', text: facts.filter(Boolean).join(' · ')}),
    ...switches.filter(Boolean),
    button('⇄', 'Exchange left and right', 'x', on.exchange),
    button('?', 'Help with keys', '?', on.help),
  );
}

/** Box that switches a part of the state on and off. */
function switchOf(state, name, title) {
  const box = h('input', {
    type: 'checkbox',
    on: {change: () => state.set({[name]: box.checked})},
  });
  const show = () => (box.checked = state.get(name));
  state.on([name], show);
  show();
  return h('label', {title}, box, name);
}

/**
 * Panels of which one is open, as the state says.
 * @param {Array<[string, string, HTMLElement]>} panels Name, label and content of each.
 * @param {State} state
 */
export function panelsOf(panels, state) {
  const tabs = panels.map(([name, label, element]) => {
    element.id = `sarcast-panel-${(panelCount += 1)}`;
    element.setAttribute('role', 'tabpanel');
    const tab = h('button', {
      type: 'button',
      role: 'tab',
      text: label,
      'aria-controls': element.id,
      on: {click: () => state.set({panel: name})},
    });
    return {name, tab, element};
  });
  const show = () => {
    const wanted = state.get('panel');
    const open = tabs.some(({name}) => name === wanted) ? wanted : tabs[0].name;
    for (const {name, tab, element} of tabs) {
      tab.setAttribute('aria-selected', String(name === open));
      element.hidden = name !== open;
    }
  };
  state.on(['panel'], show);
  show();
  const heads = tabs.map(({tab}) => tab);
  const list = h('div', {class: 'tabs', role: 'tablist', 'aria-label': 'Panels'}, ...heads);
  const elements = tabs.map(({element}) => element);
  return h('aside', {class: 'panel', 'aria-label': 'Panels'}, list, ...elements);
}
