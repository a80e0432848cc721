// Elements. All that the API tells may have been written by anybody: it becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

const fill = (element, attributes, children) => {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null).map((child) => child instanceof Node ? child : String(child)));
  return element;
};

export const by = (id) => document.getElementById(id);
export const make = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
export const draw = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

// Sets a text only if it changes, so that a reader's selection stays.
export const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

// Makes the children of `parent` those of `items`, in order. A child whose item tells the same as before is left
// alone, and so keeps the focus. Returns how many were built.
export const reconcile = (parent, items, keyOf, build) => {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let built = 0;
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const told = JSON.stringify(item);
    let child = known.get(key);
    known.delete(key);
    if (child && child.told !== told) {
      const fresh = build(item);
      if (place === child) place = fresh;
      keepFocus(child, fresh);
      child = fresh;
      built += 1;
    } else if (!child) {
      child = build(item);
      built += 1;
    }
    child.told = told;
    child.dataset.key = key;
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of known.values()) child.remove();
  return built;
};

// Puts `fresh` in place of `old`, with the focus at the same place.
const keepFocus = (old, fresh) => {
  const places = (element) => [element, ...element.querySelectorAll("a, button, input")];
  const at = places(old).indexOf(document.activeElement);
  const tabs = places(old).map((element) => element.tabIndex);
  old.replaceWith(fresh);
  if (at >= 0) {
    const target = places(fresh)[at];
    if (tabs[at] >= 0 && target) target.tabIndex = tabs[at];
    target?.focus();
  }
};
