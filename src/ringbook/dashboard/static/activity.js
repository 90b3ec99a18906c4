// The large chart of the overview, drawn by uPlot. Days are those of the browser's time zone.
"use strict";

const EVERY_MS = 60_000;
const card = document.getElementById("activity");
const english = new Intl.NumberFormat("en");
const number = { format: (value) => english.format(value).replaceAll(",", "\u2009") }; // as the server writes numbers
const dayName = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
const shortDay = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const metrics = [...card.querySelectorAll("[data-metric]")];
let chosen = metrics[0].dataset.metric;
let shown = null;
let plot = null;

// The beginnings of days in the browser's time zone, the last one is tomorrow's.
const beginnings = (days, now) => {
  const today = new Date(now * 1000);
  return Array.from({ length: days + 1 }, (_, at) =>
    new Date(today.getFullYear(), today.getMonth(), today.getDate() - days + 1 + at).getTime() / 1000);
};
const summed = (figures, name, starts) => starts.slice(0, -1).map((start, at) => {
  const from = Math.max(0, Math.ceil((start - figures.first) / figures.seconds));
  const to = Math.max(0, Math.ceil((starts[at + 1] - figures.first) / figures.seconds));
  return figures.values[name].slice(from, to).reduce((sum, value) => sum + value, 0);
});
const total = (values) => values.reduce((sum, value) => sum + value, 0);

// The days of the period, with the days before each by as many days.
const byDay = (figures) => {
  const starts = beginnings(2 * figures.days, figures.now);
  const of = (name) => {
    const all = summed(figures, name, starts);
    return { before: all.slice(0, figures.days), now: all.slice(figures.days) };
  };
  return {
    starts: starts.slice(figures.days, -1),
    earlier: starts.slice(0, figures.days),
    values: Object.fromEntries(metrics.map((one) => [one.dataset.metric, of(one.dataset.metric)])),
  };
};

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A box beside the day under the mouse or the finger.
const tooltip = () => {
  const box = document.createElement("div");
  box.className = "plot-tip";
  return {
    hooks: {
      init: (drawn) => {
        box.hidden = true;
        drawn.over.append(box);
        for (const kind of ["touchstart", "touchmove"]) {
          drawn.over.addEventListener(kind, (event) => {
            const area = drawn.over.getBoundingClientRect();
            drawn.setCursor({ left: event.touches[0].clientX - area.left, top: area.height / 2 });
          }, { passive: true });
        }
        drawn.over.addEventListener("mouseleave", () => { box.hidden = true; });
      },
      setCursor: (drawn) => {
        const at = drawn.cursor.idx;
        box.hidden = at === null || at === undefined || drawn.cursor.left < 0;
        if (box.hidden) return;
        const lines = metrics.map((one) => {
          const line = document.createElement("div");
          const values = shown.values[one.dataset.metric];
          line.className = one.dataset.metric === chosen ? "chosen" : "";
          line.append(Object.assign(document.createElement("span"), { textContent: one.dataset.title }),
            Object.assign(document.createElement("b"), { textContent: number.format(values.now[at]) }),
            Object.assign(document.createElement("i"), { textContent: number.format(values.before[at]) }));
          return line;
        });
        const head = document.createElement("p");
        head.append(Object.assign(document.createElement("b"), { textContent: dayName.format(shown.starts[at] * 1000) }),
          Object.assign(document.createElement("span"), { textContent: ` and ${shortDay.format(shown.earlier[at] * 1000)}` }));
        box.replaceChildren(head, ...lines);
        const left = drawn.valToPos(shown.starts[at], "x");
        const room = drawn.over.clientWidth - box.offsetWidth;
        box.style.left = `${Math.max(0, Math.min(left + 12 > room ? left - box.offsetWidth - 12 : left + 12, room))}px`;
      },
    },
  };
};

const options = (width) => {
  const axis = { stroke: colour("--soft"), font: `12px ${getComputedStyle(document.body).fontFamily}`, ticks: { show: false } };
  const grid = { stroke: colour("--line"), width: 1 };
  return {
    width,
    height: width < 500 ? 200 : 260,
    padding: [12, 12, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 8 }, drag: { x: false, y: false } },
    scales: { y: { range: (_, __, most) => [0, Math.max(4, Math.ceil(most * 1.1))] } },
    axes: [
      { ...axis, grid: { show: false }, space: 64, values: (_, at) => at.map((one) => shortDay.format(one * 1000)), size: 28, incrs: [1, 2, 7, 14, 28].map((days) => days * 86_400) },
      { ...axis, grid, size: 46, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7, 1e8], values: (_, at) => at.map((one) => number.format(one)) },
    ],
    series: [
      {},
      { stroke: colour("--soft"), width: 1, dash: [5, 4], points: { show: false } },
      { stroke: colour("--accent"), width: 2, fill: colour("--chart-fill"), points: { show: shown.starts.length <= 30, size: 5, fill: colour("--accent") } },
    ],
    plugins: [tooltip()],
  };
};

const draw = () => {
  const place = card.querySelector(".plot");
  place.hidden = false;
  plot?.destroy();
  const values = shown.values[chosen];
  plot = new uPlot(options(place.clientWidth), [shown.starts, values.before, values.now], place);
};

const fill = (figures) => {
  shown = byDay(figures);
  for (const one of metrics) {
    const { now, before } = shown.values[one.dataset.metric];
    one.querySelector("[data-sum]").textContent = number.format(total(now));
    change(one.querySelector("[data-change]"), total(now), total(before));
  }
  const rows = shown.starts.map((start, at) => {
    const row = document.createElement("tr");
    row.append(Object.assign(document.createElement("th"), { scope: "row", textContent: shortDay.format(start * 1000) }),
      ...metrics.map((one) => Object.assign(document.createElement("td"),
        { className: "number", textContent: number.format(shown.values[one.dataset.metric].now[at]) })));
    return row;
  });
  card.querySelector("tbody").replaceChildren(...rows.reverse());
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  card.querySelector("[data-zone-name]").textContent = zone;
  card.querySelector("[data-zone]").textContent = `· days in ${zone}`;
  draw();
};

const change = (place, now, before) => {
  const percent = before ? Math.round((100 * (now - before)) / before) : 0;
  place.textContent = !before ? (now ? "none before" : "") : percent > 0 ? `↑ ${percent} %` : percent < 0 ? `↓ ${-percent} %` : "as before";
  place.title = `${number.format(before)} in the period before`;
};

const load = async () => {
  const answer = await fetch(card.dataset.figures);
  if (answer.ok) fill(await answer.json());
};

// Each figure is a button that shows its line.
const prepareMetrics = () => metrics.forEach((one) => {
  one.setAttribute("role", "button");
  one.tabIndex = 0;
  const look = () => metrics.forEach((other) => other.setAttribute("aria-pressed", String(other.dataset.metric === chosen)));
  const choose = () => { chosen = one.dataset.metric; look(); if (shown) draw(); };
  one.addEventListener("click", choose);
  one.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); }
  });
  look();
});

prepareMetrics();
card.querySelector(".as-table").open = false;
card.querySelector(".plot-note").hidden = false;
load();
setInterval(load, EVERY_MS);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => shown && draw());
let drawnWidth = 0;
new ResizeObserver(() => {
  const width = card.querySelector(".plot").clientWidth;
  if (shown && width && width !== drawnWidth) { drawnWidth = width; draw(); }
}).observe(card);
