// Elements from plain data.  Texts become text nodes, whatever they hold: nothing is ever parsed.

const set = (element, key, value) => {
  if (value === undefined || value === null || value === false) return;
  if (key === "on") for (const [name, act] of Object.entries(value)) element.addEventListener(name, act);
  else if (key === "style") for (const [name, text] of Object.entries(value)) element.style.setProperty(name, text);
  else if (key === "data") Object.assign(element.dataset, value);
  else element.setAttribute(key, value === true ? "" : String(value));
};

export const h = (tag, props = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props ?? {})) set(element, key, value);
  element.append(...nodes(children));
  return element;
};

const nodes = (children) =>
  children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

export const fill = (element, ...children) => {
  element.replaceChildren(...nodes(children));
  return element;
};

export const link = (href, text, props = {}) => h("a", { href, ...props }, text);

export const section = (id, title, ...children) =>
  h("section", { id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title), children);

// On a narrow page a row becomes a card, in which each cell is named by its head.
export const table = (label, heads, rows) => {
  const names = heads.map((head) => head?.tagName ? head.dataset.label ?? head.textContent : head);
  for (const row of rows) [...row.children].forEach((each, i) => { each.dataset.label ??= names[i] ?? ""; });
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    h("table", { "aria-label": label, class: "cards" },
      h("thead", {}, h("tr", {}, heads.map((head) => head?.tagName ? head : h("th", { scope: "col" }, head)))),
      h("tbody", {}, rows)));
};

// Several things in a cell stay together, also where a narrow page shows cells as lines.
const whole = (content) => (Array.isArray(content) ? h("div", {}, content) : content);
export const cell = (content, props = {}) => h("td", props, whole(content));
export const num = (content, props = {}) => h("td", { class: "num", ...props }, whole(content));
