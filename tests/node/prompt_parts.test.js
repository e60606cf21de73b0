// A prompt as parts: taken out, put back, and read from any text.

import assert from "node:assert/strict";
import test from "node:test";

import { andThis, lessThese, partsOf, segments, styled } from "../../assets/prompt_parts.js";

const CHIPS = { style: ["oil painting", "pixel art"], place: ["lake", "mountain lake"], time: ["at sunset"], lens: ["50mm lens"] };
const phrases = (prompt) => partsOf(prompt, CHIPS).elements.map(({ phrase, category }) => [phrase, category]);

test("a text is cut at commas outside of brackets", () => {
  const texts = (text) => segments(text).map((part) => part.text);
  assert.deepEqual(texts("a, (b, c:1.2), {d, e|f} g , ,h"), ["a", "(b, c:1.2)", "{d, e|f} g", "h"]);
  assert.deepEqual(texts("a \\(b, c\\), d"), ["a \\(b", "c\\)", "d"]);
  assert.deepEqual(texts("((((, a"), ["((((, a"]);
  for (const { text, start, end } of segments(" a , b(c,d) ,, e")) assert.equal(" a , b(c,d) ,, e".slice(start, end), text);
});

test("known phrases are elements of their kind, in the order of the prompt", () => {
  assert.deepEqual(phrases("an oil painting of a Mountain Lake at sunset"), [["oil painting", "style"], ["Mountain Lake", "place"], ["at sunset", "time"]]);
  assert.equal(partsOf("an oil painting of a mountain lake at sunset", CHIPS).base, "");
});

test("what else stands first is the base, and what stands behind it an element of no kind", () => {
  const { base, elements } = partsOf("an old fisherman, 50mm lens, rain, (fog:1.2)", CHIPS);
  assert.equal(base, "an old fisherman");
  assert.deepEqual(elements, [
    { phrase: "50mm lens", category: "lens" },
    { phrase: "rain", category: null },
    { phrase: "(fog:1.2)", category: null },
  ]);
});

test("every element can be taken out of an ordinary sentence", () => {
  const prompt = "an oil painting of a mountain lake at sunset, rain, (fog:1.2)";
  assert.equal(lessThese(prompt, ["at sunset"]), "an oil painting of a mountain lake, rain, (fog:1.2)");
  assert.equal(lessThese(prompt, ["rain", "(fog:1.2)"]), "an oil painting of a mountain lake at sunset");
  for (const [phrase] of phrases(prompt)) assert.ok(!lessThese(prompt, [phrase]).includes(phrase));
});

test("a phrase is put behind what stands there", () => {
  assert.equal(andThis("", "fog"), "fog");
  assert.equal(andThis("a lake, ", "fog"), "a lake, fog");
  assert.equal(andThis("a lake.", "fog"), "a lake, fog");
});

test("a style goes around the prompt or behind it, and only once", () => {
  assert.equal(styled("a lake", "{prompt}, in oil"), "a lake, in oil");
  assert.equal(styled("a $& lake", "oil of {prompt}"), "oil of a $& lake");
  assert.equal(styled("a lake", "in oil"), "a lake, in oil");
  assert.equal(styled("a lake, in oil", "in oil"), "a lake, in oil");
  assert.equal(styled("a lake", " "), "a lake");
});

test("hostile texts come apart in the time of long ones", () => {
  for (const unit of ["(", ",", "a,", "\\", "{|", "lake, ", "mountain lake "]) {
    const text = unit.repeat(4000 / unit.length);
    assert.ok(segments(text).length <= 4000);
    partsOf(text, CHIPS);
  }
});
