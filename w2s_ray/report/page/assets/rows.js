// The test rows on which the three models differ most, filtered like the table and by pattern.
"use strict";

const MODELS = ["supervisor", "student", "ceiling"];
const ROWS_AT_ONCE = 25;
const CUT = 180; // characters of a text that are shown; the whole text is its title

/** A pattern such as 011 in words. */
const patternText = (pattern) =>
  MODELS.map((model, i) => `${model} ${pattern[i] === "1" ? "right" : "wrong"}`).join(", ");

/** The choices of the filter by pattern, with the number of all test rows of the chosen cells. */
function fillPatterns(matches) {
  const counts = new Map();
  for (const { pattern, count: number } of state.sweep.test_rows.counts.filter(matches))
    counts.set(pattern, (counts.get(pattern) ?? 0) + number);
  const chosen = $("pattern").value;
  const total = [...counts.values()].reduce((sum, number) => sum + number, 0);
  const share = (number) => `${((100 * number) / total).toFixed(number < total ? 1 : 0)} %`;
  $("pattern").replaceChildren(h("option", { value: "" }, "any"),
    ...[...counts].sort(([, a], [, b]) => b - a).map(([pattern, number]) =>
      h("option", { value: pattern }, `${patternText(pattern)} (${share(number)} of all rows)`)));
  $("pattern").value = counts.has(chosen) ? chosen : "";
}

/** The text of a row, cut, with the whole as its title; its id where texts are left out. */
function rowText({ text, example }) {
  if (text === null) return h("code", {}, example);
  const whole = CONTENT.texts[text];
  return whole.length <= CUT ? whole : h("span", { title: whole }, `${whole.slice(0, CUT)}…`);
}

/** What a model predicts, and whether it is right. */
function prediction(row, model, i) {
  const right = row.pattern[i] === "1";
  const value = typeof row[model] === "number" ? ratio(row[model]) : row[model];
  return h("td", { class: "number", "data-name": model },
    value === null ? null : h("span", { class: "value" }, value),
    h("span", { class: right ? "range" : "range wrong" }, right ? "right" : "wrong"));
}

function drawRows(most = ROWS_AT_ONCE) {
  const { rows, counts } = state.sweep.test_rows, matches = matcherOf(chosenRows());
  $("test-rows").hidden = counts.length === 0;
  if (counts.length === 0) return;
  fillPatterns(matches);
  const pattern = $("pattern").value;
  const found = rows.filter((row) => matches(row) && (!pattern || row.pattern === pattern))
    .sort((a, b) => b.difference - a.difference);
  const several = (of) => unique(state.sweep.test_rows.counts.map(of)).length > 1;
  const columns = [
    ["Text", (row) => h("td", { class: "text" }, rowText(row))],
    ["Truth", (row) => h("td", { class: "number" }, row.truth ?? NONE), true],
    ...MODELS.map((model, i) => [capital(model), (row) => prediction(row, model, i), true]),
    ["Difference", (row) => h("td", { class: "number" }, ratio(row.difference)), true],
    several((row) => row.task) ? ["Task", (row) => h("td", {}, row.task)] : null,
    several(pairOf) ? ["Weak → strong", (row) => h("td", {}, pairOf(row))] : null,
    several((row) => row.method) ? ["Method", (row) => h("td", {}, row.method)] : null,
  ].filter(Boolean);
  const more = found.length > most
    ? h("button", { type: "button", onclick: () => drawRows(most + 4 * ROWS_AT_ONCE) }, "Show more") : "";
  $("row-count").value = `${Math.min(most, found.length)} of ${count(found.length, "row")}`;
  $("test-row-list").replaceChildren(found.length === 0
    ? h("p", { class: "note" }, "No row matches this filter.")
    : scrolling("Test rows", h("table", { class: "list" },
      h("thead", {}, h("tr", {}, columns.map(([name, , number]) =>
        h("th", { scope: "col", class: number ? "number" : null }, name)))),
      h("tbody", {}, found.slice(0, most).map((row) => h("tr", {}, columns.map(([, of]) => of(row))))))), more);
}
