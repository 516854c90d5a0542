// Questions to the server.  What is wrong comes back as a message with a hint, and is shown.

export class Problem extends Error {
  constructor({ message, where = "", hint = "" }) {
    super(message);
    this.where = where;
    this.hint = hint;
  }
}

const GONE = { message: "the dashboard does not answer", hint: "start `genesys-engine dashboard` again, and open its new address" };
const SHUT = { message: "this address has no valid token", hint: "open the whole address that `genesys-engine dashboard` printed" };

const answered = async (request) => {
  let response;
  try {
    response = await request;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(GONE);
  }
  if (response.status === 401) throw new Problem(SHUT);
  const data = await response.json().catch(() => ({ problem: { message: `the answer (${response.status}) cannot be read` } }));
  if (data?.problem) throw new Problem(data.problem);
  return data;
};

export const get = (path, params = {}, signal = undefined) => {
  const query = new URLSearchParams(Object.entries(params).filter(([, v]) => v !== "" && v !== null && v !== undefined));
  return answered(fetch(`/api/${path}${query.size ? `?${query}` : ""}`, { signal }));
};

export const post = (path) => answered(fetch(`/api/${path}`, { method: "POST" }));

export const at = (...parts) => parts.map((part) => encodeURIComponent(part)).join("/");
