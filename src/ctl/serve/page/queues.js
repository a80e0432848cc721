// Who holds the lock of a busy range, and who waits.
import {make} from "./dom.js";
import {ask} from "./api.js";
import {many, middle, poolName, span} from "./format.js";
import {hashOf, rangePlace} from "./route.js";
import {Table} from "./table.js";

const rowsOf = (queues) => queues.flatMap((queue) => {
  const row = (place, who) => ({range: queue.range, pool: queue.pool, place, ...who});
  const lock = queue.holder ? [row("holds the lock", queue.holder)] : queue.offered_to ? [row("the lock is offered to it", queue.offered_to)] : [];
  const hidden = queue.length - queue.tickets.length;
  return [...lock, ...queue.tickets.map((ticket, at) => row(ticket.refused ? "refused" : `waits, ${at + 1}.`, ticket)),
    ...(hidden > 0 ? [row(`and ${many(hidden, "more waits", "more wait")}`, {})] : [])];
});

export const queuesView = () => {
  const table = new Table({label: "Queues", key: (row) => `${row.range} ${JSON.stringify(row.pool)} ${row.container} ${row.interface} ${row.revision}`, filter: null,
    empty: "Nobody waits. A range has a queue while several processes want its addresses at once.",
    columns: [
      {title: "Range", cell: (row) => make("a", {href: hashOf(rangePlace(row.range, row.pool)), title: poolName(row.pool)}, row.range)},
      {title: "Place", cell: (row) => row.place},
      {title: "Verb", cell: (row) => row.verb ?? "–"},
      {title: "Network", cell: (row) => middle(row.network ?? "–")},
      {title: "Container", cell: (row) => make("span", {class: "code", title: row.container ?? null}, (row.container ?? "–").slice(0, 13))},
      {title: "Interface", cell: (row) => row.interface ?? "–"},
      {title: "Seen for", cell: (row) => row.seen_seconds === undefined ? "–" : span(row.seen_seconds), number: true}]});
  const refresh = async () => table.update(rowsOf(await ask("queues")));
  return {element: make("section", {class: "card", id: "queues"}, make("h2", {}, "Queues"), table.element), refresh, title: "Queues", ages: true};
};
