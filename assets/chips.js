// Chips and the prompt: which phrases stand in a text, and the text with a phrase more or less. Knows no page.
// `chips` and what is returned are phrases by category.

// the painter has read its own in this order; other models read subject and shot first, as people write them
const ORDER = ["subject", "shot", "style", "place", "season", "time", "weather", "things", "camera", "lens", "light", "mood", "colour"];
const MANY = "things"; // the one category that can hold several

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** Where a phrase stands in a text as whole words, whatever its case: [start, end], or null. */
export function findPhrase(text, phrase) {
  const found = new RegExp(`(?<![\\p{L}\\p{N}])${escaped(phrase)}(?![\\p{L}\\p{N}])`, "iu").exec(text);
  return found && [found.index, found.index + found[0].length];
}

/** The chips whose words stand in a prompt. Longer phrases first: "mountain lake" is no "lake". */
export function chipsIn(prompt, chips) {
  let rest = prompt ?? "";
  const found = new Set();
  const longestFirst = Object.values(chips).flat().sort((a, b) => b.length - a.length);
  for (const phrase of longestFirst) {
    const place = findPhrase(rest, phrase);
    if (!place) continue;
    rest = `${rest.slice(0, place[0])}\n${rest.slice(place[1])}`;
    found.add(phrase);
  }
  return Object.fromEntries(Object.entries(chips).map(([name, phrases]) => [name, phrases.filter((phrase) => found.has(phrase))]));
}

/** The prompt after its chips were pressed so that `pressed` is chosen; a new choice of a kind takes the old one's place. */
export function withChips(prompt, chips, pressed) {
  const before = chipsIn(prompt, chips);
  const after = {};
  for (const [name, phrases] of Object.entries(pressed)) {
    const fresh = phrases.filter((phrase) => !before[name].includes(phrase));
    after[name] = name !== MANY && fresh.length ? fresh.slice(-1) : phrases;
  }
  const words = Object.values(before).flat().reduce(without, prompt);
  if (!/[^\s,.]/.test(words)) return ORDER.flatMap((name) => after[name] ?? []).join(", "); // made of chips alone

  let text = prompt;
  for (const [name, phrases] of Object.entries(after)) {
    const gone = before[name].filter((phrase) => !phrases.includes(phrase));
    const fresh = phrases.filter((phrase) => !before[name].includes(phrase));
    gone.forEach((phrase, k) => (text = k < fresh.length ? replaced(text, phrase, fresh[k]) : without(text, phrase)));
    for (const phrase of fresh.slice(gone.length)) text = `${text.trim().replace(/[,.]$/, "")}, ${phrase}`;
  }
  return text;
}

/** "an oil painting of", oil painting, pixel art -> "a pixel art of". */
export function replaced(text, phrase, other) {
  const place = findPhrase(text, phrase);
  if (!place) return text;
  const article = /^[aeiou]/i.test(other) ? "an" : "a";
  const left = text.slice(0, place[0]).replace(/(?<![\p{L}\p{N}])(a)n?\s+$/iu, (_, first) => `${first}${article.slice(1)} `);
  return left + other + text.slice(place[1]);
}

/** A text without a phrase, its article, and the "of" or the comma that tied it in. */
export function without(text, phrase) {
  const place = findPhrase(text, phrase);
  if (!place) return text;
  const left = text.slice(0, place[0]).replace(/(?<![\p{L}\p{N}])(?:an?|the|with)\s+$/iu, "");
  const right = text.slice(place[1]).replace(/^\s+of(?![\p{L}\p{N}])/iu, "");
  const comma = /,\s*$/.test(left) && /^\s*,/.test(right);
  const [start, end] = [left.replace(/[\s,]+$/, ""), right.replace(comma || !left.trim() ? /^[\s,]+/ : /^\s+/, "")];
  if (!start || !end) return start + end;
  return start + (comma ? ", " : /^[,.;:!?]/.test(end) ? "" : " ") + end;
}
