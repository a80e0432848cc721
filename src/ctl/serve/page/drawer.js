// One address: the whole claim, and commands to copy.
import {by, make, setText} from "./dom.js";
import {ask} from "./api.js";
import {age, poolName} from "./format.js";
import {STATES} from "./map.js";
import {change, chosen, hashOf, place} from "./route.js";

// Only such names are put into a command: nothing in them means something to a shell.
const isPlain = (text) => typeof text === "string" && /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(text);

const commands = ({address, claim}) => {
  const {pod: {namespace, name}, node, container, revision} = claim;
  const lines = [];
  if (isPlain(namespace) && isPlain(name)) {
    lines.push(`kubectl --namespace ${namespace} get pod ${name} --output wide`, `kubectl --namespace ${namespace} describe pod ${name}`);
  }
  if (isPlain(node)) lines.push(`kubectl get node ${node}`);
  lines.push(`whereaboutsctl show ${address}`, `whereaboutsctl release ${address} --container ${container} --revision ${revision}`);
  return lines;
};

const copy = async (button, line) => {
  try {
    await navigator.clipboard.writeText(line.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(line);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
};
const commandLine = (text) => {
  const line = make("code", {}, text);
  const button = make("button", {"aria-label": `Copy: ${text}`, onclick: () => copy(button, line)}, "Copy");
  return make("li", {}, line, button);
};

const field = (name, value) => value === null || value === undefined || value === "" ? [] : [make("dt", {}, name), make("dd", {}, value)];
const fields = (wanted, {state, why_never: why, claim, kept_for: kept}) => [
  ...field("State", why && !claim ? `not given: it ${why}` : STATES[state]),
  ...field("Range", make("a", {href: hashOf({...wanted, address: null, at: null})}, wanted.range)),
  ...field("Pool", poolName({name: wanted.pool || null, own: wanted.own === "true"})),
  ...(kept ? [...field("Kept for", `${kept.namespace}/${kept.pod}`), ...field("Network", named("network", kept.network)), ...field("Interface", kept.interface)] : []),
  ...(claim ? claimFields(claim) : []),
];
const claimFields = (claim) => [
  ...field("Suspected", claim.suspicion),
  ...field("Namespace", named("namespace", claim.pod.namespace)),
  ...field("Pod", claim.pod.name),
  ...field("Pod UID", claim.pod.uid),
  ...field("Node", named("node", claim.node)),
  ...field("Network", named("network", claim.network)),
  ...field("Interface", claim.interface),
  ...field("Container", claim.container),
  ...field("Network namespace", claim.netns),
  ...field("Boot of the node", claim.boot),
  ...field("Created", claim.created && make("span", {}, claim.created, " (", age(claim.created), ")")),
  ...field("Revision", claim.revision === claim.created_revision ? claim.revision : `${claim.revision}, created at ${claim.created_revision}`),
  ...field("All addresses", claim.addresses.length > 1 ? claim.addresses.map((one) => one.address).join(", ") : ""),
  ...field("Trace", `search your traces for container.id = ${claim.container}`),
];
const named = (kind, name) => name && make("a", {href: hashOf({search: `${kind}:${name}`})}, name);

let shown = null, opener = null;
export const closeDrawer = () => change({address: null});

export const refreshDrawer = async () => {
  const drawer = by("drawer");
  const wanted = place();
  if (!wanted.address || !wanted.range) {
    if (!drawer.hidden) {
      drawer.hidden = true;
      shown = null;
      if (opener?.isConnected) opener.focus();
    }
    return;
  }
  const answer = await ask("address", {...chosen(wanted), address: wanted.address});
  if (place().address !== wanted.address) return;
  const told = JSON.stringify([wanted, answer]);
  if (told === shown) return;
  const isNew = drawer.hidden;
  const had = drawer.contains(document.activeElement);
  shown = told;
  const close = make("button", {class: "close", "aria-label": "Close", onclick: closeDrawer}, "✕");
  drawer.replaceChildren(make("header", {}, make("h2", {id: "drawer-title"}, wanted.address), close),
    make("dl", {}, ...fields(wanted, answer)),
    ...(answer.claim ? [make("h3", {}, "Commands"), make("ul", {class: "commands"}, ...commands(answer).map(commandLine))] : []));
  drawer.hidden = false;
  if (isNew) opener = document.activeElement;
  if (isNew || had) close.focus();
  setText(by("announcement"), `${wanted.address}: ${STATES[answer.state]}`);
};
