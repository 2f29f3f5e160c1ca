/** A client of TensorFlow Serving's REST API. */

import { text } from "./texts.js";

const TIMEOUT = 8000; // ms

/** An error with a message for the user; `temporary` if the same request may succeed later. */
export class Trouble extends Error {
  constructor(message, { temporary = true } = {}) {
    super(message);
    this.temporary = temporary;
  }
}

const DEFAULT_NAME = "kmnist";

/**
 * Returns the name of the model: from the address of the page, or from the server of the page, or the
 * default name if a server of files only has none.
 */
export async function modelName() {
  const named = new URLSearchParams(location.search).get("model");
  if (named) return named;
  let response;
  try {
    response = await fetch("model.json", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) });
  } catch {
    throw new Trouble(text.unreachable);
  }
  const { model } = response.ok ? await response.json().catch(() => ({})) : {};
  return model || DEFAULT_NAME;
}

export class Model {
  #name;
  #signature = "pictures";

  constructor(name) {
    this.#name = name;
  }

  /** Returns the newest available version. Like all of these methods, it throws Trouble. */
  async version() {
    const { model_version_status: versions } = await this.#fetch("");
    const byNumber = versions.toSorted((a, b) => b.version - a.version);
    const available = byNumber.find(({ state }) => state === "AVAILABLE");
    if (available) return available.version;
    const loading = byNumber.find(({ state }) => state === "START" || state === "LOADING");
    if (loading) throw new Trouble(text.loading(loading.version));
    const { version, status } = byNumber[0];
    const why = status?.error_message;
    if (why) throw new Trouble(text.notLoaded(version, sentence(why)));
    throw new Trouble(text.unloaded);
  }

  /**
   * Returns the classes of the model: { names, weights }, with the weights of each class as an image
   * of numbers. Both are empty if the model has no signature `classes`.
   */
  async describe() {
    const { metadata } = await this.#fetch("/metadata");
    const signatures = metadata.signature_def.signature_def;
    this.#signature = "explain" in signatures ? "explain" : "pictures";
    if (!("classes" in signatures)) return { names: [], weights: [] };
    const size = signatures.serving_default.outputs.probabilities.tensor_shape.dim.at(-1).size;
    const outputs = await this.#run("classes", { class_ids: [...Array(Number(size)).keys()] });
    return { names: outputs.class_names, weights: outputs.weights };
  }

  /**
   * Predicts the class of a picture.
   *
   * @param {string} picture the data URL of a PNG, JPEG, BMP or WebP file
   * @param {AbortSignal} signal aborts the request
   * @returns { probabilities, id, name, milliseconds, image }: a probability for each class; the
   *   number and the name of the most probable class; the duration of the request; the image that
   *   the model received, rows of numbers from 0 to 255, undefined without the signature `explain`
   */
  async predict(picture, signal) {
    const b64 = picture.slice(picture.indexOf(",") + 1);
    const start = performance.now();
    const outputs = await this.#run(this.#signature, { pictures: [{ b64 }] }, signal);
    return {
      probabilities: outputs.probabilities[0],
      id: Number(outputs.class_ids[0]),
      name: outputs.class_names[0],
      image: outputs.images?.[0],
      milliseconds: performance.now() - start,
    };
  }

  async #run(signature_name, inputs, signal) {
    const body = JSON.stringify({ signature_name, inputs });
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body, signal };
    return (await this.#fetch(":predict", options)).outputs;
  }

  async #fetch(path, { signal, ...options } = {}) {
    const timeout = AbortSignal.timeout(TIMEOUT);
    let response, parsed;
    try {
      response = await fetch(`v1/models/${encodeURIComponent(this.#name)}${path}`, {
        ...options,
        cache: "no-store",
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
      parsed = await response.json();
    } catch (error) {
      signal?.throwIfAborted();
      if (timeout.aborted) throw new Trouble(text.silent);
      if (!response) throw new Trouble(text.unreachable);
    }
    if (response.ok && parsed) return parsed;
    throw new Trouble(this.#message(response.status, sentence(parsed?.error ?? "")), {
      temporary: response.status !== 400 && response.status !== 413,
    });
  }

  #message(status, error) {
    if (status === 404) return text.noModel(this.#name);
    if (status === 429) return text.overloaded;
    if ([502, 503, 504].includes(status)) return text.starting;
    if (status === 400) return text.refused(error);
    return text.failed(status, error);
  }
}

/** Returns an error as a sentence, without the graph nodes that TensorFlow appends in brackets. */
function sentence(error) {
  return error.split(/\n|\s*\[\[/, 1)[0].trim().replace(/[^.!?…]$/, "$&.");
}
