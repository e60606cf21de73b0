// The pictures that fit what is looked for, as far as they were asked for: pages of the server's, one after another.

import { page } from "./gallery_server.js";

/** `changed(anew)` is called whenever entries came, went or changed; `anew` after another search. `failed(problem)`. */
export function createList(changed, failed) {
  let wanted = { query: "", show: "all", model: "" };
  let entries = [];
  let places = new Map(); // id -> index
  let cursor = null;
  let count = 0;
  let counts = null; // of every kind that can be shown
  let models = [];
  let asking = new AbortController();
  let walking = null; // the way to pages further down
  let loaded = false;

  function take(next) {
    entries = next;
    places = new Map(entries.map(({ id }, k) => [id, k]));
  }

  /** Looks for something else. The latest answer wins: what was asked before is given up. `anew`: from the top. */
  async function search(next = wanted, anew = true) {
    wanted = { ...wanted, ...next };
    asking.abort();
    asking = new AbortController();
    walking = null;
    const { signal } = asking;
    try {
      const answer = await page(wanted, null, signal);
      if (signal.aborted) return;
      take(answer.pictures);
      ({ cursor, count, counts, models } = answer);
      loaded = true;
      changed(anew);
    } catch (problem) {
      if (!signal.aborted) failed(problem);
    }
  }

  /** Makes sure that the picture at `index` is there, or all if there are not so many. */
  function need(index) {
    if (index < entries.length || !cursor) return Promise.resolve();
    walking ??= walk(index).finally(() => (walking = null));
    return walking.then(() => need(index));
  }

  async function walk(index) {
    const { signal } = asking;
    try {
      while (cursor && index >= entries.length) {
        const answer = await page(wanted, cursor, signal);
        if (signal.aborted) return;
        take([...entries, ...answer.pictures]);
        cursor = answer.cursor;
        changed(false);
      }
    } catch (problem) {
      if (signal.aborted) return;
      cursor = null; // asked again with the next search
      failed(problem);
    }
  }

  /** The index of a picture, for which pages are asked as far down as it would lie: ids begin with their time. -1 if it does not fit. */
  async function reach(id) {
    while (!places.has(id) && cursor && entries.at(-1).id > id) await need(entries.length);
    return places.get(id) ?? -1;
  }

  /**
   * Asks what is new. What was made meanwhile comes on top, without anything else moving out of the list. With `lightly`
   * only the newest and the count are looked at first.
   */
  async function refresh(lightly = false) {
    if (!loaded) return search();
    const { signal } = asking;
    try {
      if (lightly) {
        const newest = await page(wanted, null, signal, 1);
        if (signal.aborted) return undefined;
        // the steps of a picture come a moment after it, which the counts tell
        const isSame = newest.count === count && newest.pictures[0]?.id === entries[0]?.id;
        if (isSame && JSON.stringify(newest.counts) === JSON.stringify(counts)) return undefined;
      }
      const answer = await page(wanted, null, signal);
      if (signal.aborted) return undefined;
      const fresh = answer.pictures.filter(({ id }) => !places.has(id) && (!entries.length || id > entries[0].id));
      const known = answer.pictures.filter(({ id }) => places.has(id));
      const before = JSON.stringify([counts, known.map(({ id }) => entries[places.get(id)])]);
      known.forEach((entry) => (entries[places.get(entry.id)] = entry));
      if (answer.count !== count + fresh.length) return search(wanted, false); // something went, or came from somewhere else
      ({ count, counts, models } = answer);
      if (!fresh.length && JSON.stringify([counts, known]) === before) return undefined;
      take([...fresh, ...entries]);
      return changed(false);
    } catch (problem) {
      if (!signal.aborted) failed(problem);
      return undefined;
    }
  }

  return {
    search,
    need,
    reach,
    refresh,
    all: () => entries,
    at: (index) => entries[index] ?? null,
    place: (id) => places.get(id) ?? -1,
    get: (id) => entries[places.get(id)] ?? null,
    wanted: () => wanted,
    /** {all, favourite, fills, steps, bin}: how many fit the words and the model; null before the first answer. */
    counts: () => counts,
    count: () => Math.max(count, entries.length),
    models: () => models,
    loaded: () => loaded,
    /** What the server was told to do with a picture shows at once. */
    change(id, fields) {
      const index = places.get(id);
      if (index === undefined) return;
      entries[index] = { ...entries[index], ...fields };
      changed(false);
    },
    /** Pictures that are in another list now. */
    drop(ids) {
      const gone = new Set(ids);
      const left = entries.filter(({ id }) => !gone.has(id));
      count -= entries.length - left.length;
      take(left);
      changed(false);
    },
  };
}
