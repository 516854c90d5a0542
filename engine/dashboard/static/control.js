// What may be asked of a run, where the dashboard was started with --control.

import { post } from "./api.js";
import { fill, h } from "./dom.js";

// A button that asks once; `asked` is shown from then on, or what is wrong.
const asking = (place, text, asked, path) => {
  const button = h("button", { type: "button", class: "button", on: { click: async () => {
    button.disabled = true;
    try { await post(path); fill(place, asked()); }
    catch (error) { fill(place, h("span", { class: "notice bad", role: "alert" }, [error.message, error.hint].filter(Boolean).join("; "))); }
  } } }, text);
  return button;
};

const stopping = () => h("span", { class: "aside", role: "status" }, "stopping after the running trials");

export const stopControl = (place, state, path) => {
  if (place.dataset.state === String(state)) return;
  place.dataset.state = String(state);
  fill(place, { possible: () => sure(place, path), asked: stopping }[state]?.());
};

// A press asks whether it is meant: a run takes hours, and a finger slips.
const sure = (place, path) => h("button", { type: "button", class: "button", on: { click: () => {
  const back = h("button", { type: "button", class: "button plain", on: { click: () => { delete place.dataset.state; stopControl(place, "possible", path); } } }, "Go on");
  fill(place, asking(place, "Stop, resume later", stopping, path), back);
  back.focus();
} } }, "Stop after the running trials");

const PINNED = { asked: "asked to promote it first", pinned: "pinned: promoted first" };

export const pinControl = (place, state, path) => {
  if (place.dataset.state === String(state)) return;
  place.dataset.state = String(state);
  const said = (state) => h("span", { class: "aside", role: "status" }, PINNED[state]);
  fill(place, state === "possible" ? asking(place, "Pin for promotion", () => said("asked"), path) : PINNED[state] ? said(state) : null);
};
