// The page: shows the view of its address, and refreshes it when the server has news.
import {ask} from "./api.js";
import {by, make, reconcile} from "./dom.js";
import {refreshDrawer} from "./drawer.js";
import {listenToKeys} from "./keys.js";
import {hashOf, look, place} from "./route.js";
import {showStrip, showUnreachable} from "./strip.js";
import {VIEWS, partsOf, viewKey} from "./views.js";

let parts = [], shownKey = null;

const showNavigation = () => {
  const {view, range, search} = place();
  const items = VIEWS.map((one, at) => ({...one, key: at + 1, current: !search && one.view === view && (at > 0 || view === undefined || Boolean(range))}));
  reconcile(by("views"), items, (one) => one.text, (one) => make("a",
    {href: hashOf(one.place), "aria-current": one.current ? "page" : null, title: `key ${one.key}`}, one.text));
};

const showView = () => {
  const wanted = place();
  showNavigation();
  by("word").value = wanted.search ?? "";
  const key = viewKey(wanted);
  if (key === shownKey) return;
  shownKey = key;
  parts = partsOf(wanted);
  document.title = `${parts.map((part) => part.title).at(-1)} · whereabouts`;
  by("content").replaceChildren(...parts.map((part) => part.element));
};

const refreshPart = async (part) => {
  try {
    await part.refresh();
    part.failure?.remove();
  } catch (error) {
    part.failure?.remove();
    part.failure = make("p", {class: "failure", role: "alert"}, `This part could not be read. ${error.message}`);
    part.element.before(part.failure);
  }
};

// One refresh at a time; what changes meanwhile is for the next one.
let busy = false, again = false;
const refresh = async () => {
  if (busy) { again = true; return; }
  busy = true;
  do {
    again = false;
    try {
      showStrip(await ask("overview"));
    } catch {
      showUnreachable();
    }
    await Promise.all(parts.map(refreshPart));
    await refreshDrawer().catch((error) => console.error(error));
  } while (again);
  busy = false;
};

by("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const search = by("word").value.trim();
  const {range, pool, own, at} = place();
  look(range ? {range, pool, own, at, search: search || null} : {search: search || null});
});
by("skip").addEventListener("click", (event) => { event.preventDefault(); by("content").focus(); });
addEventListener("hashchange", () => { showView(); refresh(); });
matchMedia("(max-width: 720px)").addEventListener("change", refresh);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
const events = new EventSource("api/events");
events.addEventListener("message", () => { if (!document.hidden) refresh(); });
events.addEventListener("error", showUnreachable);
// The ages of tickets grow by themselves.
setInterval(() => { if (!document.hidden && parts.some((part) => part.ages)) refresh(); }, 5000);
listenToKeys();
showView();
refresh();
