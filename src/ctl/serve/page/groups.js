// The claims by node, by network or by namespace.
import {make} from "./dom.js";
import {ask} from "./api.js";
import {middle, many} from "./format.js";
import {hashOf} from "./route.js";
import {Table} from "./table.js";

const TITLES = {node: "Nodes", network: "Networks", namespace: "Namespaces"};

export const groupsView = (by) => {
  let most = 1;
  const bar = ({claims}) => {
    const line = make("span", {class: "bar wide", "aria-hidden": "true"}, make("span"));
    line.firstChild.style.setProperty("inline-size", `${100 * claims / most}%`);
    return line;
  };
  const name = (group) => make("a", {href: hashOf({search: `${by}:${group.name}`})}, group.name ? middle(group.name, 60) : `(no ${by})`);
  const table = new Table({label: TITLES[by], key: (group) => group.name, filter: `Filter ${TITLES[by].toLowerCase()}`, empty: "No claim is held.",
    columns: [
      {title: TITLES[by].slice(0, -1), cell: name, value: (group) => group.name},
      {title: "Claims", cell: (group) => group.claims.toLocaleString("en"), value: (group) => group.claims, number: true},
      {title: "Compared", cell: bar, class: "grow"}]});
  const others = make("p", {class: "faint", hidden: true});
  const refresh = async () => {
    const answer = await ask("groups", {by});
    most = Math.max(1, ...answer.groups.map((group) => group.claims));
    others.hidden = answer.others === 0;
    others.textContent = `${many(answer.others, "more has", "more have")} fewer claims.`;
    table.update(answer.groups);
  };
  return {element: make("section", {class: "card", id: by}, make("h2", {}, TITLES[by]), table.element, others), refresh, title: TITLES[by]};
};
