// Requests that a newer one of the same kind replaces.

import {isAborted} from './data.js';

/** Tasks by name, of each one at most. */
export class Tasks {
  #running = new Map();
  #failed;

  /** @param {Function} failed Takes the error of a task that was not given up. */
  constructor(failed) {
    this.#failed = failed;
  }

  /**
   * Run a task; one of the same name that still runs is given up.
   * @param {string} name What it is for.
   * @param {function(AbortSignal): Promise} task
   * @param {Function} [failed] Takes the error in place of the common one.
   */
  async run(name, task, failed = this.#failed) {
    this.#running.get(name)?.abort();
    const controller = new AbortController();
    this.#running.set(name, controller);
    try {
      await task(controller.signal);
    } catch (error) {
      if (!controller.signal.aborted && !isAborted(error)) failed(error);
    } finally {
      if (this.#running.get(name) === controller) this.#running.delete(name);
    }
  }

  stop() {
    for (const controller of this.#running.values()) controller.abort();
  }
}
