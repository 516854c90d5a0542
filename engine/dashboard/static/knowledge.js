import { fill, h } from "./dom.js";
export const view = async (place) => { fill(place, h("h1", {}, "knowledge")); return "knowledge"; };
