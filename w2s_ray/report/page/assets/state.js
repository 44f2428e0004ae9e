// What the page holds and which part of it is chosen. It draws nothing: whoever draws listens.
"use strict";

const CONTENT = JSON.parse($("content").textContent);

/** Rows from columns; a column is its values, or different ones and each row's place among them. */
function unpacked({ rows, columns }) {
  const read = Object.entries(columns).map(([name, column]) =>
    [name, Array.isArray(column) ? (i) => column[i] : (i) => column.different[column.among[i]]]);
  return Array.from({ length: rows }, (_, i) => Object.fromEntries(read.map(([name, of]) => [name, of(i)])));
}

for (const { data } of CONTENT.sweeps.flatMap((sweep) => sweep.figures))
  for (const name of Object.keys(data)) data[name] = unpacked(data[name]);

const state = {
  sweep: CONTENT.sweeps[0],
  filter: { task: "", pair: "", method: "", text: "" },
  sort: { key: null, descending: false },
};

const pairOf = (row) => `${row.weak} → ${row.strong}`;

/** What the text filter looks at. */
const textOf = (row) =>
  [row.task, pairOf(row), row.method, row.objective, row.reason ?? ""].join(" ").toLowerCase();

const isChosen = (row) => {
  const { task, pair, method, text } = state.filter;
  return (!task || row.task === task) && (!pair || pairOf(row) === pair) &&
    (!method || row.method === method) &&
    text.toLowerCase().split(/\s+/).every((word) => textOf(row).includes(word));
};

/** The rows of the table that the filter leaves, in the table's own order. */
const chosenRows = () => state.sweep.rows.filter(isChosen);

const PLACE = ["task", "weak", "strong", "method"];

/**
 * A test of a figure's datum: is there a chosen row that it agrees with, in as much of task, weak,
 * strong and method as it has? What has none of them belongs to every choice.
 */
function agreesWith(rows) {
  const known = new Map();
  return (datum) => {
    const has = PLACE.filter((name) => datum[name] !== null && datum[name] !== undefined);
    if (has.length === 0) return true;
    const columns = has.join();
    const key = (row) => JSON.stringify(has.map((name) => String(row[name])));
    if (!known.has(columns)) known.set(columns, new Set(rows.map(key)));
    return known.get(columns).has(key(datum));
  };
}

const runOf = (id) => (Object.hasOwn(CONTENT.runs, id) ? CONTENT.runs[id] : undefined);
const environmentOf = (run) => CONTENT.environments[run.environment];

/** How a run stands in one word. */
const standing = (id) => runOf(id)?.status ?? "not run";

/** What a run is, in its roles: "student l taught by s, naive, on embedded, seed 0". */
function called(id, roles = []) {
  const run = runOf(id);
  if (!run) return roles.join(" and ");
  const { about, recipe } = run;
  const seed = recipe.seed === undefined ? null : `seed ${recipe.seed}`;
  if (run.kind === "study") {
    const pairs = (about.pairs ?? []).map((pair) => pair.join(" → ")).join(", ");
    return ["study", about.method && `of ${about.method}`, about.task && `on ${about.task}`, pairs]
      .filter(Boolean).join(" ");
  }
  const role = (roles.length ? roles : about.roles ?? ["fit"]).join(" and ");
  const taught = about.weak ? ` taught by ${about.weak}` : "";
  const method = about.weak && about.method ? `, ${about.method},` : "";
  return `${role} ${about.model ?? ""}${taught}${method} on ${about.task ?? "?"}` +
    (seed ? `, ${seed}` : "");
}

/** A link that opens a run; plain text where the run was never tried. */
const runLink = (id, text, attributes = {}) =>
  runOf(id) ? h("a", { href: `#run=${id}`, ...attributes }, text) : h("span", attributes, text);
