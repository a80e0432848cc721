// Numbers, names and times as people read them.
import {make} from "./dom.js";

const MILLION = 1_000_000n;

// 254, 65,279, 2^64: a size that is a power of two but for a few addresses reads as the power.
export const size = (text) => {
  const number = BigInt(text);
  if (number < MILLION) return number.toLocaleString("en");
  const power = number.toString(2).length;
  const above = (1n << BigInt(power)) - number;
  if (above <= number >> 20n) return `2^${power}`;
  if (number - (1n << BigInt(power - 1)) <= number >> 20n) return `2^${power - 1}`;
  if (number < MILLION * 1000n) return number.toLocaleString("en");
  return `about 2^${above < number >> 2n ? power : power - 1}`;
};

// A number at its right, with the exact one on hover.
export const sizeOf = (text) => {
  const short = size(text);
  return make("span", {title: short.includes("^") ? `${BigInt(text).toLocaleString("en")} addresses` : null}, short);
};

// In tenths of a percent. Only nothing is 0, and only all is 100.
export const share = (taken, whole) => {
  const [part, all] = [BigInt(taken), BigInt(whole)];
  if (part === 0n || all === 0n) return 0;
  if (part >= all) return 100;
  return Math.min(Math.max(Number(part * 1000n / all) / 10, 0.1), 99.9);
};
export const percent = (taken, whole) => {
  const of = share(taken, whole);
  return of === 0.1 ? "< 0.2 %" : `${of >= 10 && of < 99 ? Math.floor(of) : of} %`;
};

// The begin and the end of a long text: the ends of names of pods and nodes tell them apart.
export const middle = (text, most = 28) => {
  if (text.length <= most) return make("span", {}, text);
  const half = (most - 1) / 2;
  return make("span", {title: text, class: "cut"}, `${text.slice(0, Math.ceil(half))}…${text.slice(-Math.floor(half))}`);
};

export const poolName = (pool) => (pool.name ?? "shared pool") + (pool.own ? ", of this range alone" : "");
export const podName = (claim) => {
  const pod = claim?.pod;
  if (!pod || pod.name === null) return "";
  return pod.namespace === null ? pod.name : `${pod.namespace}/${pod.name}`;
};
export const many = (count, one, more = `${one}s`) => `${Number(count).toLocaleString("en")} ${Number(count) === 1 ? one : more}`;

export const span = (seconds) => {
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
};
// A moment as its age, with the moment itself on hover.
export const age = (moment) => {
  if (!moment) return make("span", {}, "–");
  const seconds = (Date.now() - Date.parse(moment)) / 1000;
  return make("time", {datetime: moment, title: moment}, seconds < 2 ? "now" : span(seconds));
};
export const clockTime = (moment) => moment ? moment.slice(11, 19) : "–";
