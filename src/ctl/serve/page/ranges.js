// The tree of ranges: pools apart, the ranges of one network together, and a range below the one that contains it.
import {make} from "./dom.js";
import {askPages} from "./api.js";
import {compare, contains, overlaps, parse} from "./cidr.js";
import {middle, percent, poolName, share, sizeOf} from "./format.js";
import {hashOf, rangePlace} from "./route.js";
import {spark} from "./spark.js";
import {Table} from "./table.js";

const poolKey = (pool) => JSON.stringify(pool);
export const rangeKey = ({range, pool}) => `${range} ${poolKey(pool)}`;

// Adds to each range its depth below the ranges of its pool that contain it, and its relations to others.
const nest = (ranges) => {
  const all = ranges.map((range) => ({...range, net: parse(range.range)}));
  for (const one of all) {
    const related = all.filter((other) => other !== one && overlaps(one.net, other.net));
    const here = related.filter((other) => poolKey(other.pool) === poolKey(one.pool));
    const around = here.filter((other) => contains(other.net, one.net));
    one.depth = around.length;
    one.root = [one, ...around].sort((a, b) => a.net.length - b.net.length)[0];
    one.notes = [
      ...around.slice(-1).map((other) => `shares its addresses with ${other.range}`),
      ...related.filter((other) => !here.includes(other)).map((other) => `${other.range} overlaps in ${poolName(other.pool)}`)];
  }
  return all;
};

// Roots that a network joins come together: IPv4 and IPv6 of a dual stack.
const families = (roots, members) => {
  const groups = [];
  for (const root of roots) {
    const names = new Set(members(root).flatMap((one) => one.networks));
    const joined = groups.filter((group) => [...names].some((name) => group.names.has(name)));
    const group = {roots: [...joined.flatMap((one) => one.roots), root], names: new Set([...joined.flatMap((one) => [...one.names]), ...names])};
    for (const one of joined) groups.splice(groups.indexOf(one), 1);
    groups.push(group);
  }
  const first = (group) => group.roots[0].net;
  return groups.sort((one, other) => compare(first(one), first(other)));
};

export const arrange = (ranges) => {
  const rows = [];
  const nested = nest(ranges);
  const pools = new Map();
  for (const one of nested) pools.set(poolKey(one.pool), [...(pools.get(poolKey(one.pool)) ?? []), one]);
  for (const [key, members] of [...pools].sort(([, [one]], [, [other]]) => poolOrder(one.pool, other.pool))) {
    members.sort((one, other) => compare(one.net, other.net));
    rows.push({heading: `Pool: ${poolName(members[0].pool)}`, kind: "pool", key});
    const of = (root) => members.filter((one) => one.root === root);
    for (const group of families(members.filter((one) => one.root === one), of)) {
      const names = [...group.names];
      if (names.length) rows.push({heading: `Network ${names.slice(0, 4).join(", ")}${names.length > 4 ? " …" : ""}`, kind: "network", key: `${key} ${group.roots[0].range}`});
      rows.push(...group.roots.flatMap(of).map(({net, root, ...told}) => told));
    }
  }
  return rows;
};
const poolOrder = (one, other) => Number(one.own) - Number(other.own) || (one.name ?? "").localeCompare(other.name ?? "");

const meter = ({taken, size}) => {
  const of = share(taken, size);
  const bar = make("span", {class: `bar ${of >= 100 ? "bad" : of >= 90 ? "warn" : ""}`, "aria-hidden": "true"}, make("span"));
  bar.firstChild.style.setProperty("inline-size", `${of}%`);
  return make("span", {class: "meter"}, bar, make("span", {class: "percent"}, percent(taken, size)));
};
const rangeCell = (one) => {
  const link = make("a", {href: hashOf(rangePlace(one.range, one.pool)), class: "address"}, one.range);
  const cell = make("span", {class: "branch"}, ...(one.depth ? [make("span", {class: "twig", "aria-hidden": "true"}, "└ ")] : []), link,
    ...(one.notes?.length ? [make("span", {class: "badge", title: one.notes.join("; ")}, "overlaps", make("span", {class: "visually-hidden"}, `: ${one.notes.join("; ")}`))] : []));
  cell.style.setProperty("--depth", one.depth ?? 0);
  return cell;
};
const columns = [
  {title: "Range", cell: rangeCell, value: (one) => parse(one.range).first},
  {title: "Use", cell: meter, value: (one) => share(one.taken, one.size), number: false},
  {title: "Taken", cell: (one) => sizeOf(one.taken), value: (one) => BigInt(one.taken), number: true},
  {title: "Free", cell: (one) => sizeOf(one.free), value: (one) => BigInt(one.free), number: true},
  {title: "Size", cell: (one) => sizeOf(one.size), value: (one) => BigInt(one.size), number: true},
  {title: "Last hour", cell: (one) => spark(one.history, one.taken)},
  {title: "Networks", cell: (one) => one.networks.length ? middle(one.networks.join(", ")) : "–", value: (one) => one.networks.join(", ")},
  {title: "Queue", cell: (one) => one.queue || "–", value: (one) => one.queue, number: true},
];

const emptyStore = () => make("section", {class: "card empty"},
  make("h2", {}, "Nothing is held yet"),
  make("p", {}, "A range appears here with its first claim. To get one:"),
  make("ol", {},
    make("li", {}, "Write a network whose ", code("ipam.type"), " is ", code("whereabouts"), ", with a ", code("range"), " and this etcd, and check it: ", code("whereaboutsctl lint FILE")),
    make("li", {}, "Start a pod in that network. Its address appears within a second."),
    make("li", {}, "If nothing comes, look at the prefix: ", code("--etcd-prefix"), " of this page and ", code("etcd_prefix"), " of the plugin must be the same.")),
  make("p", {class: "faint"}, "With ", code("serve --config FILE"), " the ranges of a configuration are shown before the first claim."));
const code = (text) => make("code", {}, text);

export const rangesView = () => {
  const table = new Table({label: "Ranges", columns, key: rangeKey, arrange, filter: "Filter ranges", empty: ""});
  const card = make("section", {class: "card"}, make("h2", {}, "Ranges"), table.element);
  const empty = emptyStore();
  const element = make("div", {id: "ranges"}, card);
  let pages = 1;
  const refresh = async () => {
    const {items, next} = await askPages("ranges", "ranges", {}, pages);
    table.update(items, next === null ? null : () => { pages += 1; return refresh(); });
    const shown = items.length ? card : empty;
    if (element.firstChild !== shown) element.replaceChildren(shown);
  };
  return {element, refresh, title: "Ranges"};
};

export {meter};
