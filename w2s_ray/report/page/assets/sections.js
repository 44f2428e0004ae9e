// The sections around table and figures: summary, runs, failed or missing runs, environment.
"use strict";

const unique = (values) => [...new Set(values)];

function drawSummary() {
  const { sweep } = state, cells = sweep.by_seed;
  const complete = cells.filter(isComplete).length;
  const kinds = [["task", (c) => c.task], ["pair", pairOf], ["method", (c) => c.method], ["seed", (c) => c.seed]];
  const grid = kinds.map(([name, of]) => count(unique(cells.map(of)).length, name)).join(" × ");
  const isStudy = ({ roles }) => roles.includes("study");
  const studies = sweep.runs.filter(isStudy), fits = sweep.runs.filter((run) => !isStudy(run));
  const statuses = ["done", "failed", "pruned", "stopped", "not run"].map((status) =>
    [fits.filter(({ id }) => statusOf(id) === status).length, status]).filter(([n]) => n > 0);
  const trials = fits.filter(({ roles }) => roles.includes("trial")).length;
  const reused = fits.filter((run) => run.reused).length;
  const ended = sweep.runs.filter((run) => !run.reused && runOf(run.id))
    .map(({ id }) => runOf(id).ended_at).sort().at(-1);
  const inReused = reused && sweep.reused_seconds ? `, ${duration(sweep.reused_seconds)} of it in reused fits` : "";
  $("sweep-name").textContent = sweep.name;
  document.title = `${sweep.name} · weak-to-strong report`;
  $("lead").replaceChildren(
    h("p", {}, h("strong", {}, complete === cells.length ? `All ${count(cells.length, "cell")} are complete`
      : `${complete} of ${count(cells.length, "cell")} are complete`), ` (${grid}). `,
      complete === cells.length ? "" : h("a", { href: "#missing" }, "Failed or missing runs, with reasons"),
      complete === cells.length ? "" : "."),
    h("p", {}, `${count(fits.length, "fit")}${trials ? `, including ${count(trials, "trial fit")} of ` +
        `${count(studies.length, "study", "studies")}` : ""}: `,
      statuses.map(([n, status]) => `${n.toLocaleString("en")} ${status}` +
        (status === "done" && reused ? ` (${reused === n ? "all" : reused} reused: done before this sweep first started)` : ""))
        .join(", "),
      `. First started ${moment(sweep.started_at)} UTC`,
      ended ? `, last result ${moment(ended)} UTC` : reused ? ", which trained nothing new" : "",
      sweep.device_seconds ? `; ${duration(sweep.device_seconds)} of device time${inReused}.` : "."),
    sweep.speeds.length ? h("p", {}, `Training speed: ${sweep.speeds.join("; ")}.`) : "",
    ...sweep.savings.map((line) => h("p", {}, sentence(line))));
  drawMethods();
  drawComparisons();
  drawRanks();
}

const isComplete = (cell) =>
  ["weak", "student", "ceiling"].every((role) => cell[`${role}_accuracy`] !== null);

function drawMethods() {
  const span = pgrSpan(state.sweep.rows);
  const noted = (row) => [[row.undefined, "without a gap to recover"], [row.missing, "without a complete seed"],
    [row.small_gaps, "with a gap below 2 points"],
    [row.left_out, "left out: ground truth of the same task and student chose their settings"]]
    .filter(([n]) => n > 0).map(([n, what]) => `${n} ${what}`).join("; ");
  $("methods").replaceChildren(scrolling("Methods", h("table", { class: "methods" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Method"),
      h("th", { scope: "col", class: "number" }, "Median PGR"), scale(span),
      h("th", { scope: "col", class: "number" }, "Rows"),
      h("th", { scope: "col", class: "number" }, "Over its own rows"),
      h("th", { scope: "col", class: "number" }, "Median gain"),
      h("th", { scope: "col" }, "Objective"), h("td", {}))),
    h("tbody", {}, state.sweep.by_method.map((row) => h("tr", {},
      h("th", { scope: "row" }, row.method),
      h("td", { class: "number" }, figure(ratio(row.median_pgr), interval(row.median_low, row.median_high, ratio))),
      h("td", { class: "bar-cell" }, bar(row.median_pgr, row.median_low, row.median_high, span)),
      h("td", { class: "number" }, String(row.cells)),
      h("td", { class: "number" }, `${ratio(row.own_median_pgr)} (${row.own_cells})`),
      h("td", { class: "number" }, gain({
        gain: row.median_gain, gain_low: row.median_gain_low, gain_high: row.median_gain_high })),
      h("td", { class: isHonest(row) ? null : "oracle" }, row.objective),
      h("td", { class: "why" }, noted(row)))))),
    state.sweep.by_method.length < 2 ? ""
      : h("p", { class: "small" }, "Medians are over the tasks and pairs that every method has.")));
}

/** What besides the method differs between the two sides of a comparison. */
const tuning = (each) => [
  each.trials === each.against_trials ? null
    : `tuned with ${each.trials ?? "?"} trials, ${each.against} with ${each.against_trials ?? "?"}`,
  { method: `${each.method} stops early, ${each.against} does not`,
    against: `${each.against} stops early, ${each.method} does not`,
    some: "early stopping differs between rows" }[each.stops_early] ?? null,
  each.differs ? `students differ in ${each.differs}` : null,
];

/** The controls that either side of a comparison does not beat. */
const controls = (each) => [[each.method, each.unbeaten], [each.against, each.against_unbeaten]]
  .filter(([, unbeaten]) => unbeaten !== null)
  .map(([name, unbeaten]) => `${name} does not beat the controls ${unbeaten}`);

/** The difference of each method from the reference method, in PGR and in accuracy. */
function drawComparisons() {
  const { comparisons } = state.sweep;
  const of = (quantity) => comparisons.filter((each) => each.quantity === quantity);
  const accuracies = new Map(of("student_accuracy").map((each) => [each.method, each]));
  const difference = (each, format) => h("td", { class: "number" },
    figure(each.mean === null ? NONE : signed(format)(each.mean),
      interval(each.mean_low, each.mean_high, signed(format))));
  const chance = (p) => h("td", { class: "number" }, p === null ? NONE : p < 0.001 ? "< 0.001" : p.toFixed(3));
  const heads = ["Method", "PGR", "p (Holm)", "Accuracy, points", "p (Holm)", "Rows"];
  $("comparisons").replaceChildren(...(comparisons.length === 0 ? [] : [
    h("h3", {}, `Compared with ${comparisons[0].against}`),
    scrolling("Comparison of methods", h("table", { class: "methods" },
      h("thead", {}, h("tr", {}, heads.map((name, i) =>
        h("th", { scope: "col", class: i ? "number" : null }, name)), h("td", {}))),
      h("tbody", {}, of("pgr").map((each) => {
        const other = accuracies.get(each.method);
        return h("tr", {}, h("th", { scope: "row" }, each.method),
          difference(each, ratio), chance(each.p_holm), difference(other, percent), chance(other.p_holm),
          h("td", { class: "number" }, String(other.rows)),
          h("td", { class: "why" }, unique([...tuning(other), ...controls(other), each.no_interval, each.no_p, other.no_interval,
            other.no_p].filter(Boolean)).join("; ")));
      })))),
    h("p", { class: "small" }, "Mean over tasks and pairs of the method's figure minus the other's, on the " +
      "same seeds and test rows. p is from Wilcoxon's signed-rank test over tasks and pairs, with Holm's " +
      "correction for the compared methods; the test assumes independent tasks and pairs."),
  ]));
}

/** The methods by mean rank, as `w2s rank` prints them. */
function drawRanks() {
  const { ranks } = state.sweep;
  if (!ranks) return $("ranks").replaceChildren();
  const columns = ranks.columns.map((name, i) => [name, (line) => line[i], ranks.numbers.includes(name)]);
  $("ranks").replaceChildren(h("h3", {}, "Ranks"), listed("Ranks of methods", columns, ranks.lines),
    h("p", { class: "small" }, sentence(ranks.title.slice(state.sweep.name.length + 2)), " ",
      ...ranks.notes.map((line) => `${sentence(line)} `)));
}

/** A table of plain cells: columns are [name, value of an item, is a number]. */
const listed = (label, columns, items) => scrolling(label, h("table", { class: "list" },
  h("thead", {}, h("tr", {}, columns.map(([name, , number]) =>
    h("th", { scope: "col", class: number ? "number" : null }, name)))),
  h("tbody", {}, items.map((item) => h("tr", {}, columns.map(([, of, number]) =>
    h("td", { class: number ? "number" : null }, of(item))))))));

const idLink = ({ id }) => runLink(id, id.slice(0, 12), { class: "id" });

function drawRuns() {
  const columns = [
    ["Run", idLink],
    ["What", ({ id, roles }) => runTitle(id, roles)],
    ["Status", ({ id, reused }) => h("span", { class: `status ${statusOf(id)}` }, statusOf(id), reused ? ", reused" : "")],
    ["Test accuracy", ({ id }) => percent(runOf(id)?.summary.test_accuracy ?? null), true],
    ["Steps", ({ id }) => valueText(runOf(id)?.summary.steps ?? NONE), true],
    ["Took", ({ id }) => (runOf(id) ? duration(runOf(id).seconds) : NONE), true],
  ];
  const { runs } = state.sweep;
  const details = h("details", { ontoggle: () => {
    if (details.open && details.childElementCount === 1) details.append(listed("Runs", columns, runs));
  } }, h("summary", {}, `All ${count(runs.length, "run")}, trials included`));
  $("run-list").replaceChildren(details);
}

function drawMissing() {
  const { sweep } = state;
  const failed = sweep.runs.filter(({ id }) => statusOf(id) === "failed");
  const incomplete = sweep.by_seed.filter((cell) => !isComplete(cell));
  const without = sweep.rows.filter((row) => row.pgr === null && row.seeds > 0);
  const retried = sweep.runs.filter(({ id }) => statusOf(id) === "done" && runOf(id).attempts > 1);
  const place = [["Task", (r) => r.task], ["Weak → strong", pairOf], ["Method", (r) => r.method]];
  const parts = [
    ["Failed runs", failed, [["Run", idLink], ["What", ({ id, roles }) => runTitle(id, roles)],
      ["Attempts", ({ id }) => String(runOf(id).attempts), true],
      ["Why", ({ id }) => [runOf(id).cause, runOf(id).reason].filter(Boolean).join(": ")]]],
    ["Incomplete cells", incomplete,
      [...place, ["Seed", (r) => String(r.seed), true], ["Why", (r) => r.reason ?? ""]]],
    ["Rows without a PGR", without, [...place, ["Why", (r) => r.reason ?? ""]]],
    ["Done after more than one attempt", retried, [["Run", idLink], ["What", ({ id, roles }) => runTitle(id, roles)],
      ["Attempts", ({ id }) => String(runOf(id).attempts), true],
      ["Retried after", ({ id }) => Object.entries(runOf(id).retries).map(([c, n]) => `${c} ${n}`).join(", ") || NONE]]],
  ].filter(([, items]) => items.length > 0);
  $("missing-list").replaceChildren(
    ...(failed.length + incomplete.length === 0 ? [h("p", { class: "prose" }, "Nothing failed and nothing is missing.")] : []),
    ...parts.map(([title, items, columns]) =>
      h("div", {}, h("h3", {}, `${title} (${items.length})`), listed(title, columns, items))));
}

/** Every key of the runs' environments; if runs differ, each value with its number of runs. */
function drawEnvironment() {
  const runs = state.sweep.runs.map(({ id }) => runOf(id)).filter(Boolean);
  const values = new Map();
  for (const run of runs)
    for (const [key, value] of flat(environmentOf(run))) {
      if (!values.has(key)) values.set(key, new Map());
      values.get(key).set(value, (values.get(key).get(value) ?? 0) + 1);
    }
  const differing = [...values].filter(([, found]) => found.size > 1);
  const shown = (found) => found.size === 1 ? [...found.keys()][0]
    : [...found].map(([value, n]) => h("div", {}, value, h("span", { class: "dim" }, ` in ${count(n, "run")}`)));
  $("environment-list").replaceChildren(
    h("p", { class: "prose" }, runs.length === 0 ? "Nothing was run yet." : differing.length === 0
      ? "The same for all runs."
      : `Runs differ in ${differing.map(([key]) => key).join(", ")}.`),
    definitions([...differing, ...[...values].filter(([, found]) => found.size === 1)]
      .map(([key, found]) => [key, shown(found)])));
}
