// Numbers as people read them.

const MINUS = "−";

export const signed = (value, digits = 2) => {
  const text = Math.abs(value).toFixed(digits);
  return (value < 0 && Number(text) ? MINUS : "+") + text;
};

export const percent = (value) => (value === null || value === undefined ? "–" : `${signed(value)} %`);

export const count = (value) => {
  if (value === null || value === undefined) return "–";
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) return `${+(value / size).toPrecision(3)}${unit}`;
  }
  return String(+value.toPrecision(3));
};

export const number = (value) => {
  if (value === null || value === undefined) return "–";
  const text = Math.abs(value) >= 1e4 || (value && Math.abs(value) < 1e-3) ? value.toPrecision(3) : value.toFixed(3);
  return text.replace("-", MINUS);
};

export const duration = (seconds) => {
  if (seconds === null || seconds === undefined) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return s < 600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
};

export const usd = (value) => {
  if (value === null || value === undefined) return "unknown price";
  return `${value >= 1 || value === 0 ? value.toFixed(2) : value.toPrecision(2)} USD`;
};

export const clock = (at) => {
  const date = new Date(at * 1000);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  return Date.now() - date < 86400e3 ? time : `${date.toLocaleDateString()} ${time}`;
};

export const plural = (n, word, many = `${word}s`) => `${n.toLocaleString("en")} ${n === 1 ? word : many}`;
