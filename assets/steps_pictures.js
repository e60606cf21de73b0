// Decoded pictures of steps, so that scrubbing draws without asking anybody. The least recently used go first.

import { picture } from "./steps_server.js";

const LIMIT = 192 * 1024 * 1024; // bytes of pixels; a 50-step run's bands at 160 px are 25 MB
const AT_ONCE = 2; // requests in the background; a person's own go past them

const kept = new Map(); // address -> {bitmap, headers, bytes}, oldest use first
const coming = new Map(); // address -> promise
const refused = new Map(); // address -> words of the server
let bytes = 0;

/** The picture if it is here: {bitmap, headers}, otherwise null. */
export function have(address) {
  const found = kept.get(address);
  if (!found) return null;
  kept.delete(address);
  kept.set(address, found);
  return found;
}

/** Why a picture cannot be had, if the server said so. */
export const refusal = (address) => refused.get(address) ?? null;

/** The picture, fetched once however often it is asked for. */
export function want(address) {
  const found = have(address);
  if (found) return Promise.resolve(found);
  if (!coming.has(address)) {
    const promise = picture(address).then(
      (arrived) => {
        coming.delete(address);
        keep(address, arrived);
        return arrived;
      },
      (problem) => {
        coming.delete(address);
        if (problem.status) refused.set(address, problem.message);
        throw problem;
      },
    );
    coming.set(address, promise);
  }
  return coming.get(address);
}

function keep(address, arrived) {
  const entry = { ...arrived, bytes: arrived.bitmap.width * arrived.bitmap.height * 4 };
  kept.set(address, entry);
  bytes += entry.bytes;
  for (const [oldest, { bitmap, bytes: size }] of kept) {
    if (bytes <= LIMIT || oldest === address) break;
    kept.delete(oldest);
    bytes -= size;
    bitmap.close();
  }
}

/** Forgets what was refused: the server may have learnt it meanwhile. */
export const askAgain = () => refused.clear();

/**
 * Fetches in the background, nearest first. `next()` names the address that is wanted most of those that are not here,
 * or null; `arrived(address)` is told of each.
 */
export function createFetcher(next, arrived) {
  let working = 0;
  const busy = new Set();

  async function work() {
    working += 1;
    for (let address = next(busy); address; address = next(busy)) {
      busy.add(address);
      try {
        await want(address);
        arrived(address);
      } catch {
        if (!refusal(address)) break; // nobody answers: the next wish starts anew
      } finally {
        busy.delete(address);
      }
    }
    working -= 1;
  }

  return () => {
    while (working < AT_ONCE) {
      if (!next(busy)) return;
      work();
    }
  };
}
