/* Asking the API, as the member of staff who is logged in. */

/** What the server refused, in its own words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(url, options) {
  let answer;
  try {
    answer = await fetch(url, { ...options, headers: { Accept: "application/json", ...options.headers } });
  } catch {
    throw new Refused(0, "The server cannot be reached.");
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, body.detail || `The server answered ${answer.status}.`);
}

export async function getJSON(url) {
  return (await ask(url, {})).json();
}

/** A page of a collection, and the address of the next one if there is one. */
export async function getPage(url) {
  const answer = await ask(url, {});
  const next = answer.headers.get("Link")?.match(/<([^>]+)>; rel="next"/)?.[1];
  return { entries: await answer.json(), next };
}

/** All pages of a collection. */
export async function getAll(url) {
  const found = [];
  for (let place = url; place; ) {
    const { entries, next } = await getPage(place);
    found.push(...entries);
    place = next;
  }
  return found;
}

/** Send a change, with the token that the page has in its forms. */
export async function postJSON(url, body) {
  const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
  const headers = { "Content-Type": "application/json", "X-CSRFToken": token };
  return (await ask(url, { method: "POST", headers, body: JSON.stringify(body) })).json();
}
