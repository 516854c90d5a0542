// `var(--name)` anywhere in a figure becomes the colour of the reader's theme.
globalThis.coloured = (value, style = getComputedStyle(document.documentElement)) => {
  if (typeof value === "string") {
    return value.startsWith("var(--") ? style.getPropertyValue(value.slice(4, -1)).trim() : value;
  }
  if (Array.isArray(value)) return value.map((item) => coloured(item, style));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v, style)]));
};
