// Starts the page, the exported file, or the widget of a notebook: one script for all three.

import './viewer.css';
import {EmbeddedData, KernelData, ServerData} from './data.js';
import {h} from './dom.js';
import {Viewer} from './viewer.js';

const HEIGHT_PX = 600;

/** Front end of the notebook's widget, as anywidget expects it. */
export const widget = {
  render({model, el}) {
    const data = new KernelData(model);
    const root = h('div');
    root.style.height = `${model.get('height') ?? HEIGHT_PX}px`;
    el.append(root);
    const started = Viewer.start(root, data, {linked: false});
    started.catch(() => {}); // shown in the element
    return () => {
      data.close();
      started.then(
        (viewer) => viewer.close(),
        () => {},
      );
    };
  },
};

const element = document.getElementById('sarcast-view');
if (element) {
  const viewer = Viewer.start(element, dataOfPage(), {linked: true});
  const ready = viewer.then((started) => started.ready);
  globalThis.sarcast = {viewer, ready};
  ready.finally(showIcon).catch(() => {}); // shown in the element
}

/** The icon of the page takes as long to draw as a tile: it comes after the first image. */
function showIcon() {
  const icon = document.querySelector('link[rel=icon][href="data:,"]');
  icon?.setAttribute('href', 'static/icon.svg');
}

/** Data that lie in the page, or else those of its server. */
function dataOfPage() {
  const text = document.getElementById('sarcast-data')?.textContent;
  const content = globalThis.sarcastData ?? (text ? JSON.parse(text) : null);
  if (content) return new EmbeddedData(content);
  forgetToken();
  return new ServerData();
}

/** The server keeps its token in a cookie; the address should not show it. */
function forgetToken() {
  const address = new URL(location.href);
  if (!address.searchParams.has('token')) return;
  address.searchParams.delete('token');
  history.replaceState(null, '', address);
}
