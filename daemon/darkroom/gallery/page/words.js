// Texts and small elements. What people wrote becomes text and nothing else: textContent, in a box of its own direction.
"use strict";

var Darkroom = {};

Darkroom.words = (function () {
  const by = (id) => document.getElementById(id);

  function make(tag, text, className) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  /** An element with somebody's text. */
  function foreign(tag, text, className) {
    const element = make(tag, text, className);
    element.dir = "auto";
    return element;
  }

  /** Change a text only where it is another one, so that a selection in it stays. */
  function set(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  /** "3 min", "40 s". */
  function span(seconds) {
    const s = Math.max(0, Math.round(seconds));
    if (s < 90) return `${s} s`;
    if (s < 5400) return `${Math.round(s / 60)} min`;
    return `${Math.round(s / 3600)} h`;
  }

  function count(number, one, many) {
    return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
  }

  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

  function time(stamp) {
    const when = new Date(stamp);
    return stamp && !isNaN(when) ? full.format(when) : "";
  }

  /** The address of something below the outbox; whatever its name says, it leads nowhere else. */
  function address(...parts) {
    const names = parts.join("/").split("/").filter((name) => name !== "");
    if (names.some((name) => name === "." || name === "..")) return "data:,";
    return "./" + names.map((name) => encodeURIComponent(name.toWellFormed ? name.toWellFormed() : name)).join("/");
  }

  /** The whole prompt that was painted, with what a style put around it. */
  function painted(entry) {
    if (entry.around) return entry.around[0] + (entry.prompt || "") + entry.around[1];
    return entry.painted || entry.prompt || "";
  }

  return { by, make, foreign, set, span, count, time, address, painted };
})();
