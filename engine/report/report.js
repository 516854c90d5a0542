// Draws the figures: data stands in the page as JSON, colours come from the style sheet.
(() => {
  const config = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: "reset" };
  const figures = [...document.querySelectorAll(".plot")].map((box) => {
    const data = JSON.parse(box.querySelector("script").textContent);
    box.replaceChildren();
    return { box, data };
  });

  // `var(--name)` anywhere in a figure becomes the colour of the reader's theme.
  const coloured = (value, style) => {
    if (typeof value === "string") {
      return value.startsWith("var(--") ? style.getPropertyValue(value.slice(4, -1)).trim() : value;
    }
    if (Array.isArray(value)) return value.map((item) => coloured(item, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v, style)]));
  };

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    for (const { box, data } of figures) {
      const { data: traces, layout } = coloured(data, style);
      Plotly.react(box, traces, layout, config);
    }
  };

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
