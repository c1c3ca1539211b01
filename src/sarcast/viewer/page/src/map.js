// The map: two sides with a bar between them, outlines of events, the picked pixel.

import OlMap from 'ol/Map.js';
import View from 'ol/View.js';
import GeoJSON from 'ol/format/GeoJSON.js';
import Feature from 'ol/Feature.js';
import Point from 'ol/geom/Point.js';
import {defaults as defaultInteractions} from 'ol/interaction/defaults.js';
import VectorLayer from 'ol/layer/Vector.js';
import Projection from 'ol/proj/Projection.js';
import VectorSource from 'ol/source/Vector.js';
import Fill from 'ol/style/Fill.js';
import RegularShape from 'ol/style/RegularShape.js';
import Stroke from 'ol/style/Stroke.js';
import Style from 'ol/style/Style.js';

import {aroundOf, baseMap, unitsOf} from './base-map.js';
import {rgba, cssColour} from './colours.js';
import {h} from './dom.js';
import {Side} from './side.js';
import {Grid} from './tiles.js';

const LARGEST_PIXEL = 32;
const MARGIN = 1.25;
const SWIPE_STEP = 0.05;
const FILL_ALPHA = 30;
const PLAIN_COLOUR = '#facc15';
const PAN_SHARE = 0.2;
const SCALE_PX = 140;
const EVENT_PIXEL = 6;
const EVENT_MARGIN = 0.25;
const PADDING = [50, 10, 34, 10];

/** Map of one grid, in its own projection. */
export class MapView {
  /**
   * @param {{view: Object, store: TileStore, wheelNeedsFocus: boolean, on: Object}} options `on`:
   *   `pick(coordinate, event id or null)`, `point(coordinate or null)`, `moved()`,
   *   `swiped(share)`, `failed(error)`.
   */
  constructor({view, store, wheelNeedsFocus, on}) {
    this.grid = new Grid(view.grid);
    this.on = on;
    const {base_map: base, grid} = view;
    this.projection = new Projection({
      code: grid.crs || 'grid',
      units: base ? unitsOf(base.proj4) : 'm', // whatever they are: only a base map needs them
      extent: base ? aroundOf(this.grid.extent) : this.grid.extent,
    });
    this.element = h('div', {class: 'map-area'});
    this.canvas = h('div', {
      class: 'map',
      tabindex: '0',
      role: 'application',
      'aria-label':
        'Map. Shift and arrows move it, plus and minus zoom, Enter takes the middle pixel.',
    });
    this.#events = this.#eventLayer();
    this.#mark = new VectorLayer({source: new VectorSource(), zIndex: 21, style: crosshair()});
    this.map = new OlMap({
      target: this.canvas,
      controls: [],
      interactions: defaultInteractions({
        altShiftDragRotate: false,
        pinchRotate: false,
        keyboard: false,
        onFocusOnly: wheelNeedsFocus,
      }),
      layers: [this.#events, this.#mark],
      view: this.#firstView(),
      maxTilesLoading: 36,
    });
    if (base) this.map.addLayer(baseMap(base, grid.crs));
    const density = globalThis.devicePixelRatio >= 1.5 ? 2 : 1;
    const options = {grid: this.grid, store, projection: this.projection, density};
    const failed = {...options, onError: (error) => this.on.failed(error)};
    this.backdrop = new Side(this.map, {...failed, partOf: null, zIndex: 1});
    this.left = new Side(this.map, {...failed, partOf: () => [0, this.#swipe], zIndex: 3});
    this.right = new Side(this.map, {...failed, partOf: () => [this.#swipe, 1], zIndex: 5});
    this.#bar = this.#swipeBar();
    this.#scale = h('div', {class: 'scale', 'aria-hidden': 'true'});
    this.element.append(this.canvas, this.#bar, this.#zoomButtons(), this.#scale);
    if (base) this.element.append(h('div', {class: 'credit', text: base.credit}));
    this.#listen();
  }

  #events;
  #mark;
  #bar;
  #scale;
  #swipe = 0.5;
  #colourOf = () => PLAIN_COLOUR;
  #selected = null;

  get sides() {
    return {left: this.left, right: this.right};
  }

  get resolution() {
    return this.map.getView().getResolution();
  }

  /** Extent of the view within the grid; null if they do not meet. */
  get visible() {
    const [left, bottom, right, top] = this.map.getView().calculateExtent(this.map.getSize());
    const [l, b, r, t] = this.grid.extent;
    const extent = [Math.max(left, l), Math.max(bottom, b), Math.min(right, r), Math.min(top, t)];
    return extent[0] < extent[2] && extent[1] < extent[3] ? extent : null;
  }

  /**
   * Pixels of the grid that are in view, of very many those in the middle.
   * @param {number} most Rows and columns at most.
   * @return {{box: number[], whole: boolean}|null} Row, column, rows, columns; whether it is all.
   */
  visibleBox(most) {
    const {visible, grid} = this;
    if (!visible) return null;
    const span = (from, to, count) => {
      const first = Math.max(Math.floor(from), 0);
      const size = Math.min(Math.ceil(to), count) - first;
      const kept = Math.min(size, most);
      return {first: first + Math.floor((size - kept) / 2), kept, all: kept === size};
    };
    const [left, bottom, right, top] = visible;
    const across = [left, right].map((x) => (x - grid.left) / grid.pixel);
    const down = [top, bottom].map((y) => (grid.top - y) / grid.pixel);
    const [columns, rows] = [span(...across, grid.width), span(...down, grid.height)];
    const box = [rows.first, columns.first, rows.kept, columns.kept];
    return {box, whole: rows.all && columns.all};
  }

  /** Centre and resolution, as a link holds them. */
  get place() {
    const view = this.map.getView();
    return [...view.getCenter(), view.getResolution()];
  }

  set place([x, y, resolution]) {
    const view = this.map.getView();
    view.setCenter([x, y]);
    if (resolution > 0) view.setResolution(resolution);
  }

  showAll() {
    this.map.updateSize();
    this.map.getView().fit(this.grid.extent, {padding: PADDING});
  }

  zoomBy(levels) {
    this.map.getView().animate({zoom: this.map.getView().getZoom() + levels, duration: 150});
  }

  /** Move by a share of the view: 1 right or down. */
  panBy(right, down) {
    const view = this.map.getView();
    const [width, height] = this.map.getSize();
    const step = PAN_SHARE * this.resolution;
    const [x, y] = view.getCenter();
    view.animate({center: [x + right * width * step, y - down * height * step], duration: 100});
  }

  pickCentre() {
    this.#pick(this.map.getView().getCenter());
  }

  // --- swipe --------------------------------------------------------------------------------------

  get swipe() {
    return this.#swipe;
  }

  set swipe(share) {
    this.#swipe = Math.min(Math.max(share, 0), 1);
    const percent = `${(100 * this.#swipe).toFixed(3)}%`;
    this.element.style.setProperty('--swipe', percent);
    this.map.render();
    this.#bar.setAttribute('aria-valuenow', String(Math.round(100 * this.#swipe)));
  }

  moveSwipe(steps) {
    this.swipe = this.#swipe + steps * SWIPE_STEP;
    this.on.swiped(this.#swipe);
  }

  #swipeBar() {
    const bar = h('div', {
      class: 'swipe',
      role: 'slider',
      tabindex: '0',
      'aria-label': 'Bar between the left and the right image',
      'aria-orientation': 'horizontal',
      'aria-valuemin': '0',
      'aria-valuemax': '100',
      title: 'Drag, or press [ and ]',
    });
    const follow = (event) => {
      const {left, width} = this.element.getBoundingClientRect();
      this.swipe = (event.clientX - left) / width;
      this.on.swiped(this.#swipe);
    };
    bar.addEventListener('pointerdown', (event) => {
      bar.setPointerCapture(event.pointerId);
      event.preventDefault();
      bar.focus();
      bar.addEventListener('pointermove', follow);
    });
    const stop = () => bar.removeEventListener('pointermove', follow);
    bar.addEventListener('pointerup', stop);
    bar.addEventListener('pointercancel', stop);
    bar.addEventListener('keydown', (event) => {
      const steps = {ArrowLeft: -1, ArrowRight: 1, Home: -100, End: 100}[event.key];
      if (steps === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.moveSwipe(steps);
    });
    return bar;
  }

  // --- events and pixel ---------------------------------------------------------------------------

  /**
   * Draw the outlines of events.
   * @param {Object|null} collection GeoJSON in the coordinates of the grid.
   */
  set events(collection) {
    const source = this.#events.getSource();
    source.clear();
    if (!collection) return;
    const {colours = {}, colour_by: column} = collection;
    this.#colourOf = (feature) => colours[feature.get(column)] ?? PLAIN_COLOUR;
    source.addFeatures(new GeoJSON().readFeatures(collection));
  }

  set eventsVisible(visible) {
    this.#events.setVisible(visible);
  }

  set selected(id) {
    this.#selected = id;
    this.#events.changed();
  }

  /** Bring an event into view. */
  showEvent(id) {
    const feature = this.#feature(id);
    if (!feature) return;
    const [width, height] = this.map.getSize();
    const [across, down] = [width * EVENT_MARGIN, height * EVENT_MARGIN];
    this.map.getView().fit(feature.getGeometry(), {
      padding: [down, across, down, across],
      minResolution: this.grid.pixel / EVENT_PIXEL,
      duration: 200,
    });
  }

  /** A coordinate inside an event. */
  insideOf(id) {
    const geometry = this.#feature(id)?.getGeometry();
    if (!geometry) return null;
    const inside =
      geometry.getType() === 'MultiPolygon'
        ? geometry.getInteriorPoints().getFirstCoordinate()
        : geometry.getInteriorPoint().getFirstCoordinate();
    return inside.slice(0, 2);
  }

  /** Mark a pixel, or none. */
  set marked(pixel) {
    const source = this.#mark.getSource();
    source.clear();
    if (pixel) source.addFeature(new Feature(new Point(this.grid.centreOf(pixel))));
  }

  #feature(id) {
    const features = this.#events.getSource().getFeatures();
    return features.find((feature) => String(feature.getId()) === String(id));
  }

  #eventLayer() {
    const styles = new Map();
    return new VectorLayer({
      source: new VectorSource(),
      zIndex: 20,
      style: (feature) => {
        const selected = String(feature.getId()) === String(this.#selected);
        const colour = this.#colourOf(feature);
        const key = `${colour}${selected}`;
        if (!styles.has(key)) styles.set(key, outline(colour, selected));
        return styles.get(key);
      },
    });
  }

  // --- what is around -----------------------------------------------------------------------------

  #firstView() {
    const [left, bottom, right, top] = this.grid.extent;
    const longest = Math.max(right - left, top - bottom);
    return new View({
      projection: this.projection,
      center: [(left + right) / 2, (bottom + top) / 2],
      resolution: longest / 600,
      minResolution: this.grid.pixel / LARGEST_PIXEL,
      maxResolution: Math.max((MARGIN * longest) / 256, this.grid.pixel),
      extent: [left, bottom, right, top],
      constrainOnlyCenter: true,
      enableRotation: false,
      smoothExtentConstraint: false,
    });
  }

  #zoomButtons() {
    const button = (text, label, click) =>
      h('button', {type: 'button', text, title: label, 'aria-label': label, on: {click}});
    return h(
      'div',
      {class: 'zoom', role: 'group', 'aria-label': 'Zoom'},
      button('+', 'Zoom in', () => this.zoomBy(1)),
      button('−', 'Zoom out', () => this.zoomBy(-1)),
      button('⤢', 'Show everything', () => this.showAll()),
    );
  }

  #listen() {
    this.map.on('singleclick', ({coordinate, pixel}) => this.#pick(coordinate, pixel));
    this.map.on('pointermove', ({coordinate, dragging}) => {
      if (!dragging) this.on.point(coordinate);
    });
    this.canvas.addEventListener('pointerleave', () => this.on.point(null));
    this.map.on('moveend', () => {
      this.#drawScale();
      this.on.moved();
    });
    new ResizeObserver(() => this.map.updateSize()).observe(this.canvas);
  }

  #pick(coordinate, pixel = this.map.getPixelFromCoordinate(coordinate)) {
    const options = {layerFilter: (layer) => layer === this.#events, hitTolerance: 3};
    const hit = this.map.forEachFeatureAtPixel(pixel, (feature) => feature, options);
    this.on.pick(coordinate, hit ? hit.getId() : null);
  }

  /** A bar of a round length in metres, as long as it is in the middle of the grid. */
  #drawScale() {
    const metres = this.resolution * this.grid.metres;
    const power = 10 ** Math.floor(Math.log10(SCALE_PX * metres));
    const length = [5, 2, 1].map((step) => step * power).find((one) => one <= SCALE_PX * metres);
    this.#scale.textContent = length >= 1000 ? `${length / 1000} km` : `${length} m`;
    this.#scale.style.width = `${length / metres}px`;
  }
}

function outline(colour, selected) {
  const fill = cssColour(rgba(colour, selected ? 0 : FILL_ALPHA));
  const halo = new Style({
    stroke: new Stroke({color: 'rgba(0,0,0,0.6)', width: selected ? 6 : 3.5}),
  });
  const line = new Style({
    fill: new Fill({color: fill}),
    stroke: new Stroke({color: selected ? '#ffffff' : colour, width: selected ? 3 : 1.8}),
  });
  return [halo, line];
}

function crosshair() {
  const cross = (color, width) =>
    new Style({
      image: new RegularShape({
        points: 4,
        radius: 10,
        radius2: 0,
        stroke: new Stroke({color, width}),
      }),
    });
  return [cross('rgba(0,0,0,0.8)', 4), cross('#22d3ee', 2)];
}
