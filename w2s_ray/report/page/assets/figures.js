// The figures: Vega-Lite specifications, drawn in the page's theme from the filtered data.
"use strict";

const EMBED = {
  ast: true, // expressions are interpreted, since the page's policy forbids eval
  renderer: "svg",
  defaultStyle: false,
  i18n: { SVG_ACTION: "SVG", PNG_ACTION: "PNG" },
  tooltip: showTip,
  logLevel: 1, // errors only; Vega warns of every axis without data
  actions: { export: { svg: true, png: true }, source: false, compiled: false, editor: false },
};

/** A mark's tooltip, beside the pointer and inside the window; of several runs only the number. */
function showTip(handler, event, item, value) {
  const tip = $("tip");
  tip.hidden = !value || typeof value !== "object";
  if (tip.hidden) return;
  const entries = Object.entries(value).filter(([, text]) => !["", "null", null, undefined].includes(text));
  const short = (name, text) => {
    const ids = String(text).split(" ");
    return name === "runs" && ids.length > 1 ? `${ids.length}, in the table` : String(text);
  };
  tip.replaceChildren(definitions(entries.map(([name, text]) => [name, short(name, text)])));
  ($("run").open ? $("run") : document.body).append(tip); // an open dialog covers the rest of the page
  const { width, height } = tip.getBoundingClientRect(), away = 14;
  const left = event.clientX + away + width > innerWidth ? event.clientX - away - width : event.clientX + away;
  const top = event.clientY + away + height > innerHeight ? event.clientY - away - height : event.clientY + away;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, top)}px`;
}

const SHRUNK = 0.6; // smallest share of its own width that a figure is drawn at; below it scrolls
const BESIDE = 0.8; // the share at which figures stand side by side

/** Draw `spec` in `element`; a figure around it gets the width of the drawing. */
async function draw(element, spec, { label, onclick = null }) {
  const config = { ...CONTENT.themes[themeNow()], background: "transparent", padding: 4 };
  const { view } = await vegaEmbed(element, { ...spec, config }, EMBED);
  const drawn = element.querySelector("svg"), width = drawn.width.baseVal.value;
  drawn.setAttribute("aria-label", label);
  drawn.style.minWidth = `${SHRUNK * width}px`;
  for (const save of element.querySelectorAll(".vega-actions a"))
    save.setAttribute("aria-label", `Save ${label} as ${save.textContent}`);
  const frame = element.closest("figure");
  if (frame) frame.style.flexBasis = `${BESIDE * width}px`;
  if (frame) frame.style.maxWidth = `max(${width}px, 24rem)`;
  if (onclick) view.addEventListener("click", (_, item) => item?.datum && onclick(item.datum));
}

/** The figure's specification with the data that match the chosen rows, or null if none does. */
function filteredSpec({ spec, data }, rows) {
  const matches = matcherOf(rows);
  const chosen = Object.entries(data).map(([name, all]) => [name, all.filter(matches)]);
  return chosen.every(([, remaining]) => remaining.length === 0) ? null
    : { ...spec, datasets: Object.fromEntries(chosen) };
}

/** Open a mark's run, or the row of the table that it shows. */
function openMark(datum) {
  const ids = String(datum.run_id ?? datum.runs ?? "").split(" ").filter(runOf);
  if (ids.length === 1) location.hash = `run=${ids[0]}`;
  else openRow(datum);
}

let drawing = 0;

/** Distance of an element from the visible part of the page, in pixels. */
function distance(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return Math.max(0, top - innerHeight, -bottom);
}

/** Each shown frame of the sweep's figures, with the function that draws its figure. */
function drawings() {
  const rows = chosenRows(), waiting = new Map();
  for (const figure of state.sweep.figures) {
    const spec = filteredSpec(figure, rows), frame = $(figureId(figure.name));
    frame.hidden = spec === null;
    const options = { label: figure.title, onclick: openMark };
    if (spec) waiting.set(frame, () => draw(frame.querySelector(".chart"), spec, options)
      .catch((error) => showError(frame, error)));
  }
  const hidden = state.sweep.figures.length - waiting.size;
  $("figures-left-out").hidden = hidden === 0;
  $("figures-left-out").textContent = `${count(hidden, "figure has", "figures have")} no data for this filter.`;
  return waiting;
}

/** Draw all figures of the sweep in turn, the nearest first; a newer call ends an older one. */
async function drawFigures() {
  const mine = ++drawing, waiting = drawings();
  delete document.body.dataset.drawn;
  while (waiting.size > 0) {
    const next = [...waiting.keys()].reduce((a, b) => (distance(b) < distance(a) ? b : a));
    await waiting.get(next)();
    waiting.delete(next);
    await new Promise((go) => setTimeout(go));
    if (mine !== drawing) return;
  }
  document.body.dataset.drawn = "all";
}

/** Draw all figures at once. They are complete when the caller's event has been handled. */
function drawNow() {
  ++drawing;
  for (const drawn of drawings().values()) drawn();
  document.body.dataset.drawn = "all";
}

function showError(frame, error) {
  const note = h("p", { class: "note" }, `This figure can't be drawn: ${error.message}`);
  frame.querySelector(".chart").replaceChildren(note);
  console.error(frame.id, error);
}

const figureId = (name) => `figure-${name.replace(/[^\w-]/g, "-")}`;

/** An entry of the index for each kind of figure; figures of one kind, one for each task, share it. */
function figureIndex(figures) {
  const tasks = unique(state.sweep.rows.map(({ task }) => `: ${task}`));
  const kindOf = ({ title }) => title.slice(0, title.length - (tasks.find((task) => title.endsWith(task)) ?? "").length);
  const kinds = unique(figures.map(kindOf));
  const link = ({ name }, text) => h("a", { href: `#${figureId(name)}` }, text);
  return kinds.map((kind) => {
    const [first, ...others] = figures.filter((figure) => kindOf(figure) === kind);
    if (others.length === 0) return h("li", {}, link(first, first.title));
    return h("li", {}, `${kind}: `, [first, ...others].flatMap((figure, i) =>
      [i ? ", " : "", link(figure, figure.title.slice(kind.length + 2) || "all")]));
  });
}

/** Create empty frames for the sweep's figures, and an index if there are several. */
function frameFigures() {
  const { figures } = state.sweep;
  $("figure-index").hidden = figures.length < 4;
  $("figure-index").replaceChildren(...figureIndex(figures));
  $("charts").replaceChildren(...figures.map(({ name, title, caption }) =>
    h("figure", { id: figureId(name) }, h("h3", {}, title), h("div", { class: "chart" }),
      h("figcaption", {}, caption))));
  $("figures").hidden = figures.length === 0;
}
