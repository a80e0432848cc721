// Addresses as numbers, to nest ranges and to sort.

const v4 = (text) => text.split(".").reduce((sum, part) => sum * 256n + BigInt(part), 0n);
const v6 = (text) => {
  const dotted = text.match(/^(.*:)(\d+\.\d+\.\d+\.\d+)$/);
  if (dotted) {
    const low = v4(dotted[2]);
    return v6(`${dotted[1]}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`);
  }
  const [head, tail] = text.split("::");
  const groups = (part) => part ? part.split(":") : [];
  const [high, low] = [groups(head), groups(tail)];
  const zeros = tail === undefined ? [] : Array(8 - high.length - low.length).fill("0");
  return [...high, ...zeros, ...low].reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
};

export const isV6 = (text) => text.includes(":");
export const numberOf = (address) => isV6(address) ? v6(address) : v4(address);
export const compareAddresses = (one, other) => {
  if (isV6(one) !== isV6(other)) return isV6(one) ? 1 : -1;
  const [a, b] = [numberOf(one), numberOf(other)];
  return a < b ? -1 : a > b ? 1 : 0;
};

export const parse = (cidr) => {
  const [address, length] = cidr.split("/");
  const bits = isV6(address) ? 128 : 32;
  const first = numberOf(address);
  return {v6: bits === 128, first, length: Number(length), last: first + (1n << BigInt(bits - Number(length))) - 1n};
};
export const contains = (outer, inner) =>
  outer.v6 === inner.v6 && outer.first <= inner.first && inner.last <= outer.last;
export const overlaps = (one, other) => one.v6 === other.v6 && one.first <= other.last && other.first <= one.last;
// The largest first where one begins like the other, so that a parent comes before its children.
export const compare = (one, other) => {
  if (one.v6 !== other.v6) return one.v6 ? 1 : -1;
  if (one.first !== other.first) return one.first < other.first ? -1 : 1;
  return one.length - other.length;
};
