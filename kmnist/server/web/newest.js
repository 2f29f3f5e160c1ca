/**
 * Runs `work` for the newest of many requests: one at a time, with a pause between runs.
 *
 * A request during a run waits for its end, for at most `patience` milliseconds; then the run is
 * aborted. Requests that are followed by a newer one before they run are skipped.
 *
 * @param {(signal: AbortSignal) => Promise<void>} work must not reject; after an abort, it must
 *   ignore its result
 * @returns {{ request: () => void, cancel: () => void }}
 */
export function newest(work, { pause, patience }) {
  let requested = false;
  let running = null;
  let timer;

  async function run() {
    while (requested) {
      requested = false;
      clearTimeout(timer);
      timer = undefined;
      running = new AbortController();
      await work(running.signal);
      await sleep(pause);
    }
    running = null;
  }

  return {
    request() {
      requested = true;
      if (!running) run();
      else timer ??= setTimeout(() => running?.abort(), patience);
    },
    cancel() {
      requested = false;
      running?.abort();
    },
  };
}

export function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
