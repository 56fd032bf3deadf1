// What lies beside the page. A page that is a file may read nothing, but it may run scripts: so data are scripts, and
// are read anew through a new tag.
"use strict";

Darkroom.store = (function () {
  const FOLDER = "darkroom-gallery/";
  const summaries = new Map(); // number → what the index says of a closed part
  const parts = new Map(); // number → its entries, the newest first
  const reading = new Map(); // number → promise
  let made = "";
  let open = 0;
  let arrived = null; // what the script that runs now has said
  let tags = 0;
  let queue = Promise.resolve(); // one script at a time: `arrived` is one

  function run(file, verb) {
    const turn = queue.then(() => tag(file, verb));
    queue = turn.catch(() => {});
    return turn;
  }

  function tag(file, verb) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      arrived = null;
      script.src = `${FOLDER}${file}?${Date.now()}-${++tags}`;
      script.onload = () => {
        script.remove();
        if (arrived && arrived.verb === verb) resolve(arrived.texts);
        else reject(new Error(`${file} says nothing`));
      };
      script.onerror = () => {
        script.remove();
        reject(new Error(`${file} is not there`));
      };
      document.head.append(script);
    });
  }

  for (const verb of ["index", "part", "now"]) {
    Darkroom[verb] = (...texts) => { arrived = { verb, texts }; };
  }

  function parsed(text) {
    try {
      const value = JSON.parse(text);
      return value !== null && typeof value === "object" ? value : null;
    } catch {
      return null; // a damaged entry costs that entry
    }
  }

  /** The index; returns whether the gallery has been made anew since. */
  async function readIndex() {
    const [head, ...closed] = (await run("index.js", "index")).map(parsed);
    const isAnew = made !== "" && made !== head.made;
    if (isAnew) {
      parts.clear();
      reading.clear();
      summaries.clear();
    }
    made = head.made;
    open = head.open;
    for (const each of closed) if (each) summaries.set(each.number, each);
    return isAnew;
  }

  function read(number, again) {
    if (parts.has(number) && !again) return Promise.resolve(parts.get(number));
    if (!reading.has(number)) {
      const file = `parts/${made}-${String(number).padStart(5, "0")}.js`;
      const done = (entries) => {
        reading.delete(number);
        parts.set(number, entries);
        return entries;
      };
      const ready = (texts) => done(texts.slice(1).map(parsed).filter((entry) => entry && entry.id).reverse());
      reading.set(number, run(file, "part").then(ready, () => done(parts.get(number) || [])));
    }
    return reading.get(number);
  }

  async function readNow() {
    return parsed((await run("now.js", "now"))[0]);
  }

  /** How many results there are. */
  function total() {
    let sum = (parts.get(open) || []).length;
    for (const each of summaries.values()) sum += each.results;
    return sum;
  }

  return {
    readIndex, read, readNow, total, summaries, parts,
    get made() { return made; },
    get open() { return open; },
  };
})();
