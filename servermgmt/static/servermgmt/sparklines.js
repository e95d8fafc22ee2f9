// Sparklines: the newest figures of the machine, 0 to 100, drawn as one line each.

const KEPT = 120;
const HEIGHT = 40;

// One gauge of the page: its values, oldest first, null where a figure is missing.
export class Gauge {
  constructor(element) {
    this.element = element;
    this.values = element.dataset.values.split(",").map((text) => (text === "" ? null : Number(text)));
    this.draw();
  }

  add(value, detail) {
    this.values = [...this.values, value ?? null].slice(-KEPT);
    this.show("now", value === null || value === undefined ? "not known" : `${Math.round(value)} %`);
    if (detail !== undefined) this.show("detail", detail);
    this.draw();
  }

  show(name, text) {
    this.element.querySelector(`[data-show=${name}]`).textContent = text;
  }

  draw() {
    const offset = KEPT - this.values.length;
    const points = this.values.flatMap((value, index) =>
      value === null ? [] : [[offset + index, HEIGHT - 1 - (Math.min(value, 100) / 100) * (HEIGHT - 2)]],
    );
    const line = points.map((point) => point.join(",")).join(" ");
    this.element.querySelector("polyline").setAttribute("points", line);
    const [first, last] = [points[0], points.at(-1)];
    const area = points.length ? `${first[0]},${HEIGHT} ${line} ${last[0]},${HEIGHT}` : "";
    this.element.querySelector("polygon").setAttribute("points", area);
  }
}
