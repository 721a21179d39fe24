// Lines drawn from the table beneath each plot. Drag, or the keys + - and arrows, to look closer; 0 for all.
(() => {
  "use strict";
  const NS = "http://www.w3.org/2000/svg";
  const EDGE = { left: 68, right: 14, top: 12, bottom: 44 }; // pixels around the lines
  const DASHES = ["", "7 4", "2 3", "9 3 2 3"];
  const views = new Map(); // by plot: what is looked at, kept when the page is made anew

  const make = (tag, attributes, parent, words) => {
    const found = document.createElementNS(NS, tag);
    for (const [name, one] of Object.entries(attributes)) found.setAttribute(name, one);
    if (words !== undefined) found.textContent = words;
    if (parent) parent.append(found);
    return found;
  };
  const numberOf = (cell) => (cell && cell.textContent !== "" ? Number(cell.textContent) : Number.NaN);

  const places = new Map(); // by label: its colour and dashes, the same in every plot of the page
  const placeOf = (label) => {
    if (!places.has(label)) places.set(label, places.size);
    return places.get(label);
  };
  const linesOf = (figure) => {
    const found = new Map();
    for (const row of figure.querySelector("table.data").tBodies[0].rows) {
      const label = row.cells[0].textContent;
      if (!found.has(label)) found.set(label, []);
      const [x, y, low, high] = [1, 2, 3, 4].map((place) => numberOf(row.cells[place]));
      found.get(label).push({ x, y, low, high });
    }
    return [...found].map(([label, points]) => ({ label, points, place: placeOf(label) }));
  };

  const ticks = (low, high, count, whole) => {
    const rough = Math.max((high - low) / count, whole ? 1 : 0);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
    const found = [];
    for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) found.push(at);
    return found;
  };
  const words = (value, share) => {
    if (share) return `${Number((100 * value).toPrecision(4))} %`;
    const size = Math.abs(value);
    return size !== 0 && (size >= 1e6 || size < 1e-3) ? value.toExponential(1) : String(Number(value.toPrecision(4)));
  };
  const padded = (low, high) => (high > low ? [low, high] : [low - 0.5, high + 0.5]);

  class Plot {
    constructor(figure) {
      this.figure = figure;
      this.lines = linesOf(figure);
      this.share = figure.dataset.share === "1";
      const xs = this.lines.flatMap((line) => line.points.map((point) => point.x));
      this.whole = padded(Math.min(...xs), Math.max(...xs));
      const kept = views.get(figure.id) || {};
      this.view = kept.view || null;
      this.hidden = kept.hidden || new Set();
      this.logarithmic = kept.logarithmic || false;
      this.positive = this.lines.every((line) => line.points.every((point) => !(point.y <= 0)));
      this.build();
      this.draw();
    }

    keep() {
      views.set(this.figure.id, { view: this.view, hidden: this.hidden, logarithmic: this.logarithmic });
    }

    build() {
      const canvas = this.figure.querySelector(".canvas");
      canvas.replaceChildren();
      const caption = this.figure.querySelector("figcaption");
      this.svg = make("svg", { tabindex: "0", role: "img" }, canvas);
      this.svg.setAttribute("aria-label", `${caption.textContent} Keys: plus and minus to zoom, arrows to move, 0 for all.`);
      this.reading = document.createElement("p");
      this.reading.className = "reading";
      this.reading.setAttribute("aria-live", "polite");
      canvas.append(this.reading, this.legend(), this.tools());
      this.svg.addEventListener("keydown", (event) => this.key(event));
      this.svg.addEventListener("pointerdown", (event) => this.grab(event));
      this.svg.addEventListener("pointermove", (event) => this.point(event));
      this.svg.addEventListener("pointerleave", () => { if (!this.from) this.clear(); });
      this.svg.addEventListener("pointerup", (event) => this.drop(event));
      this.svg.addEventListener("pointercancel", () => { this.from = null; this.draw(); });
      this.svg.addEventListener("dblclick", () => this.look(null));
    }

    legend() {
      const keys = document.createElement("div");
      keys.className = "keys";
      for (const line of this.lines) {
        const button = this.button(line.label, () => {
          if (this.hidden.has(line.label)) this.hidden.delete(line.label);
          else this.hidden.add(line.label);
          button.setAttribute("aria-pressed", String(!this.hidden.has(line.label)));
          this.keep();
          this.draw();
        });
        button.setAttribute("aria-pressed", String(!this.hidden.has(line.label)));
        const key = make("svg", { viewBox: "0 0 26 12", class: `key k${line.place % 10}`, "aria-hidden": "true" });
        make("path", { d: "M0 6H26", class: "line", "stroke-dasharray": DASHES[line.place % 4] }, key);
        button.prepend(key);
        keys.append(button);
      }
      return keys;
    }

    tools() {
      const tools = document.createElement("div");
      tools.className = "keys tools";
      tools.append(
        this.button("Zoom in", () => this.zoom(0.5)),
        this.button("Zoom out", () => this.zoom(2)),
        this.button("Show all", () => this.look(null)),
      );
      if (this.positive) {
        const log = this.button("Logarithmic", () => {
          this.logarithmic = !this.logarithmic;
          log.setAttribute("aria-checked", String(this.logarithmic));
          this.keep();
          this.draw();
        });
        log.setAttribute("role", "switch");
        log.setAttribute("aria-checked", String(this.logarithmic));
        tools.append(log);
      }
      return tools;
    }

    button(text, act) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(text);
      button.addEventListener("click", act);
      return button;
    }

    look(view) {
      const [low, high] = this.whole;
      const wide = view && view[1] - view[0] < high - low;
      this.view = wide ? [Math.max(low, view[0]), Math.min(high, view[1])] : null;
      this.keep();
      this.draw();
    }

    zoom(by) {
      const [low, high] = this.view || this.whole;
      const half = ((high - low) * by) / 2;
      this.look([(low + high) / 2 - half, (low + high) / 2 + half]);
    }

    move(by) {
      if (!this.view) return;
      const [low, high] = this.view;
      const step = Math.max(this.whole[0] - low, Math.min(this.whole[1] - high, (high - low) * by));
      this.look([low + step, high + step]);
    }

    key(event) {
      const acts = {
        "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), 0: () => this.look(null),
        ArrowLeft: () => this.move(-0.25), ArrowRight: () => this.move(0.25),
      };
      if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in acts)) return;
      event.preventDefault();
      acts[event.key]();
    }

    at(event) {
      const box = this.svg.getBoundingClientRect();
      const place = ((event.clientX - box.left) / box.width) * this.width;
      const share = (place - EDGE.left) / (this.width - EDGE.left - EDGE.right);
      const [low, high] = this.view || this.whole;
      return low + Math.min(1, Math.max(0, share)) * (high - low);
    }

    grab(event) {
      if (event.button !== 0) return;
      this.from = this.at(event);
      this.svg.setPointerCapture(event.pointerId);
    }

    drop(event) {
      const [from, to] = [this.from, this.at(event)];
      this.from = null;
      const [low, high] = this.view || this.whole;
      if (Math.abs(to - from) > (high - low) * 0.01) this.look([Math.min(from, to), Math.max(from, to)]);
      else this.draw();
    }

    point(event) {
      const x = this.at(event);
      if (this.from !== null && this.from !== undefined) {
        const [left, right] = [Math.min(x, this.from), Math.max(x, this.from)].map(this.toX);
        this.mark("rect", { x: left, y: EDGE.top, width: right - left, height: this.height - EDGE.top - EDGE.bottom, class: "pick" });
        return;
      }
      this.mark("line", { x1: this.toX(x), x2: this.toX(x), y1: EDGE.top, y2: this.height - EDGE.bottom, class: "cursor" });
      const near = (line) => line.points.reduce((best, one) => (Math.abs(one.x - x) < Math.abs(best.x - x) ? one : best));
      const told = this.shown().map((line) => `${line.label}: ${words(near(line).y, this.share)} at ${words(near(line).x)}`);
      this.reading.textContent = told.join("; ");
    }

    mark(tag, attributes) {
      this.clear();
      this.over = make(tag, attributes, this.svg);
    }

    clear() {
      if (this.over) this.over.remove();
      this.reading.textContent = "";
    }

    shown() {
      return this.lines.filter((line) => !this.hidden.has(line.label));
    }

    draw() {
      this.svg.replaceChildren();
      this.width = Math.max(280, this.figure.clientWidth);
      this.height = Math.round(Math.min(360, Math.max(220, this.width * 0.45)));
      this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
      this.reading.textContent = "";
      const [left, right] = this.view || this.whole;
      const inside = this.shown().flatMap((line) => line.points.filter((one) => one.x >= left && one.x <= right));
      const ys = inside.flatMap((one) => [one.y, one.low, one.high]).filter(Number.isFinite);
      const log = this.logarithmic && ys.every((one) => one > 0);
      const scale = log ? Math.log10 : (one) => one;
      const [bottom, top] = padded(...(ys.length ? [Math.min(...ys), Math.max(...ys)].map(scale) : [0, 1]));
      const margin = (top - bottom) * 0.04;
      const [low, high] = [bottom - margin, top + margin];
      const { width, height } = this;
      this.toX = (x) => EDGE.left + ((x - left) / (right - left)) * (width - EDGE.left - EDGE.right);
      this.toY = (y) => height - EDGE.bottom - ((scale(y) - low) / (high - low)) * (height - EDGE.top - EDGE.bottom);
      const integers = (axis) => this.lines.every((line) => line.points.every((one) => Number.isInteger(one[axis])));
      this.axes(ticks(left, right, this.width / 90, integers("x")), ticks(low, high, 6, !log && integers("y")).map((one) => (log ? 10 ** one : one)));
      const clip = `clip-${this.figure.id}`;
      const frame = make("clipPath", { id: clip }, make("defs", {}, this.svg));
      make("rect", { x: EDGE.left, y: EDGE.top, width: width - EDGE.left - EDGE.right, height: height - EDGE.top - EDGE.bottom }, frame);
      const body = make("g", { "clip-path": `url(#${clip})` }, this.svg);
      for (const line of this.shown()) this.line(line, body);
    }

    axes(across, up) {
      const { width, height } = this;
      for (const y of up) {
        make("line", { x1: EDGE.left, x2: width - EDGE.right, y1: this.toY(y), y2: this.toY(y), class: "grid" }, this.svg);
        make("text", { x: EDGE.left - 8, y: this.toY(y) + 4, "text-anchor": "end" }, this.svg, words(y, this.share));
      }
      for (const x of across) {
        make("line", { x1: this.toX(x), x2: this.toX(x), y1: height - EDGE.bottom, y2: height - EDGE.bottom + 5, class: "axis" }, this.svg);
        make("text", { x: this.toX(x), y: height - EDGE.bottom + 19, "text-anchor": "middle" }, this.svg, words(x));
      }
      make("line", { x1: EDGE.left, x2: width - EDGE.right, y1: height - EDGE.bottom, y2: height - EDGE.bottom, class: "axis" }, this.svg);
      make("text", { x: (EDGE.left + width) / 2, y: height - 6, "text-anchor": "middle" }, this.svg, this.figure.dataset.x);
      const middle = (EDGE.top + height - EDGE.bottom) / 2;
      make("text", { x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, this.svg, this.figure.dataset.y);
    }

    line(line, body) {
      const place = (one, y) => `${this.toX(one.x).toFixed(1)} ${this.toY(y).toFixed(1)}`;
      const known = line.points.filter((one) => Number.isFinite(this.toY(one.y)));
      const kind = `k${line.place % 10}`;
      const band = known.filter((one) => Number.isFinite(this.toY(one.low)) && Number.isFinite(this.toY(one.high)));
      if (band.length > 1) {
        const edge = [...band.map((one) => place(one, one.high)), ...band.map((one) => place(one, one.low)).reverse()];
        make("path", { d: `M${edge.join("L")}Z`, class: `band ${kind}` }, body);
      }
      if (known.length === 1) make("circle", { cx: this.toX(known[0].x), cy: this.toY(known[0].y), r: 4, class: `dot ${kind}` }, body);
      else if (known.length) {
        const d = `M${known.map((one) => place(one, one.y)).join("L")}`;
        make("path", { d, class: `line ${kind}`, "stroke-dasharray": DASHES[line.place % 4] }, body);
      }
    }
  }

  let plots = [];
  const prepare = (root) => { plots = [...root.querySelectorAll("figure.plot")].map((figure) => new Plot(figure)); };
  addEventListener("resize", () => plots.forEach((plot) => plot.draw()));
  window.gauntlet = { ...window.gauntlet, plots: { prepare } };
  prepare(document);
})();
