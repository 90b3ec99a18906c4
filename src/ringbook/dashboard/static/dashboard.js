// Conveniences. Every page works without this script.
"use strict";

const TOAST_MS = 8_000;
const say = (text) => { document.getElementById("spoken").textContent = text; };

// What a page or a replaced part of it needs once.
const prepare = (root) => {
  // Copy buttons are hidden unless this script runs and the browser allows copying: on secure connections only.
  if (navigator.clipboard) for (const button of root.querySelectorAll("[data-copy]")) button.hidden = false;
  for (const button of root.querySelectorAll("[data-close]")) button.hidden = false;
  for (const toast of root.querySelectorAll(".toast.ok")) setTimeout(() => toast.remove(), TOAST_MS); // bad news stay
  // A button that needs a typed confirmation is disabled until it is typed.
  for (const input of root.querySelectorAll("[data-typed]")) {
    const button = input.form.querySelector("button[type=submit]");
    const look = () => { button.disabled = input.value.trim() !== input.dataset.typed; };
    input.addEventListener("input", look);
    look();
  }
  // On a phone a row of links scrolls: scroll to the current entry.
  for (const current of root.querySelectorAll(".side nav [aria-current], .tabs [aria-current]")) {
    const row = current.closest("nav");
    if (row.scrollWidth > row.clientWidth) row.scrollLeft = current.offsetLeft - row.clientWidth / 2 + current.offsetWidth / 2;
  }
  for (const tabs of root.querySelectorAll("[data-tabs]")) prepareTabs(tabs);
  for (const form of root.querySelectorAll("form[data-unsaved]:has([data-invalid])")) mark(form);
};

// Sections below links become tabs.
const prepareTabs = (tabs) => {
  const links = [...tabs.querySelectorAll("a")];
  const panels = links.map((link) => document.getElementById(link.hash.slice(1)));
  const show = (chosen) => links.forEach((link, at) => {
    link.setAttribute("aria-selected", String(at === chosen));
    link.tabIndex = at === chosen ? 0 : -1;
    panels[at].hidden = at !== chosen;
  });
  tabs.setAttribute("role", "tablist");
  links.forEach((link, at) => {
    link.setAttribute("role", "tab");
    link.id = `${panels[at].id}-tab`;
    link.setAttribute("aria-controls", panels[at].id);
    panels[at].setAttribute("role", "tabpanel");
    panels[at].setAttribute("aria-labelledby", link.id);
    link.addEventListener("click", (event) => {
      event.preventDefault();
      show(at);
      history.replaceState(null, "", link.hash);
    });
    link.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (at + step + links.length) % links.length;
      show(next);
      links[next].focus();
    });
  });
  const opened = links.findIndex((link) => "open" in link.dataset);
  show(Math.max(0, opened, links.findIndex((link) => opened < 0 && link.hash === location.hash)));
};

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    const from = document.getElementById(copy.dataset.copy);
    await navigator.clipboard.writeText(from.value ?? from.textContent);
    const label = copy.querySelector("span");
    label.textContent = "Copied";
    say("Copied");
    setTimeout(() => { label.textContent = "Copy"; say(""); }, 1500);
  }
  event.target.closest("[data-close]")?.closest(".toast").remove();
  close(event.target.closest("details.switcher"));
});

// Menus close on a click elsewhere and on Escape.
const close = (except) => {
  for (const menu of document.querySelectorAll("details.switcher[open]")) if (menu !== except) menu.open = false;
};
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    const menu = document.querySelector("details.switcher[open]");
    if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
  }
  const typing = event.target.closest("input, textarea, select");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const search = document.querySelector("input[type=search]");
    if (search) { event.preventDefault(); search.focus(); search.select(); }
  }
});

// ── forms ────────────────────────────────────────────────────────────────────────────────────────────────────────────

// A card is saved without the others, so what was typed in these stays. Whoever leaves with unsaved edits is asked.
const isChanged = (field) => {
  if (field.type === "hidden" || field.type === "submit") return false;
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  if (field.type === "file") return field.files.length > 0;
  if (field.options) return [...field.options].some((option) => option.selected !== option.defaultSelected);
  return field.value !== field.defaultValue;
};
const isUnsaved = (form) => form.querySelector("[aria-invalid], [data-invalid]") !== null || [...form.elements].some(isChanged);
let sending = null;
const mark = (form) => {
  const note = form.querySelector("[data-clean]");
  if (note) note.textContent = isUnsaved(form) ? "Not saved yet." : note.dataset.clean;
};
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-unsaved]");
  if (form) mark(form);
});
document.addEventListener("submit", (event) => { sending = event.target; });
document.addEventListener("htmx:afterRequest", () => { sending = null; });
window.addEventListener("beforeunload", (event) => {
  const unsaved = [...document.querySelectorAll("form[data-unsaved]")].filter((form) => form !== sending);
  if (unsaved.some(isUnsaved)) event.preventDefault();
});
window.addEventListener("pageshow", () => { sending = null; });

// What htmx cannot put into the page, such as "another admin has logged you out", is shown as a page.
document.addEventListener("htmx:responseError", (event) => {
  const form = event.detail.elt;
  if (form.matches("form")) { sending = form; form.submit(); }
});
document.addEventListener("htmx:afterSwap", (event) => {
  prepare(document.getElementById(event.detail.target.id) ?? document);
  prepare(document.getElementById("said") ?? document);
});

// Filters apply at once.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-auto]");
  if (form && event.target.type !== "search") form.requestSubmit();
});

// A download with progress: the lines that have arrived are counted.
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-download]");
  if (!form) return;
  event.preventDefault();
  sending = null;
  const shown = form.querySelector(".progress");
  const button = form.querySelector("button");
  shown.hidden = false;
  button.disabled = true;
  try {
    const file = await download(form, shown);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = form.dataset.download;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  } catch {
    shown.querySelector("[data-count]").textContent = "The export was interrupted. Try again.";
  }
  button.disabled = false;
});
const download = async (form, shown) => {
  const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
  if (!answer.ok) throw new Error(String(answer.status));
  const bar = shown.querySelector("progress");
  const count = shown.querySelector("[data-count]");
  const total = Number(form.dataset.total);
  const parts = [];
  let lines = -1; // without the head
  for (const reader = answer.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    for (const byte of value) if (byte === 10) lines += 1;
    bar.max = Math.max(total, lines, 1);
    bar.value = Math.max(lines, 0);
    count.textContent = `${Math.max(lines, 0).toLocaleString("en")} users`;
  }
  bar.value = bar.max;
  return new Blob(parts, { type: "text/csv" });
};

prepare(document);
