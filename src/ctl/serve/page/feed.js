// What happens, as it happens.
import {make} from "./dom.js";
import {ask} from "./api.js";
import {addressLinks} from "./claims.js";
import {clockTime, middle, podName} from "./format.js";
import {Table} from "./table.js";

const MOST = 500;
const WORDS = {added: "added", freed: "freed", "taken over": "taken over by a new container", kept: "kept for its pod's name", changed: "changed", refused: "refused",
  gap: "not known: everything was read anew"};

export const feedView = () => {
  let events = [];
  const table = new Table({label: "Activity", key: (event) => String(event.number), filter: "Filter events",
    empty: "Nothing has happened since this page's server started.",
    columns: [
      {title: "Time (UTC)", cell: (event) => make("time", {datetime: event.time, title: event.time}, clockTime(event.time)), value: (event) => event.number},
      {title: "Event", cell: (event) => make("span", {class: `event ${event.event.replace(" ", "-")}`}, WORDS[event.event]), value: (event) => event.event},
      {title: "Address", cell: ({claim}) => claim?.addresses.length ? addressLinks(claim.addresses) : claim?.range ?? "–", class: "address"},
      {title: "Pod", cell: ({claim}) => middle(podName(claim) || (claim ? `container ${claim.container.slice(0, 12)}` : "–")), value: ({claim}) => podName(claim)},
      {title: "Node", cell: ({claim}) => middle(claim?.node ?? "–"), value: ({claim}) => claim?.node ?? ""},
      {title: "Network", cell: ({claim}) => middle(claim?.network ?? "–", 20), value: ({claim}) => claim?.network ?? ""},
      {title: "Revision", cell: (event) => event.revision, value: (event) => event.revision, number: true}]});
  const refresh = async () => {
    const answer = await ask("feed", {after: events[0]?.number ?? 0});
    events = [...answer.events, ...events].slice(0, MOST);
    table.update(events);
  };
  const note = make("p", {class: "faint"}, "The last 500 events since the server of this page started, by its clock. etcd does not tell who frees a claim: a DEL, a GC and a release look the same.");
  return {element: make("section", {class: "card", id: "activity"}, make("h2", {}, "Activity"), note, table.element), refresh, title: "Activity"};
};
