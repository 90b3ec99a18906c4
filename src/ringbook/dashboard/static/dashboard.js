// Conveniences. Every page works without this script.
"use strict";

// Copy buttons are hidden unless this script runs.
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break; // browsers allow it on secure connections only
  button.hidden = false;
  button.addEventListener("click", async () => {
    const from = document.getElementById(button.dataset.copy);
    await navigator.clipboard.writeText(from.value ?? from.textContent);
    const label = button.querySelector("span");
    const before = label.textContent;
    label.textContent = "Copied";
    document.getElementById("spoken").textContent = "Copied";
    setTimeout(() => { label.textContent = before; document.getElementById("spoken").textContent = ""; }, 1500);
  });
}

// On a phone the navigation is a row that scrolls: scroll to the current entry.
const place = document.querySelector(".side nav [aria-current]");
if (place && place.closest("nav").scrollWidth > place.closest("nav").clientWidth) {
  place.closest("nav").scrollLeft = place.offsetLeft - place.closest("nav").clientWidth / 2 + place.offsetWidth / 2;
}

// A button that needs a typed confirmation is disabled until it is typed.
for (const input of document.querySelectorAll("[data-typed]")) {
  const button = input.form.querySelector("button[type=submit]");
  const look = () => { button.disabled = input.value.trim() !== input.dataset.typed; };
  input.addEventListener("input", look);
  look();
}

for (const button of document.querySelectorAll("[data-close]")) {
  button.hidden = false;
  button.addEventListener("click", () => button.closest(".toast").remove());
}

// Menus close on a click elsewhere and on Escape.
const close = (except) => {
  for (const menu of document.querySelectorAll("details.switcher[open]")) if (menu !== except) menu.open = false;
};
document.addEventListener("click", (event) => close(event.target.closest("details.switcher")));
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
