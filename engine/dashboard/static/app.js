// The page: which view the address names, and what is shown when something is wrong.

import { fill, h, link } from "./dom.js";
import { forget } from "./figures.js";
import { unlisten } from "./live.js";

const VIEWS = [
  [/^\/$/, () => import("./runs.js")],
  [/^\/run\/([^/]+)$/, () => import("./run.js")],
  [/^\/run\/([^/]+)\/design\/(\d+)$/, () => import("./design.js")],
  [/^\/study\/([^/]+)$/, () => import("./study.js")],
  [/^\/compare$/, () => import("./compare.js")],
  [/^\/knowledge$/, () => import("./knowledge.js")],
];

const main = document.getElementById("main");
let turn = 0;

export const problem = (error) =>
  h("div", { class: "notice bad", role: "alert" },
    h("p", {}, h("b", {}, error.message)),
    error.where ? h("p", { class: "where" }, error.where) : null,
    error.hint ? h("p", {}, error.hint) : null);

const show = async () => {
  const mine = ++turn;
  unlisten();
  forget();
  const [path, query = ""] = (location.hash.slice(1) || "/").split("?");
  for (const anchor of document.querySelectorAll(".bar-top nav a")) {
    const here = anchor.getAttribute("href").slice(1);
    anchor.toggleAttribute("aria-current", here === "/" ? path === "/" || path.startsWith("/run") : path.startsWith(here));
  }
  const found = VIEWS.map(([shape, load]) => [path.match(shape), load]).find(([match]) => match);
  if (!found) {
    fill(main, h("p", { class: "notice" }, "There is no such page. ", link("#/", "All runs")));
    return;
  }
  const place = h("div", { class: "view" });
  try {
    const { view } = await found[1]();
    const args = found[0].slice(1).map(decodeURIComponent);
    const title = await view(place, args, new URLSearchParams(query), () => mine === turn);
    if (mine !== turn) return;
    document.title = `${title} · genesys-engine`;
  } catch (error) {
    if (mine !== turn) return;
    fill(place, problem(error), h("p", {}, link("#/", "All runs")));
    if (!("hint" in error)) throw error;
  }
  fill(main, place);
  scrollTo(0, 0);
  if (mine > 1) main.focus({ preventScroll: true });
};

// The token has become a cookie: it need not stand in the address, where it could be copied.
const here = new URL(location.href);
if (here.searchParams.has("token")) {
  here.searchParams.delete("token");
  history.replaceState(null, "", here.pathname + here.hash);
}
addEventListener("hashchange", show);
show();
