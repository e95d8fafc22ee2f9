/* The charts of one session: what it learnt, how fast, and what the machine did meanwhile. */

import { getJSON } from "./api.js";
import { ChartGroup, LineChart, Track, connectControls, formatNumber, formatPercent } from "./charts.js";
import { SessionData, place, seconds } from "./session_data.js";

// Series that have a chart of their own; the others can be chosen for the last one.
const CHARTED = ["train/loss", "learning_rate", "epoch/loss", "epoch/accuracy", "epoch/val_loss", "epoch/val_accuracy"];
const FAVOURITE = "gradient_norm";

export class SessionCharts {
  #samples = new Track(); // by time
  #axis = "epoch";
  #isDue = false;

  constructor(root, { api, samplesUrl }) {
    this.data = new SessionData(api);
    this.samplesUrl = samplesUrl;
    const figure = (name) => root.querySelector(`[data-chart=${name}]`);
    this.loss = new LineChart(figure("loss"), { canBeLogarithmic: true });
    this.accuracy = new LineChart(figure("accuracy"), { floor: 0, ceiling: 1 });
    this.rate = new LineChart(figure("rate"), { canBeLogarithmic: true });
    this.other = new LineChart(figure("other"), { canBeLogarithmic: true });
    this.resources = new LineChart(figure("resources"), { formatY: formatPercent, floor: 0, ceiling: 100 });
    this.resources.setAxis("time");
    this.choice = root.querySelector("[name=series]");
    this.choice.addEventListener("change", () => this.draw());
    this.table = root.querySelector("#epochs");
    this.table.closest("details").addEventListener("toggle", () => this.draw());
    this.learning = [this.loss, this.accuracy, this.rate, this.other];
    this.group = new ChartGroup(this.learning);
    const toolbar = root.querySelector(".chart-controls");
    connectControls(toolbar, this.learning, this.group, (axis) => this.#setAxis(axis));
  }

  setStatus(status) {
    this.data.status = status;
    this.draw();
  }

  /** Get all that has been; what came over the stream meanwhile stays. Raises Refused. */
  async load() {
    await this.data.load();
    this.draw();
  }

  /** What the machine did since the session started. Raises Refused. */
  async loadSamples() {
    const start = this.data.status?.start_time;
    if (!start) return;
    const end = this.data.status.end_time ?? new Date().toISOString();
    const samples = await getJSON(`${this.samplesUrl}?${new URLSearchParams({ start, end })}`);
    samples.forEach((sample) => this.addSample(sample));
  }

  addMetric(metric) {
    this.data.addMetric(metric);
    this.draw();
  }

  addPoints(points) {
    this.data.addPoints(points);
    if (this.data.isFull) {
      this.data.forgetSeries();
      this.load().catch(() => {}); // the stream goes on, and the next try comes by itself
    }
    this.draw();
  }

  addTransition(transition) {
    this.data.addTransition(transition);
    this.draw();
  }

  addSample(sample) {
    this.#samples.put(seconds(sample.timestamp), sample);
    this.draw();
  }

  /** Draw what there is, once for all that comes until the next frame. */
  draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      const marks = this.data.marks(this.#axis);
      this.#drawLoss(marks);
      this.#drawAccuracy(marks);
      this.#drawSteps(marks);
      this.#drawResources();
      this.#fillTable();
    });
  }

  #setAxis(axis) {
    this.#axis = axis;
    for (const chart of this.learning) chart.setAxis(axis);
    // The machine's chart is always over the time: then it shows the same stretch as the others.
    this.resources.onZoom = (range) => this.resources.zoom(range);
    this.group.join(axis === "time" ? [...this.learning, this.resources] : this.learning);
    this.group.zoom(null);
    this.draw();
  }

  #drawLoss(marks) {
    const { data } = this;
    const axis = this.#axis;
    const lines = [
      { key: "train/loss", label: "Training, by step", color: 6, width: 1, points: data.byStep(axis, "train/loss") },
      { key: "loss", label: "Training, by epoch", color: 0, dots: true, points: data.byEpoch(axis, "loss") },
      { key: "val_loss", label: "Validation", color: 1, dash: 1, dots: true, points: data.byEpoch(axis, "val_loss") },
    ];
    this.loss.show(lines, marks);
  }

  /** Some problems have no accuracy: once an epoch is known without one, there is no chart. */
  #drawAccuracy(marks) {
    const { metrics } = this.data;
    const points = (name) => this.data.byEpoch(this.#axis, name);
    this.accuracy.figure.hidden = metrics.length > 0 && metrics.every(({ accuracy }) => accuracy === null);
    const lines = [
      { key: "accuracy", label: "Training", color: 0, dots: true, points: points("accuracy") },
      { key: "val_accuracy", label: "Validation", color: 1, dash: 1, dots: true, points: points("val_accuracy") },
    ];
    this.accuracy.show(lines, marks);
  }

  /** The learning rate, and whichever other series is chosen. */
  #drawSteps(marks) {
    const line = (key, label, color) => ({ key, label, color, points: this.data.byStep(this.#axis, key) });
    this.rate.show([line("learning_rate", "Learning rate", 2)], marks);
    const names = this.data.seriesNames.filter((name) => !CHARTED.includes(name));
    if (names.join() !== [...this.choice.options].map(({ value }) => value).join()) {
      const chosen = this.choice.value || FAVOURITE;
      this.choice.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
    }
    this.other.show(this.choice.value ? [line(this.choice.value, this.choice.value, 3)] : [], marks);
  }

  #drawResources() {
    const { origin, status } = this.data;
    const from = status?.start_time ? seconds(status.start_time) : Infinity;
    const to = status?.end_time ? seconds(status.end_time) : Infinity;
    const at = ({ timestamp }) => seconds(timestamp);
    const seen = this.#samples.points.filter((sample) => at(sample) >= from && at(sample) <= to);
    const line = (key, label, color, dash, y) => {
      return { key, label, color, dash, points: place(seen, (sample) => at(sample) - origin, y) };
    };
    const ofGpu = [
      line("gpu", "GPU", 2, 0, (sample) => sample.gpu_usage_percent),
      line("gpu_memory", "GPU memory", 3, 1, gpuMemoryPercent),
    ];
    const lines = [
      line("cpu", "CPU", 0, 0, (sample) => sample.cpu_usage_percent),
      line("memory", "Memory", 1, 1, (sample) => sample.memory_percent),
      ...(seen.some((sample) => sample.gpu_available) ? ofGpu : []),
    ];
    this.resources.show(lines, this.data.marks("time"));
  }

  /** The epochs for whoever reads figures, while the table is open. */
  #fillTable() {
    if (!this.table.closest("details").open) return;
    this.table.replaceChildren(...this.data.metrics.map(rowOf));
  }
}

function rowOf(metric) {
  const row = document.createElement("tr");
  for (const name of ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]) {
    const cell = document.createElement(name === "epoch" ? "th" : "td");
    if (name === "epoch") cell.scope = "row";
    cell.textContent = formatNumber(metric[name]);
    row.append(cell);
  }
  return row;
}

function gpuMemoryPercent({ gpu_memory_used_mb: used, gpu_memory_total_mb: total }) {
  return used === null || !total ? null : (100 * used) / total;
}
