/**
 * Does `work` for the newest of many requests: one at a time, with a pause between them.
 *
 * A request made while one is under way waits for it, for at most `patience`; what is under way is
 * aborted then, and the answer to it dropped. Requests in between are never worked on.
 *
 * @param {(signal: AbortSignal) => Promise<void>} work must not reject
 * @returns {{ request: () => void, cancel: () => void }}
 */
export function newest(work, { pause, patience }) {
  let wanted = false;
  let underway = null;
  let timer;

  async function run() {
    while (wanted) {
      wanted = false;
      clearTimeout(timer);
      timer = undefined;
      underway = new AbortController();
      await work(underway.signal);
      await sleep(pause);
    }
    underway = null;
  }

  return {
    request() {
      wanted = true;
      if (!underway) run();
      else timer ??= setTimeout(() => underway?.abort(), patience);
    },
    cancel() {
      wanted = false;
      underway?.abort();
    },
  };
}

export function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
