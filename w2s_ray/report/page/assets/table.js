// The PGR table: it is sorted by its headers and filtered, and every row opens to its seeds.
"use strict";

const COLUMNS = CONTENT.columns.map(({ name, number, field }) => ({
  key: name.toLowerCase(),
  name: name[0].toUpperCase() + name.slice(1),
  number,
  of: (row) => (field in row ? row[field] : pairOf(row)),
}));

/** Rows in the chosen order; rows without a value are last in both directions. */
function sorted(rows) {
  const column = COLUMNS.find(({ key }) => key === state.sort.key);
  if (!column) return rows;
  const sign = state.sort.descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [column.of(a), column.of(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (column.number ? x - y : x.localeCompare(y, "en", { numeric: true }));
  });
}

/** The range of the bars: at least 0 to 1, extended for PGRs and intervals to at most -1 to 2. */
function pgrSpan(rows) {
  const values = rows.flatMap((row) => [row.pgr, row.pgr_low, row.pgr_high])
    .concat(state.sweep.by_method.flatMap((row) => [row.median_pgr, row.median_low, row.median_high]))
    .filter((value) => Number.isFinite(value));
  const low = Math.max(-1, Math.min(0, ...values)), high = Math.min(2, Math.max(1, ...values));
  const margin = 0.04 * (high - low);
  return [low - margin, high + margin];
}

/** A PGR and its interval as a bar, with marks at 0 and 1. */
function bar(value, low, high, [from, to]) {
  const at = (x) => `${(100 * (Math.min(to, Math.max(from, x)) - from)) / (to - from)}%`;
  const mark = (x) => svg("line", { class: "mark", x1: at(x), x2: at(x), y1: 0, y2: "100%" });
  const shown = Number.isFinite(value);
  const [least, most] = [low ?? value, high ?? value];
  const beyond = (x, sign) => svg("text", { class: "beyond", x, y: "50%", "text-anchor": "middle" }, sign);
  return svg("svg", { class: "bar-of", "aria-hidden": "true" }, mark(0), mark(1),
    shown ? svg("line", { class: "range", x1: at(least), x2: at(most), y1: "50%", y2: "50%" }) : null,
    shown && least < from ? beyond("0%", "‹") : null,
    shown && most > to ? beyond("100%", "›") : null,
    shown ? svg("circle", { class: "dot", cx: at(value), cy: "50%", r: 3.6 }) : null);
}

/** A figure with its interval in small type below it; an interval of one seed says so. */
const figure = (text, range, row = {}) => [h("span", { class: "value" }, text), range
  ? h("span", { class: "range" }, row.intervals_over === "examples" ? `${range}; 1 seed` : range)
  : null];

const accuracy = (row, role) => figure(percent(row[`${role}_accuracy`]),
  interval(row[`${role}_low`], row[`${role}_high`], percent), row);

/** A gain in points, with its interval. */
const gain = (row) => figure(row.gain === null ? NONE : signed(percent)(row.gain),
  interval(row.gain_low, row.gain_high, signed(percent)), row);

/** A PGR with its interval; grey, in parentheses, with the reason as its title over a small gap;
 *  grey, with ≈ and the reason as its title, as an estimate of few seeds without an interval. */
function pgr(row) {
  const range = interval(row.pgr_low, row.pgr_high, ratio);
  if (row.pgr === null && (row.pgr_estimate ?? null) !== null)
    return h("span", { class: "dim", title: row.reason }, figure(`≈${ratio(row.pgr_estimate)}`));
  return row.pgr_caution === null ? figure(ratio(row.pgr), range, row)
    : h("span", { class: "dim", title: row.pgr_caution }, figure(`(${ratio(row.pgr)})`, range, row));
}

/** Whether no ground truth of the row's task and student chose its settings. */
const isHonest = (row) => !["oracle", "transfer, same student"].includes(row.objective);

const oracleStopped = (row) => row.oracle_stopped_student === null ? NONE
  : `${row.oracle_stopped_cut ? "≥ " : ""}${percent(row.oracle_stopped_student)} (${ratio(row.oracle_stopped_pgr)})`;

/** One row, and below it its seeds, which are hidden until the row is opened. */
function rowPair(row, span) {
  const id = `seeds-${state.sweep.rows.indexOf(row)}`;
  const seeds = h("tr", { id, class: "seeds", hidden: true });
  const button = h("button", {
    type: "button", class: "open", "aria-expanded": "false", "aria-controls": id,
    "aria-label": `Seeds of ${row.task}, ${pairOf(row)}, ${row.method}`,
  });
  const toggle = () => {
    seeds.hidden = !seeds.hidden;
    button.setAttribute("aria-expanded", String(!seeds.hidden));
    if (!seeds.hidden && !seeds.hasChildNodes())
      seeds.append(h("td", { colspan: COLUMNS.length + 2 }, seedTable(row), notes(row)));
  };
  const shown = h("tr", { class: "row", onclick: (event) => event.target.closest("a") || toggle() },
    h("td", { class: "opener" }, button),
    h("td", { class: "task" }, row.task),
    h("td", { class: "pair" }, pairOf(row)),
    h("th", { class: "method", scope: "row" }, row.method),
    ["weak", "student", "ceiling"].map((role) =>
      h("td", { class: `number ${role}`, "data-name": role }, accuracy(row, role))),
    h("td", { class: "number gain", "data-name": "gain" }, gain(row)),
    h("td", { class: "number pgr", "data-name": "PGR" }, pgr(row)),
    h("td", { class: "bar-cell" },
      row.pgr === null ? h("span", { class: "why", title: row.reason }, row.seeds ? "no clear gap" : "missing") : row.control ? "" : bar(row.pgr, row.pgr_low, row.pgr_high, span)),
    h("td", { class: "number seeds-of" }, `${row.seeds}/${row.of_seeds}`, h("span", { class: "unit" }, " seeds")),
    h("td", { class: `objective ${isHonest(row) ? "" : "oracle"}` },
      row.trials ? `${row.objective}, ${row.trials} trials` : row.objective));
  return [shown, seeds];
}

/** The seeds of a row: each number links to its run; for missing figures there is the reason. */
function seedTable(row) {
  const seeds = state.sweep.by_seed.filter((seed) =>
    PLACE.every((name) => seed[name] === row[name]));
  const noted = seeds.some((seed) => seed.oracle_stopped_student !== null);
  const cell = (seed, role, accuracyOf) => h("td", { class: "number" },
    seed[role] ? runLink(seed[role], accuracyOf === null ? statusOf(seed[role]) : percent(accuracyOf),
      { "aria-label": `${role} of seed ${seed.seed}: ${accuracyOf === null ? statusOf(seed[role]) : percent(accuracyOf)}` })
      : "not known yet");
  return h("table", { class: "inner" },
    h("thead", {}, h("tr", {}, ["Seed", "Weak", "Student", "Ceiling", "Gain", "PGR"].map((name) =>
      h("th", { scope: "col", class: "number" }, name)),
      noted ? h("th", { scope: "col", class: "number dim" }, "Oracle stop") : null,
      h("th", { scope: "col" }, ""))),
    h("tbody", {}, seeds.map((seed) => h("tr", {},
      h("th", { scope: "row", class: "number" }, String(seed.seed)),
      cell(seed, "supervisor", seed.weak_accuracy),
      cell(seed, "student", seed.student_accuracy),
      cell(seed, "ceiling", seed.ceiling_accuracy),
      h("td", { class: "number" }, gain(seed)),
      h("td", { class: "number" }, pgr(seed)),
      noted ? h("td", { class: "number dim" }, oracleStopped(seed)) : null,
      h("td", { class: "why" }, seed.reason ?? (seed.no_intervals ? `no intervals: ${seed.no_intervals}` : ""))))));
}

/** Notes on the numbers of a row. */
function notes(row) {
  const lines = [
    row.student_sd === null ? null : `Standard deviation over seeds: student ${percent(row.student_sd)}` +
      (row.pgr_sd === null ? "." : `, PGR ${ratio(row.pgr_sd)}.`),
    row.intervals_over === "examples" ? "One seed: intervals are over test rows alone." : null,
    row.no_intervals ? `No intervals: ${row.no_intervals}.` : null,
    row.one_class ? sentence(row.one_class) : null,
    row.low_contrast ? sentence(row.low_contrast) : null,
    row.pgr === null ? `No PGR: ${row.reason}.` : null,
    row.pgr === null && row.pgr_estimate !== null
      ? `≈${ratio(row.pgr_estimate)} is an estimate from ${row.seeds} seeds, without an interval; ` +
        (row.enough_seeds === null ? "more seeds would not be enough for this gap; more test rows may be."
          : `about ${row.enough_seeds} seeds would be enough if gap and spread stay as they are.`) : null,
    row.pgr_caution === null ? null : `${row.pgr_caution}; read accuracies and gain.`,
    row.differs_from_ceiling === null ? null
      : `Trained otherwise than its ceiling: ${row.differs_from_ceiling}.`,
    row.differs_from_naive === null ? null
      : `Trained otherwise than naive's student: ${row.differs_from_naive}.`,
    row.unbeaten === null ? null : `Does not beat the controls ${row.unbeaten}.`,
  ].filter(Boolean);
  return lines.map((line) => h("p", { class: "small" }, line));
}

/** A header as a button; a second press reverses the order, a third restores the table's own. */
function header(column) {
  const sorting = state.sort.key === column.key;
  const direction = !sorting ? "none" : state.sort.descending ? "descending" : "ascending";
  const press = () => {
    const first = Boolean(column.number);
    if (!sorting) state.sort = { key: column.key, descending: first };
    else if (state.sort.descending === first) state.sort = { key: column.key, descending: !first };
    else state.sort = { key: null, descending: false };
    drawTable();
    document.querySelector(`#pgr th[data-column="${column.key}"] button`).focus();
  };
  return h("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": direction,
    "data-column": column.key }, h("button", { type: "button", onclick: press }, column.name));
}

/** The scale of the bars, as a separate header. */
function scale([from, to]) {
  const at = (x) => `${(100 * (x - from)) / (to - from)}%`;
  return h("th", { class: "bar-cell", "aria-hidden": "true" }, svg("svg", { class: "bar-of" },
    [0, 1].map((x) => svg("text", { x: at(x), y: "80%", "text-anchor": "middle" }, String(x)))));
}

/** The controls below the methods' rows, under a heading of their own. */
function controlRows(rows, span) {
  if (rows.length === 0) return [];
  return [h("tr", {}, h("td", {}), h("th", { scope: "rowgroup", colspan: COLUMNS.length + 1 }, "Controls")),
    ...sorted(rows).map((row) => rowPair(row, span))];
}

function drawTable() {
  const rows = chosenRows(), methods = rows.filter((row) => !row.control);
  const span = pgrSpan(state.sweep.rows.filter((row) => !row.control));
  const heads = COLUMNS.flatMap((column) =>
    column.key === "pgr" ? [header(column), scale(span)] : [header(column)]);
  $("pgr").replaceChildren(rows.length === 0
    ? h("p", { class: "note" }, "No row matches this filter.")
    : scrolling("PGR table", h("table", { class: "pgr-table" },
      h("thead", {}, h("tr", {}, h("td", {}), heads)),
      h("tbody", {}, sorted(methods).map((row) => rowPair(row, span)),
        controlRows(rows.filter((row) => row.control), span)))));
  $("count").value = `${rows.length} of ${count(state.sweep.rows.length, "row")}`;
  const means = {
    transfer: "transfer: settings found with ground truth of other pairs or tasks",
    "transfer, same student": "transfer, same student: ground truth of the same task and strong model, " +
      "with another supervisor, chose the settings, so the row is in no median where a method has others",
    weak_validation: "weak_validation: settings chosen by weak labels alone",
    oracle: "oracle: the cell's own ground truth chose the settings or the stopping point, " +
      "so it is an upper bound and not a method's result",
  };
  const used = Object.keys(means).filter((name) => rows.some((row) => row.objective === name));
  const single = rows.some((row) => row.intervals_over === "examples");
  const without = rows.filter((row) => row.no_intervals).length;
  const unbeaten = rows.filter((row) => row.unbeaten !== null).length;
  const looks = state.sweep.looks;
  $("table-notes").replaceChildren(looks ? h("div", {}, `${looks}.`) : "", ...used.map((name) => h("div", {}, `${means[name]}.`)),
    single ? h("div", {}, "With one seed, intervals are over test rows alone.") : "",
    without ? h("div", {}, `${count(without, "row has", "rows have")} no intervals; open a row for the reason.`) : "",
    unbeaten ? h("div", {}, `${count(unbeaten, "row does", "rows do")} not beat every control; open a row for them.`) : "");
}
