// One range: its use, its map, its claims.
import {make, reconcile, setText} from "./dom.js";
import {ask, askPages} from "./api.js";
import {claimTable} from "./claims.js";
import {many, poolName, size} from "./format.js";
import {RangeMap, columns} from "./map.js";
import {meter} from "./ranges.js";
import {change, chosen, hashOf, place} from "./route.js";

const bitsOf = (cidr) => cidr.includes(":") ? 128 : 32;

// The range, and each part in which the map is.
const crumbs = (wanted, at) => {
  const parts = [{text: "Ranges", href: "#"}, {text: wanted.range, href: hashOf({...wanted, at: null, address: null})}];
  if (at && at !== wanted.range) {
    const length = Number(at.split("/")[1]);
    const outer = Number(wanted.range.split("/")[1]);
    for (let step = bitsOf(at) - 8; step > outer; step -= 8) {
      if (step < length && length - step <= 16) parts.splice(2, 0, {text: `/${step}`, href: hashOf({...wanted, at: `${at.split("/")[0]}/${step}`, address: null})});
    }
    parts.push({text: at, href: null});
  }
  return parts;
};

export const rangeView = (wanted) => {
  const key = chosen(wanted);
  const pool = {name: wanted.pool || null, own: wanted.own === "true"};
  const trail = make("nav", {class: "crumbs", "aria-label": "Place"});
  const heading = make("h2", {id: "range-title"}, wanted.range, make("span", {class: "faint"}, ` ${poolName(pool)}`));
  const facts = make("p", {class: "facts"});
  const note = make("p", {class: "faint", hidden: true});
  const map = new RangeMap((cell) => cell.state
    ? change({address: cell.first})
    : change({at: `${cell.first}/${bitsOf(cell.first) - map.bits}`, address: null}));
  const table = claimTable(`Claims of ${wanted.range}`, "No claim holds an address here.");
  const claims = make("section", {class: "card", id: "claims"}, make("h2", {}, "Claims"), table.element);
  const card = make("section", {class: "card", id: "range"}, trail, heading, facts, note, map.element);
  let pages = 1, part = null;

  const refresh = async () => {
    const {at = null, address = null} = place();
    if (part !== at) { part = at; pages = 1; }
    const [{range}, answer, {items, next}] = await Promise.all([
      ask("range", key), ask("map", {...key, at, columns: columns()}), askPages("claims", "claims", {...key, at}, pages)]);
    map.bits = answer.cell_bits;
    reconcile(trail, crumbs(wanted, at), (one) => one.text, ({text, href}) => href === null
      ? make("span", {"aria-current": "page"}, text) : make("a", {href}, text));
    const isUnknown = range === null && items.length === 0;
    note.hidden = !isUnknown;
    if (isUnknown) {
      setText(note, "No claim is held from this range, and no configuration names it. Is the CIDR right, and the pool?");
    } else if (range) {
      reconcile(facts, [{key: "use", taken: range.taken, size: range.size}, {key: "text", text: factText(range)}], (one) => one.key,
        (one) => one.text ? make("span", {}, one.text) : meter(one));
    }
    map.element.hidden = isUnknown;
    claims.hidden = isUnknown;
    map.update(answer, address);
    table.update(items, next === null ? null : () => { pages += 1; return refresh(); });
  };
  const title = `${wanted.range} ${wanted.pool ? `(${poolName(pool)})` : pool.own ? "(own pool)" : ""}`.trim();
  return {element: make("div", {}, card, claims), refresh, title};
};

const factText = ({taken, size: whole, held, queue, networks, intervals}) => [
  `${size(taken)} of ${size(whole)} taken`, `${many(held, "claim")} through this range`,
  networks.length ? `network ${networks.join(", ")}` : "", queue ? `${many(queue, "process waits", "processes wait")}` : "",
  `gives ${intervals.slice(0, 2).join(", ")}${intervals.length > 2 ? ` and ${intervals.length - 2} more parts` : ""}`,
].filter(Boolean).join(" · ");
