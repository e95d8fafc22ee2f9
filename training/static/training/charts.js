/* Line charts around Chart.js, which the page has loaded: lines that can be smoothed, zoomed, hidden and read aloud. */

const DASHES = [[], [7, 4], [2, 3], [10, 4, 2, 4]];
const COLORS = 8; // --chart-1 … in charts.css
const NARROWEST_DRAG = 5; // pixels; less is a click
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400];
const DAY = 86400;
const ROUND_STEPS = Array.from({ length: 48 }, (_, number) => [1, 2, 5][number % 3] * 10 ** (Math.floor(number / 3) - 2));

/** Points by their key (a step, an epoch, a time): one that comes twice is there once. */
export class Track {
  #points = new Map();
  #ordered = [];

  put(key, point) {
    this.#points.set(key, point);
    this.#ordered = null;
  }

  clear() {
    this.#points.clear();
    this.#ordered = [];
  }

  get size() {
    return this.#points.size;
  }

  /** The points in the order of their keys. */
  get points() {
    this.#ordered ??= [...this.#points].sort(([one], [other]) => one - other).map(([, point]) => point);
    return this.#ordered;
  }
}

/** The moving average of values, whose first ones are not drawn towards zero; null stays a gap. */
export function smooth(values, weight) {
  let sum = 0;
  let counted = 0;
  return values.map((value) => {
    if (value === null || !Number.isFinite(value)) return null;
    sum = weight * sum + (1 - weight) * value;
    counted += 1;
    return sum / (1 - weight ** counted);
  });
}

export function formatNumber(value) {
  if (value === null || !Number.isFinite(value)) return "–";
  if (value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 1e6)) return value.toExponential(2);
  return value.toLocaleString("en", { maximumSignificantDigits: 4 });
}

export function formatPercent(value) {
  return value === null ? "–" : `${formatNumber(value)} %`;
}

/** Seconds for people: 45 s, 3 min 20 s, 2 h 5 min, 3 d 4 h. */
export function formatSeconds(seconds) {
  const whole = Math.round(Math.abs(seconds));
  const parts = [
    [Math.floor(whole / DAY), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  const shown = first < 0 ? [[0, "s"]] : parts.slice(first, first + 2).filter(([count]) => count > 0);
  return (seconds < 0 && whole ? "−" : "") + shown.map(([count, unit]) => `${count} ${unit}`).join(" ");
}

/** What the points of a chart's lines are drawn over. */
export const AXES = {
  epoch: { title: "Epoch", format: formatNumber, steps: ROUND_STEPS },
  step: { title: "Step", format: (value) => value.toLocaleString("en"), steps: ROUND_STEPS },
  time: { title: "Time since the start", format: formatSeconds, steps: TIME_STEPS },
};

/** Of every line the point that is nearest to the pointer, however different their points are. */
Chart.Interaction.modes.nearestOfEach = (chart, event) => {
  const { x } = Chart.helpers.getRelativePosition(event, chart);
  const wanted = chart.scales.x.getValueForPixel(x);
  return chart
    .getSortedVisibleDatasetMetas()
    .filter((meta) => !chart.data.datasets[meta.index].isBackground && meta.data.length)
    .map((meta) => {
      const index = nearest(chart.data.datasets[meta.index].data, wanted);
      return { element: meta.data[index], datasetIndex: meta.index, index };
    })
    .filter(({ element }) => !element.skip);
};

function nearest(points, x) {
  let low = 0;
  let high = points.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle].x < x) low = middle + 1;
    else high = middle;
  }
  return low > 0 && x - points[low - 1].x < points[low].x - x ? low - 1 : low;
}

/**
 * One chart in a <figure> with a <canvas> and, if its lines are to be switched, an element with the class chart-legend.
 *
 * A line is {key, label, color, dash, width, dots, points: [{x, y}]}, its points in order; color and dash are numbers.
 */
export class LineChart {
  #lines = [];
  #marks = [];
  #hidden = new Set();
  #smoothing = 0;
  #range = null;
  #drag = null;

  /** formatY writes a value; floor and ceiling bound the values; canBeLogarithmic says whether their logarithm helps. */
  constructor(figure, { formatY = formatNumber, floor, ceiling, canBeLogarithmic = false } = {}) {
    this.figure = figure;
    this.canvas = figure.querySelector("canvas");
    this.name = figure.dataset.name;
    this.formatY = formatY;
    this.canBeLogarithmic = canBeLogarithmic;
    this.isLogarithmic = false;
    this.onZoom = (range) => this.zoom(range);
    this.canvas.setAttribute("role", "img");
    this.chart = new Chart(this.canvas, {
      type: "line",
      data: { datasets: [] },
      options: this.#options(floor, ceiling),
      plugins: [{ id: "marks", beforeDatasetsDraw: () => this.#drawMarks(), afterDraw: () => this.#drawDrag() }],
    });
    this.setAxis("epoch");
    this.#listen();
    new MutationObserver(() => this.#render()).observe(document.documentElement, { attributeFilter: ["class"] });
  }

  #options(floor, ceiling) {
    return {
      animation: false,
      parsing: false,
      normalized: true,
      maintainAspectRatio: false,
      interaction: { mode: "nearestOfEach", intersect: false },
      elements: { point: { radius: 0, hitRadius: 0, hoverRadius: 4 }, line: { borderJoinStyle: "round" } },
      scales: {
        x: { type: "linear", bounds: "data", suggestedMin: 0, title: { display: true }, ticks: { maxRotation: 0 }, grid: { drawTicks: false } },
        y: { type: "linear", suggestedMin: floor, suggestedMax: ceiling, ticks: { callback: (value) => this.formatY(value) } },
      },
      plugins: {
        legend: { display: false },
        tooltip: {
          callbacks: {
            title: ([item]) => (item ? `${this.axis.title} ${this.axis.format(item.parsed.x)}` : ""),
            label: (item) => ` ${item.dataset.label}: ${this.formatY(item.parsed.y)}`,
          },
        },
      },
    };
  }

  /** What x means from now on: a name of AXES. The zoom ends. */
  setAxis(name) {
    this.axis = AXES[name];
    this.#range = null;
    const x = this.chart.options.scales.x;
    x.title.text = this.axis.title;
    x.ticks.callback = (value) => this.axis.format(value);
    x.afterBuildTicks = (scale) => placeTicks(scale, this.axis.steps);
  }

  /** Draw these lines in place of those that there were, and an upright one at each of the marks, [{x, label}]. */
  show(lines, marks = []) {
    this.#lines = lines;
    this.#marks = marks;
    this.chart.options.scales.x.suggestedMax = Math.max(1, ...marks.map(({ x }) => x));
    this.#render();
    this.#renderLegend();
    this.#describe();
  }

  setSmoothing(weight) {
    this.#smoothing = weight;
    this.#render();
  }

  setLogarithmic(isWanted) {
    this.isLogarithmic = isWanted && this.canBeLogarithmic;
    this.chart.options.scales.y.type = this.isLogarithmic ? "logarithmic" : "linear";
    this.#render();
  }

  /** Show a part of the x axis, {from, to}, or with null all of it. */
  zoom(range) {
    this.#range = range;
    this.#render();
  }

  /** The part of the x axis that is seen. */
  get range() {
    const { min, max } = this.chart.scales.x;
    return { from: min, to: max };
  }

  get isZoomed() {
    return this.#range !== null;
  }

  #render() {
    const look = readLook();
    this.chart.data.datasets = this.#lines
      .filter((line) => !this.#hidden.has(line.key))
      .flatMap((line) => this.#datasets(line, look.colors[line.color % COLORS]));
    const { x, y } = this.chart.options.scales;
    [x.min, x.max] = [this.#range?.from, this.#range?.to];
    for (const scale of [x, y]) {
      Object.assign(scale.grid ?? (scale.grid = {}), { color: look.grid });
      Object.assign(scale.ticks, { color: look.text, font: { family: look.font, size: 11 } });
      scale.border = { color: look.grid };
    }
    Object.assign(x.title, { color: look.text, font: { family: look.font, size: 11 } });
    this.look = look;
    this.chart.update("none");
  }

  /** A line, and behind it what it was smoothed from. */
  #datasets(line, color) {
    const dataset = {
      key: line.key,
      label: line.label,
      borderColor: color,
      backgroundColor: color,
      borderWidth: line.width ?? 2,
      borderDash: DASHES[(line.dash ?? 0) % DASHES.length],
      pointRadius: line.dots && line.points.length <= 60 ? 3 : line.points.length === 1 ? 3 : 0,
    };
    const values = line.points.map(({ y }) => y);
    if (!this.#smoothing || line.points.length < 3) return [{ ...dataset, data: this.#plotted(line.points, values) }];
    const smoothed = smooth(values, this.#smoothing);
    const faint = `${color}40`;
    return [
      { ...dataset, pointRadius: 0, data: this.#plotted(line.points, smoothed) },
      {
        ...dataset,
        key: `${line.key} as measured`,
        isBackground: true,
        borderColor: faint,
        backgroundColor: faint,
        borderWidth: 1,
        pointRadius: 0,
        data: this.#plotted(line.points, values),
      },
    ];
  }

  #plotted(points, values) {
    const isShown = (y) => y !== null && (!this.isLogarithmic || y > 0);
    return points.map(({ x }, index) => ({ x, y: isShown(values[index]) ? values[index] : NaN }));
  }

  #renderLegend() {
    const legend = this.figure.querySelector(".chart-legend");
    if (!legend) return;
    const wanted = this.#lines.map(({ key, label }) => `${key}\n${label}`).join("\n");
    if (legend.dataset.shown === wanted) return; // whoever is on one of its buttons stays there
    legend.dataset.shown = wanted;
    legend.replaceChildren(...this.#lines.map((line) => this.#switchOf(line)));
  }

  #switchOf(line) {
    const button = document.createElement("button");
    const swatch = document.createElement("span");
    button.type = "button";
    button.className = "chart-switch";
    button.setAttribute("aria-pressed", String(!this.#hidden.has(line.key)));
    swatch.className = `chart-swatch chart-color-${(line.color % COLORS) + 1} ${line.dash ? "chart-swatch-dashed" : ""}`;
    swatch.setAttribute("aria-hidden", "true");
    button.append(swatch, line.label);
    button.addEventListener("click", () => {
      if (!this.#hidden.delete(line.key)) this.#hidden.add(line.key);
      button.setAttribute("aria-pressed", String(!this.#hidden.has(line.key)));
      this.#render();
    });
    return button;
  }

  /** Say in words what the lines show. */
  #describe() {
    const sentences = this.#lines.map(({ label, points }) => {
      const seen = points.filter(({ y }) => y !== null);
      if (!seen.length) return `${label}: nothing yet.`;
      const values = seen.map(({ y }) => y);
      const [first, last] = [values[0], values.at(-1)].map(this.formatY);
      const lowest = this.formatY(values.reduce((one, other) => Math.min(one, other)));
      const highest = this.formatY(values.reduce((one, other) => Math.max(one, other)));
      return `${label}: from ${first} to ${last}, lowest ${lowest}, highest ${highest}.`;
    });
    this.canvas.setAttribute("aria-label", `${this.name}. ${sentences.join(" ")}`);
    this.figure.toggleAttribute("data-empty", this.#lines.every(({ points }) => points.length === 0));
  }

  // --- Drawing beside the lines ---

  #drawMarks() {
    if (!this.#marks.length) return;
    const { ctx, chartArea, scales } = this.chart;
    ctx.save();
    ctx.font = `11px ${this.look.font}`;
    ctx.strokeStyle = ctx.fillStyle = this.look.mark;
    ctx.setLineDash([3, 3]);
    let free = chartArea.left; // labels do not lie on each other
    for (const { x, label } of this.#marks) {
      const pixel = scales.x.getPixelForValue(x);
      if (pixel < chartArea.left - 0.5 || pixel > chartArea.right + 0.5) continue;
      ctx.beginPath();
      ctx.moveTo(pixel, chartArea.top);
      ctx.lineTo(pixel, chartArea.bottom);
      ctx.stroke();
      const width = ctx.measureText(label).width;
      const left = Math.min(pixel + 4, chartArea.right - width);
      if (left < free) continue;
      ctx.fillText(label, left, chartArea.top + 10);
      free = left + width + 8;
    }
    ctx.restore();
  }

  #drawDrag() {
    if (!this.#drag) return;
    const { ctx, chartArea } = this.chart;
    const [left, right] = this.#dragged();
    ctx.save();
    ctx.fillStyle = `${this.look.colors[0]}30`;
    ctx.fillRect(left, chartArea.top, right - left, chartArea.bottom - chartArea.top);
    ctx.restore();
  }

  // --- Zooming by hand ---

  #listen() {
    const pixel = (event) => {
      const { left, right } = this.chart.chartArea;
      return Math.min(right, Math.max(left, event.clientX - this.canvas.getBoundingClientRect().left));
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.canvas.setPointerCapture(event.pointerId);
      this.#drag = { from: pixel(event), to: pixel(event) };
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.#drag) return;
      this.#drag.to = pixel(event);
      this.chart.draw();
    });
    this.canvas.addEventListener("pointerup", () => this.#endDrag());
    this.canvas.addEventListener("pointercancel", () => {
      this.#drag = null; // it was the page that was moved
      this.chart.draw();
    });
    this.canvas.addEventListener("dblclick", () => this.onZoom(null));
  }

  #dragged() {
    return [this.#drag.from, this.#drag.to].sort((one, other) => one - other);
  }

  #endDrag() {
    if (!this.#drag) return;
    const [left, right] = this.#dragged();
    this.#drag = null;
    if (right - left < NARROWEST_DRAG) return void this.chart.draw();
    const { x } = this.chart.scales;
    this.onZoom({ from: x.getValueForPixel(left), to: x.getValueForPixel(right) });
  }
}

/** Charts over the same x axis: what is done with one is done with all. */
export class ChartGroup {
  constructor(charts) {
    this.join(charts);
  }

  /** Be these charts from now on. */
  join(charts) {
    this.charts = charts;
    for (const chart of charts) chart.onZoom = (range) => this.zoom(range);
  }

  zoom(range) {
    for (const chart of this.charts) chart.zoom(range);
  }

  /** Show `factor` as much of the axis, moved by a `share` of it. */
  look(factor, share = 0) {
    const { from, to } = (this.charts.find((chart) => !chart.figure.hidden) ?? this.charts[0]).range;
    const middle = (from + to) / 2 + share * (to - from);
    const half = (factor * (to - from)) / 2;
    this.zoom({ from: middle - half, to: middle + half });
  }
}

const LOOKS = { in: [0.5], out: [2], left: [1, -0.25], right: [1, 0.25] };

/** Let a toolbar (chart_controls.html) steer charts and the zoom of their group; onAxis is told which axis is chosen. */
export function connectControls(toolbar, charts, group, onAxis) {
  const smoothing = toolbar.querySelector("[name=smoothing]");
  const logarithmic = toolbar.querySelector("[name=logarithmic]");
  const apply = () => {
    toolbar.querySelector("output").textContent = smoothing.value;
    for (const chart of charts) {
      chart.setSmoothing(Number(smoothing.value));
      chart.setLogarithmic(logarithmic.checked);
    }
  };
  smoothing.addEventListener("input", apply);
  logarithmic.addEventListener("change", apply);
  for (const choice of toolbar.querySelectorAll("[name=axis]")) {
    choice.addEventListener("change", () => onAxis(choice.value));
  }
  for (const button of toolbar.querySelectorAll("[data-look]")) {
    const look = LOOKS[button.dataset.look];
    button.addEventListener("click", () => (look ? group.look(...look) : group.zoom(null)));
  }
  apply(); // a browser may remember what was chosen before
  onAxis(toolbar.querySelector("[name=axis]:checked").value);
}

/** Ticks at round values, wherever the scale begins. */
function placeTicks(scale, steps) {
  const span = scale.max - scale.min;
  const most = Math.max(2, Math.floor(scale.width / 90));
  const step = steps.find((size) => span / size <= most) ?? Math.ceil(span / most / DAY) * DAY;
  scale.ticks = [];
  for (let value = Math.ceil(scale.min / step) * step; value <= scale.max; value += step) scale.ticks.push({ value });
}

/** The colors and the font of the page as it is now, light or dark. */
function readLook() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    colors: Array.from({ length: COLORS }, (_, number) => read(`--chart-${number + 1}`)),
    text: read("--chart-text"),
    grid: read("--chart-grid"),
    mark: read("--chart-mark"),
    font: getComputedStyle(document.body).fontFamily,
  };
}
