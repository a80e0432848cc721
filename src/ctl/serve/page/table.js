// A table that sorts and filters what it has, and that stays as it is where nothing changes.
import {make, reconcile, setText} from "./dom.js";

const compareValues = (one, other) => {
  if (typeof one === "bigint" || typeof one === "number") return one < other ? -1 : one > other ? 1 : 0;
  return String(one).localeCompare(String(other), "en", {numeric: true});
};

// A column: {title, cell(item) -> text or element, value(item) -> what it sorts by, number}.
// `arrange(items)` gives the order while no column is chosen; it may put headings, {heading, key}, between items.
export class Table {
  constructor({label, columns, key, empty, arrange = (items) => items, filter = null}) {
    Object.assign(this, {columns, key, arrange, empty, items: [], sorted: null, word: "", built: 0});
    this.head = make("tr", {}, ...columns.map((column, at) => this.header(column, at)));
    this.body = make("tbody");
    this.table = make("table", {}, make("caption", {class: "visually-hidden"}, label), make("thead", {}, this.head), this.body);
    this.note = make("p", {class: "faint note"});
    this.more = make("button", {class: "more", hidden: true}, "More");
    const scroll = make("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": label}, this.table);
    this.element = make("div", {class: "list"}, ...(filter ? [this.filterField(filter, label)] : []), scroll, this.note, this.more);
  }

  header(column, at) {
    const button = make("button", {class: "sort", onclick: () => this.sortBy(at)}, column.title);
    return make("th", {scope: "col", class: column.number ? "number" : null}, column.value ? button : column.title);
  }

  filterField(hint, label) {
    const field = make("input", {type: "search", class: "filter", placeholder: hint, "aria-label": `${hint}: ${label}`, maxlength: 256});
    field.addEventListener("input", () => { this.word = field.value.trim().toLowerCase(); this.show(); });
    return field;
  }

  // Up, down, and as it came.
  sortBy(at) {
    const {column, down} = this.sorted ?? {};
    this.sorted = column !== at ? {column: at, down: Boolean(this.columns[at].number)}
      : down === Boolean(this.columns[at].number) ? {column: at, down: !down} : null;
    [...this.head.children].forEach((header, number) => {
      const order = this.sorted?.column === number ? (this.sorted.down ? "descending" : "ascending") : null;
      if (order) header.setAttribute("aria-sort", order);
      else header.removeAttribute("aria-sort");
    });
    this.show();
  }

  // Takes new items; `onMore` asks for more of them.
  update(items, onMore = null) {
    this.items = items;
    this.more.hidden = onMore === null;
    this.more.onclick = onMore;
    this.show();
  }

  show() {
    const fits = (item) => !this.word || JSON.stringify(item).toLowerCase().includes(this.word);
    const fitting = this.items.filter(fits);
    const rows = this.sorted ? this.order(fitting) : this.arrange(fitting);
    this.built += reconcile(this.body, rows, (row) => row.heading ? `heading ${row.key}` : this.key(row), (row) => this.row(row));
    this.element.dataset.built = this.built;
    this.table.hidden = this.items.length === 0;
    const hidden = this.items.length - fitting.length;
    setText(this.note, this.items.length === 0 ? this.empty : hidden > 0 ? `${hidden} of ${this.items.length} rows do not fit the filter.` : "");
    this.note.hidden = this.note.textContent === "";
  }

  order(items) {
    const {column, down} = this.sorted;
    const value = this.columns[column].value;
    const sorted = [...items].sort((one, other) => compareValues(value(one), value(other)));
    return down ? sorted.reverse() : sorted;
  }

  row(item) {
    if (item.heading) {
      const heading = make("th", {scope: "rowgroup", colspan: this.columns.length}, item.heading);
      return make("tr", {class: `heading ${item.kind ?? ""}`}, heading);
    }
    const cells = this.columns.map((column) => make("td", {class: column.number ? "number" : column.class ?? null}, column.cell(item)));
    return make("tr", {}, ...cells);
  }
}
