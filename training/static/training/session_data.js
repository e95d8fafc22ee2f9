/* What is known of one session's learning, and where each figure lies over an axis. Whatever comes twice is there once. */

import { getAll, getJSON } from "./api.js";
import { Track } from "./charts.js";

const POINTS = 2000; // of each series, when it is loaded
const MOST_POINTS = 8000; // then it is loaded once more, thinned out
const RELOAD_PAUSE = 60000;

export const seconds = (text) => Date.parse(text) / 1000;

export class SessionData {
  #metrics = new Track(); // by epoch
  #series = new Map(); // tracks by step
  #transitions = new Track(); // by time
  #loadedAt = 0;
  status = null;

  constructor(api) {
    this.api = api;
  }

  /** Get all that has been. Raises Refused. */
  async load(names) {
    this.#loadedAt = Date.now();
    const query = new URLSearchParams({ points: POINTS, ...(names && { names: names.join() }) });
    const [metrics, series, transitions] = await Promise.all([
      getAll(`${this.api}/history?limit=10000`),
      getJSON(`${this.api}/series?${query}`),
      getAll(`${this.api}/transitions?limit=10000`),
    ]);
    metrics.forEach((metric) => this.addMetric(metric));
    series.forEach(({ name, steps, values, timestamps }) => this.#put(name, steps, values, timestamps));
    transitions.forEach((transition) => this.addTransition(transition));
  }

  addMetric(metric) {
    this.#metrics.put(metric.epoch, metric);
  }

  /** A change of its state; that it was submitted is none. */
  addTransition(transition) {
    if (transition.from) this.#transitions.put(seconds(transition.at), transition);
  }

  /** Points as the stream has them. */
  addPoints({ series, timestamp }) {
    for (const [name, { steps, values }] of Object.entries(series)) {
      this.#put(name, steps, values, new Array(steps.length).fill(timestamp));
    }
  }

  #put(name, steps, values, timestamps) {
    if (!this.#series.has(name)) this.#series.set(name, new Track());
    const track = this.#series.get(name);
    steps.forEach((step, index) => track.put(step, { step, value: values[index], at: seconds(timestamps[index]) }));
  }

  /** Whether so much has come that it should be forgotten and loaded anew: a page may be open for days. */
  get isFull() {
    const sizes = [...this.#series.values()].map((track) => track.size);
    return Math.max(0, ...sizes) > MOST_POINTS && Date.now() - this.#loadedAt > RELOAD_PAUSE;
  }

  forgetSeries() {
    this.#series.clear();
  }

  get metrics() {
    return this.#metrics.points;
  }

  get seriesNames() {
    return [...this.#series.keys()].sort();
  }

  /** When it started, in seconds; until then, now. */
  get origin() {
    return seconds(this.status?.start_time ?? new Date().toISOString());
  }

  /** Every epoch has as many steps as the first one. */
  get #stepsPerEpoch() {
    const [first] = this.#series.get("epoch/loss")?.points ?? [];
    if (first) return first.step;
    const { steps_planned: steps, total_epochs: epochs } = this.status ?? {};
    return steps ? steps / epochs : NaN;
  }

  /** A figure of the epochs over an axis, as points of a chart. */
  byEpoch(axis, name) {
    const { origin } = this;
    const perEpoch = this.#stepsPerEpoch;
    const x = {
      epoch: ({ epoch }) => epoch,
      step: ({ epoch }) => epoch * perEpoch,
      time: ({ timestamp }) => seconds(timestamp) - origin,
    }[axis];
    return place(this.metrics, x, (metric) => metric[name]);
  }

  /** A series over an axis, as points of a chart. */
  byStep(axis, name) {
    return place(this.#series.get(name)?.points ?? [], this.#xOfPoint(axis), ({ value }) => value);
  }

  #xOfPoint(axis) {
    const { origin } = this;
    const perEpoch = this.#stepsPerEpoch;
    return {
      epoch: ({ step }) => step / perEpoch,
      step: ({ step }) => step,
      time: ({ at }) => at - origin,
    }[axis];
  }

  /** The changes of its state, where the session was then, as marks of a chart. */
  marks(axis) {
    const { origin } = this;
    const points = this.#series.get("train/loss")?.points ?? [];
    const x = this.#xOfPoint(axis);
    return this.#transitions.points.map(({ to, at }) => {
      if (axis === "time") return { label: to, x: seconds(at) - origin };
      const point = points.findLast((one) => one.at <= seconds(at));
      return { label: to, x: point ? x(point) : 0 };
    });
  }
}

/** Points for a chart, of rows whose place is known. */
export function place(rows, x, y) {
  return rows.map((row) => ({ x: x(row), y: y(row) })).filter((point) => Number.isFinite(point.x));
}
