// DOM elements and formatted texts. All text is added as text nodes, so no value can become markup.
"use strict";

/** An element with attributes (on… = listener, true = present, null and false = absent). */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  fill(element, attributes, children);
  return element;
}

/** An SVG element with attributes. */
function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  fill(element, attributes, children);
  return element;
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
}

const $ = (id) => document.getElementById(id);

const NONE = "–";
const MINUS = "−";

/** A number with a real minus sign, or a dash. */
const fixed = (value, digits) =>
  value === null || value === undefined ? NONE : value.toFixed(digits).replace("-", MINUS);
const percent = (value) => fixed(value === null || value === undefined ? null : 100 * value, 1);
const ratio = (value) => fixed(value, 2);

/** A format for differences, with a plus sign. */
const signed = (format) => (value) => (value > 0 ? `+${format(value)}` : format(value));

/** An interval as "low to high", with bounds formatted by `format`, or null if there is none. */
const interval = (low, high, format) =>
  low === null || low === undefined ? null : `${format(low)} to ${format(high)}`;

const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** A text as a sentence. */
const sentence = (text) => `${capital(text)}.`;

/** 1 fit, 2 fits. */
const count = (number, one, many = `${one}s`) =>
  `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

/** Seconds as 12 s, 3 min 20 s or 5 h 07 min. */
function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const pad = (n) => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} min`;
}

/** A moment in UTC as 31 January 2026, 14:05. */
function moment(iso, { time = true } = {}) {
  const options = { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" };
  const clock = { hour: "2-digit", minute: "2-digit", hour12: false };
  return new Intl.DateTimeFormat("en-GB", time ? { ...options, ...clock } : options)
    .format(new Date(iso)).replace(" at ", ", ");
}

/** Nested values as [dotted key, text]. */
function flat(values, prefix = "") {
  return Object.entries(values ?? {}).flatMap(([key, value]) => {
    const name = prefix + key;
    const nested = value !== null && typeof value === "object" && Object.keys(value).length > 0;
    if (nested && (!Array.isArray(value) || typeof value[0] === "object"))
      return flat(value, `${name}.`);
    return [[name, valueText(value)]];
  });
}

/** A value of a recipe, a summary or an environment as text. */
function valueText(value) {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return value.map(valueText).join(", ") || "none";
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(6)));
  return typeof value === "object" ? "none" : String(value);
}

/** Pairs of term and text as a list of definitions. */
const definitions = (pairs) =>
  h("dl", {}, pairs.map(([term, ...texts]) => [h("dt", {}, term), h("dd", {}, ...texts)]));

/** A table with its own scroll bar if it is wider than the page. */
const scrolling = (label, table) =>
  h("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, table);
