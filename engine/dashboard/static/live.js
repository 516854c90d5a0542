// What has moved, from the server's stream: one connection for the page that is shown.

let source = null;
const shown = () => document.getElementById("live");

const say = (text, state) => {
  const place = shown();
  if (place.textContent !== text) place.textContent = text;
  place.dataset.state = state;
};

export const unlisten = () => {
  source?.close();
  source = null;
  say("", "");
};

// Calls `moved` with the newest message, no more often than every `pause` ms, and never while hidden.
export const listen = (run, moved, pause = 1000) => {
  unlisten();
  let waiting = null, last = 0, newest = null;
  const tell = () => {
    waiting = null;
    if (document.hidden || newest === null) return;
    last = Date.now();
    const message = newest;
    newest = null;
    moved(message);
  };
  const opened = new EventSource(run === null ? "/events" : `/events?run=${encodeURIComponent(run)}`);
  source = opened;
  opened.addEventListener("open", () => say("live", "on"));
  opened.addEventListener("error", () => say("connection lost, trying again", "off"));
  opened.addEventListener("moved", (event) => {
    newest = JSON.parse(event.data);
    waiting ??= setTimeout(tell, Math.max(0, last + pause - Date.now()));
  });
  document.onvisibilitychange = () => { if (!document.hidden) tell(); };
};
