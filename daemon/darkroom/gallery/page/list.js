// What is shown: one shot for each picture, or for a result without one; found part by part, the newest first.
"use strict";

Darkroom.list = (function () {
  const { store, words } = Darkroom;
  const FACETS = ["state", "style", "model", "folder"];
  const shots = [];
  const known = new Set(); // ids of entries that have been looked at
  let wish = { words: [], day: null };
  let next = 0; // the part that is looked at next; 0 when all have been
  let turn = 0; // grows with each new wish, which ends the search for the last one
  let looked = 0;
  let busy = null;

  function folderOf(entry) {
    const at = entry.at || "";
    return at.includes("/") ? at.slice(0, at.lastIndexOf("/")) : "";
  }

  /** What a result can be looked for by; "" stands for none. */
  function valuesOf(entry, facet) {
    if (facet === "folder") return [folderOf(entry)];
    if (facet === "style") return entry.styles || [""];
    return [entry[facet] || ""];
  }

  function textOf(entry) {
    if (entry.text === undefined) {
      const error = entry.error || {};
      const varied = (entry.varied || []).map((each) => each[1]);
      const all = [words.painted(entry), ...(entry.painted ? [entry.prompt] : []), ...varied, entry.name, entry.said, error.message, error.hint, error.code];
      entry.text = all.filter((each) => typeof each === "string").join("\n").toLowerCase();
    }
    return entry.text;
  }

  function matches(entry) {
    if (FACETS.some((facet) => wish[facet] !== undefined && !valuesOf(entry, facet).includes(wish[facet]))) return false;
    if (wish.day && !(wish.day[0] <= (entry.time || "") && (entry.time || "") < wish.day[1])) return false;
    return wish.words.every((word) => textOf(entry).includes(word));
  }

  /** Whether a closed part may hold what is wished for, by what the index says of it. */
  function mayHold(summary) {
    if (!summary) return true;
    if (FACETS.some((f) => wish[f] !== undefined && Array.isArray(summary[f]) && !summary[f].includes(wish[f]))) return false;
    return !wish.day || (summary.times[0] < wish.day[1] && wish.day[0] <= summary.times[1]);
  }

  function shotsOf(entry) {
    const images = entry.images || [];
    return images.length ? images.map((_, at) => ({ entry, at })) : [{ entry, at: -1 }];
  }

  /** The day of a date field, from midnight to midnight here, as times are written. */
  function day(text) {
    const start = new Date(`${text}T00:00`);
    if (!text || isNaN(start)) return null;
    const end = new Date(start);
    end.setDate(end.getDate() + 1);
    return [start.toISOString(), end.toISOString()];
  }

  function find(wishes) {
    wish = wishes;
    turn += 1;
    busy = null;
    shots.length = 0;
    known.clear();
    looked = 0;
    next = store.open;
  }

  /** Look on until there are so many shots, or no more parts. `tell` hears of each part. */
  function grow(target, tell) {
    if (!busy) busy = lookOn(target, tell, turn).finally(() => { busy = null; });
    return busy;
  }

  async function lookOn(target, tell, mine) {
    while (next > 0) {
      const number = next;
      if (mayHold(store.summaries.get(number))) {
        if (shots.length >= target) return;
        const entries = await store.read(number);
        if (mine !== turn) return;
        take(entries, shots.length);
        looked += entries.length;
      } else {
        looked += store.summaries.get(number).results;
      }
      next = number - 1;
      tell();
    }
  }

  /** New shots at a place in the list; returns how many. */
  function take(entries, at) {
    const fresh = entries.filter((entry) => !known.has(entry.id));
    fresh.forEach((entry) => known.add(entry.id));
    const found = fresh.filter(matches).flatMap(shotsOf);
    if (at >= shots.length) for (const shot of found) shots.push(shot);
    else shots.unshift(...found);
    return found.length;
  }

  /** What has come since, of parts that are read again. */
  function fresh(entries) {
    return entries.filter((entry) => !known.has(entry.id));
  }

  return {
    FACETS, shots, find, grow, take, fresh, day, valuesOf, matches, folderOf,
    get isComplete() { return next === 0; },
    get looked() { return looked; },
    get isWishing() { return wish.words.length > 0 || Boolean(wish.day) || FACETS.some((f) => wish[f] !== undefined); },
  };
})();
