// One run in a dialog: its recipe, results, curves and attempts. Its address is #run=ID.
"use strict";

const SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"; // an identifier; nothing is fetched

const PANELS = [
  { title: "share of rows", format: "~%", metrics: {
    "validation/accuracy": "validation, ground truth",
    "validation/agreement": "validation, labels of the fit",
    "oracle/test_accuracy": "test, if ground truth stopped it here",
    "test/accuracy": "test" } },
  { title: "loss (nats)", format: "~g", metrics: {
    "train/loss": "training",
    "validation/loss": "validation, labels of the fit",
    "validation/log_loss": "validation, ground truth",
    "test/log_loss": "test" } },
  { title: "learning rate", format: "~e", metrics: { "train/lr": "learning rate" } },
];

/** One panel of a run's curves: a line for each metric, a mark where there are few points. */
function panel({ title, format, metrics }, curves, width) {
  const names = Object.keys(metrics).filter((name) => curves[name]);
  if (names.length === 0) return null;
  const values = names.flatMap((name) => curves[name].steps.map((step, i) =>
    ({ step, value: curves[name].values[i], curve: metrics[name], few: curves[name].steps.length <= 20 })));
  const encoding = {
    x: { field: "step", type: "quantitative", title: "step", axis: { grid: false, tickCount: 6, format: "~s" } },
    y: { field: "value", type: "quantitative", title, scale: { zero: false }, axis: { format, tickCount: 4 } },
    color: { field: "curve", type: "nominal", title: null, sort: null,
      scale: { domain: names.map((name) => metrics[name]) },
      legend: names.length > 1 ? { orient: "bottom", columns: width > 420 ? 2 : 1, labelLimit: 0 } : null },
    tooltip: [{ field: "curve" }, { field: "step" }, { field: "value", format: ".4~g" }],
  };
  return { width, height: title === "learning rate" ? 50 : 150, data: { values }, encoding, layer: [
    { mark: { type: "line", strokeWidth: 1.75 } },
    { transform: [{ filter: "datum.few" }], mark: { type: "point", filled: true, size: 45, opacity: 1 } },
  ] };
}

/** The curves of a run and a note on their thinning, or null if it has none. */
function curvesOf(run) {
  const measured = Object.values(run.curves);
  if (measured.length === 0) return null;
  const most = Math.max(...measured.map((curve) => curve.measured));
  const place = h("div", { class: "chart" });
  const thinned = most > CONTENT.made.points
    ? `Curves have up to ${most.toLocaleString("en")} points; at most ${CONTENT.made.points} of them, ` +
      "evenly spaced, and the last are shown. " : "";
  const source = "Nothing is smoothed; all points are in the store's table “metrics”.";
  const drawing = async () => {
    const width = Math.max(220, Math.min(560, place.clientWidth - 80));
    const panels = PANELS.map((each) => panel(each, run.curves, width)).filter(Boolean);
    await draw(place, { $schema: SCHEMA, vconcat: panels, spacing: 14,
      resolve: { scale: { color: "independent" } } }, { label: "Curves of the run" });
    $("run").dataset.drawn = "all";
  };
  return { drawing, element: [place, h("p", { class: "small" }, thinned + source)] };
}

const part = (title, ...children) => h("section", {}, h("h3", {}, title), ...children);

/** The source of the run's labels and its other parents, and the runs that use it. */
function relatedRuns(id, run) {
  const warmStart = new Set(run.recipe.warm_start ?? []);
  const isInitial = (parent) => run.recipe.model === `run:${parent}`;
  const relation = (parent) =>
    warmStart.has(parent) ? "Warm start from" : isInitial(parent) ? "Initial weights from" : "Labels from";
  const parents = run.parents.map((parent) => [relation(parent), runLink(parent, runTitle(parent)), " ", code(parent)]);
  if (run.recipe.labels?.source === "ground_truth") parents.push(["Labels from", "ground truth"]);
  const children = Object.keys(CONTENT.runs).filter((other) => runOf(other).parents.includes(id));
  const items = children.map((other) => h("li", {}, runLink(other, runTitle(other))));
  return [definitions(parents), children.length === 0 ? null : h("details", {},
    h("summary", {}, `Used by ${count(children.length, "run")}`), h("ul", {}, items))];
}

const code = (id) => h("code", {}, id.slice(0, 12));

/** A study's trials, each with its settings and its fits. */
function trialsOf(run) {
  if (run.trials.length === 0) return null;
  return part("Trials", scrolling("Trials", h("table", { class: "inner" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "number" }, "Trial"),
      ["State", "Settings", "Fits"].map((name) => h("th", { scope: "col" }, name)),
      h("th", { scope: "col", class: "number" }, "Value"))),
    h("tbody", {}, run.trials.map((trial) => h("tr", { class: trial.number === run.about.winner ? "winner" : null },
      h("th", { scope: "row", class: "number" }, String(trial.number)),
      h("td", {}, trial.number === run.about.winner ? `${trial.state}, chosen` : trial.state,
        (trial.repeat_of ?? null) === null ? null : `, as trial ${trial.repeat_of}`,
        trial.reason ? h("span", { class: "why" }, ` ${trial.reason}`) : null),
      h("td", {}, flat(trial.settings).map(([name, value]) => h("div", {}, `${name} = ${value}`))),
      h("td", {}, trial.fits.map((fit) => h("div", {}, runLink(fit, fit.slice(0, 12), { class: "id" })))),
      h("td", { class: "number" }, trial.value === null || trial.value === undefined ? NONE : valueText(trial.value))))))));
}

/** The number of attempts, and the failures of the earlier ones. */
function attemptsOf(run) {
  const causes = Object.entries(run.retries).map(([cause, times]) => `${cause} ${times}`).join(", ");
  return part("Attempts",
    h("p", {}, `Tried ${run.attempts === 1 ? "once" : `${run.attempts} times`}` +
      `${causes ? `; tried again after ${causes}` : ""}.`),
    run.tried.length === 0 ? null : h("ul", {}, run.tried.map((attempt) =>
      h("li", {}, `${moment(attempt.ended_at)}: ${attempt.cause ?? attempt.status}`,
        attempt.reason ? `: ${attempt.reason}` : ""))),
    run.traceback ? h("details", {}, h("summary", {}, "Traceback"), h("pre", { tabindex: 0 }, run.traceback)) : null);
}

/** The main figures of a run. */
function headline({ summary, kind, seconds, recipe }) {
  const figures = kind === "study"
    ? [["best value", summary.value], ["trials", summary.trials]]
    : [["test accuracy", summary.test_accuracy === undefined ? undefined : `${percent(summary.test_accuracy)} %`],
      ["loss", recipe.loss?.kind], ["steps", summary.steps]];
  return [...figures.filter(([, value]) => value !== undefined).map(([name, value]) => [name, valueText(value)]),
    ["took", duration(seconds)]];
}

const fold = (title, values) => Object.keys(values).length === 0 ? null
  : h("details", {}, h("summary", {}, title), definitions(flat(values)));

function openRun(id) {
  const run = runOf(id), dialog = $("run");
  const roles = state.sweep.runs.find((each) => each.id === id)?.roles ?? [];
  const curves = curvesOf(run);
  const time = { Started: moment(run.started_at), Ended: moment(run.ended_at),
    Took: duration(run.seconds), "Device time": duration(run.device_seconds) };
  delete dialog.dataset.drawn;
  $("tip").hidden = true;
  document.body.append($("tip"));
  dialog.replaceChildren(
    h("header", {},
      h("div", {}, h("p", { class: "kicker" }, run.kind, " ", h("code", {}, id)),
        h("h2", { id: "run-title" }, runTitle(id, roles))),
      h("form", { method: "dialog" }, h("button", { "aria-label": "Close" }, "Close"))),
    h("p", { class: "headline" },
      h("strong", { class: `status ${run.status}` }, run.status),
      run.cause || run.reason ? h("span", {}, [run.cause, run.reason].filter(Boolean).join(": ")) : null,
      headline(run).map(([name, value]) => h("span", {}, `${name} `, h("strong", {}, value)))),
    h("div", { class: "parts" },
      h("div", {},
        curves ? part("Curves", curves.element) : null,
        trialsOf(run),
        part("Outcome", definitions(flat(run.summary)), definitions(Object.entries(time))),
        attemptsOf(run)),
      h("div", {},
        part("Recipe", h("p", { class: "small" }, "Everything that affects its results; its id is a hash of it."),
          relatedRuns(id, run), definitions(flat(run.recipe))),
        part("How it ran", fold("Execution", run.execution), fold("Environment", environmentOf(run)),
          fold("Stored files (bytes)", run.bytes), fold("Names", run.about)))));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  curves?.drawing();
}

/** Open the run in the page's address, or close the open run. */
function followAddress() {
  const id = /^#run=(.+)$/.exec(location.hash)?.[1];
  if (id && runOf(id)) openRun(id);
  else if ($("run").open) $("run").close();
}

function leaveRun() {
  if (location.hash.startsWith("#run=")) history.replaceState(null, "", "#");
}
