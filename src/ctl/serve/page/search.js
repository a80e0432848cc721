// The result of a search: ranges and claims, both by address.
import {make, setText} from "./dom.js";
import {ask, askPages} from "./api.js";
import {claimTable} from "./claims.js";
import {hashOf, rangePlace} from "./route.js";
import {poolName} from "./format.js";

// Ranges whose CIDR begins with the text, of the first page.
const rangesOf = (ranges, word) => ranges.filter((one) => one.range.startsWith(word) || one.pool.name === word || one.networks.includes(word));

export const searchView = (word) => {
  const heading = make("h2", {}, `Searching for “${word}”`);
  const ranges = make("p", {class: "hits", hidden: true});
  const table = claimTable(`Claims found for ${word}`, "No claim has this address, or this text in the name of its pod, namespace, node, network or container.");
  let pages = 1;
  const refresh = async () => {
    const [{items, next}, known] = await Promise.all([askPages("search", "claims", {search: word}, pages), ask("ranges")]);
    setText(heading, `Found for “${word}”: ${items.length}${next === null ? "" : " and more"}`);
    const found = rangesOf(known.ranges, word).slice(0, 12);
    ranges.hidden = found.length === 0;
    ranges.replaceChildren("Ranges: ", ...found.flatMap((one, at) => [...(at ? [", "] : []),
      make("a", {href: hashOf(rangePlace(one.range, one.pool)), title: poolName(one.pool)}, one.range)]));
    table.update(items, next === null ? null : () => { pages += 1; return refresh(); });
  };
  return {element: make("section", {class: "card", id: "found"}, heading, ranges, table.element), refresh, title: `Search: ${word}`};
};
