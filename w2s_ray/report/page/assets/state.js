// The page's content and its state: the chosen sweep, filter and sorting. It draws nothing.
"use strict";

const CONTENT = JSON.parse($("content").textContent);

/** Rows from columns; a column is a list of values, or different values and each row's index. */
function unpacked({ rows, columns }) {
  const read = Object.entries(columns).map(([name, column]) =>
    [name, Array.isArray(column) ? (i) => column[i] : (i) => column.different[column.among[i]]]);
  return Array.from({ length: rows }, (_, i) => Object.fromEntries(read.map(([name, of]) => [name, of(i)])));
}

for (const { figures, test_rows } of CONTENT.sweeps)
  for (const data of [...figures.map((figure) => figure.data), test_rows])
    for (const name of Object.keys(data)) data[name] = unpacked(data[name]);

const state = {
  sweep: CONTENT.sweeps[0],
  filter: { task: "", pair: "", method: "", text: "" },
  sort: { key: null, descending: false },
};

const pairOf = (row) => `${row.weak} → ${row.strong}`;

/** The text that the text filter searches. */
const textOf = (row) =>
  [row.task, pairOf(row), row.method, row.objective, row.reason ?? ""].join(" ").toLowerCase();

const isChosen = (row) => {
  const { task, pair, method, text } = state.filter;
  return (!task || row.task === task) && (!pair || pairOf(row) === pair) &&
    (!method || row.method === method) &&
    text.toLowerCase().split(/\s+/).every((word) => textOf(row).includes(word));
};

/** The rows of the table that match the filter, in the table's own order. */
const chosenRows = () => state.sweep.rows.filter(isChosen);

const PLACE = ["task", "weak", "strong", "method"];

/**
 * A predicate of a figure's datum: whether some chosen row equals it in those of task, weak, strong
 * and method that the datum has. A datum with none of them matches every filter. Trials of a search
 * for supervisors or ceilings are of no method of the table.
 */
function matcherOf(rows) {
  const known = new Map(), methods = new Set(state.sweep.rows.map((row) => row.method));
  const isOf = (name, value) => ![null, undefined].includes(value) && (name !== "method" || methods.has(value));
  return (datum) => {
    const has = PLACE.filter((name) => isOf(name, datum[name]));
    if (has.length === 0) return true;
    const columns = has.join();
    const key = (row) => JSON.stringify(has.map((name) => String(row[name])));
    if (!known.has(columns)) known.set(columns, new Set(rows.map(key)));
    return known.get(columns).has(key(datum));
  };
}

const runOf = (id) => (Object.hasOwn(CONTENT.runs, id) ? CONTENT.runs[id] : undefined);
const environmentOf = (run) => CONTENT.environments[run.environment];

/** The status of a run. */
const statusOf = (id) => runOf(id)?.status ?? "not run";

/** A run's description: "student l taught by s, naive, on embedded, seed 0". */
function runTitle(id, roles = []) {
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

/** A link that opens a run; plain text if the run was never tried. */
const runLink = (id, text, attributes = {}) =>
  runOf(id) ? h("a", { href: `#run=${id}`, ...attributes }, text) : h("span", attributes, text);
