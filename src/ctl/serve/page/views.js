// The views, and which of them a place means.
import {feedView} from "./feed.js";
import {groupsView} from "./groups.js";
import {queuesView} from "./queues.js";
import {rangeView} from "./range.js";
import {rangesView} from "./ranges.js";
import {searchView} from "./search.js";
import {suspectsView} from "./suspects.js";

export const VIEWS = [
  {text: "Ranges", place: {}, view: undefined},
  {text: "Nodes", place: {view: "node"}, view: "node"},
  {text: "Networks", place: {view: "network"}, view: "network"},
  {text: "Namespaces", place: {view: "namespace"}, view: "namespace"},
  {text: "Queues", place: {view: "queues"}, view: "queues"},
  {text: "Activity", place: {view: "activity"}, view: "activity"},
];

// The same key means the same view, which is then not made anew.
export const viewKey = ({view, range, pool, own, search}) => JSON.stringify(range ? ["range", range, pool, own, search] : [view, search]);

const single = (place) => {
  if (place.range) return rangeView(place);
  switch (place.view) {
    case "node": case "network": case "namespace": return groupsView(place.view);
    case "queues": return queuesView();
    case "activity": return feedView();
    case "suspects": return suspectsView();
    default: return rangesView();
  }
};

// The parts of a place, from top to bottom: a search stands above the range that it was begun from.
export const partsOf = (place) => {
  const search = place.search ? [searchView(place.search)] : [];
  return place.search && !place.range ? search : [...search, single(place)];
};
