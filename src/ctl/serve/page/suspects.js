// Claims that are perhaps leaked, and what to do.
import {make, setText} from "./dom.js";
import {ask} from "./api.js";
import {claimTable} from "./claims.js";
import {many} from "./format.js";

export const suspectsView = () => {
  const table = claimTable("Suspected leaks", "No claim is suspected.", [{title: "Why", cell: (claim) => claim.suspicion, value: (claim) => claim.suspicion}]);
  const marked = make("p", {hidden: true});
  const code = (text) => make("code", {}, text);
  const advice = make("p", {class: "faint"}, "A suspicion is no evidence: the store knows neither pods nor nodes. ", code("whereaboutsctl reconcile --dry-run"),
    " asks the API server, ", code("whereaboutsctl gc --netns"), " asks the node, and ", code("whereaboutsctl check"), " finds marks without a claim.");
  const refresh = async () => {
    const [{claims}, {suspected}] = await Promise.all([ask("suspects"), ask("overview")]);
    const count = suspected.marked_alone ?? 0;
    marked.hidden = count === 0;
    setText(marked, `${many(count, "address is", "addresses are")} marked as taken without a claim that holds ${count === 1 ? "it" : "them"}.`);
    table.update(claims);
  };
  return {element: make("section", {class: "card", id: "suspects"}, make("h2", {}, "Suspected leaks"), advice, marked, table.element), refresh, title: "Suspected leaks"};
};
