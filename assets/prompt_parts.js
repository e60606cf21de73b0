// A prompt as parts that can be taken out and put back one by one. Knows no page.

import { chipsIn, findPhrase, without } from "./chips.js";

const TYING = new Set(["a", "an", "the", "of", "in", "on", "at", "with", "and", "by", "under", "from", "to"]); // say nothing alone

/** The parts of a text between its commas, where no bracket is open: [{text, start, end}]. A backslash keeps the next character plain. */
export function segments(text) {
  const found = [];
  const open = [];
  let start = 0;
  const close = (end) => {
    const piece = text.slice(start, end);
    if (piece.trim()) found.push({ text: piece.trim(), start: start + piece.search(/\S/), end: start + piece.trimEnd().length });
    start = end + 1;
  };
  for (let k = 0; k < text.length; k += 1) {
    if (text[k] === "\\") k += 1;
    else if ("([{".includes(text[k])) open.push(text[k]);
    else if (")]}".includes(text[k])) open.pop();
    else if ((text[k] === "," || text[k] === "\n") && !open.length) close(k);
  }
  close(text.length);
  return found;
}

/**
 * The base of a prompt, and the elements that stand beside it or in it: {base, elements: [{phrase, category}]}.
 * Phrases that are chips have a category; what else stands between commas is an element without one.
 */
export function partsOf(prompt, chips) {
  const elements = [];
  let base = "";
  for (const [k, { text }] of segments(prompt).entries()) {
    const known = /[()[\]{}]/.test(text) ? [] : phrasesIn(text, chips);
    const rest = known.reduce((left, { phrase }) => without(left, phrase), text);
    if (k === 0) base = saysSomething(rest) ? rest : "";
    elements.push(...known);
    if (k > 0 && !known.length) elements.push({ phrase: text, category: null });
  }
  return { base, elements };
}

function phrasesIn(text, chips) {
  const found = Object.entries(chipsIn(text, chips)).flatMap(([category, phrases]) => phrases.map((phrase) => ({ category, place: findPhrase(text, phrase) })));
  return found
    .filter(({ place }) => place)
    .sort((a, b) => a.place[0] - b.place[0])
    .map(({ category, place }) => ({ category, phrase: text.slice(...place) }));
}

const saysSomething = (text) => text.split(/[^\p{L}\p{N}]+/u).some((word) => word && !TYING.has(word.toLowerCase()));

/** A prompt without some phrases. */
export const lessThese = (prompt, phrases) => phrases.reduce((text, phrase) => without(text, phrase), prompt);

/** A prompt with one more phrase at its end. */
export const andThis = (prompt, phrase) => (prompt.trim() ? `${prompt.trim().replace(/[,.]$/, "")}, ${phrase}` : phrase);

/** A style's words in a prompt: in the place of `{prompt}` around it, else behind it, unless they stand there already. */
export function styled(prompt, style) {
  if (style.includes("{prompt}")) return style.replace("{prompt}", () => prompt.trim());
  if (!style.trim() || prompt.includes(style.trim())) return prompt;
  return andThis(prompt, style.trim());
}
