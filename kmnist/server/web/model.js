/** The model, asked over TensorFlow Serving's REST API. */

const PATIENCE = 8000; // ms until a request counts as failed

/** What went wrong, in words for the person; `temporary` unless the question itself was at fault. */
export class Trouble extends Error {
  constructor(words, { temporary = true } = {}) {
    super(words);
    this.temporary = temporary;
  }
}

export class Model {
  #name;
  #signature = "pictures";

  constructor(name) {
    this.#name = name;
  }

  /** The newest version that answers. Throws Trouble, as all of these do. */
  async version() {
    const { model_version_status: versions } = await this.#fetch("");
    const byNumber = versions.toSorted((a, b) => b.version - a.version);
    const available = byNumber.find(({ state }) => state === "AVAILABLE");
    if (available) return available.version;
    const loading = byNumber.find(({ state }) => state === "START" || state === "LOADING");
    if (loading) throw new Trouble(`Version ${loading.version} of the model is loading.`);
    const { version, status } = byNumber[0];
    const why = status?.error_message;
    if (why) throw new Trouble(`Version ${version} of the model could not be loaded: ${sentence(why)}`);
    throw new Trouble("The server has taken the model down.");
  }

  /**
   * What its signatures tell of the classes: { names, weights }, weights as rows of numbers, one
   * image a class. Both are empty if the model has no signature `classes`.
   */
  async describe() {
    const { metadata } = await this.#fetch("/metadata");
    const signatures = metadata.signature_def.signature_def;
    this.#signature = "explain" in signatures ? "explain" : "pictures";
    if (!("classes" in signatures)) return { names: [], weights: [] };
    const size = signatures.serving_default.outputs.probabilities.tensor_shape.dim.at(-1).size;
    const outputs = await this.#predict("classes", { class_ids: [...Array(Number(size)).keys()] });
    return { names: outputs.class_names, weights: outputs.weights };
  }

  /**
   * Asks about a picture.
   *
   * @param {Blob} picture a PNG, JPEG, GIF, BMP or WebP file
   * @param {AbortSignal} signal gives up waiting
   * @returns its { probabilities, id, name, milliseconds, image }: a number for each class; the most
   *   probable one's number and name; how long the answer took; what the model saw, rows of
   *   numbers from 0 to 255, undefined if the model cannot tell
   */
  async ask(picture, signal) {
    const b64 = await base64(picture);
    const start = performance.now();
    const outputs = await this.#predict(this.#signature, { pictures: [{ b64 }] }, signal);
    return {
      probabilities: outputs.probabilities[0],
      id: Number(outputs.class_ids[0]),
      name: outputs.class_names[0],
      image: outputs.images?.[0],
      milliseconds: performance.now() - start,
    };
  }

  async #predict(signature_name, inputs, signal) {
    const body = JSON.stringify({ signature_name, inputs });
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body, signal };
    return (await this.#fetch(":predict", options)).outputs;
  }

  async #fetch(path, { signal, ...options } = {}) {
    const limit = AbortSignal.timeout(PATIENCE);
    let response, answer;
    try {
      response = await fetch(`v1/models/${encodeURIComponent(this.#name)}${path}`, {
        ...options,
        cache: "no-store",
        signal: signal ? AbortSignal.any([signal, limit]) : limit,
      });
      answer = await response.json();
    } catch (error) {
      signal?.throwIfAborted();
      if (limit.aborted) throw new Trouble("The server does not answer.");
      if (!response) throw new Trouble("The server cannot be reached.");
    }
    if (response.ok && answer) return answer;
    throw new Trouble(this.#words(response.status, sentence(answer?.error ?? "")), {
      temporary: response.status !== 400 && response.status !== 413,
    });
  }

  #words(status, error) {
    if (status === 404) {
      return `The server has no model “${this.#name}”; the address of this page may name another: ?model=NAME.`;
    }
    if (status === 429) return "The server has too much to do.";
    if ([502, 503, 504].includes(status)) return "The model server cannot be reached; it may be starting.";
    if (status === 400) return `The server refuses this: ${error}`;
    return `The server answered with an error, ${status}: ${error || "it says no more."}`;
  }
}

/** An error as a sentence. TensorFlow tells the node of the graph in further lines, or in brackets. */
function sentence(error) {
  return error.split(/\n|\s*\[\[/, 1)[0].trim().replace(/[^.!?…]$/, "$&.");
}

async function base64(blob) {
  const reader = new FileReader();
  await new Promise((resolve, reject) => {
    reader.onload = resolve;
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
  return reader.result.slice(reader.result.indexOf(",") + 1);
}
