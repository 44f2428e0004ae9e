// Starts the page: filters, addresses and the theme.
"use strict";

const DARK = matchMedia("(prefers-color-scheme: dark)");
let theme = null; // null = the system's theme
let isPrinting = false; // paper is light

const themeNow = () => (isPrinting ? "light" : theme ?? (DARK.matches ? "dark" : "light"));

function showTheme() {
  document.documentElement.dataset.theme = themeNow();
  $("theme").setAttribute("aria-pressed", String(themeNow() === "dark"));
}

function fillFilters() {
  const choices = { task: (row) => row.task, pair: pairOf, method: (row) => row.method };
  for (const [name, of] of Object.entries(choices)) {
    const values = unique(state.sweep.rows.map(of));
    const select = $("filters").elements[name];
    select.replaceChildren(h("option", { value: "" }, `all ${values.length}`),
      ...values.map((value) => h("option", { value }, value)));
    select.closest("label").hidden = values.length < 2;
  }
}

/** Read the filter form, and draw the table and the figures. */
function applyFilters() {
  const { elements } = $("filters");
  for (const name of Object.keys(state.filter)) state.filter[name] = elements[name].value.trim();
  drawTable();
  drawRows();
  clearTimeout(applyFilters.waiting);
  applyFilters.waiting = setTimeout(drawFigures, 150);
}

/** Open the table row of `datum`, if it belongs to one. */
function openRow(datum) {
  const index = chosenRows().findIndex((row) => PLACE.every((name) => row[name] === datum[name]));
  if (index < 0) return;
  const number = state.sweep.rows.indexOf(chosenRows()[index]);
  const button = document.querySelector(`[aria-controls="seeds-${number}"]`);
  if (button.getAttribute("aria-expanded") === "false") button.click();
  button.focus();
  button.scrollIntoView({ block: "center" });
}

function drawSweep() {
  state.sort = { key: null, descending: false };
  fillFilters();
  for (const name of Object.keys(state.filter)) state.filter[name] = "";
  $("filters").elements.text.value = "";
  drawSummary();
  drawTable();
  drawRows();
  drawRuns();
  drawMissing();
  drawData();
  drawEnvironment();
  $("sweep-text").textContent = state.sweep.text;
  frameFigures();
  drawFigures();
}

/** Draw for paper what is not drawn yet, or is drawn in the dark theme; afterwards as before. */
function printing(begins) {
  const before = themeNow(), isDrawn = document.body.dataset.drawn === "all";
  isPrinting = begins;
  showTheme();
  if (begins && (!isDrawn || before !== themeNow())) drawNow();
  else if (!begins && before !== themeNow()) drawFigures();
}

function start() {
  const { made, sweeps } = CONTENT;
  $("made").textContent =
    `Made ${moment(made.at)} UTC by w2s_ray ${made.version} from ${made.store}.`;
  $("sweep").replaceChildren(...sweeps.map((sweep, i) => h("option", { value: i }, sweep.name)));
  $("sweep-choice").hidden = sweeps.length < 2;
  $("sweep").addEventListener("change", () => {
    state.sweep = sweeps[$("sweep").value];
    drawSweep();
  });
  $("filters").addEventListener("input", applyFilters);
  $("pattern").addEventListener("input", () => drawRows());
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", () => setTimeout(applyFilters));
  $("theme").addEventListener("click", () => {
    theme = themeNow() === "dark" ? "light" : "dark";
    showTheme();
    drawFigures();
  });
  DARK.addEventListener("change", () => {
    showTheme();
    drawFigures();
  });
  $("run").addEventListener("close", leaveRun);
  addEventListener("beforeprint", () => printing(true));
  addEventListener("afterprint", () => printing(false));
  addEventListener("hashchange", followAddress);
  showTheme();
  drawSweep();
  followAddress();
}

start();
