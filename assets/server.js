// What the page asks of the server, and what can come back instead of an answer.

/** The server understood and said no. `field` names the input that the words belong to, or is null. */
export class Refusal extends Error {
  constructor(words, field, status) {
    super(words);
    this.field = field ?? null;
    this.status = status;
  }
}

/** Nobody answered. */
export class Silence extends Error {}

/** The whole address of one of our routes. */
export const at = (path) => new URL(`studio/${path}`, document.baseURI).href;

/** The JSON that a route answers. Raises Refusal with the words of the server, or Silence. */
export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(at(path), { credentials: "same-origin", cache: "no-store", ...options });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Silence(String(problem));
  }
  let answer = null;
  try {
    answer = await response.json();
  } catch {
    answer = null;
  }
  if (response.ok && answer !== null) return answer;
  const words = typeof answer?.error === "string" ? answer.error : `The studio met a fault of its own (${response.status}). Its terminal says more.`;
  throw new Refusal(words, answer?.field, response.status);
}

export const post = (path, value) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });

export const session = () => ask("session");
export const submit = (request, count) => post("jobs", { request, count });
export const stop = (id, everything) => post(`jobs/${id}/stop`, { everything });
export const importPicture = (bytes) => ask("import", { method: "POST", headers: { "Content-Type": "image/png" }, body: bytes });
export const unknownWords = (prompt, signal) => ask(`words?prompt=${encodeURIComponent(prompt)}`, { signal });
export const readPrompt = (words, signal) =>
  ask("prompt", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(words), signal });
export const wordbook = () => ask("wordbook");
export const keepWords = (kind, name, value) => post("wordbook", { kind, name, value });
export const beginEffect = (request, without) => post("effects", { request, without });
export const effect = (first, second, word) => ask(`effects/${first}/${second}?word=${encodeURIComponent(word)}`);
export const rewrite = (prompt) => post("rewrite", { prompt });
export const examples = () => ask("assets/examples/examples.json");

export const exampleAddress = (file) => at(`assets/examples/${encodeURIComponent(file)}`);
export const pictureAddress = (id) => at(`pictures/${id}.png`);
export const differenceAddress = (first, second) => at(`effects/${first}/${second}/difference.png`);
export const downloadAddress = (id) => at(`pictures/${id}.png?download=1`);
export const previewAddress = (id, version) => at(`jobs/${id}/preview.png?v=${version}`);

export const ended = (job) => ["done", "stopped", "failed"].includes(job.state);

/** Hands every change of a job to `onChange` until it has ended; `onSilence` is called once if the stream breaks off. */
export function follow(id, onChange, onSilence) {
  const stream = new EventSource(at(`jobs/${id}/events`));
  stream.onmessage = (event) => {
    const snapshot = JSON.parse(event.data);
    if (ended(snapshot)) stream.close();
    onChange(snapshot);
  };
  stream.onerror = () => {
    stream.close();
    onSilence();
  };
  return () => stream.close();
}
