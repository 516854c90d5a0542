// Figures by Plotly, fetched when the first is to be drawn: the page is there before.

const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: "reset" };
const NARROW = 420;
const drawn = new Set();
let loading = null;

const plotly = () => {
  loading ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = "/static/plotly.min.js";
    script.onload = () => done(globalThis.Plotly);
    script.onerror = () => failed(new Error("Plotly could not be loaded"));
    document.head.append(script);
  });
  return loading;
};

// Draws `figure` (data, layout and switch of `content`) into `box`; `choose` gets the design of a dot.
export const draw = async (box, figure, choose = null) => {
  const Plotly = await plotly();
  if (!box.isConnected) return;
  const { content } = figure;
  box.classList.add("plot");
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", figure.label);
  box.style.setProperty("height", `${figure.height}px`);
  box.figure = figure;
  box.chosen ??= 0;
  const { data, layout } = coloured({ data: content.data, layout: content.layout });
  if (box.clientWidth < NARROW && layout.xaxis?.title) layout.xaxis.title.font = { ...layout.xaxis.title.font, size: 10 };  // else cut off
  await Plotly.react(box, data, layout, CONFIG);
  switches(box, content.switch);
  if (box.chosen > 0) await Plotly.update(box, ...content.switch[box.chosen].args);
  if (!drawn.has(box)) {
    drawn.add(box);
    box.on("plotly_click", (event) => {
      const design = event.points[0]?.customdata;
      if (design !== undefined) choose?.(design);
    });
  }
};

const switches = (box, views) => {
  if (!views?.length || box.previousElementSibling?.className === "switch") return;
  const bar = document.createElement("div");
  bar.className = "switch";
  views.forEach(({ label }, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.setAttribute("aria-pressed", String(index === box.chosen));
    button.addEventListener("click", () => {
      box.chosen = index;
      [...bar.children].forEach((each, i) => each.setAttribute("aria-pressed", String(i === index)));
      globalThis.Plotly.update(box, ...box.figure.content.switch[index].args);
    });
    bar.append(button);
  });
  box.before(bar);
};

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const box of drawn) {
    if (box.isConnected) draw(box, box.figure);
    else drawn.delete(box);
  }
});

export const forget = () => {
  for (const box of drawn) globalThis.Plotly?.purge(box);
  drawn.clear();
};
