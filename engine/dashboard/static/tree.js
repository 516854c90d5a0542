// The evolution tree on a canvas: thousands of designs, zoom, drag, and all of it by keyboard.

import { fill, h, link } from "./dom.js";
import { percent } from "./format.js";

const PAD = { left: 76, right: 40, top: 18, bottom: 18 };
const BUCKETS = 24;
const MOST_ZOOM = 400;
const LINE = 14;
const [REJECTED, DISQUALIFIED] = [1, 2];

const mixed = (from, to, share) => from.map((value, i) => Math.round(value + (to[i] - value) * share));
const rgb = (parts) => `rgb(${parts.join(",")})`;
const parsed = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

const palette = () => {
  const { bad, middle, good, muted, text, surface, grid } = coloured({
    bad: "var(--bad)", middle: "var(--middle)", good: "var(--good)", muted: "var(--muted)",
    text: "var(--text)", surface: "var(--surface)", grid: "var(--edge)",
  });
  const ramp = Array.from({ length: BUCKETS }, (_, i) => {
    const t = (2 * i) / (BUCKETS - 1) - 1;
    return rgb(t < 0 ? mixed(parsed(middle), parsed(bad), -t) : mixed(parsed(middle), parsed(good), t));
  });
  return { ramp, muted, text, surface, grid };
};

export const evolutionTree = (onOpen, brief) => {
  const canvas = h("canvas", {
    tabindex: 0, role: "application", "aria-roledescription": "evolution tree",
    "aria-label": "Evolution tree. Arrow keys walk to parent, child and neighbours, Enter opens the design, plus and minus zoom.",
  });
  const panel = h("div", { class: "chosen", "aria-live": "polite" });
  const buttons = h("div", { class: "switch" },
    [["+", "Zoom in", () => zoom(1.6)], ["−", "Zoom out", () => zoom(1 / 1.6)], ["Fit", "Show all designs", () => fit()],
      ["Best", "Go to the best design", () => choose(indexOf.get(data?.best), true)]]
      .map(([text, label, act]) => h("button", { type: "button", "aria-label": label, title: label, on: { click: act } }, text)));
  const element = h("div", { class: "tree" }, buttons, canvas, panel);

  let data = null, indexOf = new Map(), children = [], chosen = null, colours = palette();
  let camera = { x: 0, y: 0, sx: 1, sy: 1 }, size = { w: 0, h: 0 }, frame = 0, touched = false;

  const px = (i) => camera.x + data.x[i] * camera.sx;
  const py = (i) => camera.y + data.y[i] * camera.sy;
  const label = (i) => data.names[data.design[i]] ?? `#${data.design[i]}`;
  const scale0 = () => ({
    sx: (size.w - PAD.left - PAD.right) / Math.max(1, data.generations - 1),
    sy: (size.h - PAD.top - PAD.bottom) / Math.max(1, data.lines - 1),
  });
  const radius = (i) => Math.max(2.2, Math.min(7, 2.6 + camera.sy * 0.16)) + (data.rung[i] ?? 0) * 1.4;

  const draw = () => {
    frame = 0;
    if (!data || !size.w) return;
    const ratio = devicePixelRatio || 1;
    const g = canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, size.w, size.h);
    const inside = (x, y, m = 30) => x > -m && y > -m && x < size.w + m && y < size.h + m;
    edges(g, false, inside);
    edges(g, true, inside);
    dots(g, inside);
    labels(g, inside);
  };
  const redraw = () => { frame ||= requestAnimationFrame(draw); };

  const edges = (g, primary, inside) => {
    g.beginPath();
    g.strokeStyle = colours.grid;
    g.lineWidth = primary ? 1.2 : 0.9;
    g.setLineDash(primary ? [] : [2, 4]);
    data.parents.forEach((parents, i) => {
      const x = px(i), y = py(i);
      parents.forEach((parent, place) => {
        const from = indexOf.get(parent);
        if (from === undefined || (place === 0) !== primary) return;
        const [a, b] = [px(from), py(from)];
        if (!inside(x, y, 200) && !inside(a, b, 200) && !crosses(a, b, x, y)) return;
        const mid = (a + x) / 2;
        g.moveTo(a, b);
        g.bezierCurveTo(mid, b, mid, y, x, y);
      });
    });
    g.stroke();
    g.setLineDash([]);
  };
  const crosses = (a, b, x, y) =>
    Math.min(a, x) < size.w && Math.max(a, x) > 0 && Math.min(b, y) < size.h && Math.max(b, y) > 0;

  const dots = (g, inside) => {
    const buckets = new Map();
    for (let i = 0; i < data.design.length; i++) {
      const x = px(i), y = py(i);
      if (!inside(x, y)) continue;
      const key = data.state[i] ? "x" : data.fitness[i] === null ? "o" : bucket(data.fitness[i]);
      if (!buckets.has(key)) buckets.set(key, []);
      buckets.get(key).push([x, y, radius(i)]);
    }
    const order = ["x", "o", ...Array.from({ length: BUCKETS }, (_, i) => i)];
    for (const key of order) {
      const found = buckets.get(key);
      if (!found) continue;
      g.beginPath();
      for (const [x, y, r] of found) {
        if (key === "x") {
          const d = Math.min(r, 3.4);
          g.moveTo(x - d, y - d); g.lineTo(x + d, y + d); g.moveTo(x + d, y - d); g.lineTo(x - d, y + d);
        } else {
          g.moveTo(x + r, y); g.arc(x, y, r, 0, 7);
        }
      }
      if (typeof key === "number") { g.fillStyle = colours.ramp[key]; g.fill(); g.strokeStyle = colours.surface; g.lineWidth = 0.8; g.stroke(); }
      else { g.strokeStyle = colours.muted; g.lineWidth = 1.2; g.stroke(); }
    }
  };
  const bucket = (fitness) => {
    const share = Math.max(-1, Math.min(1, fitness / data.limit));
    return Math.round(((share + 1) / 2) * (BUCKETS - 1));
  };

  const labels = (g, inside) => {
    const text = (i, bold, y = py(i)) => {
      const x = px(i);
      if (!inside(x, y)) return;
      const left = data.parents[i].length === 0;
      g.font = `${bold ? "600 " : ""}12px system-ui, sans-serif`;
      g.textAlign = left ? "right" : "left";
      g.textBaseline = "middle";
      const at = left ? x - radius(i) - 5 : x + radius(i) + 5;
      g.lineWidth = 3;
      g.strokeStyle = colours.surface;
      g.strokeText(label(i), at, y);
      g.fillStyle = colours.text;
      g.fillText(label(i), at, y);
    };
    const all = camera.sy > 13 && camera.sx > 46, best = indexOf.get(data.best);
    const roots = spread(data.design.map((_, i) => i).filter((i) => data.names[data.design[i]]));
    for (let i = 0; i < data.design.length; i++) {
      if (i !== chosen && (all || i === best || roots.has(i))) text(i, i === best, roots.get(i));
    }
    for (const [i, width] of [[indexOf.get(data.best), 1.6], [chosen, 2.4]]) {
      if (i === undefined || i === null) continue;
      g.beginPath();
      g.arc(px(i), py(i), radius(i) + 4, 0, 7);
      g.strokeStyle = colours.text;
      g.lineWidth = width;
      g.stroke();
    }
    if (chosen !== null) text(chosen, true, roots.get(chosen));
  };
  // The names of the seeds stand below each other: where they are closer than a line, they move apart.
  const spread = (seeds) => {
    const at = new Map(), low = size.h - LINE / 2;
    let next = Infinity;
    for (const i of seeds.sort((a, b) => data.y[b] - data.y[a])) {
      next = Math.min(py(i), next - LINE, py(i) < size.h ? low : Infinity);
      at.set(i, next);
    }
    return at;
  };

  // --- the camera ---------------------------------------------------------------------------

  const fit = () => {
    if (!data) return;
    const { sx, sy } = scale0();
    camera = { x: PAD.left, y: PAD.top, sx, sy: data.lines > 1 ? Math.min(sy, 40) : sy };
    touched = false;
    canvas.style.setProperty("touch-action", "pan-y");
    redraw();
  };
  const zoom = (factor, at = chosen === null ? [size.w / 2, size.h / 2] : [px(chosen), py(chosen)]) => {
    if (!data) return;
    const base = scale0(), [cx, cy] = at;
    for (const [axis, position, c] of [["sx", "x", cx], ["sy", "y", cy]]) {
      const wanted = Math.max(base[axis] * 0.5, Math.min(Math.max(base[axis] * MOST_ZOOM, 40), camera[axis] * factor));
      camera[position] = c - ((c - camera[position]) * wanted) / camera[axis];
      camera[axis] = axis === "sx" ? Math.min(wanted, Math.max(base.sx, 220)) : Math.min(wanted, Math.max(base.sy, 60));
      if (camera[axis] !== wanted) camera[position] = c - ((c - camera[position]) * camera[axis]) / wanted;
    }
    touched = true;
    canvas.style.setProperty("touch-action", "none");
    redraw();
  };
  const pan = (dx, dy) => { camera.x += dx; camera.y += dy; touched = true; redraw(); };
  const intoView = (i) => {
    const x = px(i), y = py(i), m = 40;
    if (x < m || x > size.w - m) camera.x += size.w / 2 - x;
    if (y < m || y > size.h - m) camera.y += size.h / 2 - y;
  };

  // --- choosing -----------------------------------------------------------------------------

  let asked = 0;
  const choose = async (i, close = false) => {
    if (i === undefined || i === null) return;
    chosen = i;
    if (close && camera.sy < 14) zoom(14 / camera.sy, [px(i), py(i)]);
    intoView(i);
    redraw();
    const mine = ++asked;
    const gain = data.fitness[i] === null ? "" : percent(data.fitness[i]);
    fill(panel, h("p", {}, h("b", {}, label(i)), gain ? ` ${gain}` : ""));
    const found = await brief(data.design[i]).catch(() => null);
    if (mine === asked && found) fill(panel, about(found));
  };
  const about = (found) => {
    const state = found.disqualified ? `disqualified: ${found.disqualified}` : found.accepted ? "" : `rejected: ${found.codes.join(", ")}`;
    const gain = found.fitness === null ? "not verified" : `${percent(found.fitness)} up to ${found.rung}`;
    return [
      h("p", { class: "chosen-head" }, h("b", {}, found.label), ` ${state || gain}`,
        h("span", { class: "aside" }, ` ${found.operator}`)),
      found.change ? h("p", {}, found.change) : null,
      h("p", { class: "links" },
        h("a", { href: onOpen(found.design) }, "Open the design"),
        found.parents.length ? h("span", { class: "aside" }, " from ",
          found.parents.map((parent, i) => [i ? " and " : "", link(onOpen(parent.design), parent.label)])) : null),
    ];
  };
  const nearest = (x, y) => {
    let best = null, least = 22 * 22;
    for (let i = 0; i < data.design.length; i++) {
      const d = (px(i) - x) ** 2 + (py(i) - y) ** 2;
      if (d < least) { least = d; best = i; }
    }
    return best;
  };
  const neighbour = (way) => {
    const generation = data.x[chosen];
    let best = null, least = Infinity;
    for (let i = 0; i < data.design.length; i++) {
      const d = (data.y[i] - data.y[chosen]) * way;
      if (data.x[i] === generation && i !== chosen && d > 0 && d < least) { least = d; best = i; }
    }
    return best;
  };
  const walk = (key) => {
    if (chosen === null) return choose(indexOf.get(data.best) ?? 0);
    if (key === "ArrowLeft") return choose(indexOf.get(data.parents[chosen][0]));
    if (key === "ArrowRight") return choose(children[chosen][Math.floor(children[chosen].length / 2)]);
    return choose(neighbour(key === "ArrowUp" ? -1 : 1));
  };

  canvas.addEventListener("keydown", (event) => {
    if (!data || event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = { "+": () => zoom(1.6), "=": () => zoom(1.6), "-": () => zoom(1 / 1.6), 0: fit, Home: () => choose(0),
      Enter: () => { if (chosen !== null) location.hash = onOpen(data.design[chosen]).slice(1); } };
    const act = event.key.startsWith("Arrow") ? () => walk(event.key) : acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // --- pointers -----------------------------------------------------------------------------

  const pointers = new Map();
  let moved = 0;
  const place = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  canvas.addEventListener("pointerdown", (event) => { pointers.set(event.pointerId, place(event)); moved = 0; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) { canvas.style.setProperty("cursor", data && nearest(...place(event)) !== null ? "pointer" : "grab"); return; }
    const now = place(event);
    moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
    if (pointers.size === 2) {
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const gap = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
      zoom(gap(now) / gap(before), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
    } else if (moved > 4) pan(now[0] - before[0], now[1] - before[1]);
    pointers.set(event.pointerId, now);
  });
  const up = (event) => {
    if (pointers.delete(event.pointerId) && event.type === "pointerup" && moved <= 4 && data) choose(nearest(...place(event)));
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("dblclick", (event) => zoom(2.2, place(event)));
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && !touched && document.activeElement !== canvas) return;  // the page scrolls
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.002), place(event));
  }, { passive: false });

  // --- data ---------------------------------------------------------------------------------

  const resize = () => {
    const box = canvas.getBoundingClientRect(), ratio = devicePixelRatio || 1;
    if (!box.width || (box.width === size.w && box.height === size.h)) return;
    size = { w: box.width, h: box.height };
    canvas.width = Math.round(box.width * ratio);
    canvas.height = Math.round(box.height * ratio);
    if (touched) redraw(); else fit();
  };
  new ResizeObserver(resize).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { colours = palette(); redraw(); });

  const update = (found) => {
    const design = chosen === null || !data ? null : data.design[chosen];
    data = found;
    indexOf = new Map(data.design.map((each, i) => [each, i]));
    children = data.design.map(() => []);
    data.parents.forEach((parents, i) => { const from = indexOf.get(parents[0]); if (from !== undefined) children[from].push(i); });
    chosen = design === null ? null : indexOf.get(design) ?? null;
    const height = Math.max(260, Math.min(560, data.lines * 22 + 40));
    canvas.style.setProperty("height", `${height}px`);
    resize();
    if (touched) redraw(); else fit();
    canvas.dataset.designs = String(data.design.length);
  };
  return { element, update, choose: (design) => choose(indexOf.get(design), true) };
};
