// Draws the figures: data stands in the page as JSON, colours come from the style sheet.
(() => {
  const config = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: "reset" };

  // Buttons that choose between the views of a figure.
  const buttons = (figure) => {
    const bar = document.createElement("div");
    bar.className = "switch";
    figure.data.switch.forEach(({ label }, index) => {
      const button = document.createElement("button");
      button.textContent = label;
      button.setAttribute("aria-pressed", String(index === 0));
      button.addEventListener("click", () => {
        figure.chosen = index;
        [...bar.children].forEach((b, i) => b.setAttribute("aria-pressed", String(i === index)));
        choose(figure);
      });
      bar.append(button);
    });
    return bar;
  };

  const choose = ({ box, data, chosen }) => Plotly.update(box, ...data.switch[chosen].args);

  const figures = [...document.querySelectorAll(".plot")].map((box) => {
    const data = JSON.parse(box.querySelector("script").textContent);
    box.replaceChildren();
    const figure = { box, data, chosen: 0 };
    if (data.switch.length) box.before(buttons(figure));
    return figure;
  });

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    for (const figure of figures) {
      const { data: traces, layout } = coloured(figure.data, style);
      Plotly.react(figure.box, traces, layout, config);
      if (figure.chosen > 0) choose(figure);
    }
  };

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
