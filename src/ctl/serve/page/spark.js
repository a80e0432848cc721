// The use of a range in the last hour, as a line.
import {draw, make} from "./dom.js";

const WIDTH = 72, HEIGHT = 18, SAMPLES = 60;

export const spark = (history, now) => {
  const values = [...history, now].map(Number);
  if (values.length < 2) return make("span", {class: "faint", title: "one sample a minute: not enough yet"}, "–");
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (at) => WIDTH - (values.length - 1 - at) * WIDTH / SAMPLES;
  const y = (value) => high === low ? HEIGHT / 2 : HEIGHT - 2 - (value - low) / (high - low) * (HEIGHT - 4);
  const points = values.map((value, at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const text = low === high ? `${high} taken for ${values.length - 1} min` : `${low} to ${high} taken in the last ${values.length - 1} min`;
  return draw("svg", {class: "spark", width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": text},
    draw("title", {}, text), draw("polyline", {points}));
};
