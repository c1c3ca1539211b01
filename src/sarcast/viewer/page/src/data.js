// Where the page's data come from: a server, a notebook's kernel, or the page itself. All three have
// the same methods; `view` says what there is, the others follow its identifiers.

const ATTEMPTS = 4;
const LONGEST_WAIT_S = 5;

/** An answer that is no success. */
export class AnswerError extends Error {
  constructor(status, text) {
    super(text);
    this.name = 'AnswerError';
    this.status = status;
  }
}

/** Whether a request was given up on purpose. */
export function isAborted(error) {
  return error?.name === 'AbortError' || (error instanceof AnswerError && error.status === 409);
}

/** Identifier of this page, by which a newer request replaces an older one. */
const CLIENT = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) =>
  byte.toString(16).padStart(2, '0'),
).join('');

// --- server ---------------------------------------------------------------------------------------

/** Data of the server that the page came from. */
export class ServerData {
  #token = '';

  /** @return {Promise<Object|null>} Description; null if it is still the known version. */
  async view(known) {
    const answer = await ask(known ? `api/view?known=${encodeURIComponent(known)}` : 'api/view');
    if (answer.status === 204) return null;
    const view = await answer.json();
    this.#token = view.token;
    return view.version === known ? null : view;
  }

  /** @return {Promise<ArrayBuffer|null>} Values, band after band; null without data. */
  async tile({layer, index, level, row, column, version}, signal) {
    const path = `api/tile/${encodeURIComponent(layer)}/${index}/${level}/${row}/${column}`;
    const answer = await ask(`${path}?v=${encodeURIComponent(version)}`, {signal});
    return answer.status === 204 ? null : answer.arrayBuffer();
  }

  async series({x, y, expected}, signal) {
    const answer = await ask(`api/series?x=${x}&y=${y}${expected ? '&expected=1' : ''}`, {signal});
    return answer.json();
  }

  async csv({x, y, expected}) {
    const more = expected ? '&expected=1' : '';
    return (await ask(`api/series?x=${x}&y=${y}${more}&format=csv`)).text();
  }

  async events() {
    return (await ask('api/events')).json();
  }

  async history(id) {
    return (await ask(`api/events/${encodeURIComponent(id)}/history`)).json();
  }

  async verdict(id, verdict) {
    await ask(`api/events/${encodeURIComponent(id)}/verdict`, this.#sent('PUT', {verdict}));
  }

  /** @return {Promise<{values: Float32Array, shape: number[], box: number[]}>} */
  async whatIf(question, signal) {
    const options = {...this.#sent('POST', {...question, client: CLIENT}), signal};
    const answer = await ask('api/what-if', options);
    const numbers = (name) => answer.headers.get(name).split(',').map(Number);
    const values = new Float32Array(await answer.arrayBuffer());
    const box = answer.headers.has('X-Box') ? numbers('X-Box') : question.box;
    return {values, shape: numbers('X-Shape'), box};
  }

  #sent(method, body) {
    const headers = {'Content-Type': 'application/json', 'X-Sarcast-Token': this.#token};
    return {method, headers, body: JSON.stringify(body)};
  }
}

/** Fetch; where the server is busy, try again after the time that it asks for. */
async function ask(path, options = {}) {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await fetch(path, {credentials: 'same-origin', ...options});
    if (answer.ok) return answer;
    if (answer.status !== 503 || attempt === ATTEMPTS) throw await refusal(answer);
    const asked = Number(answer.headers.get('Retry-After')) || 1;
    await pause(Math.min(asked, LONGEST_WAIT_S) * 1000, options.signal);
  }
}

async function refusal(answer) {
  let text = `the server answered ${answer.status}`;
  try {
    text = (await answer.json()).error ?? text;
  } catch {
    // not JSON: the status says it
  }
  return new AnswerError(answer.status, text);
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

// --- notebook -------------------------------------------------------------------------------------

/** Data of the kernel of a notebook, asked by custom messages of the widget. */
export class KernelData {
  #model;
  #waiting = new Map();
  #last = 0;

  /** @param model Model of the widget: `send` and `on('msg:custom', ...)`. */
  constructor(model) {
    this.#model = model;
    this.receive = this.receive.bind(this);
    model.on('msg:custom', this.receive);
  }

  close() {
    this.#model.off('msg:custom', this.receive);
    for (const {reject} of this.#waiting.values()) reject(new DOMException('closed', 'AbortError'));
    this.#waiting.clear();
  }

  async view(known) {
    const {json} = await this.#ask('view', {known: known ?? null});
    return !json || json.version === known ? null : json;
  }

  async tile({layer, index, level, row, column, version}, signal) {
    const words = {layer, index, level, row, column, v: version};
    return (await this.#ask('tile', words, signal)).bytes;
  }

  async series({x, y, expected}, signal) {
    return (await this.#ask('series', {x, y, expected: Boolean(expected)}, signal)).json;
  }

  async csv({x, y, expected}) {
    return (await this.#ask('series', {x, y, expected: Boolean(expected), format: 'csv'})).json.csv;
  }

  async events() {
    return (await this.#ask('events', {})).json;
  }

  async history(id) {
    return (await this.#ask('history', {id})).json;
  }

  async verdict(id, verdict) {
    await this.#ask('verdict', {id, verdict});
  }

  async whatIf(question, signal) {
    const {json, bytes} = await this.#ask('what-if', {...question, client: CLIENT}, signal);
    return {values: new Float32Array(bytes), shape: json.shape, box: json.box ?? question.box};
  }

  #ask(request, words, signal) {
    const id = `${CLIENT}-${(this.#last += 1)}`;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, {resolve, reject});
      signal?.addEventListener('abort', () => {
        if (this.#waiting.delete(id)) reject(signal.reason);
      });
      this.#model.send({id, request, arguments: words});
    });
  }

  receive(message, buffers) {
    const waiting = this.#waiting.get(message.id);
    if (!waiting) return;
    this.#waiting.delete(message.id);
    const {status, json} = message;
    if (status >= 400) {
      waiting.reject(new AnswerError(status, json?.error ?? `the kernel answered ${status}`));
      return;
    }
    const view = buffers?.[0];
    // copied: a kernel's buffers may start at any byte of a larger one
    const bytes = view
      ? view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)
      : null;
    waiting.resolve({json, bytes: bytes?.byteLength ? bytes : null});
  }
}

// --- page that is a file --------------------------------------------------------------------------

/** Data that lie in the page itself. */
export class EmbeddedData {
  #content;

  /** @param content `{view, tiles, events, series, history}` as the export writes it. */
  constructor(content) {
    this.#content = content;
  }

  async view(known) {
    const {view} = this.#content;
    return view.version === known ? null : view;
  }

  async tile({layer, index, level, row, column}) {
    const packed = this.#content.tiles[`${layer}/${index}/${level}/${row}/${column}`];
    return packed ? unpacked(packed) : null;
  }

  async events() {
    return this.#content.events;
  }

  /** Series of an event; those of other pixels are not in the file. */
  async seriesOfEvent(id) {
    return this.#content.series?.[id] ?? null;
  }

  async history(id) {
    return this.#content.history?.[id] ?? [];
  }
}

/** Bytes of a base64 text of gzip. */
function unpacked(text) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).arrayBuffer();
}
