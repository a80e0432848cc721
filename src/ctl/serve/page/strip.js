// The top: what needs an operator's eye, and how current all of it is.
import {by, make, reconcile} from "./dom.js";
import {clockTime, many, poolName, span, percent} from "./format.js";
import {hashOf, rangePlace} from "./route.js";

// The reason of an outage in a few words; the whole text is on demand.
const REASONS = [
  [/not answered|timed? ?out|deadline/i, "does not answer"],
  [/permission|auth|password|token/i, "refuses the login"],
  [/certificate|tls|handshake/i, "cannot be trusted: TLS"],
  [/connect|transport|broken|reset|refused|h2|http2|closed|unavailable/i, "cannot be reached"],
];
const reasonWords = (reason) => REASONS.find(([pattern]) => pattern.test(reason))?.[1] ?? "cannot be followed";

const etcdTile = (etcd) => {
  if (etcd.state === "unreachable") {
    return {key: "etcd", level: "bad", title: "Server", value: "does not answer", detail: "What is shown may be old."};
  }
  if (etcd.state === "away") {
    return {key: "etcd", level: "bad", title: etcd.server ?? "etcd", value: reasonWords(etcd.reason),
      detail: `Shown as of ${clockTime(etcd.since)} UTC.`, more: etcd.reason};
  }
  const missing = [etcd.left_out ? `${many(etcd.left_out, "claim")} left out: no memory` : "",
    etcd.unreadable ? `${many(etcd.unreadable, "key")} cannot be read` : ""].filter(Boolean).join(", ");
  return {key: "etcd", level: missing ? "warn" : "good", title: etcd.server ?? "etcd", value: etcd.state === "live" ? "live" : "reading",
    detail: missing || (etcd.age_seconds > 60 ? `as of ${etcd.age_seconds} s ago, ` : "") + `revision ${etcd.revision}, ${many(etcd.claims, "claim")}`};
};

const rangesTile = ({count, full, nearly_full: near, named}) => {
  const words = [full ? `${full} full` : "", near ? `${near} nearly full` : ""].filter(Boolean).join(", ");
  const links = named.slice(0, 2).map((one) => ({text: `${one.range} ${percent(one.taken, one.size)}`,
    title: `${one.range}, ${poolName(one.pool)}`, href: hashOf(rangePlace(one.range, one.pool))}));
  return {key: "ranges", level: full ? "bad" : near ? "warn" : "good", title: "Ranges", value: words || "room in all", links,
    detail: links.length ? "" : many(count, "range")};
};

const suspectsTile = ({earlier_boot: boots, repeated, marked_alone: marked}) => {
  const count = boots + repeated + (marked ?? 0);
  const parts = [boots ? `${boots} of earlier boots` : "", repeated ? `${repeated} of replaced containers` : "",
    marked ? `${many(marked, "address", "addresses")} without a claim` : ""].filter(Boolean).join(", ");
  return {key: "suspects", level: count ? "warn" : "good", title: "Suspected leaks", value: count ? String(count) : "none",
    detail: parts || "by boots and pods", href: count ? hashOf({view: "suspects"}) : null};
};

const queuesTile = ({busy, waiting, oldest_seconds: oldest}) => ({
  key: "queues", level: oldest > 60 ? "bad" : busy ? "warn" : "good", title: "Queues",
  value: busy ? `${busy} busy` : "none busy", href: busy ? hashOf({view: "queues"}) : null,
  detail: busy ? `${many(waiting, "process waits", "processes wait")}, the first for ${span(oldest)}` : "No process waits."});

const tile = ({level, title, value, detail, links = [], href, more}) => make("section", {class: `tile ${level}`},
  make("h2", {}, title),
  make("p", {class: "value"}, href ? make("a", {href}, value) : value),
  make("p", {class: "detail"}, ...links.flatMap((link, at) => [...(at ? [", "] : []), make("a", {href: link.href, title: link.title}, link.text)]),
    ...(links.length ? [] : [detail]),
    ...(more ? [" ", make("details", {}, make("summary", {}, "Why"), make("span", {class: "code"}, more))] : [])));

let last = null;
export const showStrip = (overview) => {
  last = overview;
  const tiles = [rangesTile(overview.ranges), suspectsTile(overview.suspected), queuesTile(overview.queues), etcdTile(overview.etcd)];
  reconcile(by("strip"), tiles, (one) => one.key, tile);
  by("strip").dataset.state = overview.etcd.state;
};
export const showUnreachable = () => {
  const empty = {ranges: {count: 0, full: 0, nearly_full: 0, named: []}, queues: {busy: 0}, suspected: {earlier_boot: 0, repeated: 0}};
  showStrip({...(last ?? empty), etcd: {state: "unreachable"}});
};
