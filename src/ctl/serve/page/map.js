// The map of a range: rows with the address of their first cell, cells of one address or of many.
import {make, reconcile, setText} from "./dom.js";
import {share, size} from "./format.js";
import {isV6} from "./cidr.js";

export const STATES = {held: "held through this range", other: "held through another range", kept: "kept for the name of a pod", marked: "marked, without a known claim",
  free: "free", never: "not given by this range"};
const NARROW = matchMedia("(max-width: 720px)");
export const columns = () => NARROW.matches ? 16 : 32;

const fullness = (cell) => {
  const of = share(cell.taken, cell.size);
  return of === 0 ? 0 : of >= 100 ? 10 : Math.min(Math.max(Math.floor(of / 10), 1), 9);
};
const textOf = (cell) => cell.state
  ? `${cell.first}: ${cell.owner ? `${cell.owner}, ` : ""}${STATES[cell.state]}`
  : `${cell.first} to ${cell.last}: ${size(cell.taken)} of ${size(cell.size)} taken`;

export class RangeMap {
  // `open(cell)` is called for a pressed cell.
  constructor(open) {
    this.open = open;
    this.grid = make("div", {class: "map", role: "group", "aria-label": "Map: the arrow keys move, Enter opens"});
    this.detail = make("p", {class: "detail", id: "detail"}, "Point at a square, or use the arrow keys.");
    this.legend = make("p", {class: "legend", id: "legend"});
    this.element = make("div", {id: "map"}, this.grid, this.detail, this.legend);
    this.built = 0;
    this.grid.addEventListener("keydown", (event) => this.move(event));
  }

  update(answer, current) {
    this.cells = answer.columns;
    this.grid.className = `map ${answer.cell_bits ? "groups" : "addresses"} ${isV6(answer.at) ? "v6" : ""}`;
    this.grid.style.setProperty("--columns", answer.columns);
    const ticks = Array.from({length: answer.columns / 8}, (_, at) => `+${at * 8}`);
    const rows = [{first: "", ticks}, ...answer.rows].flatMap((row) => [...(row.ticks || row.left_out === "0" ? [] : [{gap: row.left_out, first: row.first}]), row]);
    if (answer.left_out !== "0") rows.push({gap: answer.left_out, first: "end"});
    const keyOf = (row) => row.ticks ? "ticks" : (row.gap ? "gap " : "") + row.first;
    reconcile(this.grid, rows.map(({cells, left_out: before, ...row}) => row), keyOf, (row) => this.row(row));
    rows.forEach((row, at) => {
      if (row.cells) this.built += reconcile(this.grid.children[at].lastElementChild, row.cells, (cell) => cell.first, (cell) => this.cell(cell));
    });
    this.element.dataset.built = this.built;
    for (const button of this.grid.querySelectorAll("[aria-current]")) button.removeAttribute("aria-current");
    const buttons = this.buttons();
    buttons.find((one) => one.cell.first === current)?.setAttribute("aria-current", "true");
    if (buttons.length && !buttons.some((one) => one.tabIndex === 0)) buttons[0].tabIndex = 0;
    this.showLegend(answer.cell_bits);
  }

  row(row) {
    if (row.gap) {
      const count = BigInt(row.gap);
      return make("p", {class: "gap"}, `⋯ ${size(row.gap)} ${count === 1n ? "row" : "rows"} without a taken address`);
    }
    if (row.ticks) {
      return make("div", {class: "row ticks", "aria-hidden": "true"}, make("span", {class: "label"}),
        make("div", {class: "cells"}, ...row.ticks.map((tick) => make("span", {}, tick))));
    }
    return make("div", {class: "row"}, make("span", {class: "label"}, row.first), make("div", {class: "cells"}));
  }

  cell(cell) {
    const text = textOf(cell);
    const kind = cell.state ?? (cell.size === "0" ? "never" : `block full-${fullness(cell)}`);
    const button = make("button", {class: `cell ${kind}`, "aria-label": text, title: text, tabindex: -1,
      onfocus: () => setText(this.detail, text), onpointerenter: () => setText(this.detail, text), onclick: () => this.open(cell)});
    if (!cell.state && fullness(cell)) button.append(fullness(cell) === 10 ? "#" : String(fullness(cell)));
    button.cell = cell;
    return button;
  }

  buttons() { return [...this.grid.querySelectorAll("button")]; }

  move(event) {
    const buttons = this.buttons();
    const at = buttons.indexOf(document.activeElement);
    const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.cells, ArrowUp: -this.cells, Home: -at, End: buttons.length - 1 - at}[event.key];
    const next = step === undefined || at < 0 ? undefined : buttons[at + step];
    if (!next) return;
    event.preventDefault();
    for (const one of buttons) one.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  showLegend(bits) {
    if (this.legend.dataset.bits === String(bits)) return;
    this.legend.dataset.bits = bits;
    const sample = (kind, text, mark = "") => make("span", {}, make("span", {class: `cell ${kind}`, "aria-hidden": "true"}, mark), text);
    this.legend.replaceChildren(...(bits === 0
      ? Object.entries(STATES).map(([state, text]) => sample(state, text))
      : [make("span", {}, `A square is ${size(String(1n << BigInt(bits)))} addresses. Press it to come closer.`),
        sample("block full-0", "none taken"), sample("block full-3", "tenths taken", "3"), sample("block full-10", "all taken", "#")]));
  }
}
