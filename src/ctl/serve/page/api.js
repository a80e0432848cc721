// Questions to the server.

export const ask = async (path, parameters = {}) => {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  const answer = await fetch(`api/${path}?${new URLSearchParams(given)}`);
  if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
  return answer.json();
};

// The first `count` pages of a list, as one list, and whether there is more.
export const askPages = async (path, name, parameters, count) => {
  let items = [], next = null;
  for (let page = 0; page < count && (page === 0 || next !== null); page += 1) {
    const answer = await ask(path, {...parameters, after: next});
    items = items.concat(answer[name]);
    next = answer.next;
  }
  return {items, next};
};
