// What is looked at is in the address of the page, so that it can be kept and sent to others.

export const place = () => {
  const found = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  // Links of an earlier version name a block.
  if (found.block && !found.at) found.at = `${found.block}/${found.block.includes(":") ? 120 : 24}`;
  delete found.block;
  return found;
};

export const hashOf = (wanted) => {
  const given = Object.entries(wanted).filter(([, value]) => value !== null && value !== undefined);
  return `#${new URLSearchParams(given)}`;
};

export const look = (wanted) => { location.hash = hashOf(wanted); };
// The same place with some things changed.
export const change = (changes) => look({...place(), ...changes});

export const rangePlace = (range, pool, rest = {}) => ({range, pool: pool.name ?? "", own: String(pool.own), ...rest});
// The range of a place, as the API wants it.
export const chosen = ({range, pool, own}) => ({range, pool: pool || null, own: own === "true" ? "true" : null});
// The part of the range around an address that is small enough for a map of single addresses.
export const partAround = (range, address) => {
  const length = Number(range.split("/")[1]);
  const block = address.includes(":") ? 120 : 24;
  return length >= block ? null : `${address}/${block}`;
};
export const addressPlace = ({address, range, pool}) =>
  rangePlace(range, pool, {at: partAround(range, address), address});
