// Tables of claims.
import {make} from "./dom.js";
import {age, middle, podName} from "./format.js";
import {numberOf} from "./cidr.js";
import {addressPlace, hashOf} from "./route.js";
import {Table} from "./table.js";

// Addresses lead to their place on the map.
export const addressLinks = (addresses) => make("span", {}, ...addresses.flatMap((one, at) => [
  ...(at ? [", "] : []), make("a", {href: hashOf(addressPlace(one))}, one.address)]));
const orNone = (text) => text ? middle(text) : "–";
const sortNumber = (claim) => claim.addresses.length ? numberOf(claim.addresses[0].address) : 0n;

export const claimKey = (claim) => `${claim.network} ${claim.container} ${claim.interface}`;
export const claimColumns = [
  {title: "Address", cell: (claim) => addressLinks(claim.addresses), value: sortNumber, class: "address"},
  {title: "Pod", cell: (claim) => orNone(podName(claim)), value: podName},
  {title: "Node", cell: (claim) => orNone(claim.node), value: (claim) => claim.node ?? ""},
  {title: "Network", cell: (claim) => middle(claim.network, 20), value: (claim) => claim.network},
  {title: "Container", cell: (claim) => make("span", {title: claim.container, class: "code"}, claim.container.slice(0, 12)),
    value: (claim) => claim.container},
  {title: "Interface", cell: (claim) => claim.interface ?? "–", value: (claim) => claim.interface ?? ""},
  {title: "Age", cell: (claim) => age(claim.created), value: (claim) => -Date.parse(claim.created ?? 0), number: true},
];
export const claimTable = (label, empty, more = []) => new Table({
  label, empty, key: claimKey, columns: [...claimColumns, ...more], filter: "Filter these rows"});
