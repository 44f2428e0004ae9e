// The live page of `w2s serve`: asks for the version, and reloads the page when there is a new one.
// Filters, the chosen sweep, the theme and the place on the page stay.
"use strict";

const KEPT = "w2s-live", STILL_MS = 3000;
const live = h("output", { id: "live", class: "small" });
let touched = 0; // when the reader last did something

/** The form fields whose values stay; the choice of the sweep fills the others, so it comes first. */
const fields = () => [$("sweep"), ...$("filters").querySelectorAll("select, input")];

function reload() {
  const values = fields().map(({ value }) => value);
  const kept = { values, theme, top: scrollY, height: document.body.scrollHeight };
  sessionStorage.setItem(KEPT, JSON.stringify(kept));
  location.reload();
}

function restore() {
  const kept = JSON.parse(sessionStorage.getItem(KEPT));
  sessionStorage.removeItem(KEPT);
  if (!kept) return;
  kept.values.forEach((value, i) => {
    const field = fields()[i];
    if (field.tagName === "SELECT" && ![...field.options].some((option) => option.value === value)) return;
    if (field.value === value) return;
    field.value = value;
    for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
  });
  if (kept.theme && kept.theme !== themeNow()) $("theme").click();
  document.body.style.minHeight = `${kept.height}px`; // figures are drawn later
  scrollTo(0, kept.top);
}

/** A new version is shown when the reader does nothing; of a sealed test only when wanted. */
function showNew() {
  if (CONTENT.sweeps.some((sweep) => sweep.looks))
    live.replaceChildren(h("button", { type: "button", onclick: reload }, "New results: show them (counts as a look)"));
  else if (Date.now() - touched > STILL_MS) reload();
}

async function check() {
  const headers = { "If-None-Match": `"${CONTENT.live.version}"` };
  const answer = await fetch("/version", { headers, cache: "no-store" });
  live.textContent = answer.ok || answer.status === 304 ? "live" : await answer.text();
  if (answer.ok) showNew();
}

async function follow() {
  if (!document.hidden) await check().catch(() => { live.textContent = "w2s serve has ended"; });
  setTimeout(follow, 1000 * Math.max(1, CONTENT.live.every_s));
}

for (const kind of ["pointerdown", "keydown", "wheel", "scroll"])
  addEventListener(kind, () => { touched = Date.now(); }, { passive: true });
document.querySelector("header.bar").append(live);
restore();
follow();
