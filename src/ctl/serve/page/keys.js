// The keyboard: one key for each thing that is done often.
import {by, make} from "./dom.js";
import {change, look, place} from "./route.js";
import {closeDrawer} from "./drawer.js";
import {VIEWS} from "./views.js";

const HELP = [["/", "search"], ["1 to 6", "views"], ["j, k", "next and previous row"], ["Enter", "open"],
  ["arrows", "move on the map"], ["u", "up: from an address to its range, from a part to the whole"], ["Esc", "close the address, or this"], ["?", "this help"]];

const isTyping = (target) => target instanceof Element && target.matches("input, textarea, select");
const firstLinks = () => [...document.querySelectorAll("main tbody tr")].map((row) => row.querySelector("a")).filter(Boolean);
const moveRow = (step) => {
  const links = firstLinks();
  const at = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
  links[Math.min(Math.max(at + step, 0), links.length - 1)]?.focus();
};
const up = () => {
  const {address, at, range} = place();
  if (address) change({address: null});
  else if (at) change({at: null});
  else if (range) look({});
};
const showHelp = () => {
  const close = make("button", {onclick: () => by("help").close()}, "Close");
  by("help").replaceChildren(make("h2", {id: "help-title"}, "Keys"),
    make("dl", {}, ...HELP.flatMap(([key, what]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, what)])), close);
  by("help").showModal();
};

export const listenToKeys = () => addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || by("help").open) return;
  if (event.key === "Escape") {
    if (isTyping(event.target)) event.target.blur();
    else if (place().address) closeDrawer();
    return;
  }
  if (isTyping(event.target)) return;
  const view = VIEWS[Number(event.key) - 1];
  const act = view ? () => look(view.place) : {"/": () => by("word").select(), j: () => moveRow(1), k: () => moveRow(-1), u: up, "?": showHelp}[event.key];
  if (!act) return;
  event.preventDefault();
  by("word").blur();
  if (event.key === "/") by("word").focus();
  act();
});
