// The data section: rows, lengths in tokens, baselines and first rows of each task.
"use strict";

const PARTS = { supervisor_half: "Supervisor half", student_half: "Student half", validation: "Validation", test: "Test" };

const partOf = (entry, name) => entry.parts.find(({ part }) => part === name);
const baselineOf = (entry, name) => entry.baselines.find((each) => each.name === name)?.accuracy ?? null;

/** The share of class 1 in a part; "sealed", or a dash where there are no two classes. */
function balance(entry, part) {
  const { classes, rows } = partOf(entry, part);
  if (classes === null) return entry.sealed && part === "test" ? "sealed" : NONE;
  return "0" in classes && "1" in classes && Object.keys(classes).length === 2 && rows
    ? percent(classes["1"] / rows) : NONE;
}

/** A row for each task: its parts, their balance, and what simple rules reach. */
function dataTable(entries) {
  const size = (entry, part) => partOf(entry, part).rows.toLocaleString("en");
  const halves = (entry) => `${size(entry, "supervisor_half")} + ${size(entry, "student_half")}`;
  const shared = ({ shared }) => (shared.near_copies === null ? NONE : shared.near_copies.toLocaleString("en"));
  const accuracy = (title, name) => [title, (entry) => percent(baselineOf(entry, name)), true];
  const half = (entry) => balance(entry, "student_half") === NONE ? balance(entry, "validation") : balance(entry, "student_half");
  return listed("Tasks", [
    ["Task", ({ task }) => task], ["Form", ({ form }) => form], ["Halves", halves, true],
    ["Validation", (entry) => size(entry, "validation"), true], ["Test", (entry) => size(entry, "test"), true],
    ["Class 1, %", half, true], ["Near copies", shared, true], accuracy("Majority", "majority"),
    accuracy("Length", "length alone"), accuracy("Words", "bag of words"),
  ], entries);
}

/** A histogram of lengths as bars, with the limit as a line where it lies within. */
function lengthBars({ edges, counts, limit, longest, shortest }) {
  const width = 140, height = 28, most = Math.max(...counts), each = width / counts.length;
  const bars = counts.map((n, i) => svg("rect", { class: "dot", x: i * each, width: Math.max(1, each - 1),
    y: height * (1 - n / most), height: (height * n) / most },
    svg("title", {}, `${edges[i]} to ${edges[i + 1] - 1} tokens: ${count(n, "text")}`)));
  const at = (width * (limit + 1 - edges[0])) / (edges.at(-1) - edges[0]);
  const line = limit < longest && limit >= shortest
    ? svg("line", { class: "limit", x1: at, x2: at, y1: 0, y2: height }) : null;
  return svg("svg", { class: "lengths", viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `Lengths from ${shortest} to ${longest} tokens` }, ...bars, line);
}

/** The lengths of each kind of text, with a row for each group of models that read it alike. */
function lengthTables({ lengths }) {
  const columns = [
    ["Models", ({ models, counted }) => `${models.join(", ")}${counted ? "" : " (estimated from words)"}`],
    ...[["Limit", "limit"], ["Shortest", "shortest"], ["Median", "median"], ["95 % up to", "most_95"], ["Longest", "longest"]]
      .map(([title, name]) => [title, (each) => each[name].toLocaleString("en"), true]),
    ["Truncated, %", ({ truncated }) => percent(truncated), true], ["", lengthBars],
  ];
  return unique(lengths.map(({ what }) => what)).map((kind) => {
    const alike = lengths.filter(({ what }) => what === kind);
    return [h("h4", {}, `Tokens of ${alike[0].texts.toLocaleString("en")} ${kind}`), listed(`Tokens of ${kind}`, columns, alike)];
  });
}

const baselinesTable = ({ baselines }) => baselines.length === 0 ? null : listed("Baselines", [
  ["Without a model", ({ name }) => name], ["Accuracy, %", ({ accuracy }) => percent(accuracy), true],
  ["How", ({ how }) => how],
], baselines);

const weakLabelsTable = ({ weak_labels }) => weak_labels.length === 0 ? null : [
  h("h4", {}, "Weak labels of the student half"),
  listed("Weak labels", [
    ["Supervisor", ({ model }) => model], ["Seeds", ({ fits }) => String(fits), true],
    ["Class 1, %", ({ class_1 }) => percent(class_1), true],
    ["Spread", ({ spread }) => ratio(spread), true], ["Mean |p − 0.5|", ({ distance }) => ratio(distance), true],
    ["", ({ low_contrast }) => (low_contrast === null ? "" : `these labels lie close together (${low_contrast})`)],
  ], weak_labels)];

const partsTable = (entry) => {
  const names = unique(entry.parts.flatMap(({ classes }) => Object.keys(classes ?? {})));
  const title = (name) => (entry.form === "pairs" ? { 0: "Second is better", 1: "First is better" }[name] : `Class ${name}`);
  const classes = names.length > 12 ? [] : names.map((name) =>
    [title(name), (part) => (part.classes === null ? "sealed" : (part.classes[name] ?? 0).toLocaleString("en")), true]);
  const answers = entry.parts.some((part) => part.answers !== null)
    ? [["Different answers", (part) => (part.answers === null ? NONE : part.answers.toLocaleString("en")), true]] : [];
  return listed("Rows", [["Part", ({ part }) => PARTS[part]], ["Rows", ({ rows }) => rows.toLocaleString("en"), true],
    ...classes, ...answers, ["Groups", ({ groups }) => groups.toLocaleString("en"), true]], entry.parts);
};

/** The first rows of each class, each text as a block. */
function firstRows({ rows, shown_to }) {
  if (!CONTENT.made.texts) return h("p", { class: "note" }, "Rows are left out of this page (--no-texts).");
  const note = ({ length, truncated }) =>
    `${length === null ? "" : `, ${count(length, "token")}`}${truncated ? ", read from its end only" : ""}`;
  return rows.length === 0 ? null : [
    h("h4", {}, shown_to === null ? "First rows" : `First rows, as ${shown_to} reads them`),
    ...rows.map(({ part, id, label, texts }) => h("div", { class: "shown-row" },
      h("p", { class: "small" }, [PARTS[part], id, label].filter(Boolean).join(", "), texts.length === 1 ? note(texts[0]) : ""),
      texts.map((text) => [texts.length === 1 ? null : h("p", { class: "small" }, `${text.name}${note(text)}`),
        h("pre", { class: "text", tabindex: 0 }, text.text)])))];
}

function taskDetails(entry, open) {
  if (entry.missing) return h("p", { class: "note" }, `${entry.task}: ${entry.missing}.`);
  const line = (text) => h("li", {}, text);
  return h("details", { open }, h("summary", {}, h("strong", {}, entry.task), ` split ${entry.fingerprint}`),
    entry.remarks.length ? h("ul", { class: "remarks" }, entry.remarks.map(line)) : null,
    h("h4", {}, "Rows"), partsTable(entry), h("ul", { class: "small" }, entry.sentences.map(line)),
    lengthTables(entry),
    h("h4", {}, "Baselines"), baselinesTable(entry), h("p", { class: "small" }, `${capital(entry.measured)}.`),
    weakLabelsTable(entry), firstRows(entry));
}


function drawData() {
  const { data } = state.sweep, known = data.filter((entry) => !entry.missing);
  $("data-list").replaceChildren(...[known.length > 1 ? dataTable(known) : null,
    ...data.map((entry) => taskDetails(entry, known.length === 1))].filter(Boolean));
}
